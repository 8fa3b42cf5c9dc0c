"""Incidents of the simulated fleet written as recorded cases: what public sets lack.

Contiguous time, announced changes, GPU and serving metrics, pods and machines, two faults at once,
faults that nobody feels, quiet stretches. A case has the layout that `rca.datasets` reads: a wide
table of levels, spans and log lines of a sample of the requests, and `case.json` with the truth
apart. Nobody acts in these worlds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from ops.catalogue import Catalogue
from ops.replay.capacity import capacity_rps
from ops.replay.case_files import write_logs, write_metrics, write_spans
from ops.replay.draw_case import Case, draw_case, draw_healthy
from ops.replay.faults import Truth
from ops.replay.run import World
from ops.replay.scenario import FaultSpec, Scenario
from ops.replay.score import bad_minutes, minutes
from ops.replay.traced_graph import TracedGraph, TraceLog
from ops.replay.traffic import Traffic
from ops.replay.wide_table import WideTable, wide_table
from ops.state import PodRecord, Snapshot
from rca.state import Entity, EntityKind
from serving.sim.kernel import stream

AFTER_S = 180.0  # recorded after the start of the fault, unless asked otherwise
TRACED_BEFORE_S = 180.0
TRACES = 400  # of one region and case, about
HEALTHY_HOURS = 0.35  # of a quiet stretch: as long as the part of a case that is kept
UNSEEN_EVERY = 3  # one seed in so many goes to the set that nothing is tuned on
UNSEEN = "unseen"
QUIET_SEEDS = 10_000  # from one quiet stretch of a seed to the next
# Kinds whose severity scales how hard they press; so little of it is felt by nobody, mostly.
MILD_KINDS = ("bad-code", "cpu-hog", "gpu-memory-leak", "gpu-throttle", "memory-leak", "slow-link")
MILD = 0.05
# Kinds that hit one service. A pair takes two of the first, or one of each.
SERVICE_KINDS = ("bad-code", "cpu-hog", "memory-leak", "pool-exhaustion", "retry-storm")
ENGINE_KINDS = ("cold-region", "gpu-hang", "gpu-memory-leak", "gpu-throttle", "pod-kill")


@dataclass(frozen=True, slots=True)
class Recording:
    """One case to write: a kind, a second kind at the same time, or none."""

    kind: str  # "" = a quiet stretch
    seed: int
    also: str = ""
    mild: bool = False

    @property
    def name(self) -> str:
        """Folder of the case."""
        parts = [self.kind or "quiet", *([self.also] if self.also else [])]
        return f"{self.seed:05d}_{'mild-' if self.mild else ''}{'+'.join(parts)}"

    def dataset(self, scenario: str) -> str:
        """Set it belongs to: one seed in three is kept apart."""
        unseen = self.seed % QUIET_SEEDS % UNSEEN_EVERY == UNSEEN_EVERY - 1
        return f"{scenario}-{UNSEEN}" if unseen else scenario


def recordings(
    kinds: list[str], seed: int, *, pairs: int, quiet: int, mild: int
) -> list[Recording]:
    """What is recorded of one seed: every kind once, pairs, quiet stretches, mild faults."""
    rng = stream(seed, "recordings")
    found = [Recording(kind, seed) for kind in kinds]
    first = [k for k in kinds if k in SERVICE_KINDS]
    second = [k for k in kinds if k in ENGINE_KINDS]
    options = [(a, b) for n, a in enumerate(first) for b in (*first[n + 1 :], *second)]
    for k in _some(rng, len(options), pairs):
        found.append(Recording(options[k][0], seed, also=options[k][1]))
    soft = [k for k in kinds if k in MILD_KINDS]
    found += [Recording(soft[k], seed, mild=True) for k in _some(rng, len(soft), mild)]
    return found + [Recording("", seed + QUIET_SEEDS * k) for k in range(quiet)]


def _some(rng: np.random.Generator, total: int, num: int) -> list[int]:
    return sorted(int(k) for k in rng.permutation(total)[:num])


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
        The folder, None where two faults at once hit the same service.

    Raises:
        NoTargetError: the scenario has no target for the fault.
    """
    case = _drawn(base, one, load)
    scenario = case.scenario
    traffic = Traffic.open(scenario, seed=one.seed)
    rate_rps = capacity_rps(base, traffic) * case.load
    start_s = scenario.faults[0].start_s if scenario.faults else scenario.duration_s - after_s
    log = _trace_log(scenario, one.seed, rate_rps, start_s, after_s)
    world = World(
        scenario, traffic, seed=one.seed, rate_rps=rate_rps, controller=None,
        catalogue=Catalogue.load(), graph=partial(TracedGraph, log=log),
    )  # fmt: skip
    world.run(until_s=start_s)
    placed = world.fleet.snapshot().pods
    world.run(until_s=start_s + after_s)
    truths = tuple(f.truth for f in world.fleet.faults)
    names = [r.name for r in scenario.regions]
    turn = (one.seed + one.seed // QUIET_SEEDS) % len(names)
    region = truths[0].entity.region if truths else names[turn]
    services = [_services_of(t.entity, placed, scenario) for t in truths]
    if len(services) > 1 and (not all(services) or services[0][0] == services[1][0]):
        return None
    snapshot = world.fleet.snapshot()
    known = {p.name: (p.region, p.service, p.node) for p in (*placed, *snapshot.pods)}
    table = wide_table(snapshot.frame, now_s=snapshot.now_s, region=region, placed=known)
    lost = bad_minutes(
        [m for m in minutes(world.fleet.users, now_s=snapshot.now_s) if m.region == region],
        scenario.slos, start_s=start_s, end_s=start_s + after_s,
    )  # fmt: skip
    folder = root / one.dataset(scenario.name) / one.name
    folder.mkdir(parents=True, exist_ok=True)
    write_metrics(folder, table)
    write_spans(folder, (s for s in log.spans if s.region == region), origin_s=start_s)
    write_logs(folder, (x for x in log.lines if x.region == region), origin_s=start_s)
    described = _describe(one, scenario, table, truths, services, snapshot, region)
    described |= {"inject_time": start_s, "bad_minutes": round(lost, 3), "slo_effect": lost > 0.0}
    calls = sorted({(s.name, c.to) for s in scenario.services for c in s.calls})
    (folder.parent / "graph.json").write_bytes(orjson.dumps({"calls": calls}))
    # Last: a case that has it is whole.
    (folder / "case.json").write_bytes(orjson.dumps(described, option=orjson.OPT_INDENT_2))
    return folder


def _drawn(base: Scenario, one: Recording, load: tuple[float, float]) -> Case:
    """Scenario of a recording, everything collected: what a sweep hides is its own business."""
    if not one.kind:
        case = _quiet(base, one.seed, load)
    else:
        case = draw_case(base, one.kind, one.seed, load)
    scenario = case.scenario
    if one.mild:
        scenario = replace(scenario, faults=(replace(scenario.faults[0], severity=MILD),))
    if one.also:
        regions = [r.name for r in base.regions]
        rng = stream(one.seed, "recordings/region")
        first = replace(scenario.faults[0], region=regions[int(rng.integers(len(regions)))])
        second: FaultSpec = draw_case(base, one.also, one.seed, load).scenario.faults[0]
        second = replace(
            second, region=first.region, start_s=first.start_s, length_s=first.length_s
        )
        scenario = replace(scenario, faults=(first, second))
    scenario = replace(scenario, telemetry=replace(scenario.telemetry, not_collected=()))
    return replace(case, scenario=scenario)


def _quiet(base: Scenario, seed: int, load: tuple[float, float]) -> Case:
    """Every other one is the world of a fault without it, innocent changes included."""
    if seed // QUIET_SEEDS % 2 == 0:
        return draw_healthy(base, seed, HEALTHY_HOURS)
    case = draw_case(base, SERVICE_KINDS[seed % len(SERVICE_KINDS)], seed, load)
    scenario = case.scenario
    end_s = scenario.faults[0].start_s + AFTER_S
    return replace(case, kind="", scenario=replace(scenario, faults=(), duration_s=end_s))


def _trace_log(
    scenario: Scenario, seed: int, rate_rps: float, start_s: float, after_s: float
) -> TraceLog:
    per_region = rate_rps / len(scenario.regions) * (TRACED_BEFORE_S + after_s)
    return TraceLog(
        seed=seed, ratio=min(1.0, TRACES / max(per_region, 1.0)),
        from_s=start_s - TRACED_BEFORE_S, to_s=start_s + after_s,
    )  # fmt: skip


def _services_of(entity: Entity, pods: tuple[PodRecord, ...], scenario: Scenario) -> list[str]:
    """Services that are a right answer, the best one first; none for what is no service's fault.

    A machine stands for the services it ran, a link for its two ends, a registry for the engines
    that wait for it. The layout has no place for users' own demand or for a collector.
    """
    if entity.kind is EntityKind.SERVICE:
        return [entity.name]
    if entity.kind is EntityKind.POD:
        return [next(p.service for p in pods if p.name == entity.name)]
    if entity.kind is EntityKind.NODE:
        return sorted({p.service for p in pods if p.node == entity.name})
    if entity.kind is EntityKind.LINK:
        caller, _, callee = entity.name.partition("->")
        return [callee, caller]
    return [scenario.engine.name] if entity.kind is EntityKind.REGISTRY else []


def _describe(
    one: Recording, scenario: Scenario, table: WideTable, truths: tuple[Truth, ...],
    services: list[list[str]], snapshot: Snapshot, region: str,
) -> dict[str, Any]:  # fmt: skip
    causes = [names[0] for names in services if names]
    local = [
        t.entity.name for t in truths if t.entity.kind in (EntityKind.POD, EntityKind.NODE)
    ]  # fmt: skip
    metrics = [
        column
        for t in truths[:1]
        for role in t.direct_roles
        if (column := f"{t.entity.name}_{role.replace('_', '-')}") in table.columns
    ]
    return {
        "id": one.name,
        "dataset": one.dataset(scenario.name),
        "system": scenario.name,
        "sampling_s": scenario.telemetry.scrape_s,
        "root_cause_service": causes[0] if causes else "",
        "root_cause_services": causes,
        "root_cause_alternatives": services[0][1:] if services else [],
        "root_cause_instance": local[0] if local else "",
        "root_cause_metrics": metrics or None,
        "root_cause_detail": [str(t.entity) for t in truths],
        "metric_label": "derived" if metrics else "none",
        "fault_type": "+".join(t.kind for t in truths) or "none",
        "severity": [round(f.severity, 3) for f in scenario.faults],
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
            for c in snapshot.changes if c.region == region
        ],
    }  # fmt: skip
