"""From a fault to an Incident with its cause, on the real stack. Run: make bench-cluster.

Writes tests/bench/results/cluster_cause.json. Real: API server, controllers, Prometheus at 5 s
scrapes, Alertmanager, the operator and its worker as processes with the tokens of their shipped
ServiceAccounts. Simulated: what the pods do and measure (`midwatch chaos serve`); kwok plays them.

Rounds of some fleets side by side, each with one fault; in a round they share the machine, the
operator and the worker. The clock starts at the first scrape whose answer a world without the
fault would not have given (two worlds are simulated again to find it) and stops when a client of
the API server sees the cause in the Incident's status. A fault without a named cause counts as
slower than any other.

The exit code is 1 where a target is missed.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from ops.catalogue import Catalogue  # noqa: E402
from ops.replay.live_fleet import LiveFleet  # noqa: E402
from ops.replay.live_truth import first_changed  # noqa: E402
from ops.replay.scenario import FaultSpec  # noqa: E402
from tests.bench.circumstances import circumstances  # noqa: E402
from tests.cluster import binaries  # noqa: E402
from tests.cluster.control_plane import ControlPlane  # noqa: E402
from tests.cluster.played_fleet import (  # noqa: E402
    RATE_RPS,
    REGIONS,
    SCENARIO,
    PlayedFleet,
    busy_service,
)
from tests.cluster.whole_stack import Wanted, WholeStack  # noqa: E402

RESULT = ROOT / "tests" / "bench" / "results" / "cluster_cause.json"
KINDS = ("cpu-hog", "slow-link", "pool-exhaustion", "gpu-throttle")  # one a fleet of a round
SEVERITY = 2.5
ROUNDS, SEED = 5, 100
SETTLE_S, PATIENCE_S, STAGGER_S, POLL_S = 10.0, 150.0, 1.3, 0.2
TARGETS_S = (30.0, 60.0)  # median, 95th percentile
LEFT_OUT = 77  # exit code without the programs of a control plane
STAGES = ("scrape_s", "detect_s", "diagnose_s", "write_s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One fault. Spans in seconds; None where that never happened.

    Attributes:
        total_s: first changed sample to a cause that a client sees.
        scrape_s: fault to first changed sample; detect_s: from there to the symptom or the alert;
            diagnose_s: to the named cause; write_s: to the object as a client sees it. The moments
            between them are whole seconds of the Incident's status.
    """

    round: int
    kind: str
    seed: int
    truth: str
    named: str
    right: bool
    source: str
    total_s: float | None
    scrape_s: float | None
    detect_s: float | None
    diagnose_s: float | None
    write_s: float | None


def main() -> None:
    """Run the rounds, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--kinds", default=",".join(KINDS), help="one fleet each")
    parser.add_argument("--seed", type=int, default=SEED, help="of the first fleet")
    parser.add_argument("--out", type=Path, default=RESULT)
    asked = parser.parse_args()
    kinds = asked.kinds.split(",")
    try:
        programs = binaries.find()
    except binaries.NoBinariesError as error:
        print(error)
        raise SystemExit(LEFT_OUT) from None
    runs: list[Run] = []
    own: list[dict[str, float]] = []
    begun = circumstances(seed=asked.seed)
    with tempfile.TemporaryDirectory(prefix="bench-cluster-") as folder:
        (Path(folder) / "plane").mkdir()
        plane = ControlPlane(binaries=programs, folder=Path(folder) / "plane").start()
        try:
            for number in range(asked.rounds):
                place = Path(folder) / f"round-{number}"
                place.mkdir()
                found, stages = one_round(plane, place, kinds, number, asked.seed)
                runs += found
                own.append(stages)
                for run in found:
                    print(json.dumps(asdict(run)), flush=True)
                # What is known is kept if a round breaks.
                figures = summary(runs, kinds, own, begun)
                asked.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
        finally:
            plane.stop()
    tell(figures)
    met = [
        span is not None and span <= target_s
        for span, target_s in zip((figures["p50_s"], figures["p95_s"]), TARGETS_S, strict=True)
    ]
    raise SystemExit(0 if all(met) else 1)


def one_round(
    plane: ControlPlane, folder: Path, kinds: Sequence[str], number: int, seed: int
) -> tuple[list[Run], dict[str, float]]:
    """A stack with a fleet per kind; runs, and mean spans of the operator's own stages."""
    wanted = [
        Wanted(tag=f"r{number}{chr(97 + k)}", seed=seed + number * len(kinds) + k)
        for k in range(len(kinds))
    ]
    stack = WholeStack(plane=plane, folder=folder, wanted=wanted)
    try:
        stack.start()
        time.sleep(SETTLE_S)
        for one, kind in zip(wanted, kinds, strict=True):
            live = stack.fleets[one.tag].live
            live.start_fault(fault(kind, live))
            time.sleep(STAGGER_S)  # faults do not keep to the scrapes' beat
        seen = watch(list(stack.fleets.values()))
        for fleet in stack.fleets.values():
            fleet.live.end_fault(0)
        stages = own_stages(stack)
        catalogue = Catalogue.load()
        runs = [
            scored(stack.fleets[one.tag], seen, kind, number, one.seed, catalogue)
            for one, kind in zip(wanted, kinds, strict=True)
        ]
    finally:
        stack.stop()
    return runs, stages


def fault(kind: str, live: LiveFleet) -> FaultSpec:
    """A fault that users feel; its target is drawn, or the busiest service in a drawn region."""
    scenario, target = live.plan.scenario, ""
    if kind == "cpu-hog":
        region = scenario.regions[live.plan.seed % len(scenario.regions)].name
        target = f"service:{region}/{busy_service(scenario)}"
    return FaultSpec(kind=kind, start_s=0.0, length_s=3600.0, severity=SEVERITY, target=target)


