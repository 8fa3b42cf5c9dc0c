"""One scenario in two worlds of the same draws: with the loop, and without us."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from ops.adapters.journal import FileJournal
from ops.catalogue import Catalogue
from ops.ports import Diagnoser
from ops.replay.capacity import measure_capacity
from ops.replay.hardware import unfitted_notes
from ops.replay.options import GENERATED
from ops.replay.run import Loop, World, WorldRecord, incidents_of, run_world
from ops.replay.scenario import FaultSpec, Scenario
from ops.replay.scenario_limits import RANGES
from ops.replay.traffic import Traffic
from ops.state import Incident, IncidentPhase, Snapshot
from rca.pipeline import diagnose
from rca.state import ChangeEvent

TAIL_S = 120.0  # simulated after the last arrival of a trace
FAULT_MIN_S = 30.0  # a fault that is moved with its scenario is never shorter

Progress = Callable[
    [float], None
]  # share of the whole work done, 0..1; may raise KeyboardInterrupt


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What will be simulated: scenario, traffic and rate, and what was adapted on the way."""

    scenario: Scenario
    traffic: Traffic
    seed: int
    load: float  # 0 = the trace's own rate
    rate_rps: float
    capacity_rps: float | None  # None where it was not needed
    notes: tuple[str, ...] = ()


@dataclass(slots=True, kw_only=True)
class Experiment:
    """What happened.

    Attributes:
        acted: the world with the loop; None = not run.
        without: the world without; None = not run or stopped before its end.
        verdicts: by incident id, what the loop saw at its first verdict.
        endings: by incident id, what it saw when the incident or the run ended.
        changes: all change events of the world with the loop.
    """

    plan: Plan
    acted: WorldRecord | None = None
    without: WorldRecord | None = None
    verdicts: dict[str, Snapshot] = field(default_factory=dict)
    endings: dict[str, Snapshot] = field(default_factory=dict)
    changes: tuple[ChangeEvent, ...] = ()
    num_series: int = 0
    num_events: int = 0
    complete: bool = True

    @property
    def told(self) -> WorldRecord:
        """The world whose ledger is told: the one with the loop where it was run."""
        found = self.acted or self.without
        assert found is not None, "no world was run"
        return found


def make_plan(scenario: Scenario, *, seed: int, skip_bad_rows: bool = False) -> Plan:
    """Read the trace, measure the capacity, fit the duration to the trace.

    Raises:
        TraceFormatError: the trace cannot be read.
        ConfigError: it has no rate.
    """
    traffic = Traffic.open(scenario, seed=seed, skip_bad_rows=skip_bad_rows)
    load = scenario.traffic.load
    capacity: float | None = None
    notes = unfitted_notes(scenario.engine)
    if load > 0.0:
        measured = measure_capacity(scenario, traffic)
        capacity = measured.rps
        rate = load * capacity
        if measured.idle_good_ratio < 1.0:
            notes += (
                f"even an idle fleet serves only {100 * measured.idle_good_ratio:.0f} % of these "
                "requests within the SLO; load is a share of the rate at which it still does",
            )
    else:
        rate = traffic.own_rate_rps()
    if scenario.traffic.trace != GENERATED and traffic.table is not None:
        wanted_s = (len(traffic.table) - 1) / rate + TAIL_S
        scenario, adapted = fit_duration(scenario, wanted_s)
        notes += adapted
        traffic = replace(traffic, scenario=scenario)
    if traffic.report is not None and traffic.report.dropped:
        dropped = ", ".join(f"{n} {reason}" for reason, n in traffic.report.dropped.items())
        notes += (f"rows of the trace dropped: {dropped}",)
    return Plan(
        scenario=scenario,
        traffic=traffic,
        seed=seed,
        load=load,
        rate_rps=rate,
        capacity_rps=capacity,
        notes=notes,
    )


