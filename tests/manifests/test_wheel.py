"""The wheel in a clean environment, as the image runs it: user 65532, nothing writable.

What is shown where: everywhere, that the wheel installs, carries the manifests and prints their
bytes. As root on Linux also that the commands run as uid 65532 without capabilities on a root that
holds the system's programs, Python and the environment, all read-only; a write is tried and
fails. tests/cluster/test_image.py does the same with whole images.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.manifests.installs import INSTALLS, MANIFESTS, of_kind

pytestmark = pytest.mark.integration
ROOT = Path(__file__).resolve().parents[2]
MOUNTED = "/var/run/midwatch/tokens"
# A root of its own, as an image has: the system's programs and libraries, Python, the environment
# under test, all of it read-only. $1 = empty folder; the words up to "--" = what else it shows.
SEALED = """
set -e
root="$1"; shift
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs "$root"
show() {
  mkdir -p "$root$1"
  mount --bind "$1" "$root$1"
  mount -o remount,bind,ro "$root$1"
}
for part in /usr /etc; do show "$part"; done
for part in /bin /lib /lib64 /sbin; do
  if [ -L "$part" ]; then cp -P "$part" "$root$part"; elif [ -d "$part" ]; then show "$part"; fi
done
while [ "$1" != "--" ]; do case "$1" in /usr/*) ;; *) show "$1" ;; esac; shift; done
shift
mkdir -p "$root/proc" "$root/dev" "$root/tmp"
mount --bind /proc "$root/proc"
mount --bind /dev "$root/dev"
mount -o remount,ro "$root"
exec chroot "$root" setpriv --reuid 65532 --regid 65532 --clear-groups --inh-caps=-all \
  --bounding-set=-all --no-new-privs env -i HOME=/nonexistent PYTHONDONTWRITEBYTECODE=1 "$@"
"""


def run(*argv: str | Path, **kwargs: object) -> subprocess.CompletedProcess[bytes]:
    done = subprocess.run(argv, capture_output=True, check=False, **kwargs)  # type: ignore[call-overload]
    assert done.returncode == 0, f"{argv}: {done.stderr.decode()[-2000:]}"
    return done  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def environment() -> Iterator[Path]:
    """A virtual environment with nothing but the wheel, its extra operator, and what they need."""
    # Not below pytest's folders: those are closed to other users.
    with tempfile.TemporaryDirectory(prefix="midwatch-wheel-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield install_wheel(folder)


def install_wheel(folder: Path) -> Path:
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy2(ROOT / name, source / name)
    for name in ("ops", "rca", "coldstart", "serving", "manifests"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
    run(*pip, "wheel", "--no-deps", "--wheel-dir", folder, str(source))
    (wheel,) = folder.glob("midwatch-*.whl")
    made = folder / "venv"
    run(sys.executable, "-m", "venv", made)
    constraints = ROOT / "constraints.txt"
    run(made / "bin" / "python", *pip[1:], "install", "-c", constraints, f"{wheel}[operator]")
    return made


def sealed(environment: Path, *argv: str | Path) -> subprocess.CompletedProcess[bytes]:
    """Run a command on a root of its own, as nobody."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("unshare", "setpriv", "chroot"))):
        pytest.skip("needs root, unshare, setpriv and chroot: only the installation is shown")
    tried = subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False)
    if tried.returncode:
        pytest.skip(f"no mount namespace here: {tried.stderr.decode().strip()}")
    root = environment.parent / "root"
    root.mkdir(exist_ok=True)
    shown = (sys.base_prefix, environment.parent, "--")
    return subprocess.run(
        ["unshare", "--mount", "sh", "-c", SEALED, "sh", root, *shown, *argv],
        capture_output=True,
        check=False,
    )


def test_the_wheel_prints_the_bytes_of_the_checkout(environment: Path, tmp_path: Path) -> None:
    for name in INSTALLS:
        argv = ("operator", "manifests", "--overlay", name)
        printed = run(environment / "bin" / "midwatch", *argv, cwd=tmp_path).stdout
        stored = (MANIFESTS / "rendered" / f"{name}.yaml").read_bytes()
        assert hashlib.sha256(printed).hexdigest() == hashlib.sha256(stored).hexdigest()


def test_the_seal_holds(environment: Path) -> None:
    code = (
        "import os, pathlib\n"
        "assert os.getuid() == os.geteuid() == 65532 and os.getgroups() == []\n"
        "status = pathlib.Path('/proc/self/status').read_text()\n"
        "assert 'CapEff:\\t0000000000000000' in status, status\n"
        "for place in ('/', '/tmp', '/etc', os.path.dirname(os.__file__)):\n"
        "    try:\n"
        "        open(os.path.join(place, 'written'), 'w')\n"
        "    except OSError as error:\n"
        "        print(place, error.errno)\n"
        "    else:\n"
        "        raise SystemExit(f'{place} was written')\n"
    )
    done = sealed(environment, environment / "bin" / "python", "-c", code)
    assert done.returncode == 0, done.stderr.decode()
    assert b"/tmp 30" in done.stdout, done.stdout  # EROFS, not a missing right


def test_the_operator_runs_as_nobody_on_a_read_only_root(environment: Path) -> None:
    midwatch = environment / "bin" / "midwatch"
    shown = sealed(environment, midwatch, "operator", "run", "--help")
    assert shown.returncode == 0, shown.stderr.decode()
    assert b"--kubeconfig" in shown.stdout
    printed = sealed(environment, midwatch, "operator", "manifests")
    assert printed.returncode == 0, printed.stderr.decode()
    assert printed.stdout == (MANIFESTS / "rendered" / "default.yaml").read_bytes()


def test_the_shipped_settings_are_taken_by_the_installed_operator(environment: Path) -> None:
    config, tokens = environment.parent / "operator.yaml", environment.parent / "tokens"
    midwatch = environment / "bin" / "midwatch"
    tokens.mkdir(mode=0o755)  # where the manifests mount the Secret
    config.write_text(shipped_settings().replace(MOUNTED, str(tokens)), encoding="utf-8")
    config.chmod(0o644)
    done = sealed(environment, midwatch, "operator", "run", "--config", config, "--check")
    assert done.returncode == 2
    assert b"2 faults" in done.stderr
    for name in ("worker", "webhook"):
        (tokens / name).write_text("a-token\n", encoding="utf-8")
        (tokens / name).chmod(0o644)
    tokens.chmod(0o755)
    done = sealed(environment, midwatch, "operator", "run", "--config", config, "--check")
    assert done.returncode == 0, done.stderr.decode()
    assert b"no fault found" in done.stdout


def test_without_a_cluster_the_operator_says_what_is_missing(environment: Path) -> None:
    config = environment.parent / "operator.yaml"
    config.write_text(shipped_settings(), encoding="utf-8")
    config.chmod(0o644)
    midwatch = environment / "bin" / "midwatch"
    done = sealed(environment, midwatch, "operator", "run", "--config", config)
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr
    assert b"error: this process runs in no cluster" in done.stderr


def shipped_settings() -> str:
    (config,) = [c for c in of_kind("default", "ConfigMap") if "operator.yaml" in c["data"]]
    return str(config["data"]["operator.yaml"])
