"""Builds the images of the Dockerfile with buildah, and runs them as the manifests say.

No registry is needed: the base is a Debian with Python, made by mmdebstrap and kept in the user's
cache; MIDWATCH_IMAGE_BASE names another one where a registry can be reached. A container is played
by what the kernel has for it: a mount namespace, the image's files as a root that is read-only, the
volumes of the pod, the user of the image without any capability. Its network is the machine's.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster.processes import WAIT_S, Program

ROOT = Path(__file__).resolve().parents[2]
RELEASE = "bookworm"
PACKAGES = "python3,python3-venv,python3-pip,python-is-python3,ca-certificates"
TOOLS = ("buildah", "mmdebstrap", "unshare", "chroot")
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")  # this machine may have some of its own
PIP_SETTINGS = ("index-url", "extra-index-url", "trusted-host")
BASE_TAG = "localhost/base"
BUILD_S = 3600
# $1 = the root; then threes: what, where, ro or rw, up to "--"; then the user and what to run.
SEALED = """
set -e
root="$1"; shift
mount --make-rprivate /
mount --bind "$root" "$root"
while [ "$1" != "--" ]; do
  mkdir -p "$root$2"
  mount --bind "$1" "$root$2"
  if [ "$3" = ro ]; then mount -o remount,bind,ro "$root$2"; fi
  shift 3
done
shift
user="$1"; shift
mount --rbind /proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -o remount,bind,ro "$root"
exec chroot "$root" setpriv --reuid "${user%:*}" --regid "${user#*:}" --clear-groups \\
  --inh-caps=-all --bounding-set=-all --no-new-privs env -i "$@"
"""


def missing_tools() -> str:
    """What this machine lacks for building images; "" for nothing."""
    lacking = [tool for tool in TOOLS if shutil.which(tool) is None]
    if lacking:
        return f"no {', '.join(lacking)}: apt-get install buildah mmdebstrap util-linux"
    if os.geteuid() != 0:
        return "building and running images here needs root"
    tried = subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False)
    return f"no mount namespace: {tried.stderr.decode().strip()}" if tried.returncode else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """One built image, mounted; its config is what a container engine would go by."""

    name: str
    root: Path
    config: Mapping[str, Any]
    size: str  # with its base

    def program(
        self, args: Sequence[str], *, log: Path,
        volumes: Mapping[str, tuple[Path, bool]] | None = None,
        env: Mapping[str, str] | None = None, entrypoint: Sequence[str] | None = None,
    ) -> Program:  # fmt: skip
        """A container of it, not started.

        Args:
            args: in place of the image's CMD.
            volumes: place -> folder and whether it may be written.
            entrypoint: in place of the image's own.
        """
        mounts: list[str | Path] = []
        for where, (what, writable) in (volumes or {}).items():
            mounts += [what, self._real(where), "rw" if writable else "ro"]
        more = [f"{name}={value}" for name, value in (env or {}).items()]
        return Program(
            name=self.name,
            argv=[
                "unshare", "--mount", "sh", "-c", SEALED, "sh", self.root, *mounts, "--",
                self.config["User"], *self.config["Env"], *more,
                *(self.config["Entrypoint"] if entrypoint is None else entrypoint), *args,
            ],
            log=log,
        )  # fmt: skip

    def run(
        self, *args: str, log: Path, entrypoint: Sequence[str] | None = None
    ) -> tuple[int, str]:
        """Exit status and words of a container that ends by itself."""
        log.unlink(missing_ok=True)
        program = self.program(args, log=log, entrypoint=entrypoint).start()
        return program.wait(WAIT_S), program.log_text()

    def _real(self, where: str) -> str:
        """Debian's /var/run is a link to /run, which would lead out of the root."""
        if (self.root / "var/run").is_symlink() and where.startswith("/var/run/"):
            return where.removeprefix("/var")
        return where


class Builder:
    """buildah with a store of its own, which goes with it."""

    def __init__(self, folder: Path, *, cache: Path | None = None) -> None:
        self._folder = folder
        self._cache = cache or Path.home() / ".cache" / "midwatch"
        self._driver = "overlay"
        try:
            self._call("info")
        except RuntimeError:
            self._driver = "vfs"  # works anywhere, copies every layer
        self.base = os.environ.get("MIDWATCH_IMAGE_BASE") or self._debian()

    def build(self, target: str, **args: str) -> Image:
        """Build one target of the Dockerfile."""
        named = {"BASE": self.base, **args}
        given = [f"--build-arg={name}={value}" for name, value in named.items()]
        self._call("bud", "--layers", *given, "--target", target, "-t", target, str(ROOT))
        container = self._call("from", f"localhost/{target}").strip()
        config = json.loads(self._call("inspect", container))["OCIv1"]["config"]
        (shown,) = json.loads(self._call("images", "--json", f"localhost/{target}"))
        root = Path(self._call("mount", container).strip())
        return Image(name=target, root=root, config=config, size=shown["size"])

    def close(self) -> None:
        """Take the store away."""
        for words in (("umount", "--all"), ("rm", "--all"), ("rmi", "--all", "--force")):
            self._call(*words)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _debian(self) -> str:
        """The base image, from the cache or made."""
        tar = self._cache / f"image-base-{RELEASE}.tar"
        if not tar.exists():
            tar.parent.mkdir(parents=True, exist_ok=True)
            half = tar.with_suffix(".part.tar")
            variant = ("--quiet", "--variant=minbase", f"--include={PACKAGES}")
            _run("mmdebstrap", *variant, RELEASE, str(half))
            half.rename(tar)
        context = self._folder / "base"
        context.mkdir(parents=True)
        shutil.copy(tar, context / "base.tar")
        shutil.copy(CERTIFICATES, context / "certificates")
        (context / "pip.conf").write_text(pip_settings())
        (context / "Dockerfile").write_text(
            f"FROM scratch\nADD base.tar /\nCOPY certificates {CERTIFICATES}\n"
            "COPY pip.conf /etc/pip.conf\n"
        )
        self._call("bud", "-t", BASE_TAG, str(context))
        return BASE_TAG

    def _call(self, command: str, *words: str) -> str:
        isolated = ("--isolation", "chroot") if command == "bud" else ()
        store = (f"--root={self._folder}/store", f"--runroot={self._folder}/run")
        driver = f"--storage-driver={self._driver}"
        return _run("buildah", *store, driver, command, *isolated, *words)


def pip_settings() -> str:
    """pip's settings of this machine that decide where packages come from."""
    lines = ["[global]", f"cert = {CERTIFICATES}"]
    for name in PIP_SETTINGS:
        value = os.environ.get(f"PIP_{name.replace('-', '_').upper()}")
        lines += [f"{name} = {value}"] if value else []
    return "\n".join(lines) + "\n"


def _run(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=BUILD_S)
    if done.returncode:
        raise RuntimeError(f"{' '.join(argv)}: {(done.stdout + done.stderr)[-3000:]}")
    return done.stdout
