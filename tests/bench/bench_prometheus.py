"""Speed of reading Prometheus' answers. Run: make bench, or this file alone.

Writes tests/bench/results/prometheus.json. Made-up answers to range selectors, half gauges of
whole numbers, half counters with fractions; samples per CPU second of one process, minimum, median
and maximum of seven runs after one to warm up. Beside ours, on the same bodies in the same run: the
standard library's JSON, as prometheus-api-client reads them, and orjson, both with one `float()` a
sample and without a grid.

A window is read as `midwatch rca rank --prometheus` does: every question answered from memory, so
without network and server, then services found and levels joined into a table per region.
"""

from __future__ import annotations

import json
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import orjson
from circumstances import circumstances

from ops.adapters.prometheus_answers import Answer, read_matrix, read_raw_matrix
from ops.adapters.prometheus_frame import read_window
from ops.adapters.prometheus_grid import Grid, fill
from ops.catalogue import Catalogue
from ops.controller.metrics_watch.ring import WatchRing
from ops.controller.metrics_watch.rows import RowOffsets
from ops.replay.frame_incidents import incidents_of_frame

RUNS, SEED = 7, 7
START_S, STEP_S = 1_700_000_000, 5
SHAPES = {
    "300 series x 1,200 rows": (300, 1200),
    "2,000 x 180": (2000, 180),
    "10,000 x 30": (10_000, 30),
}
PODS, SERVICES, POD_ROWS, WINDOW_RUNS = 1000, 50, 240, 5
METRICS = (
    "container_cpu_usage_seconds_total", "container_memory_working_set_bytes",
    "container_network_receive_bytes_total", "container_network_transmit_bytes_total",
    "kube_pod_status_ready", "vllm:num_requests_waiting", "vllm:num_requests_running",
    "vllm:generation_tokens_total", "vllm:kv_cache_usage_perc",
    "container_cpu_cfs_throttled_seconds_total",
)  # fmt: skip
WANTED_SAMPLES_PER_CPU_S = 3_000_000
RESULT = Path(__file__).parent / "results" / "prometheus.json"


def make_body(num_series: int, num_rows: int) -> bytes:
    """An answer as Prometheus writes it, every target with an offset of its own."""
    rng = np.random.default_rng(SEED)
    result = []
    for k in range(num_series):
        times_s = START_S + STEP_S * np.arange(num_rows) + (k % 50) / 50 * STEP_S
        steps = rng.exponential(3.7, num_rows)
        values = np.cumsum(steps) if k % 2 else np.floor(steps * 8)
        labels = {
            "__name__": "vllm:generation_tokens_total",
            "instance": f"10.0.{k % 250}.17:8000",
            "job": "vllm",
            "namespace": "prod",
            "pod": f"llm-7d9f-{k:05d}",
            "region": "north",
        }
        texts = [repr(v) if k % 2 else f"{v:.0f}" for v in values.tolist()]
        stamps = [int(t) if t == int(t) else round(t, 3) for t in times_s.tolist()]
        pairs = list(zip(stamps, texts, strict=True))
        result.append({"metric": labels, "values": pairs})
    return orjson.dumps({"status": "success", "data": {"resultType": "matrix", "result": result}})


def ours(body: bytes, grid: Grid) -> int:
    answer = read_matrix(body)
    num_series = len(answer.labels)
    fill(grid, [answer], [np.arange(num_series)], num_series)
    return len(answer.values)


def ring(body: bytes, grid: Grid) -> int:
    """As a fleet's frame takes it: labels left unread, cells of float32."""
    answer = read_raw_matrix(body)
    num_series = len(answer.metrics)
    cells, offsets = WatchRing(grid.num_rows + 1), RowOffsets(grid.step_ms)
    cells.add_columns(num_series)
    offsets.add_columns(num_series)
    columns = np.repeat(np.arange(num_series), answer.counts)
    rows = offsets.rows(np.rint(answer.times_s * 1000.0).astype(np.int64), columns)
    cells.open_until(int(rows.max()))
    cells.write(rows, columns, answer.values)
    return len(answer.values)


def decode(body: bytes, grid: Grid) -> int:
    return len(read_matrix(body).values)


def plain(loads: Callable[[bytes], dict]) -> Callable[[bytes, Grid], int]:
    def read(body: bytes, grid: Grid) -> int:
        columns = [
            np.array([(at_s, float(text)) for at_s, text in one["values"]])
            for one in loads(body)["data"]["result"]
        ]
        return sum(map(len, columns))

    return read


WAYS = {
    "ours, decoded and on the grid": ours,
    "ours, decoded": decode,
    "ours, into the ring of a fleet, float32": ring,
    "json": plain(json.loads),
    "orjson": plain(orjson.loads),
}


