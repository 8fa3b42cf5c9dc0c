"""Speed and memory of every trace reader. Run: make bench, or this file alone.

Writes tests/bench/results/readers.json. The files are made up (`serving.workload.samples`) and
read in a process of their own each, so that its peak memory is the reader's. CPU seconds of one
process, minimum, median and maximum of five runs after one to warm up. `iter_trace` reads a file
and one that is eight times as long: its memory must not grow.

Where the time of a Bailian row of 69 ids goes (by profile): finding where the ids begin and end
37 %, their digits 22 %, keys and the other seven fields 22 %, sessions 5 %, reading and joining
14 %. Tried instead and no faster over the whole row: numpy's own parser of lists (`fromstring`)
with the checks that it needs, blocks that fit the second cache, orjson with its lists of ints.
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
from typing import Any

import orjson

from serving.workload import iter_trace, read_table
from serving.workload.samples import SAMPLES, write_sample

RUNS, SEED, ROWS = 5, 7, 100_000
CHUNK_ROWS, LONGER = 20_000, 8
CHUNKED = ("azure", "mooncake-gz")
FEWER_ROWS = {"mooncake": 60_000, "mooncake-gz": 60_000, "bailian": 40_000}  # long rows
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


def chunked(path: Path) -> None:
    """Read the file table by table and print what it took."""
    start = time.process_time()
    num_rows = sum(len(table) for table, _ in iter_trace(path, rows=CHUNK_ROWS))
    speed = num_rows / (time.process_time() - start)
    figures = {
        "rows": num_rows,
        "rows_per_cpu_s": round(speed),
        "memory_mb_peak": round(peak_mb(), 1),
    }
    print(orjson.dumps(figures).decode())


def in_process(path: Path, *how: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, __file__, str(path), *how], capture_output=True, check=True
    )
    return orjson.loads(done.stdout)


def sample(folder: Path, kind: str, rows: int) -> Path:
    path = folder / f"{kind}.txt{'.gz' if kind.endswith('-gz') else ''}"
    write_sample(path, kind.removesuffix("-gz"), rows=rows, seed=SEED)
    return path


def main() -> None:
    readers, chunks = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for kind in (*SAMPLES, "mooncake-gz"):
            path = sample(Path(folder), kind, FEWER_ROWS.get(kind, ROWS))
            readers[kind] = figures = in_process(path)
            path.unlink()
            speed = figures["rows_per_cpu_s"]
            print(
                f"{kind:20s} {speed['median']:>10,} rows per CPU s "
                f"({speed['min']:,} to {speed['max']:,}), {figures['bytes_per_row']:6.1f} B a row, "
                f"{figures['memory_mb_peak']:6.1f} MB"
            )
        for kind in CHUNKED:
            chunks[kind] = []
            for rows in (ROWS, LONGER * ROWS):
                path = sample(Path(folder), kind, rows)
                chunks[kind].append(found := in_process(path, "chunks"))
                path.unlink()
                print(
                    f"{kind:20s} {found['rows']:>10,} rows in tables of {CHUNK_ROWS:,}: "
                    f"{found['memory_mb_peak']:.1f} MB, {found['rows_per_cpu_s']:,} per CPU s"
                )
    figures = {
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, {platform.python_version()}",
        "seed": SEED,
        "wanted": {"rows_per_cpu_s": WANTED_ROWS_PER_CPU_S, "memory_mb_max": WANTED_MB_MAX},
        "readers": readers,
        "chunk_rows": CHUNK_ROWS,
        "chunked": chunks,
    }
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_bytes(
        orjson.dumps(figures, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        (chunked if "chunks" in sys.argv else one)(Path(sys.argv[1]))
    else:
        main()
