"""One case of a sweep, drawn from its kind and seed: fault, load, what is collected, innocents."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ops.replay.faults import CATALOGUE
from ops.replay.scenario import ChangeSpec, FaultSpec, Scenario
from ops.replay.score import AFTER_S
from rca.state import ChangeKind
from serving.sim.kernel import stream

WARMUP_S, START_SPREAD_S = 660.0, 120.0
LENGTH_S = (300.0, 480.0)
SEVERITY = (1.0, 1.6)
TAIL_S = 30.0
INNOCENT_CLOSER_S = (-8.0, 12.0)  # an innocent deploy around the start of the fault
HEALTHY_DAY_LOAD = (0.25, 0.5)  # mean over the day
HEALTHY_PEAK_LOAD = 0.75  # a fleet that its own demand overloads is not healthy
PEAK_PER_DIURNAL = 1.2  # the daily curve at 1 peaks this much above its mean


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What one run of a sweep simulates."""

    kind: str  # fault kind, or "healthy"
    seed: int
    load: float
    hide_direct: bool  # the fault's own metric is not collected
    innocent_closer: bool
    scenario: Scenario


def draw_case(
    base: Scenario, kind: str, seed: int, load: tuple[float, float],
    severity: tuple[float, float] = SEVERITY,
) -> Case:  # fmt: skip
    """Case of one fault kind, its severity drawn between two bounds."""
    rng = stream(seed, f"case/{kind}")
    load_ratio = float(rng.uniform(*load))
    start_s = WARMUP_S + float(rng.uniform(0.0, START_SPREAD_S))
    length_s = float(rng.uniform(*LENGTH_S))
    fault = FaultSpec(
        kind=kind,
        start_s=start_s,
        length_s=length_s,
        severity=float(rng.uniform(*severity)),
        ramp_s=CATALOGUE[kind].ramp_s * float(rng.uniform(0.0, 1.5)),
    )
    hide = bool(rng.random() < 0.5)
    closer = bool(rng.random() < 0.5)
    changes = _innocents(base, rng, before_s=start_s - 30.0, num=int(rng.integers(0, 3)))
    if closer:
        at_s = start_s + float(rng.uniform(*INNOCENT_CLOSER_S))
        changes += _innocents(base, rng, before_s=at_s, num=1, exactly=True)
    telemetry = base.telemetry
    if hide:
        telemetry = replace(telemetry, not_collected=CATALOGUE[kind].direct_roles)
    scenario = replace(
        base,
        faults=(fault,),
        changes=tuple(sorted(changes, key=lambda c: (c.at_s, c.region, c.service))),
        duration_s=float(np.ceil((start_s + length_s + AFTER_S + TAIL_S) / 60.0) * 60.0),
        telemetry=telemetry,
        traffic=replace(base.traffic, load=load_ratio),
    )
    return Case(
        kind=kind, seed=seed, load=load_ratio, hide_direct=hide, innocent_closer=closer,
        scenario=scenario,
    )  # fmt: skip


def draw_healthy(base: Scenario, seed: int, hours: float) -> Case:
    """A healthy stretch: daily curve, load steps, harmless deploys, reschedules, scrape gaps."""
    rng = stream(seed, "case/healthy")
    duration_s = hours * 3600.0
    load_ratio = float(rng.uniform(*HEALTHY_DAY_LOAD))
    diurnal, step_ratio = float(rng.uniform(0.3, 0.5)), float(rng.uniform(0.8, 1.25))
    highest = max(1.0, step_ratio) * (1.0 + PEAK_PER_DIURNAL * diurnal)
    load_ratio = min(load_ratio, HEALTHY_PEAK_LOAD / highest)
    changes: list[ChangeSpec] = []
    for _ in range(int(rng.poisson(hours * 0.75))):
        changes += _innocents(base, rng, before_s=float(rng.uniform(600.0, duration_s)), num=1,
                              exactly=True)  # fmt: skip
    for _ in range(int(rng.poisson(hours * 0.25))):
        service = base.services[int(rng.integers(len(base.services)))]
        region = base.regions[int(rng.integers(len(base.regions)))]
        if not service.regions or region.name in service.regions:
            at_s = float(rng.uniform(600.0, duration_s))
            changes.append(
                ChangeSpec(kind="reschedule", at_s=at_s, region=region.name, service=service.name)
            )
    scenario = replace(
        base,
        faults=(),
        changes=tuple(sorted(changes, key=lambda c: (c.at_s, c.region, c.service))),
        duration_s=duration_s,
        telemetry=replace(base.telemetry, gap_ratio=0.005),
        traffic=replace(
            base.traffic, load=load_ratio, diurnal=diurnal,
            step_at_s=float(rng.uniform(0.2, 0.8)) * duration_s,
            step_ratio=step_ratio,
        ),
    )  # fmt: skip
    return Case(
        kind="healthy", seed=seed, load=load_ratio, hide_direct=False, innocent_closer=False,
        scenario=scenario,
    )  # fmt: skip


def _innocents(
    base: Scenario, rng: np.random.Generator, *, before_s: float, num: int, exactly: bool = False
) -> list[ChangeSpec]:
    kinds = (ChangeKind.DEPLOY, ChangeKind.CONFIG, ChangeKind.FLAG)
    found = []
    for _ in range(num):
        service = base.services[int(rng.integers(len(base.services)))]
        region = base.regions[int(rng.integers(len(base.regions)))]
        at_s = before_s if exactly else before_s - float(rng.uniform(0.0, 400.0))
        if service.regions and region.name not in service.regions:
            continue
        found.append(
            ChangeSpec(
                kind=str(kinds[int(rng.integers(3))]), at_s=max(60.0, at_s),
                region=region.name, service=service.name,
            )
        )  # fmt: skip
    return found