def speed(way: Callable[[bytes, Grid], int], body: bytes, grid: Grid) -> dict[str, int]:
    """Samples per CPU second."""
    speeds = []
    for _ in range(RUNS + 1):
        began = time.process_time()
        num = way(body, grid)
        speeds.append(num / (time.process_time() - began))
    speeds = speeds[1:]
    return {
        "min": round(min(speeds)),
        "median": round(statistics.median(speeds)),
        "max": round(max(speeds)),
    }


class Stored:
    """Answers the questions of a window from bodies in memory, one per metric."""

    url = "http://stored"

    def __init__(self) -> None:
        self.bodies = {name: make_pods(name) for name in METRICS}

    def names(self, **_: object) -> tuple[str, ...]:
        return tuple(self.bodies)

    def num_series(self, names: list[str], **_: object) -> dict[str, int]:
        return dict.fromkeys(names, PODS)

    def samples(self, names: list[str], *, after_ms: int, until_ms: int, **_: object) -> Answer:
        (name,) = names  # one metric of so many pods fills an answer
        return read_matrix(self.bodies[name])


def make_pods(name: str) -> bytes:
    """One metric of every pod, as Prometheus writes it."""
    rng = np.random.default_rng([SEED, *name.encode()])
    result = []
    for k in range(PODS):
        labels = {
            "__name__": name, "pod": f"shop-{k % SERVICES}-7d9f6c5b4d-{k:05d}", "container": "main",
            "service": f"shop-{k % SERVICES}", "node": f"node-{k % 30}", "namespace": "prod",
            "region": "north", "condition": "true", "instance": f"10.0.0.{k % 250}:8000",
        }  # fmt: skip
        values = np.cumsum(rng.exponential(3.7, POD_ROWS)).tolist()
        pairs = [[START_S + STEP_S * (row + 1), repr(v)] for row, v in enumerate(values)]
        result.append({"metric": labels, "values": pairs})
    return orjson.dumps({"status": "success", "data": {"resultType": "matrix", "result": result}})


def window() -> dict[str, object]:
    """Samples per CPU second from the answers to the table, and the share of each step."""
    catalogue, seconds = Catalogue.load(), {"read": [], "table": []}
    total = PODS * len(METRICS) * POD_ROWS
    stored = Stored()
    for _ in range(WINDOW_RUNS + 1):
        began = time.process_time()
        reading = read_window(
            stored, catalogue, START_S + STEP_S, START_S + STEP_S * POD_ROWS, STEP_S
        )
        read = time.process_time()
        (incident,) = incidents_of_frame(reading.frame, name="bench").values()
        ended = time.process_time()
        assert int(np.isfinite(reading.frame.values).sum()) == total
        assert len(incident.services) == SERVICES
        seconds["read"].append(read - began)
        seconds["table"].append(ended - read)
    speeds = [total / (r + t) for r, t in zip(*seconds.values(), strict=True)][1:]
    return {
        "samples": total,
        "series": PODS * len(METRICS),
        "columns": len(incident.columns),
        "samples_per_cpu_s": {
            "min": round(min(speeds)),
            "median": round(statistics.median(speeds)),
            "max": round(max(speeds)),
        },
        "cpu_s": {step: round(statistics.median(taken[1:]), 3) for step, taken in seconds.items()},
    }


def main() -> None:
    began, shapes = circumstances(seed=SEED), {}
    for name, (num_series, num_rows) in SHAPES.items():
        body = make_body(num_series, num_rows)
        grid = Grid(START_S * 1000, (START_S + STEP_S * num_rows) * 1000, STEP_S * 1000)
        shapes[name] = {
            "bytes_per_sample": round(len(body) / num_series / num_rows, 1),
            "samples_per_cpu_s": {way: speed(read, body, grid) for way, read in WAYS.items()},
        }
        print(f"{name}, {shapes[name]['bytes_per_sample']} B a sample")
        for way, told in shapes[name]["samples_per_cpu_s"].items():
            print(f"  {way:40s} {told['median']:>10,} ({told['min']:,} to {told['max']:,}) a CPU s")
    whole = window()
    told = whole["samples_per_cpu_s"]
    print(f"a window of {whole['series']:,} series x {POD_ROWS} rows into a table of "
          f"{whole['columns']:,} columns")  # fmt: skip
    print(f"  {told['median']:>10,} ({told['min']:,} to {told['max']:,}) samples a CPU s: "
          f"{whole['cpu_s']['read']} s to read, {whole['cpu_s']['table']} s to join")  # fmt: skip
    figures = {
        **began,
        "runs": RUNS,
        "wanted_samples_per_cpu_s": WANTED_SAMPLES_PER_CPU_S,
        "memory_mb_peak": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        "shapes": shapes,
        "window": whole,
    }
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_bytes(
        orjson.dumps(figures, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    )


if __name__ == "__main__":
    main()
