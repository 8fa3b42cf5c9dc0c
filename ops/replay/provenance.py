"""Which program made a result: versions and commit, read from files, without running git."""

from __future__ import annotations

import platform
from importlib.metadata import version
from pathlib import Path

import numpy as np

from ops import __version__

_REPOSITORY = Path(__file__).resolve().parents[2]


def versions() -> dict[str, str]:
    """Versions of the program, of Python and of the libraries that numbers depend on."""
    return {
        "midwatch": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": version("scipy"),
        "networkx": version("networkx"),
    }


def commit(repository: Path = _REPOSITORY) -> str:
    """Commit that is checked out, or "unknown" where there is no repository."""
    folder = _git_folder(repository)
    if folder is None:
        return "unknown"
    try:
        head = (folder / "HEAD").read_text(encoding="utf-8").strip()
        if not head.startswith("ref: "):
            return head
        return _resolve(folder, head.removeprefix("ref: "))
    except (OSError, UnicodeDecodeError):
        return "unknown"


def _git_folder(repository: Path) -> Path | None:
    """The folder itself, or the one that a worktree's file points to."""
    path = repository / ".git"
    if path.is_dir():
        return path
    if path.is_file():
        text = path.read_text(encoding="utf-8").strip()
        if text.startswith("gitdir: "):
            return (repository / text.removeprefix("gitdir: ")).resolve()
    return None


def _resolve(folder: Path, ref: str) -> str:
    shared = folder / "commondir"
    places = [folder]
    if shared.is_file():
        places.append((folder / shared.read_text(encoding="utf-8").strip()).resolve())
    for place in places:
        if (place / ref).is_file():
            return (place / ref).read_text(encoding="utf-8").strip()
        packed = place / "packed-refs"
        if packed.is_file():
            for line in packed.read_text(encoding="utf-8").splitlines():
                found, _, name = line.partition(" ")
                if name == ref:
                    return found
    return "unknown"
