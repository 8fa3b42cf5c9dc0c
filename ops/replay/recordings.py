"""Incidents of the simulated fleet written as recorded cases: what public sets lack.

Contiguous time, announced changes, GPU and serving metrics, two faults at once, quiet stretches.
A case has the layout that `rca.datasets` reads: a wide table of levels, one column per owner (pod,
node or service) and metric, and `case.json` with the truth apart. Nobody acts in these worlds.
"""

from __future__ import annotations

import csv
import gzip
import io
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson

from ops.catalogue import Catalogue
from ops.replay.capacity import capacity_rps
from ops.replay.draw_case import draw_case, draw_healthy
from ops.replay.faults import Truth
from ops.replay.run import World
from ops.replay.scenario import Scenario
from ops.replay.traffic import Traffic
from ops.replay.wide_table import WideTable, wide_table
from ops.state import Snapshot
from rca.state import Entity, EntityKind

AFTER_S = 180.0  # recorded after the start of the fault, unless asked otherwise
HEALTHY_HOURS = 0.35  # of a quiet stretch: as long as the part of a case that is kept
UNSEEN_EVERY = 3  # one seed in so many goes to the set that nothing is tuned on
UNSEEN = "unseen"


@dataclass(frozen=True, slots=True)
class Recording:
    """One case to write: a kind, a second kind at the same time, or none."""

    kind: str  # "" = a quiet stretch
    seed: int
    also: str = ""

    @property
    def name(self) -> str:
        """Folder of the case."""
        parts = [self.kind or "quiet", *([self.also] if self.also else [])]
        return f"{self.seed:05d}_{'+'.join(parts)}"

    def dataset(self, scenario: str) -> str:
        """Set it belongs to: one seed in three is kept apart."""
        unseen = self.seed % UNSEEN_EVERY == UNSEEN_EVERY - 1
        return f"{scenario}-{UNSEEN}" if unseen else scenario


def record(
    base: Scenario,
    one: Recording,
    *,
    root: Path,
    load: tuple[float, float],
    after_s: float = AFTER_S,
) -> Path | None:
    """Simulate one recording and write it below `root`.

    Returns:
        The folder, None where the truth is neither a service nor a pod (a node, a link, the
        users' traffic: the layout has no place for them).

    Raises:
        NoTargetError: the scenario has no target for the fault.
    """
    catalogue = Catalogue.load()
    case = draw_case(base, one.kind, one.seed, load) if one.kind else (
        draw_healthy(base, one.seed, HEALTHY_HOURS)
    )  # fmt: skip
    scenario = case.scenario
    if one.also:
        first = scenario.faults[0]
        second = draw_case(base, one.also, one.seed, load).scenario.faults[0]
        scenario = replace(
            scenario,
            faults=(first, replace(second, start_s=first.start_s, length_s=first.length_s)),
        )
    # Collected in full: what a case hides on purpose is the sweep's business.
    scenario = replace(scenario, telemetry=replace(scenario.telemetry, not_collected=()))
    traffic = Traffic.open(scenario, seed=one.seed)
    rate_rps = capacity_rps(base, traffic) * case.load
    world = World(
        scenario, traffic, seed=one.seed, rate_rps=rate_rps, controller=None, catalogue=catalogue
    )
    start_s = scenario.faults[0].start_s if scenario.faults else scenario.duration_s - after_s
    world.run(until_s=start_s + after_s)
    truths = tuple(f.truth for f in world.fleet.faults)
    if any(t.entity.kind not in (EntityKind.SERVICE, EntityKind.POD) for t in truths):
        return None
    region = truths[0].entity.region if truths else scenario.regions[0].name
    if any(t.entity.region != region for t in truths):
        return None
    snapshot = world.fleet.snapshot()
    folder = root / one.dataset(scenario.name) / one.name
    _write(folder, one, scenario, snapshot, truths, region, start_s)
    return folder


def _write(
    folder: Path,
    one: Recording,
    scenario: Scenario,
    snapshot: Snapshot,
    truths: tuple[Truth, ...],
    region: str,
    start_s: float,
) -> None:
    placed = {p.name: (p.region, p.service, p.node) for p in snapshot.pods}
    table = wide_table(snapshot.frame, now_s=snapshot.now_s, region=region, placed=placed)
    folder.mkdir(parents=True, exist_ok=True)
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["time", *table.columns])
    for time_s, row in zip(table.times_s.tolist(), table.values.tolist(), strict=True):
        rows.writerow([f"{time_s:g}", *("" if v != v else f"{v:.6g}" for v in row)])
    packed = gzip.compress(text.getvalue().encode(), compresslevel=6, mtime=0)
    (folder / "metrics.csv.gz").write_bytes(packed)
    causes = [_service(t.entity, table) for t in truths]
    pods = [t.entity.name for t in truths if t.entity.kind is EntityKind.POD]
    changes = [c for c in snapshot.changes if c.region == region]
    case: dict[str, Any] = {
        "id": one.name,
        "dataset": folder.parent.name,
        "system": scenario.name,
        "sampling_s": scenario.telemetry.scrape_s,
        "inject_time": start_s,
        "root_cause_service": causes[0] if causes else "",
        "root_cause_services": causes,
        "root_cause_instance": pods[0] if pods else "",
        "root_cause_metrics": None,
        "metric_label": "none",
        "fault_type": "+".join(t.kind for t in truths) or "none",
        "baseline": "contiguous",
        "instances": table.instances,
        "runs_on": table.nodes,
        "entry": next((s.name for s in scenario.services if s.entry), ""),
        "changes": [
            {
                "at_s": c.at_s, "kind": str(c.kind), "region": c.region, "service": c.service,
                "revision_from": c.revision_from, "revision_to": c.revision_to,
                "summary": c.summary,
            }
            for c in changes
        ],
    }  # fmt: skip
    (folder / "case.json").write_bytes(orjson.dumps(case, option=orjson.OPT_INDENT_2))
    calls = sorted({(s.name, c.to) for s in scenario.services for c in s.calls})
    (folder.parent / "graph.json").write_bytes(orjson.dumps({"calls": calls}))


def _service(entity: Entity, table: WideTable) -> str:
    """Service at fault, as the loop's own records name it."""
    return table.instances.get(entity.name, entity.name)
