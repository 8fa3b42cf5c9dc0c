"""Dispatch with and without prefix caches on Mooncake's traces. Run: this file alone, ~7 minutes.

Writes tests/bench/results/prefix_cache.json: TTFT and hit ratio of each dispatch policy on 16
simulated H100 with Llama-3.1-8B, at shares of what that fleet answers saturated without caches.
A seed spreads the conversation's coarse stamps (3 s) evenly over their tick, and moves the finer
stamps of the synthetic trace by up to 1 s. The chunk of each
policy is the one with the most requests within TTFT 5 s and TPOT 50 ms on a seed of its own.
Worst is the seed with the largest value (smallest hit ratio). `--quick` takes one seed.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson

sys.path.insert(0, str(Path(__file__).parent))
from run_all import LEFT_OUT

from ops.replay.provenance import commit
from serving.sim.capacity import saturated_rps
from serving.sim.run import playable, simulate
from serving.sim.world import FleetConfig, Policies
from serving.state import Slo
from serving.workload import RequestTable, read_trace, replay_reuse, smear, to_rate

DATA = Path(os.environ.get("MIDWATCH_DATA", Path(__file__).parents[3] / "shared" / "data"))
FOLDER = DATA / "traces" / "mooncake_fast25"
RESULT = Path(__file__).parent / "results" / "prefix_cache.json"
FLEET = FleetConfig(num_instances=16, gpu="H100", model="llama-3.1-8b")
SLO = Slo(ttft_s=5.0, tpot_s=0.05)
DISPATCHES = ("round-robin", "least-loaded", "prefix-aware")
CHUNKS, TUNING_SEED, TUNING_LOAD = (512, 2048, 8192), 101, 0.8
SEEDS = range(11, 16)
TRACES = {  # file, coarse tick of its stamps in seconds, loads
    "conversation": ("conversation_min00-40.jsonl.gz", 3.0, (0.5, 0.8)),
    "synthetic": ("synthetic_s000-700.jsonl.gz", 1.0, (0.8,)),
}


def figures_of(table: RequestTable, dispatch: str, chunk: int, *, cache: bool) -> dict[str, Any]:
    """The figures that are compared, of one run."""
    fleet = replace(FLEET, prefix_cache=cache)
    policies = Policies(dispatch=dispatch, token_budget=chunk)
    found = simulate(table, fleet, policies, 0, slo=SLO).figures()
    assert found["outcomes"]["done"] == found["requests"]
    return {
        **{f"ttft_s_{p}": found["ttft_s"][p] for p in ("mean", "p50", "p90", "p99")},
        "tpot_s_p99": found["tpot_s"]["p99"],
        "attainment_ratio": found["attainment_ratio"],
        "prefill_imbalance_ratio": found["prefill_imbalance_ratio"],
        "hit_ratio": found["prefix_cache"]["hit_ratio"] if cache else None,
    }


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Median and worst over the seeds, and each seed."""
    made = {}
    for name in runs[0]:
        seeds = [run[name] for run in runs]
        if None in seeds:
            continue
        worst = min if name in {"hit_ratio", "attainment_ratio"} else max
        made[name] = {
            "median": round(statistics.median(seeds), 4),
            "worst": round(worst(seeds), 4),
            "seeds": [round(v, 4) for v in seeds],
        }
    return made


def tuned(table: RequestTable, tick_s: float, rate_rps: float) -> dict[str, int]:
    """Chunk of each dispatch policy, with the cache on."""
    part = to_rate(smear(table, tick_s, TUNING_SEED), rate_rps)
    best = {}
    for dispatch in DISPATCHES:
        scores = {
            chunk: figures_of(part, dispatch, chunk, cache=True)["attainment_ratio"]
            for chunk in CHUNKS
        }
        best[dispatch] = max(scores, key=lambda chunk: (scores[chunk], -chunk))
        print(f"chunk of {dispatch}: {best[dispatch]} of {scores}", flush=True)
    return best


def line(row: dict[str, Any]) -> str:
    def pair(name: str, scale: float = 1.0, digits: int = 2) -> str:
        if name not in row:
            return "-"
        return f"{row[name]['median'] * scale:.{digits}f} ({row[name]['worst'] * scale:.{digits}f})"

    return (
        f"{row['trace']:12} {row['load']:.1f} {row['dispatch']:13} "
        f"{row['caches']:7} hits {pair('hit_ratio', 100, 1):12} % "
        f"TTFT p50 {pair('ttft_s_p50', 1, 3):14} p90 {pair('ttft_s_p90'):12} "
        f"p99 {pair('ttft_s_p99'):13} TPOT p99 {pair('tpot_s_p99', 1000, 0):8} ms "
        f"within {pair('attainment_ratio', 100, 1):12} % busiest {pair('prefill_imbalance_ratio')}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one seed, nothing written")
    seeds = list(SEEDS)[:1] if parser.parse_args().quick else list(SEEDS)
    if not FOLDER.exists():
        print(f"left out: no real trace in {FOLDER}; set MIDWATCH_DATA to the folder of traces/")
        raise SystemExit(LEFT_OUT)
    start_s = time.process_time()
    chunks: dict[str, int] = {}
    rows, traces = [], {}
    print("median over the seeds (worst seed)")
    for name, (file, tick_s, loads) in TRACES.items():
        table = playable(read_trace(FOLDER / file)[0])
        capacity_rps = saturated_rps(table, FLEET, Policies(token_budget=2048), 0)
        reuse = replay_reuse(table).token_hit_ratio
        traces[name] = {"saturated_rps": capacity_rps, "reuse_ratio": reuse}
        print(f"{name}: saturated {capacity_rps:.2f} requests/s; one endless cache {reuse:.3f}")
        chunks = chunks or tuned(table, tick_s, TUNING_LOAD * capacity_rps)
        for load in loads:
            parts = [to_rate(smear(table, tick_s, seed), load * capacity_rps) for seed in seeds]
            for dispatch in DISPATCHES:
                for cache in (False, True):
                    chunk = chunks[dispatch]
                    runs = [figures_of(part, dispatch, chunk, cache=cache) for part in parts]
                    head = {"trace": name, "load": load, "dispatch": dispatch}
                    head["caches"] = "with" if cache else "without"
                    rows.append({**head, "chunk": chunk, **summary(runs)})
                    print(line(rows[-1]), flush=True)
    if len(seeds) < len(SEEDS):
        return
    result = {
        "simulated": True,
        "commit": commit(),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, {platform.python_version()}",
        "fleet": f"{FLEET.num_instances} x {FLEET.gpu}, {FLEET.model}",
        "slo": {"ttft_s": SLO.ttft_s, "tpot_s": SLO.tpot_s},
        "seeds": seeds,
        "cpu_s": round(time.process_time() - start_s, 1),
        "traces": traces,
        "rows": rows,
    }
    RESULT.write_bytes(orjson.dumps(result, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))


if __name__ == "__main__":
    main()
