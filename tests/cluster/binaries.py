"""Where the programs of the control plane are: a folder that is named, or the cache of the build.

Nothing is ever taken from PATH: a kubectl of another version there would change what tests show.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

MODULES = Path(__file__).parent / "controlplane"
NAMES = (
    "etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl", "kwok",
    "stages.yaml",
)  # fmt: skip
STAMP = "built"
COMMAND = "make cluster-binaries"
SKIP = "MIDWATCH_CLUSTER=skip"


@dataclass(frozen=True, slots=True)
class Binaries:
    """Paths of the programs, and of kwok's ready-made stages."""

    etcd: Path
    kube_apiserver: Path
    kube_controller_manager: Path
    kube_scheduler: Path
    kubectl: Path
    kwok: Path
    stages: Path


class NoBinariesError(RuntimeError):
    """The control plane cannot be started here; the message names the command that helps."""


def find(environ: dict[str, str] | None = None) -> Binaries:
    """The programs, by envtest's variables or from the cache.

    `TEST_ASSET_KUBE_APISERVER`, `TEST_ASSET_ETCD` and so on name one program each and come first,
    then the folder `KUBEBUILDER_ASSETS`, then the build's cache.

    Raises:
        NoBinariesError: one of them is missing.
    """
    env = dict(os.environ) if environ is None else environ
    named = env.get("KUBEBUILDER_ASSETS", "")
    folder = Path(named) if named else built_folder(env)
    found, missing = [], []
    for name in NAMES:
        variable = "TEST_ASSET_" + name.removesuffix(".yaml").replace("-", "_").upper()
        path = Path(env[variable]) if env.get(variable) else folder and folder / name
        if path is None or not path.is_file():
            missing.append(f"{name} ({path})" if path else name)
        else:
            found.append(path)
    if missing:
        where = f"KUBEBUILDER_ASSETS={named}" if named else f"the cache {cache_root(env)}"
        raise NoBinariesError(
            f"no control plane: {', '.join(missing)} not in {where}; run `{COMMAND}` "
            "(Go, about four minutes the first time), or point KUBEBUILDER_ASSETS at a folder that "
            f"holds {', '.join(NAMES)}; {SKIP} leaves these tests out and lists what is not shown"
        )
    return Binaries(*found)


def cache_root(environ: dict[str, str]) -> Path:
    """Folder of all builds, outside the repository."""
    base = environ.get("XDG_CACHE_HOME") or Path(environ.get("HOME", "~")).expanduser() / ".cache"
    return Path(base) / "midwatch" / "cluster"


def inputs_hash() -> str:
    """Of everything that the build reads but Go itself: modules, sums, flags."""
    found = hashlib.sha256()
    for path in (MODULES / "go.mod", MODULES / "go.sum", MODULES / "build.py"):
        found.update(path.read_bytes())
    return found.hexdigest()[:16]


def go_version() -> str | None:
    """What `go version` says, e.g. "go1.26.8"; None without Go."""
    program = shutil.which("go")
    if program is None:
        return None
    env = {**os.environ, "GOTOOLCHAIN": "local"}
    told = subprocess.run([program, "version"], capture_output=True, text=True, env=env)
    words = told.stdout.split()
    return words[2] if told.returncode == 0 and len(words) > 2 else None


def build_folder(environ: dict[str, str], version: str) -> Path:
    """Where the build by this Go goes."""
    return cache_root(environ) / f"{inputs_hash()}-{version}"


def built_folder(environ: dict[str, str]) -> Path | None:
    """The finished build for these modules; by this machine's Go, without one by whichever."""
    version = go_version()
    if version is not None:
        folder = build_folder(environ, version)
        return folder if (folder / STAMP).is_file() else None
    stamps = sorted(cache_root(environ).glob(f"{inputs_hash()}-*/{STAMP}"))
    return stamps[-1].parent if stamps else None
