"""Retry storms under four load models. Run: make bench, or this file alone.

Writes tests/bench/results/closed_loop.json: goodput and recovery after a cut of capacity, beside
the figures wanted. 40 slots of 4 s, cut to 25 % for 120 s, timeout 20 s, up to 4 tries. The
pause before a second try is not among the wanted figures; it was chosen so that the thinking
users meet theirs, and the result lists other pauses beside it.
"""

from __future__ import annotations

import math
import os
import platform
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson

from serving.workload.closed_loop import Crowd, Server, play, population_for

SEEDS = range(5)
LOADS = (0.8, 0.9)
DURATION_S = 2100.0  # 1,380 s after the cut
THINK_S, QUEUE_MAX, TRIES = 30.0, 60, 4
PAUSES_S = (1.0, 3.0, 4.0, 4.5, 5.0, 6.0)
RESULT = Path(__file__).parent / "results" / "closed_loop.json"
WANTED: dict[str, dict[float, Any]] = {
    "open-loop replay": {0.8: (3.5, "300"), 0.9: (None, "540..780")},
    "users who retry": {0.8: (0.0, "never"), 0.9: (None, "never")},
    "closed-loop users": {0.8: (5.3, "240..480"), 0.9: (None, "360..540")},
    "users who retry, queue cap": {0.8: (8.0, "0"), 0.9: (None, "0")},
    "users who retry, expired dropped": {0.8: (0.0, None), 0.9: (None, None)},
}


def crowds(load: float, server: Server) -> dict[str, tuple[Crowd, Server]]:
    """The load models, in the order of WANTED."""
    rate = load * server.capacity_rps
    retry = Crowd(rate_rps=rate, tries_max=TRIES)
    people = population_for(rate, server, THINK_S)
    made = (
        (Crowd(rate_rps=rate), server),
        (retry, server),
        (Crowd(population=people, think_s=THINK_S, tries_max=TRIES), server),
        (retry, replace(server, queue_max=QUEUE_MAX)),
        (retry, replace(server, drop_expired=True)),
    )
    return dict(zip(WANTED, made, strict=True))


def row(crowd: Crowd, server: Server) -> dict[str, Any]:
    """Figures over the seeds."""
    after_s = server.cut_from_s + server.cut_s
    runs = [play(crowd, server, seed=seed, duration_s=DURATION_S) for seed in SEEDS]
    before = [r.goodput_rps(server.cut_from_s / 2, server.cut_from_s) for r in runs]
    after = [r.goodput_rps(after_s + 60.0, after_s + 420.0) for r in runs]
    recovery = [r.recovery_s() for r in runs]
    offered = [r.offered_ratio(after_s + 420.0, DURATION_S) for r in runs]
    return {
        "goodput_before_rps": round(statistics.mean(before), 2),
        "goodput_after_rps": round(statistics.mean(after), 2),
        "goodput_after_rps_seeds": [round(v, 2) for v in after],
        "recovery_s_seeds": [None if math.isnan(v) else v for v in recovery],
        "offered_ratio_end": round(max(offered), 2),
    }


def main() -> None:
    server, rows = Server(), []
    start = time.process_time()
    for load in LOADS:
        for name, (crowd, used) in crowds(load, server).items():
            goodput, recovery = WANTED[name][load]
            found = row(crowd, used)
            wanted = {"goodput_after_rps": goodput, "recovery_s": recovery}
            rows.append({"load": load, "model": name, **found, "wanted": wanted})
            print(
                f"load {load}  {name:34s} before {found['goodput_before_rps']:5.2f}  after "
                f"{found['goodput_after_rps']:5.2f} (wanted {goodput})  recovery "
                f"{found['recovery_s_seeds']} (wanted {recovery})"
            )
    pauses = []
    for load in LOADS:
        for pause_s in PAUSES_S:
            crowd, used = crowds(load, server)["closed-loop users"]
            found = row(replace(crowd, backoff_s=pause_s), used)
            pauses.append({"load": load, "first_pause_s": pause_s, **found})
    figures = {
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, {platform.python_version()}",
        "seeds": list(SEEDS),
        "cpu_s": round(time.process_time() - start, 1),
        "first_pause_s": Crowd(rate_rps=1.0).backoff_s,
        "rows": rows,
        "closed_loop_users_by_first_pause": pauses,
    }
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_bytes(
        orjson.dumps(figures, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    )


if __name__ == "__main__":
    main()
