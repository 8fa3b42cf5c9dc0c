"""What the loop remembers between two steps, and the scratch sheet of one step."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ops.config import LoopConfig
from ops.outcome import Share
from ops.ports import Diagnoser
from ops.remedies import Distress
from ops.slo import BoolArray, Count, SloMeter, bads, totals, window_counts
from ops.slo_keys import Key
from ops.state import (
    Action,
    ActionKind,
    ActionRecord,
    Decision,
    DecisionKind,
    Incident,
    IncidentPhase,
    Snapshot,
    Verdict,
)
from ops.symptoms import Watch, calm
from ops.topology import discover
from rca.state import Entity, RcaResult, Symptom, Topology


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """An incident with what only the loop needs to know of it."""

    incident: Incident
    keys: tuple[Key, ...]  # (region, class) pairs that suffer from it
    felt: bool = False  # users were found to suffer after an alert had opened it
    first_before: Entity | None = None  # first candidate of the previous diagnosis
    next_diagnosis_at_s: float = 0.0
    next_jump_at_s: float = 0.0  # a jump of the bad share is looked at no sooner
    abstentions: int = 0
    revise: bool = False  # look for the cause once more: an action failed, or see `same_cause`
    revise_above: float = 0.0  # confidence that another cause must exceed then
    calm_since_s: float | None = None
    next_action_at_s: float = 0.0
    refused: tuple[str, ...] = ()  # refusals said already, without their numbers
    undone: tuple[str, ...] = ()  # ids of actions that were taken back
    firing: frozenset[str] = frozenset()  # digests of its alerts that still fire, see ops.alerts
    overdue: bool = False  # it was said that no diagnosis has come
    suspects: tuple[Entity, ...] = ()  # beside its cause; it was said what becomes of them

    @property
    def open(self) -> bool:
        """Whether the incident still needs the loop."""
        return self.incident.phase is not IncidentPhase.RESOLVED

    def shifts_to(self, region: str, *, now_s: float, echo_s: float) -> tuple[ActionRecord, ...]:
        """Shifts of traffic into a region that run, or were taken back less than `echo_s` ago."""
        ended_s = {
            r.action.params["action_id"]: r.decided_at_s
            for r in self.incident.actions
            if r.action.kind is ActionKind.UNDO
        }
        return tuple(
            r
            for r in self.incident.actions
            if r.action.kind is ActionKind.SHIFT_TRAFFIC
            and r.action.params.get("to_region") == region
            and r.verdict is not Verdict.BLOCKED
            and now_s - ended_s.get(r.action.action_id, now_s) < echo_s
        )

    @property
    def cause(self) -> Entity | None:
        """The named cause, None before it is named."""
        result = self.incident.result
        if self.incident.diagnosed_at_s is None or result is None or not result.causes:
            return None
        return result.causes[0].entity


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LoopState:
    """Everything that `step` carries over. A value; a new loop starts with `LoopState()`."""

    meter: SloMeter = field(default_factory=SloMeter)
    watch: Watch = field(default_factory=Watch)
    cases: tuple[Case, ...] = ()  # open ones and those closed within the last hour, oldest first
    num_incidents: int = 0
    alerts_seen: frozenset[tuple[str, str, float]] = frozenset()
    gaps_noted: tuple[tuple[Entity, float], ...] = ()  # silent scrape jobs, their last scrape
    next_note_at_s: float = 0.0
    waiting: tuple[tuple[Key, float], ...] = ()  # findings whose place is not known, since when

    @property
    def incidents(self) -> tuple[Incident, ...]:
        """Incidents that are open or were closed within the last hour."""
        return tuple(case.incident for case in self.cases)


@dataclass(slots=True, kw_only=True)
class Turn:
    """Scratch sheet of one step: it is filled, read once and thrown away."""

    state: LoopState
    snapshot: Snapshot
    diagnoser: Diagnoser
    config: LoopConfig
    decisions: list[Decision] = field(default_factory=list)
    _topology: Topology | None = None
    _calm: BoolArray | None = None

    @property
    def now_s(self) -> float:
        """Time of the snapshot."""
        return self.snapshot.now_s

    @property
    def topology(self) -> Topology:
        """Discovered once per step, and only when somebody asks."""
        if self._topology is None:
            self._topology = discover(self.snapshot.frame, self.snapshot.pods)
        return self._topology

    @property
    def open_cases(self) -> list[Case]:
        """Open cases, oldest first."""
        return [case for case in self.state.cases if case.open]

    @property
    def log(self) -> list[ActionRecord]:
        """Every action of the last hour."""
        return [record for case in self.state.cases for record in case.incident.actions]

    def put(self, case: Case) -> Case:
        """Store the new value of a case, or a new case."""
        known = [c.incident.incident_id for c in self.state.cases]
        cases = list(self.state.cases)
        if case.incident.incident_id in known:
            cases[known.index(case.incident.incident_id)] = case
        else:
            cases.append(case)
        self.state = replace(self.state, cases=tuple(cases))
        return case

    def say(
        self,
        kind: DecisionKind,
        reason: str,
        *,
        incident: Incident | None = None,
        action: Action | None = None,
        **details: Any,
    ) -> None:
        """Add one decision."""
        self.decisions.append(
            Decision(
                at_s=self.now_s,
                kind=kind,
                incident_id=incident.incident_id if incident else "",
                reason=reason,
                action=action,
                incident=incident,
                details=details,
            )
        )

    def diagnose(self, symptom: Symptom) -> RcaResult | None:
        """Ask the diagnoser; None = it has no answer yet."""
        return self.diagnoser(
            self.snapshot.frame,
            symptom=symptom,
            topology=self.topology,
            changes=self.snapshot.changes,
            events=self.snapshot.events,
            now_s=self.now_s,
            seed=self.config.seed,
        )

    def positions(self, keys: tuple[Key, ...]) -> list[int]:
        """Rows of the meter that belong to `keys`."""
        wanted = set(keys)
        return [i for i, key in enumerate(self.state.meter.keys) if key in wanted]

    def is_calm(self, keys: tuple[Key, ...]) -> bool:
        """Whether all of `keys` are scraped now and back to their usual level."""
        meter = self.state.meter
        if not len(meter.times_s):
            return False
        age_s = self.now_s - float(meter.times_s[-1])
        if age_s > self.config.guard.frame_stale_after_s:
            return False  # that they were well is not that they are
        if self._calm is None:
            known = window_counts(meter, span_s=self.config.detect.window_s_short)[:, Count.KNOWN]
            self._calm = calm(self.state.watch, meter, config=self.config.detect) & (known > 0)
        positions = self.positions(keys)
        return bool(positions) and bool(self._calm[positions].all())

    def is_over(self, case: Case) -> bool:
        """Whether a case's users are well; without an SLO its alerts are all there is to ask."""
        return self.is_calm(case.keys) if case.keys else not case.firing

    def share(self, keys: tuple[Key, ...], *, since_s: float = -np.inf) -> Share:
        """Bad requests of `keys` in the newest window, no further back than `since_s`."""
        meter, span_s = self.state.meter, self.config.outcome.window_s
        if len(meter.times_s):
            step_s = max(self.snapshot.frame.step_s, 1.0)
            span_s = min(span_s, max(float(meter.times_s[-1]) - since_s, step_s))
        counts = window_counts(meter, span_s=span_s)[self.positions(keys)]
        return Share(bad=float(np.sum(bads(counts))), total=float(np.sum(totals(counts))))

    def distress(self, region: str) -> Distress:
        """What users of a region go through now, against what is usual there."""
        rows = [i for i, key in enumerate(self.state.meter.keys) if key[0] == region]
        span_s = self.config.outcome.window_s
        counts = window_counts(self.state.meter, span_s=span_s)[rows].sum(axis=0)
        usual, watch = self.state.watch.sums[rows, Count.FINISHED], self.state.watch
        with np.errstate(invalid="ignore", divide="ignore"):
            total, usual_rps = totals(counts), np.sum(usual / watch.seconds[rows])
            return Distress(
                bad_ratio=float(bads(counts) / total),
                failed_ratio=float(counts[Count.FAILED] / total),
                rate_ratio=float(counts[Count.FINISHED] / span_s / usual_rps),
            )

    def usual_ratio(self, keys: tuple[Key, ...]) -> float:
        """Bad share of `keys` when nothing is wrong."""
        sums = self.state.watch.sums[self.positions(keys)]
        total = float(np.sum(totals(sums)))
        return float(np.sum(bads(sums))) / total if total > 0 else 0.0
