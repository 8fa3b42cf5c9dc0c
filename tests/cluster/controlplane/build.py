"""Build the control plane from the pinned Go modules beside this file: `make cluster-binaries`.

etcd, kube-apiserver, kube-controller-manager, kube-scheduler, kubectl and kwok go to a folder of
the user's cache that is named by the hash of go.mod, go.sum, this file (the flags) and Go's
version. Where that is complete, nothing is done.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))

from tests.cluster import binaries  # noqa: E402  after the path

PROGRAMS = [name for name in binaries.NAMES if name != "stages.yaml"]
BUILDS_KEPT = 2
SAY_EVERY_S = 20.0


def main() -> int:
    environ = dict(os.environ)
    version = binaries.go_version()
    needed = wanted_go()
    if version is None or as_numbers(version) < as_numbers(needed):
        say(
            f"Go {needed} or newer is needed to build the control plane, found "
            f"{version or 'no `go` on PATH'}: install it (https://go.dev/dl), or set "
            f"KUBEBUILDER_ASSETS to a folder that holds {', '.join(binaries.NAMES)}"
        )
        return 1
    folder = binaries.build_folder(environ, version)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # a second build would only take the same processors
        if (folder / binaries.STAMP).is_file():
            say(f"the control plane is built: {folder}")
            return 0
        return build(folder, environ)


def build(folder: Path, environ: dict[str, str]) -> int:
    """Build into a scratch folder, move it into place when all is there."""
    began_s = time.monotonic()
    say("building the control plane from Go modules: about 4 minutes and 4 GiB with cold caches")
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="building-") as scratch:
        out = Path(scratch) / "out"
        out.mkdir()
        env = {**environ, **go_settings()}
        command = ["go", "build", "-ldflags", link_flags(), "-o", f"{out}/", "tool"]
        if not run_showing_progress(command, env):
            say(f"go build failed; its words are above. By hand: cd {binaries.MODULES} && go build")
            return 1
        (out / "server").rename(out / "etcd")  # Go names a program by its package's last element
        write_stages(out, Path(scratch), env)
        (out / binaries.STAMP).write_text(f"{time.monotonic() - began_s:.0f} s\n")
        shutil.rmtree(folder, ignore_errors=True)
        out.rename(folder)
    drop_old(folder)
    say(f"built in {time.monotonic() - began_s:.0f} s: {folder}")
    return 0


def run_showing_progress(command: list[str], env: dict[str, str]) -> bool:
    """Run it in the modules' folder; say every 20 s that it still runs."""
    began_s = time.monotonic()
    with subprocess.Popen(command, cwd=binaries.MODULES, env=env) as process:
        while True:
            try:
                return process.wait(SAY_EVERY_S) == 0
            except subprocess.TimeoutExpired:
                say(f"  still building, {time.monotonic() - began_s:.0f} s")


def write_stages(out: Path, scratch: Path, env: dict[str, str]) -> None:
    """Render kwok's own life cycles of nodes and pods from its module by the new kubectl."""
    module = subprocess.run(
        ["go", "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/kwok"],
        cwd=binaries.MODULES, env=env, capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    rendered = subprocess.run(
        [out / "kubectl", "kustomize", f"{module}/kustomize/stage/fast"],
        env={**env, "HOME": str(scratch)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    (out / "stages.yaml").write_text(rendered.stdout, encoding="utf-8")


def go_settings() -> dict[str, str]:
    """Environment of every call of Go: static, reproducible, modules as pinned."""
    jobs = min(os.cpu_count() or 1, 4)  # two links at once take 3.7 GiB
    flags = f"-p={jobs} -mod=readonly -trimpath -buildvcs=false"
    return {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": flags}


def link_flags() -> str:
    """Without symbols; the version that the server reports, which is v0.0.0 otherwise."""
    kubernetes, kwok = pinned("k8s.io/kubernetes"), pinned("sigs.k8s.io/kwok")
    major, minor, _ = kubernetes.removeprefix("v").split(".")
    flags = ["-s", "-w", f"-X sigs.k8s.io/kwok/pkg/consts.Version={kwok}"]
    values = {
        "gitVersion": kubernetes, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean",
        "gitCommit": "module", "buildDate": "1970-01-01T00:00:00Z",
    }  # fmt: skip
    for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version"):
        flags += [f"-X {package}.{name}={value}" for name, value in values.items()]
    return " ".join(flags)


def pinned(module: str) -> str:
    """Version of a required module in go.mod."""
    found = re.search(rf"^\s+{re.escape(module)} (v\S+)", go_mod(), re.MULTILINE)
    assert found is not None, f"{binaries.MODULES}/go.mod does not require {module}"
    return found[1]


def wanted_go() -> str:
    """The `go` line of go.mod."""
    found = re.search(r"^go (\S+)$", go_mod(), re.MULTILINE)
    assert found is not None, f"{binaries.MODULES}/go.mod has no go line"
    return found[1]


def go_mod() -> str:
    return (binaries.MODULES / "go.mod").read_text(encoding="utf-8")


def as_numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def drop_old(newest: Path) -> None:
    """Keep the newest builds, 400 MiB each."""
    stamps = sorted(newest.parent.glob(f"*/{binaries.STAMP}"), key=lambda p: p.stat().st_mtime)
    for stamp in stamps[:-BUILDS_KEPT]:
        shutil.rmtree(stamp.parent, ignore_errors=True)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
