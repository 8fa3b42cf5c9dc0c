"""Speed, memory and growth of `simulate`. Run: make bench, or this file alone.

Writes tests/bench/results/serving.json and serving_growth.svg. Llama-2-7B, A100, chunk 512, least
loaded, Azure 2023 conversation of at most 4,096 tokens at 3 requests/s per instance; generated chat
of the same lengths stands in where the trace is absent (MIDWATCH_DATA). CPU seconds of one process,
minimum, median and maximum of nine runs after one to warm up; everything from columns to report.
`loop_ns` is what a plain Python loop took a turn between the runs: shared machines vary.

Where the time of a request goes (16 instances, 3 events and 18 iterations a request, by profile):
planning and starting segments 33 % (half of it those that mix prefill and decode), ending them
22 %, the event loop with its heap 19 %, arrivals and cutting segments 13 %, dispatch 6 %, token
gaps, samples and tables 7 %. Block arithmetic runs only where the KV that all admitted requests
hold at their ends would not fit; a segment is logged in a list, because an `array` converts each
number when it is added; sums of iteration times that belong together stand in one table. Turning
the garbage collector off changes nothing that can be measured. At 1,000 instances a request takes
45 iterations, and a lane's state has left the processor's cache when its next event comes.

The same events through `SimInstance` (mode "segments") cost about 5.5 times as much: objects for
sequences, plans, segments and requests, eleven counters and histograms a segment, and 4.3 events a
request, because there a prompt's last chunk and the iteration that an arrival waits for are events
of their own.
"""

from __future__ import annotations

import math
import os
import platform
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from serving.sim.run import playable, simulate
from serving.sim.world import FleetConfig, Mode, Policies
from serving.state import Slo
from serving.workload import generate, read_trace, to_rate

RUNS, SEED = 9, 7
RPS_PER_INSTANCE = 3.0
GROWTH_INSTANCES = (4, 16, 64, 250, 1000)
GROWTH_REQUESTS = (4_000, 16_000, 64_000, 256_000)
WANTED = {"express_16": 50_000, "express_1000": 25_000}  # medians
POLICIES = Policies(token_budget=512)
FCFS = Policies(batch="prefill-first")
SLO = Slo(ttft_s=1.0, tpot_s=0.05)
REPO = Path(__file__).parents[2]
DATA = Path(os.environ.get("MIDWATCH_DATA", REPO.parent / "shared" / "data")) / "traces"
AZURE = DATA / "azure_llm_2023" / "azure_llm_2023_conv.csv.gz"
MOONCAKE = DATA / "mooncake_fast25" / "conversation_min00-40.jsonl.gz"
RESULTS = Path(__file__).parent / "results"


def requests(num: int | None = None):
    """The trace, repeated end to end until it has `num` rows."""
    if AZURE.is_file():
        table = playable(read_trace(AZURE)[0], tokens_max=4096)
    else:
        table = generate(seed=SEED, duration_s=3600.0, rate_rps=5.0, failures=False)
        table = playable(table, tokens_max=4096)
    if num is None:
        return table
    laps = np.arange(num) // len(table)
    table = table.take(np.arange(num) % len(table))
    return replace(table, arrival_s=table.arrival_s % 3600.0 + 3600.0 * laps)


def run(table, num, *, mode=Mode.EXPRESS, model="llama-2-7b", policies=POLICIES):
    """(report, requests per CPU second)."""
    fleet = FleetConfig(num_instances=num, gpu="A100", model=model)
    start = time.process_time()
    report = simulate(table, fleet, policies, SEED, slo=SLO, mode=mode)
    return report, len(table) / (time.process_time() - start)


def spread(values: list[float]) -> dict[str, int]:
    return {
        "min": round(min(values)),
        "median": round(statistics.median(values)),
        "max": round(max(values)),
    }


def loop_ns() -> float:
    """Nanoseconds of one turn of `total += i * 2`."""
    start, total = time.process_time(), 0
    for i in range(300_000):
        total += i * 2
    return (time.process_time() - start) / 300_000 * 1e9


def speed(table, num: int, *, runs: int = RUNS, **how) -> dict[str, object]:
    report, _ = run(table, num, **how)
    found = report.figures()
    speeds, loops = [], []
    for _ in range(runs):
        loops.append(loop_ns())
        speeds.append(run(table, num, **how)[1])
    return {
        "instances": num,
        "requests": len(table),
        "requests_per_cpu_s": spread(speeds),
        "loop_ns": spread(loops),
        "iterations_per_request": round(found["iterations"] / len(table), 2),
        "events_per_request": round(found["events"] / len(table), 2),
        "ttft_s_p50": round(found["ttft_s"]["p50"], 4),
        "tpot_s_p50": round(found["tpot_s"]["p50"], 5),
    }


