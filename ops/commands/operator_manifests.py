"""`midwatch operator manifests`: what `kubectl apply` installs, from the package itself."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

import ops

DEFAULT = "default"


def manifests_folder() -> Path:
    """The manifests that came with this package, or those of the checkout it runs from."""
    package = Path(ops.__file__).resolve().parent
    packed = package / "manifests"
    return packed if packed.is_dir() else package.parent / "manifests"


def manifests(
    overlay: Annotated[
        str, typer.Option(help="Which install: default, observe, recommend, two-region.")
    ] = DEFAULT,
    out: Annotated[
        Path | None,
        typer.Option(help="Copy the kustomize folder there instead, to build an overlay upon."),
    ] = None,
) -> None:
    """Print one install as YAML, the same bytes as `kubectl kustomize` of its folder.

    Example: `midwatch operator manifests | kubectl apply -f -`

    Example: `midwatch operator manifests --overlay observe`

    Example: `midwatch operator manifests --out midwatch && kubectl apply -k midwatch`
    """
    folder = manifests_folder()
    if out is not None:
        if out.exists():
            raise typer.BadParameter(f"--out {out} is there already; name a new folder")
        shutil.copytree(folder, out)
        return
    known = {path.stem: path for path in sorted((folder / "rendered").glob("*.yaml"))}
    if not known:
        raise typer.BadParameter(
            f"no manifests in {folder}; install midwatch from a wheel or run it from its checkout"
        )
    if overlay not in known:
        raise typer.BadParameter(f"--overlay {overlay!r} is not one of {', '.join(known)}")
    # Bytes, not text: no line end is changed on the way.
    sys.stdout.buffer.write(known[overlay].read_bytes())
    sys.stdout.buffer.flush()
