"""Half an hour of healthy traffic on the real stack: nobody is woken. Run: make soak-cluster.

Writes tests/bench/results/cluster_soak.json. Real and simulated parts are those of
bench_cluster.py; no fault is begun. The exit code is 1 where an Incident was opened.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from ops.replay.provenance import commit  # noqa: E402
from tests.cluster import binaries  # noqa: E402
from tests.cluster.control_plane import ControlPlane  # noqa: E402
from tests.cluster.installing import path_of  # noqa: E402
from tests.cluster.own_processes import condition  # noqa: E402
from tests.cluster.played_fleet import RATE_RPS, REGIONS, SCENARIO  # noqa: E402
from tests.cluster.whole_stack import SCRAPE_S, Wanted, WholeStack  # noqa: E402

RESULT = ROOT / "tests" / "bench" / "results" / "cluster_soak.json"
MINUTES, FLEETS, SEED = 30.0, 2, 40
LOOK_S = 10.0


def main() -> None:
    """Run, write, print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=MINUTES)
    parser.add_argument("--fleets", type=int, default=FLEETS)
    parser.add_argument("--out", type=Path, default=RESULT)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-cluster-") as folder:
        (Path(folder) / "plane").mkdir()
        plane = ControlPlane(binaries=binaries.find(), folder=Path(folder) / "plane").start()
        wanted = [Wanted(tag=f"soak{k}", seed=SEED + k) for k in range(asked.fleets)]
        stack = WholeStack(plane=plane, folder=Path(folder), wanted=wanted)
        try:
            stack.start()
            figures = soak(stack, asked.minutes)
        finally:
            stack.stop()
            plane.stop()
    asked.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(figures, indent=1))
    raise SystemExit(1 if figures["incidents"] else 0)


def soak(stack: WholeStack, minutes: float) -> dict[str, object]:
    """Look every few seconds until the time is over."""
    began_s, cpu_s = time.monotonic(), stack.operator.program.cpu_s()
    worker_cpu_s = stack.worker.program.cpu_s()
    before = {tag: fleet.live.fleet.users.ledger.arrived for tag, fleet in stack.fleets.items()}
    looks: Counter[str] = Counter()
    alerts = set()
    while time.monotonic() - began_s < 60.0 * minutes:
        for fleet in stack.fleets.values():
            seen = stack.plane.admin.get(path_of("fleets", fleet.namespace, fleet.name))
            for kind in ("Ready", "DataFresh", "SLOMet"):
                looks[f"{kind}={condition(seen, kind)}"] += 1
        for one in stack.prometheus.alerts():
            alerts.add((one["labels"]["alertname"], one["labels"]["region"], one["activeAt"]))
        time.sleep(LOOK_S)
    span_s = time.monotonic() - began_s
    found = [one for fleet in stack.fleets.values() for one in fleet.incidents()]
    program = stack.operator.program
    return {
        "what": "healthy traffic on the real stack; fleets simulated, played by an exporter",
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, {platform.python_version()}",
        "load_average": [round(one, 1) for one in os.getloadavg()],
        "seeds": sorted(fleet.live.plan.seed for fleet in stack.fleets.values()),
        "commit": commit(),
        "scenario": f"{len(stack.fleets)} x {SCENARIO}, {REGIONS} regions, {RATE_RPS:g} requests/s",
        "scrape_s": SCRAPE_S,
        "minutes": round(span_s / 60.0, 1),
        "requests": sum(
            fleet.live.fleet.users.ledger.arrived - before[tag]
            for tag, fleet in stack.fleets.items()
        ),
        "incidents": len(found),
        "incident_summaries": [one.get("status", {}).get("summary", "") for one in found],
        "alerts": sorted(map(list, alerts)),
        "looks": dict(sorted(looks.items())),
        "operator": {
            "cpu_cores": round((program.cpu_s() - cpu_s) / span_s, 4),
            "rss_mib": round(program.rss_mib(), 1),
            "rss_mib_peak": round(program.rss_mib_peak(), 1),
        },
        "worker": {
            "cpu_cores": round((stack.worker.program.cpu_s() - worker_cpu_s) / span_s, 4),
            "rss_mib": round(stack.worker.program.rss_mib(), 1),
        },
    }  # fmt: skip


if __name__ == "__main__":
    main()
