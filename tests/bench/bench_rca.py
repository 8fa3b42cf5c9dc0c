"""CPU of ranking recorded incidents: screening, change point and the whole answer by width.

Run: python tests/bench/bench_rca.py [--out tests/bench/results/rca.json]
One thread, 600 rows, one step at three quarters; the plain vectorised z of the same frame in the
same run is the yardstick, so that a slow machine does not look like slow code.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import time
from pathlib import Path

import numpy as np

from rca.channels.metric_table import candidate_columns, measure_metrics, owner_scores
from rca.channels.surprise import Split
from rca.incident import Column, Incident
from rca.knobs import LocaliseConfig
from rca.localise import localise
from rca.onset import find_change

ROWS, STEP_S = 600, 1.0
WIDTHS = (50, 500, 5000)
KINDS = ("cpu", "mem", "latency-90", "load", "error", "net-rx", "net-tx", "fs-read", "threads",
         "latency-50")  # fmt: skip
TARGET_MS = {50: 5.0, 500: 15.0, 5000: 150.0}
REPEATS = 7


def incident_of(width: int) -> Incident:
    rng = np.random.default_rng(0)
    columns = tuple(Column(f"s{n // len(KINDS):03d}", KINDS[n % len(KINDS)]) for n in range(width))
    values = rng.normal(10.0, 1.0, (ROWS, width))
    values[3 * ROWS // 4 :, 0] += 20.0
    return Incident(
        incident_id="made", times_s=STEP_S * np.arange(ROWS), values=values, columns=columns,
        step_s=STEP_S, fault_at_s=STEP_S * (3 * ROWS // 4),
    )  # fmt: skip


def cpu_ms(work) -> dict[str, float]:
    work()
    spent = []
    for _ in range(REPEATS):
        began = time.process_time()
        work()
        spent.append(1e3 * (time.process_time() - began))
    return {
        "min": round(min(spent), 3),
        "median": round(statistics.median(spent), 3),
        "max": round(max(spent), 3),
    }


def plain_z(values: np.ndarray) -> np.ndarray:
    normal, fault = values[: 3 * ROWS // 4], values[3 * ROWS // 4 :]
    return np.log1p(np.abs((fault.mean(axis=0) - normal.mean(axis=0)) / normal.std(axis=0)))


def measure(width: int) -> dict[str, object]:
    incident, config = incident_of(width), LocaliseConfig()
    columns = candidate_columns(incident)
    levels = np.ascontiguousarray(incident.values[:, columns.place])
    split = Split.at(incident.fault_at_s or 0.0)
    names = [n.metric for n in columns.names]

    def screen():
        table = measure_metrics(columns, incident.times_s, levels, split, config)
        return owner_scores(table.score, columns, table.known)

    def change():
        return find_change(incident.times_s, levels, owner=columns.owner, metric=names,
                           weight=columns.weight, bad=columns.bad)  # fmt: skip

    assert localise(incident, channels=()).services[0].name == "s000"
    return {
        "metrics": width,
        "plain_z_ms": cpu_ms(lambda: plain_z(incident.values)),
        "screening_ms": cpu_ms(screen),
        "screening_target_ms": TARGET_MS[width],
        "change_point_ms": cpu_ms(change),
        "localise_ms": cpu_ms(lambda: localise(incident, channels=())),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="also write the figures here")
    given = parser.parse_args()
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True,
                            text=True, check=False).stdout.strip()  # fmt: skip
    figures = {
        "commit": commit, "machine": platform.machine(), "seed": 0, "rows": ROWS,
        "unit": "CPU milliseconds, one thread", "widths": [measure(w) for w in WIDTHS],
    }  # fmt: skip
    text = json.dumps(figures, indent=2)
    print(text)
    if given.out:
        given.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
