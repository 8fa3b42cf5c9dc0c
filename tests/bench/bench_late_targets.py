"""False Incidents when a server finds the targets of running pods in two parts.

Run: PYTHONPATH=. python tests/bench/bench_late_targets.py; about six minutes of wall clock. It
starts `midwatch chaos serve`, lets its pods run, and then Debian's Prometheus with every second
target, and the others some scrapes later. No fault is made: each Incident is a false one.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from bench_metric_servers import Watched, exporters, run

from ops.replay.scenarios import load_embedded
from ops.slo import Count
from tests.ops.adapters.real_servers import PROMETHEUS, scraping


def told(url: str) -> Any:
    """JSON that the exporters serve."""
    with urllib.request.urlopen(url, timeout=10.0) as answer:
        return json.load(answer)


def write_targets(folder: Path, targets: dict[str, list[Any]], *, every: int) -> None:
    """Files of targets per job, each `every`-th one; replaced at once: none is read by halves."""
    for job, listed in targets.items():
        new = folder / f"{job}.new"
        new.write_text(json.dumps(listed[::every]), encoding="utf-8")
        new.rename(folder / f"{job}.json")


def largest_rows(one: Watched) -> list[tuple[str, float, float]]:
    """Key, most requests that one row counted, and its usual row (the median)."""
    meter = one.state.meter
    rows = np.diff(meter.cumulative[:, :, Count.FINISHED], axis=0)
    return [
        ("/".join(key), float(rows[:, i].max()), float(np.median(rows[:, i])))
        for i, key in enumerate(meter.keys)
    ]


def main() -> None:
    """Measure and print; status 1 where a false Incident was opened."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--before-s", type=float, default=120.0, help="pods run unwatched")
    parser.add_argument("--apart-s", type=float, default=20.0, help="between the two parts")
    parser.add_argument("--watch-s", type=float, default=200.0, help="after the second part")
    asked = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        metrics, _ = stack.enter_context(exporters(asked.seed))
        time.sleep(asked.before_s)
        jobs = told(f"{metrics}/scrape-configs")
        targets = {job["job_name"]: told(f"{metrics}/targets/{job['job_name']}") for job in jobs}
        for job in jobs:
            del job["http_sd_configs"]
            job["file_sd_configs"] = [{"files": [str(folder / f"{job['job_name']}.json")]}]
        write_targets(folder, targets, every=2)
        server = scraping(PROMETHEUS, jobs, folder)
        stack.callback(server.stop)
        one = Watched(PROMETHEUS, server.url, tuple(load_embedded("chat").slos), stack)
        run([one], time.time() + asked.apart_s)
        write_targets(folder, targets, every=1)
        run([one], time.time() + asked.watch_s)
        print(f"{len(one.opened_s)} false Incidents, {dict(one.states)}")
        for line in one.told:
            print(f"    {line}")
        for key, most, usual in largest_rows(one):
            print(f"    {key}: most requests of one row {most:.0f}, usual {usual:.0f}")
    sys.exit(1 if one.opened_s else 0)


if __name__ == "__main__":
    main()
