"""Every bad input is refused within 1 s of CPU and 200 MB of memory, whichever reader gets it.

The cases are those of the readers' own tests. They run in a process of their own, whose address
space is limited too: `python -P tests/test_bad_input_limits.py` prints the figures of every case.
"""

from __future__ import annotations

import gzip
import importlib.util
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

CPU_S_MAX = 1.0  # of CPU, so that other work on the machine does not count
MEMORY_BYTES_MAX = 200 * 1000 * 1000
CASES_MIN = 200
PEAK_RESET = Path("/proc/self/clear_refs")
TESTS = Path(__file__).resolve().parent
# What one case gives back must not hide what the next one takes.
FREED_AT_ONCE = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
LATE_ROWS = 20_000  # good rows before a bad one
Case = tuple[str, Callable[[], object]]


@pytest.mark.slow
@pytest.mark.skipif(not PEAK_RESET.exists(), reason="peaks are read from Linux's /proc")
def test_every_bad_input_is_refused_in_time_and_memory() -> None:
    done = subprocess.run(
        [sys.executable, "-P", __file__],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        env={**os.environ, **FREED_AT_ONCE},
    )
    assert done.returncode == 0, done.stderr[-4000:]
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    slowest = max(rows, key=lambda row: row["cpu_s"])
    largest = max(rows, key=lambda row: row["grown_bytes"])
    print(
        f"{len(rows)} cases; slowest {slowest['case']}: {slowest['cpu_s']:.3f} s of CPU; "
        f"largest {largest['case']}: {largest['grown_bytes'] / 1e6:.1f} MB"
    )
    assert len(rows) >= CASES_MIN
    assert [row for row in rows if row["outcome"] != "refused"] == []
    assert slowest["cpu_s"] <= CPU_S_MAX
    assert largest["grown_bytes"] <= MEMORY_BYTES_MAX


def load(path: str) -> ModuleType:
    """A test module by its path; tests are no package."""
    name = path.replace("/", "_").removesuffix(".py")
    spec = importlib.util.spec_from_file_location(name, TESTS / path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def cases_of_traces(folder: Path, traces: ModuleType) -> Iterator[Case]:
    """Bad rows must be refused unless they may be skipped, bad files always."""
    from serving.workload import read_table

    def case(name: str, suffix: str, content: bytes, *, skip: bool = False) -> Case:
        def run() -> None:
            path = folder / f"damaged{suffix}"
            path.write_bytes(content)
            read_table(path, skip_bad_rows=skip)

        return f"trace {name}{' skipping' if skip else ''}", run

    for name, lines in traces.ROWS:
        text = "\n".join([*lines, ""]).encode("utf-8", "surrogateescape")
        yield case(name, ".txt", text)
    for name, suffix, content in traces.FILES:
        yield case(name, suffix, content)
        yield case(name, suffix, content, skip=True)
    for name, lines in traces.FORMATS.items():
        body = lines if name in traces.JSON else lines[1:]
        head = [] if name in traces.JSON else lines[:1]
        rows = [*head, *(body[:1] * LATE_ROWS), "...", ""]
        yield case(f"{name}-late", ".txt", "\n".join(rows).encode())
    bomb = gzip.compress(traces.AZURE[0].encode() + b"\n" + b"7" * (64 << 20), 1)
    yield case("gz-bomb of 64 MiB", ".txt.gz", bomb)


def cases_of_scenarios(folder: Path, scenarios: ModuleType) -> Iterator[Case]:
    from ops.replay.scenario_file import BYTES_MAX, load_scenario, parse_scenario

    for name, raw, _ in scenarios.BAD:
        yield f"scenario {name}", lambda raw=raw: parse_scenario(raw, source="bad.toml")
    for name, raw in scenarios.LARGEST.items():
        yield f"scenario largest {name}", lambda raw=raw: parse_scenario(raw, source="bad.toml")
    (folder / "large.toml").write_bytes(b"#" * (64 * BYTES_MAX))
    for place in (folder / "large.toml", Path("/dev/zero"), folder, folder / "absent.toml"):
        yield f"scenario at {place.name}", lambda place=place: load_scenario(place)


def cases_of_documents(metrics: ModuleType, alerts: ModuleType) -> Iterator[Case]:
    from ops.adapters.alertmanager import parse_alerts
    from ops.replay.openmetrics_read import parse_metrics

    for index, (text, _) in enumerate(metrics.BROKEN):
        yield f"metrics {index}", lambda text=text: parse_metrics(text, step_s=5.0)
    for index, (raw, _) in enumerate(alerts.BAD):
        yield f"alerts {index}", lambda raw=raw: parse_alerts(raw)


def peak_bytes() -> int:
    """Largest resident size since the last reset."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


def outcome_of(run: Callable[[], object], errors: tuple[type[Exception], ...]) -> str:
    try:
        run()
    except errors:
        return "refused"
    except MemoryError:
        return "out of memory"
    return "taken"


def main() -> None:
    """Run all cases in this process and print a line of JSON per case."""
    from ops.errors import OpsError
    from serving.errors import ServingError

    traces = load("serving/workload/test_bad_input.py")
    scenarios = load("ops/replay/test_scenario_file.py")
    metrics = load("ops/replay/test_openmetrics.py")
    alerts = load("ops/adapters/test_alertmanager.py")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cases = [
            *cases_of_traces(folder, traces),
            *cases_of_scenarios(folder, scenarios),
            *cases_of_documents(metrics, alerts),
        ]
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        room = pages * resource.getpagesize() + MEMORY_BYTES_MAX
        resource.setrlimit(resource.RLIMIT_AS, (room, room))
        for case, run in cases:
            PEAK_RESET.write_text("5", encoding="ascii")
            before = peak_bytes()
            started_s = time.process_time()
            outcome = outcome_of(run, (OpsError, ServingError))
            cpu_s = time.process_time() - started_s
            grown = peak_bytes() - before
            row = {"case": case, "outcome": outcome, "cpu_s": cpu_s, "grown_bytes": grown}
            print(json.dumps(row))


if __name__ == "__main__":
    main()