def fit_duration(scenario: Scenario, wanted_s: float) -> tuple[Scenario, tuple[str, ...]]:
    """Give a scenario the length of a trace; what would fall outside keeps its relative place."""
    low, high = RANGES["Scenario.duration_s"]
    length_s = min(max(math.ceil(wanted_s / 60.0) * 60.0, low), high)
    ends = [f.start_s + f.length_s for f in scenario.faults]
    moments = [*ends, *(c.at_s for c in scenario.changes), scenario.warmup_s]
    notes = [f"the trace lasts {wanted_s:.0f} s at this rate: {length_s:.0f} s are simulated"]
    if all(at_s < length_s for at_s in moments):
        return replace(scenario, duration_s=length_s), tuple(notes)
    ratio = length_s / scenario.duration_s
    notes.append(f"faults, changes and warm-up were moved to {ratio:.3g} of their time")
    return (
        replace(
            scenario,
            duration_s=length_s,
            warmup_s=scenario.warmup_s * ratio,
            faults=tuple(_moved(fault, ratio, length_s) for fault in scenario.faults),
            changes=tuple(replace(c, at_s=c.at_s * ratio) for c in scenario.changes),
        ),
        tuple(notes),
    )


def _moved(fault: FaultSpec, ratio: float, end_s: float) -> FaultSpec:
    start_s = fault.start_s * ratio
    length_s = min(max(fault.length_s * ratio, FAULT_MIN_S), end_s - start_s)
    ramp_s = min(fault.ramp_s * ratio, length_s)
    return replace(fault, start_s=start_s, length_s=length_s, ramp_s=ramp_s)


def run_experiment(
    plan: Plan,
    *,
    journal: Path,
    worlds: tuple[str, ...] = ("with", "without"),
    diagnoser: Diagnoser = diagnose,
    check: bool = False,
    progress: Progress | None = None,
) -> Experiment:
    """Run the worlds one after the other; an interrupt keeps what there is.

    Args:
        worlds: "with" and "without"; the world with the loop comes first, so that an interrupt
            leaves its incidents.
        journal: file that the decisions are appended to; an older one is replaced.
        check: verify invariants at every scrape.
    """
    done = Experiment(plan=plan)
    share = 1.0 / len(worlds)
    if "with" in worlds:
        _run_with(done, journal, diagnoser, check, _part(progress, plan, 0.0, share))
    if "without" in worlds and done.complete:
        start = share if "with" in worlds else 0.0
        record = run_world(
            plan.scenario, plan.traffic, seed=plan.seed, rate_rps=plan.rate_rps, controller=None,
            check=check, progress=_part(progress, plan, start, share),
        )  # fmt: skip
        done.complete = record.complete
        if record.complete or done.acted is None:
            done.without = record
    return done


def _run_with(
    done: Experiment,
    journal: Path,
    diagnoser: Diagnoser,
    check: bool,
    progress: Progress | None,
) -> None:
    plan = done.plan

    def on_incident(snapshot: Snapshot, incident: Incident) -> None:
        done.verdicts.setdefault(incident.incident_id, snapshot)
        if incident.phase is IncidentPhase.RESOLVED:
            done.endings[incident.incident_id] = snapshot

    journal.parent.mkdir(parents=True, exist_ok=True)
    journal.unlink(missing_ok=True)
    with FileJournal(journal, sync=False) as file:
        world = World(
            plan.scenario, plan.traffic, seed=plan.seed, rate_rps=plan.rate_rps,
            controller=Loop(journal=file, on_incident=on_incident, diagnoser=diagnoser),
            catalogue=Catalogue.load(),
        )  # fmt: skip
        done.complete = world.run(check=check, progress=progress)
    done.acted = world.record(complete=done.complete)
    fleet, last = world.fleet, world.fleet.snapshot()
    for incident in incidents_of(done.acted.decisions):
        done.endings.setdefault(incident.incident_id, last)
    done.changes = tuple(sorted(c for c in fleet.cluster.changes if c.at_s <= last.now_s))
    done.num_series = len(last.frame.series)
    done.num_events = len(fleet.cluster.events)


def _part(progress: Progress | None, plan: Plan, start: float, share: float) -> Progress | None:
    if progress is None:
        return None
    length_s = plan.scenario.duration_s
    return lambda now_s: progress(start + share * min(now_s / length_s, 1.0))
