"""Speed and memory of the simulated fleet, of the loop and of one diagnosis. Run: make bench.

Writes tests/bench/results/simulator.json. CPU seconds of one process, minimum, median and maximum
of five runs; simulated time is what it says.
"""

from __future__ import annotations

import gc
import os
import platform
import resource
import statistics
import time
from dataclasses import replace
from pathlib import Path

import orjson

from ops import __version__
from ops.catalogue import Catalogue
from ops.replay.fleet import Fleet
from ops.replay.run import Loop, run_world
from ops.replay.scenarios import load_embedded
from ops.replay.traffic import Traffic
from ops.topology import discover
from rca.pipeline import diagnose
from rca.state import Symptom

RUNS, SEED, RATE_RPS, DURATION_S = 5, 7, 3.0, 900.0
RESULT = Path(__file__).parent / "results" / "simulator.json"


def spread(values: list[float]) -> dict[str, float]:
    return {
        "min": round(min(values), 4),
        "median": round(statistics.median(values), 4),
        "max": round(max(values), 4),
    }


def cpu_s(work) -> float:
    gc.collect()
    start = time.process_time()
    work()
    return time.process_time() - start


def main() -> None:
    catalogue = Catalogue.load()
    scenario = replace(load_embedded("chat"), faults=(), changes=(), duration_s=DURATION_S)
    traffic = Traffic.open(scenario, seed=SEED)

    def world(controller=None):
        return run_world(
            scenario, traffic, seed=SEED, rate_rps=RATE_RPS, controller=controller,
            catalogue=catalogue if controller else None,
        )  # fmt: skip

    requests = world().ledger.arrived
    plain = [cpu_s(world) for _ in range(RUNS)]
    watched = [cpu_s(lambda: world(Loop())) for _ in range(RUNS)]
    fleet = Fleet(scenario, traffic, seed=SEED, rate_rps=RATE_RPS, catalogue=catalogue)
    fleet.start()
    fleet.run_until(DURATION_S - 1.0)
    snapshot = fleet.snapshot()
    symptom = Symptom(
        region=scenario.regions[0].name, slo_class=scenario.slos[0].name,
        began_at_s=DURATION_S - 60.0, detected_at_s=DURATION_S - 1.0, bad_ratio=0.3,
        reason="latency",
    )  # fmt: skip
    topology = discover(snapshot.frame, snapshot.pods)

    def once() -> None:
        diagnose(
            snapshot.frame, symptom=symptom, topology=topology, changes=snapshot.changes,
            events=snapshot.events, now_s=snapshot.now_s, seed=0,
        )  # fmt: skip

    once()
    diagnosis = [cpu_s(once) for _ in range(RUNS)]
    figures = {
        "version": __version__,
        "machine": f"{os.cpu_count()} cores, Python {platform.python_version()}",
        "seed": SEED,
        "scenario": scenario.name,
        "requests": requests,
        "simulated_s": DURATION_S,
        "requests_per_cpu_s": spread([requests / s for s in plain]),
        "requests_per_cpu_s_with_telemetry_and_loop": spread([requests / s for s in watched]),
        "diagnosis_cpu_s": spread(diagnosis),
        "series": len(snapshot.frame.series),
        "rows": len(snapshot.frame.times_s),
        "memory_mib_max": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    }
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_bytes(
        orjson.dumps(figures, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    )
    print(RESULT.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