def watch(fleets: Sequence[PlayedFleet]) -> dict[str, tuple[float, dict[str, Any]]]:
    """Namespace -> when its Incident had a cause, and the Incident."""
    seen: dict[str, tuple[float, dict[str, Any]]] = {}
    until_s = time.monotonic() + PATIENCE_S
    while len(seen) < len(fleets) and time.monotonic() < until_s:
        for fleet in fleets:
            for one in fleet.incidents() if fleet.namespace not in seen else ():
                if one.get("status", {}).get("cause"):
                    seen[fleet.namespace] = (time.time(), one)
                    break
        time.sleep(POLL_S)
    return seen


def scored(
    fleet: PlayedFleet, seen: dict[str, tuple[float, dict[str, Any]]], kind: str, number: int,
    seed: int, catalogue: Catalogue,
) -> Run:  # fmt: skip
    """One run against the simulation's truth."""
    live, started = fleet.live, fleet.live.faults[0]
    changed = first_changed(live, 0, catalogue=catalogue)
    first_s = None if changed is None else changed.at_s + live.epoch_s
    truth = started.truth
    right = {str(truth.entity), *map(str, truth.alternatives)}
    seen_s, incident = seen.get(fleet.namespace, (None, {}))
    status = incident.get("status", {})
    causes = status.get("causes") or [{}]
    detected_s, diagnosed_s = moment(status.get("detected")), moment(status.get("diagnosed"))
    return Run(
        round=number, kind=kind, seed=seed, truth=str(truth.entity),
        named=causes[0].get("entity", ""), right=causes[0].get("entity") in right,
        source=incident.get("spec", {}).get("source", ""),
        total_s=between(first_s, seen_s),
        scrape_s=between(started.began_at_s, first_s),
        detect_s=between(first_s, detected_s),
        diagnose_s=between(detected_s, diagnosed_s),
        write_s=between(diagnosed_s, seen_s),
    )  # fmt: skip


def moment(text: str | None) -> float | None:
    return None if not text else datetime.fromisoformat(text).timestamp()


def between(from_s: float | None, to_s: float | None) -> float | None:
    return None if from_s is None or to_s is None else round(to_s - from_s, 2)


def own_stages(stack: WholeStack) -> dict[str, float]:
    """Mean seconds of the operator's stages in this round, from its own metrics."""
    told = stack.operator.metrics()
    means = {}
    for name, total in told.items():
        if "_seconds_sum" in name and (count := told.get(name.replace("_sum", "_count"), 0.0)):
            means[name.replace("_sum", "")] = round(total / count, 4)
    return means


def summary(
    runs: Sequence[Run],
    kinds: Sequence[str],
    own: Sequence[dict[str, float]],
    begun: Mapping[str, object],
) -> dict[str, Any]:
    """Figures of all runs."""
    totals = [math.inf if run.total_s is None else run.total_s for run in runs]
    worst = runs[int(np.argmax(totals))]
    named = [run for run in runs if run.named]

    def spread(values: Sequence[float]) -> dict[str, float] | None:
        if not values:
            return None
        p50, p95 = np.percentile(values, [50, 95], method="higher")
        return {"p50": round(float(p50), 2), "p95": round(float(p95), 2)}

    by_kind = {}
    for kind in dict.fromkeys(kinds):
        mine = [run for run in runs if run.kind == kind]
        spans = [run.total_s for run in mine if run.total_s is not None]
        by_kind[kind] = {
            "runs": len(mine), "named": len(spans), "right": sum(run.right for run in mine),
            "total_s": spread(spans),
        }  # fmt: skip
    p50, p95 = (
        None if math.isinf(v) else round(float(v), 2)  # None: so many were never named
        for v in np.percentile(totals, [50, 95], method="higher")
    )
    return {
        "what": "first changed exporter sample to an Incident with its cause; simulated fleets, "
                "played by an exporter, on a real API server, Prometheus and Alertmanager",
        **begun,
        "load_average": {
            "begin": begun["load_average"],
            "end": [round(one, 1) for one in os.getloadavg()],
        },
        "seeds": sorted(run.seed for run in runs),
        "scenario": f"{SCENARIO}, {REGIONS} regions, {RATE_RPS:g} requests/s, "
                    f"faults of severity {SEVERITY:g}, {len(kinds)} fleets side by side",
        "scrape_s": 5.0, "runs": len(runs), "named": len(named),
        "right": sum(run.right for run in runs),
        "p50_s": p50, "p95_s": p95, "targets_s": list(TARGETS_S),
        "stages": {
            name: spread([v for run in runs if (v := getattr(run, name)) is not None])
            for name in STAGES
        },
        "by_kind": by_kind, "worst": asdict(worst), "operator_mean_s": list(own),
        "rows": [asdict(run) for run in runs],
    }  # fmt: skip


def tell(figures: dict[str, Any]) -> None:
    print(f"{figures['runs']} runs, {figures['named']} named, {figures['right']} right: "
          f"p50 {figures['p50_s']} s, p95 {figures['p95_s']} s "
          f"(targets {TARGETS_S[0]:g} and {TARGETS_S[1]:g}); commit {figures['commit']}, "
          f"load average {figures['load_average']}")  # fmt: skip
    for name, span in figures["stages"].items():
        print(f"  {name:12} {span}")
    for kind, row in figures["by_kind"].items():
        print(f"  {kind:16} {row}")
    print(f"  worst {figures['worst']}")


if __name__ == "__main__":
    main()
