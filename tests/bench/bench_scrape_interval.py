"""What rarer scrapes cost: the same simulated faults seen every 5, 15, 30 and 60 s.

Run: python tests/bench/bench_scrape_interval.py [--seeds 0:10] [--jobs 1] [--healthy-days 2]; about
half an hour on one core. Prints a table, writes tests/bench/results/scrape_interval.json. Every row
has the same traffic and faults: draws belong to requests, not to scrapes. Delays are counted from
the start of the fault, which users feel only later. The loop acts: who sees a fault sooner, spares
users the rest of it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import orjson
from circumstances import circumstances

from ops.commands.chaos_options import parse_kinds, parse_seeds
from ops.replay.scenarios import load_embedded
from ops.replay.sweep import HEALTHY_HOURS, Task, sweep

RESULT = Path(__file__).parent / "results" / "scrape_interval.json"
SCRAPES_S = (5.0, 15.0, 30.0, 60.0)
LOAD = (0.5, 0.85)  # shares of the measured capacity
GAP = "metric-gap"  # no user suffers from it


def figures_of(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Detection, delay and cause of the runs at one interval."""
    faults = [row for row in rows if row["kind"] != "healthy" and "skipped" not in row]
    seen = [row for row in faults if row["detected_at_s"] is not None]
    named = [row for row in seen if row["diagnosed_at_s"] is not None]
    healthy = [row for row in rows if row["kind"] == "healthy"]
    return {
        "runs": len(faults), "detected": len(seen),
        "delay_s": _quantiles([row["detected_at_s"] - row["began_at_s"] for row in seen]),
        "cause_s": _quantiles([row["diagnosed_at_s"] - row["began_at_s"] for row in named]),
        "named": len(named), "right": sum(row["rank"] == 1 for row in named),
        "healthy_days": sum(row["days"] for row in healthy),
        "false_incidents": sum(row["opened"] for row in healthy),
    }  # fmt: skip


def _quantiles(seconds: Sequence[float]) -> dict[str, float | None]:
    if not seconds:
        return {"p50": None, "p95": None}
    p50, p95 = np.quantile(np.asarray(seconds), (0.5, 0.95))
    return {"p50": round(float(p50), 1), "p95": round(float(p95), 1)}


def measure(asked: argparse.Namespace, scrape_s: float, folder: Path) -> dict[str, Any]:
    """All runs at one interval."""
    base = load_embedded("chat")
    base = replace(base, telemetry=replace(base.telemetry, scrape_s=scrape_s))
    first, last = parse_seeds(asked.seeds)
    kinds = [kind for kind in parse_kinds(asked.kinds) if kind != GAP]
    tasks = [Task(k, seed, LOAD, worlds=False) for seed in range(first, last) for k in kinds]
    tasks += [
        Task("healthy", first + k, LOAD, hours=HEALTHY_HOURS)
        for k in range(round(asked.healthy_days * 24.0 / HEALTHY_HOURS))
    ]

    def tick(row: dict[str, Any]) -> None:
        print(f"{scrape_s:g} s: {row['kind']} {row['seed']}", file=sys.stderr, flush=True)

    return figures_of(
        sweep(
            base, tasks, out=folder / f"{scrape_s:g}", jobs=asked.jobs, resume=True, progress=tick
        )
    )


def table(found: dict[str, dict[str, Any]]) -> str:
    """The rows as they stand in documents."""
    heads = ("scrape s", "runs", "seen", "delay p50", "p95 s", "cause p50", "p95 s", "named",
             "right", "false/days")  # fmt: skip
    lines = ["".join(f"{head:>11}" for head in heads)]
    for scrape, row in found.items():
        false = f"{row['false_incidents']}/{row['healthy_days']:.0f}"
        delay, cause = row["delay_s"].values(), row["cause_s"].values()
        cells = (scrape, row["runs"], row["detected"], *map(_told, (*delay, *cause)),
                 row["named"], row["right"], false)  # fmt: skip
        lines.append("".join(f"{cell:>11}" for cell in cells))
    return "\n".join(lines)


def _told(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.0f}"


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", default="0:10", help="FIRST:LAST, the last one excluded")
    parser.add_argument("--kinds", default="all", help="fault kinds, comma separated")
    parser.add_argument("--healthy-days", type=float, default=2.0, help="per interval")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--work", type=Path, help="keep finished runs there, and resume from it")
    asked = parser.parse_args()
    with TemporaryDirectory() as folder:
        work = asked.work or Path(folder)
        found = {f"{s:g}": measure(asked, s, work) for s in SCRAPES_S}
    first, _ = parse_seeds(asked.seeds)
    whole = {"seeds": asked.seeds, "kinds": asked.kinds, **circumstances(seed=first)}
    RESULT.write_bytes(
        orjson.dumps({**whole, "intervals": found},
                     option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    )  # fmt: skip
    print(table(found))


if __name__ == "__main__":
    main()