def at_load(table, num: int):
    return to_rate(table, RPS_PER_INSTANCE * num)


def peak_mb() -> float:
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return math.nan


def memory(num: int) -> dict[str, float]:
    """Peak of a process of its own that simulates `num` requests on 16 instances."""
    done = subprocess.run(
        [sys.executable, __file__, "memory", str(num)], check=True, capture_output=True, text=True
    )
    peak = float(done.stdout)
    return {"requests": num, "peak_mb": peak, "limit_mb": round(300 + num / 1024, 1)}


def growth() -> dict[str, list[tuple[int, float]]]:
    """CPU seconds against instances (each with its share of 16,000 requests) and requests."""
    table = requests(GROWTH_REQUESTS[1])
    by_instances = [
        (num, len(table) / max(run(at_load(table, num), num)[1] for _ in range(2)))
        for num in GROWTH_INSTANCES
    ]
    by_requests = [(num, num / run(at_load(requests(num), 16), 16)[1]) for num in GROWTH_REQUESTS]
    return {"instances": by_instances, "requests": by_requests}


def draw(found: dict[str, list[tuple[int, float]]]) -> str:
    """CPU seconds on logarithmic axes; the dashed line is n log n through the first point."""
    parts = []
    for panel, (name, points) in enumerate(found.items()):
        xs = np.log10([n for n, _ in points])
        first, cost = points[0]
        ideal = [cost * n * math.log(n) / (first * math.log(first)) for n, _ in points]
        values = [s for _, s in points]
        low, high = (math.log10(f([*values, *ideal])) for f in (min, max))

        def place(x: float, y: float, xs=xs, low=low, high=high, panel=panel) -> str:
            across = (x - xs[0]) / (xs[-1] - xs[0])
            return (
                f"{60 + 380 * panel + 300 * across:.1f},{190 - 160 * (y - low) / (high - low):.1f}"
            )

        for line, style in ((values, ""), (ideal, ' stroke-dasharray="5 3"')):
            dots = " ".join(place(x, math.log10(y)) for x, y in zip(xs, line, strict=True))
            parts.append(f'<polyline points="{dots}" fill="none" stroke="#1a57a0"{style}/>')
        for x, y in zip(xs, values, strict=True):
            left, top = place(x, math.log10(y)).split(",")
            parts.append(f'<text x="{left}" y="{float(top) - 6}">{y:.2g} s</text>')
            parts.append(f'<text x="{left}" y="208">{10**x:,.0f}</text>')
        parts.append(f'<text x="{60 + 380 * panel}" y="16">CPU seconds by {name}</text>')
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 800 220" font-family="sans-serif" '
        f'font-size="11">{"".join(parts)}</svg>\n'
    )


def main() -> None:
    table = requests()
    found = growth()
    figures: dict[str, Any] = {
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, "
        f"Python {platform.python_version()}",
        "beside": os.environ.get("MIDWATCH_BENCH_BESIDE", "not stated"),  # what else ran
        "seed": SEED,
        "trace": table.trace_id,
        "express_16": speed(at_load(table, 16), 16),
        "express_1000": speed(at_load(table, 1000), 1000),
        "express_16_fcfs": speed(at_load(table, 16), 16, policies=FCFS),
        "segments_16_fcfs": speed(
            at_load(table, 16), 16, mode=Mode.SEGMENTS, policies=FCFS, runs=1
        ),
        "segments_16": speed(at_load(table, 16), 16, mode=Mode.SEGMENTS, runs=1),
        "iterations_16": speed(at_load(table, 16), 16, mode=Mode.ITERATIONS, runs=1),
        "memory": [memory(num) for num in (16_000, 256_000)],
        "growth_cpu_s": found,
    }
    for name, wanted in WANTED.items():
        figures[name]["wanted_requests_per_cpu_s"] = wanted
    if MOONCAKE.is_file():
        mooncake = playable(read_trace(MOONCAKE)[0])
        figures["mooncake_16"] = speed(mooncake, 16, model="llama-3.1-8b")
    RESULTS.mkdir(parents=True, exist_ok=True)
    result = RESULTS / "serving.json"
    result.write_bytes(
        orjson.dumps(figures, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    )
    (RESULTS / "serving_growth.svg").write_text(draw(found), encoding="utf-8")
    print(result.read_text(encoding="utf-8"))


if __name__ == "__main__":
    if sys.argv[1:2] == ["memory"]:
        run(at_load(requests(int(sys.argv[2])), 16), 16)
        print(round(peak_mb(), 1))
    else:
        main()
