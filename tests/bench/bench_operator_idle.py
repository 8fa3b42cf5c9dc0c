"""What an idle operator costs: memory and CPU of the real process from its own /proc.

One fleet of some kwok pods, a real API server, a Prometheus that has nothing; nothing happens for a
minute. Target: 128 MiB, 50 mCPU.

Run: `python tests/bench/bench_operator_idle.py` (needs `make cluster-binaries`). Writes
tests/bench/results/operator_idle.json.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from circumstances import circumstances

from tests.cluster import binaries
from tests.cluster.control_plane import ControlPlane
from tests.cluster.installing import apply
from tests.cluster.own_processes import Operator, add_fleet, wait_for_fleet
from tests.cluster.stack import Prometheus
from tests.cluster.workloads import deployment, deployments_path, node

RSS_MIB_MAX, MILLI_CPU_MAX = 128.0, 50.0
PODS = 10
RESULT = Path(__file__).parent / "results" / "operator_idle.json"


def measure(folder: Path, *, seconds: float, windows: int) -> dict[str, object]:
    """Start everything, wait until it is quiet, then look at `windows` spans of `seconds`."""
    plane = ControlPlane(binaries=binaries.find(), folder=folder / "plane").start()
    prometheus = Prometheus(folder / "prometheus", {"global": {"scrape_interval": "5s"}})
    operator = None
    try:
        apply(plane)
        plane.admin.create("/api/v1/nodes", node("north-0", region="north"))
        plane.admin.create("/api/v1/namespaces", {"metadata": {"name": "shop"}})
        made = deployment("web", replicas=PODS, gpus=0, cores="10m")
        plane.admin.create(deployments_path("shop"), made)
        prometheus.start()
        operator = Operator(plane, folder, metrics_url=prometheus.url, scrape_s=5.0).start()
        add_fleet(plane, "shop")
        wait_for_fleet(plane, "shop", lambda f: f.get("status", {}).get("pods") == PODS)
        time.sleep(10.0)
        milli = []
        for _ in range(windows):
            began, cpu_s = time.monotonic(), operator.program.cpu_s()
            time.sleep(seconds)
            spent_s = operator.program.cpu_s() - cpu_s
            milli.append(1000.0 * spent_s / (time.monotonic() - began))
        return {
            "rss_mib": round(operator.program.rss_mib(), 1),
            "rss_mib_peak": round(operator.program.rss_mib_peak(), 1),
            "milli_cpu": [round(value, 1) for value in milli],
            "pods": PODS,
            "scrape_s": 5.0,
            "seconds": seconds,
        }
    finally:
        if operator is not None:
            operator.stop()
        prometheus.stop()
        plane.stop()


def main() -> None:
    """Measure and print; exit code 1 where a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=15.0, help="of one look at the CPU")
    parser.add_argument("--windows", type=int, default=4, help="number of looks")
    parser.add_argument("--json", action="store_true", help="print JSON only")
    asked = parser.parse_args()
    began = circumstances(seed=0)  # nothing is drawn
    with tempfile.TemporaryDirectory(prefix="midwatch-idle-") as folder:
        found = measure(Path(folder), seconds=asked.seconds, windows=asked.windows)
    milli = sorted(found["milli_cpu"])
    missed = found["rss_mib"] > RSS_MIB_MAX or milli[len(milli) // 2] > MILLI_CPU_MAX
    wanted = {"rss_mib": RSS_MIB_MAX, "milli_cpu": MILLI_CPU_MAX}
    found = {**began, "wanted": wanted, **found, "missed": missed}
    RESULT.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    if asked.json:
        print(json.dumps(found))
    else:
        print(f"memory   {found['rss_mib']} MiB (peak {found['rss_mib_peak']}), {RSS_MIB_MAX:g}")
        print(f"CPU      {milli[len(milli) // 2]} mCPU (of {milli}), target {MILLI_CPU_MAX:g}")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
