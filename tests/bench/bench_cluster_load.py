"""What one operator needs for 200 fleets of 50 pods. Run: make bench-cluster, or this.

A real control plane with kwok's pods, 50 of which change each second, a real Prometheus that
scrapes 12 series a pod every 5 s, the operator as a process with its shipped account's token.
Processor time and memory are those of its own /proc; a latency runs from the moment at which the
operator hears of a pod's change to the end of its fleet's step, as its own histogram counts them.
Writes tests/bench/results/cluster_load.json. Needs make cluster-binaries; about 6 minutes.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import orjson

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ops.replay.provenance import commit
from tests.cluster import binaries
from tests.cluster.control_plane import ControlPlane
from tests.cluster.installing import apply
from tests.cluster.load import Load, measure

RESULT = Path(__file__).parent / "results" / "cluster_load.json"
FULL = Load(fleets=200, pods=50, changes_per_s=50.0)
WANTED = {"operator_cores": 1.0, "operator_rss_peak_mib": 512.0, "watch_to_decision_s_p99": 2.0}
LEFT_OUT = 77


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--fleets", type=int, default=FULL.fleets)
    parser.add_argument("--pods", type=int, default=FULL.pods, help="of each fleet")
    parser.add_argument("--changes", type=float, default=FULL.changes_per_s, help="pods a second")
    parser.add_argument("--seconds", type=float, default=FULL.seconds, help="measured, after 30 s")
    parser.add_argument("--out", type=Path, default=RESULT)
    asked = parser.parse_args()
    try:
        found = binaries.find()
    except binaries.NoBinariesError as error:
        print(error, file=sys.stderr)
        return LEFT_OUT
    load = replace(
        FULL, fleets=asked.fleets, pods=asked.pods, changes_per_s=asked.changes,
        seconds=asked.seconds,
    )  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="cluster-load-") as scratch:
        plane = ControlPlane(binaries=found, folder=Path(scratch) / "plane")
        try:
            plane.start()
            apply(plane)
            figures = measure(plane, Path(scratch), load)
        finally:
            plane.stop()
    figures = {
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, {platform.python_version()}",
        "commit": commit(),
        "seed": "nothing drawn",
        "load_average": round(os.getloadavg()[0], 1),
        "wanted": WANTED,
        **figures,
    }
    latency = figures["watch_to_decision_s"]
    print(
        f"{figures['fleets']} fleets, {figures['pods']:,} pods, {figures['series']:,} series, "
        f"{figures['changes_per_s']} pod changes/s over {figures['seconds']} s: operator "
        f"{figures['operator_cores']} cores, {figures['operator_rss_peak_mib']} MiB at most, "
        f"change to decision p50 <= {latency['p50']} s, p99 <= {latency['p99']} s "
        f"({figures['decisions']} decisions), {figures['incidents']} incidents; "
        f"load average {figures['load_average']}"
    )
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_bytes(
        orjson.dumps(figures, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
