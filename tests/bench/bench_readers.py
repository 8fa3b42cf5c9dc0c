"""Speed and memory of every trace reader. Run: make bench, or this file alone.

Writes tests/bench/results/readers.json. The files are made up (`serving.workload.samples`) and
read in a process of their own each, so that its peak memory is the reader's. CPU seconds of one
process, minimum, median and maximum of five runs after one to warm up.
"""

from __future__ import annotations

import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import orjson

from serving.workload import read_table
from serving.workload.samples import SAMPLES, write_sample

RUNS, SEED, ROWS = 5, 7, 100_000
FEWER_ROWS = {"mooncake": 60_000, "bailian": 40_000}  # long rows
RESULT = Path(__file__).parent / "results" / "readers.json"
WANTED_ROWS_PER_CPU_S, WANTED_MB_MAX = 300_000, 200


def peak_mb() -> float:
    """Most memory that this process held; `ru_maxrss` would count its parent's before the start."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def one(path: Path) -> None:
    """Read the file RUNS times and print what it took."""
    before_mb = peak_mb()
    speeds = []
    for _ in range(RUNS + 1):
        start = time.process_time()
        _, report = read_table(path)
        speeds.append(report.rows_read / (time.process_time() - start))
    speeds = speeds[1:]
    figures = {
        "rows": report.rows_read,
        "bytes_per_row": round(path.stat().st_size / report.rows_read, 1),
        "rows_per_cpu_s": {
            "min": round(min(speeds)),
            "median": round(statistics.median(speeds)),
            "max": round(max(speeds)),
        },
        "memory_mb_peak": round(peak_mb(), 1),
        "memory_mb_before": round(before_mb, 1),
    }
    print(orjson.dumps(figures).decode())


def main() -> None:
    readers = {}
    with tempfile.TemporaryDirectory() as folder:
        for kind in SAMPLES:
            path = Path(folder) / f"{kind}.txt"
            write_sample(path, kind, rows=FEWER_ROWS.get(kind, ROWS), seed=SEED)
            done = subprocess.run(
                [sys.executable, __file__, str(path)], capture_output=True, check=True
            )
            readers[kind] = figures = orjson.loads(done.stdout)
            path.unlink()
            speed = figures["rows_per_cpu_s"]
            print(
                f"{kind:20s} {speed['median']:>10,} rows per CPU s "
                f"({speed['min']:,} to {speed['max']:,}), {figures['bytes_per_row']:6.1f} B a row, "
                f"{figures['memory_mb_peak']:6.1f} MB"
            )
    figures = {
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, {platform.python_version()}",
        "seed": SEED,
        "wanted": {"rows_per_cpu_s": WANTED_ROWS_PER_CPU_S, "memory_mb_max": WANTED_MB_MAX},
        "readers": readers,
    }
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_bytes(
        orjson.dumps(figures, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    )


if __name__ == "__main__":
    one(Path(sys.argv[1])) if len(sys.argv) > 1 else main()
