"""Every bench in turn, its name and seconds told. Run: make bench, or make bench ONLY="serving".

One that fails does not keep the others from running; the exit code is 1 then. A bench that cannot
run here ends with LEFT_OUT after saying why, which is no failure.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

FOLDER = Path(__file__).parent
LEFT_OUT = 77  # as automake's tests have it
# Long, or with programs that few have: make bench-cluster, or by name.
ALONE = {"cluster", "metric_servers", "scrape_interval"}


def find(names: list[str], folder: Path = FOLDER) -> list[Path]:
    """The benches of these names; without one all but those that are run alone."""
    known = {path.stem.removeprefix("bench_"): path for path in sorted(folder.glob("bench_*.py"))}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise SystemExit(f"there is no bench {unknown[0]!r}; take some of {', '.join(known)}")
    return [known[name] for name in names or known if names or name not in ALONE]


def run(paths: list[Path]) -> int:
    """Run them and tell; 1 when one failed."""
    failed = []
    for index, path in enumerate(paths, 1):
        print(f"[{index}/{len(paths)}] {path.stem}", flush=True)
        start = time.monotonic()
        code = subprocess.run([sys.executable, path], check=False).returncode
        ending = {0: "done", LEFT_OUT: "left out"}.get(code, f"FAILED with code {code}")
        print(
            f"[{index}/{len(paths)}] {path.stem}: {ending}, {time.monotonic() - start:.0f} s",
            flush=True,
        )
        if code not in (0, LEFT_OUT):
            failed.append(path.stem)
    if failed:
        print(f"{len(failed)} of {len(paths)} failed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(run(find(sys.argv[1:])))
