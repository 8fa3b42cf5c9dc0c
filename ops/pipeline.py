"""The loop: one pure function from what is known now to what is decided now.

No I/O, no clock, no dice. Detection is in `ops.symptoms`, incidents in `ops.incidents`, proposals
in `ops.decide`, their limits in `ops.guard`, the judgement in `ops.outcome`.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ops.actions import (
    act,
    check_outcomes,
    lift_limits,
    return_mended,
    return_shifted,
    take_back,
    with_record,
)
from ops.alerts import take_alerts
from ops.config import LoopConfig
from ops.gaps import note_gaps
from ops.guard import HOUR_S
from ops.incidents import attach, diagnose_case, take_findings
from ops.pipeline_state import Case, LoopState, Turn
from ops.ports import Diagnoser
from ops.second_cause import look_for_second_cause
from ops.slo import advance
from ops.state import (
    ActionKind,
    Decision,
    DecisionKind,
    Incident,
    IncidentPhase,
    Snapshot,
    Verdict,
)
from ops.symptoms import Finding, find, learn

TEMPORARY = frozenset({ActionKind.SHIFT_TRAFFIC, ActionKind.LIMIT_ADMISSION})


def step(
    state: LoopState, snapshot: Snapshot, *, diagnoser: Diagnoser, config: LoopConfig
) -> tuple[LoopState, tuple[Decision, ...]]:
    """Advance the loop to `snapshot.now_s`.

    Returns:
        The next state and the decisions of this step in order. An ACT decision is an order to the
        driver; a refusal of the world is handed back through `report_blocked`.
    """
    detect = config.detect
    meter = advance(state.meter, snapshot.frame, snapshot.slos, history_s=detect.history_s)
    quiet = np.ones(len(meter.keys), dtype=bool)
    for case in state.cases:
        if case.open:
            quiet[[i for i, key in enumerate(meter.keys) if key in case.keys]] = False
    watch = learn(state.watch, meter, quiet=quiet, config=detect)
    findings: tuple[Finding, ...] = ()
    if meter is not state.meter:  # without a new row there is nothing new to find
        watch, findings = find(watch, meter, now_s=snapshot.now_s, config=detect)
    state = replace(state, meter=meter, watch=watch)
    turn = Turn(state=state, snapshot=snapshot, diagnoser=diagnoser, config=config)
    take_findings(turn, _not_ours(turn, findings))
    if snapshot.alerts:
        take_alerts(turn)
    for case in turn.open_cases:
        _advance_case(turn, case)
    if snapshot.now_s >= state.next_note_at_s:
        note_gaps(turn)
    _forget_old_cases(turn)
    return turn.state, tuple(turn.decisions)


def report_blocked(
    state: LoopState, *, action_id: str, reason: str, now_s: float
) -> tuple[LoopState, tuple[Decision, ...]]:
    """State and decision after the world has refused an action."""
    for i, case in enumerate(state.cases):
        for record in case.incident.actions:
            if record.action.action_id != action_id:
                continue
            blocked = replace(
                record, verdict=Verdict.BLOCKED, verdict_reason=reason, checked_at_s=now_s
            )
            case = with_record(case, blocked)
            decision = Decision(
                at_s=now_s,
                kind=DecisionKind.OUTCOME,
                incident_id=case.incident.incident_id,
                reason=f"Blocked: {reason}",
                action=record.action,
                incident=case.incident,
                details={"verdict": Verdict.BLOCKED},
            )
            cases = (*state.cases[:i], case, *state.cases[i + 1 :])
            return replace(state, cases=cases), (decision,)
    raise ValueError(f"no incident of this loop has an action {action_id!r}")


def _advance_case(turn: Turn, case: Case) -> None:
    case = diagnose_case(turn, case)
    case = check_outcomes(turn, case)
    case = return_mended(turn, lift_limits(turn, case))
    look_for_second_cause(turn, case)
    case = next(c for c in turn.state.cases if c.incident.incident_id == case.incident.incident_id)
    case = act(turn, case)
    _close(turn, case)


def _not_ours(turn: Turn, findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """Findings that are not the price of a shift; those of a shift end it and join its case."""
    left = []
    for finding in findings:
        region = finding.symptom.region
        case = return_shifted(turn, region, reason=f"{region} cannot carry the traffic sent to it")
        if case is None:
            left.append(finding)
        else:
            attach(turn, case, finding)
    return tuple(left)


def _close(turn: Turn, case: Case) -> None:
    """Mitigated once users are well for a while; resolved when they stay so."""
    config, incident = turn.config.outcome, case.incident
    well = "users are well" if case.keys else "no alert fires"
    if not turn.is_over(case):
        turn.put(replace(case, calm_since_s=None))
        return
    since_s = turn.now_s if case.calm_since_s is None else case.calm_since_s
    case = replace(case, calm_since_s=since_s)
    calm_s = turn.now_s - since_s
    if incident.phase is not IncidentPhase.MITIGATED and calm_s >= config.mitigated_after_s:
        incident = replace(incident, phase=IncidentPhase.MITIGATED, mitigated_at_s=turn.now_s)
        turn.say(DecisionKind.MITIGATED, f"{well} for {calm_s:.0f} s", incident=incident)
    case = turn.put(replace(case, incident=incident))
    if calm_s >= config.resolved_after_s and not _holding(turn, case):
        _resolve(turn, case, reason=f"{well} for {calm_s:.0f} s")


def _holding(turn: Turn, case: Case) -> bool:
    """Whether something still has to run its course before the incident may be closed."""
    hold_s = turn.config.act.shift_hold_s
    return any(
        record.verdict is Verdict.PENDING
        or (
            record.action.kind is ActionKind.SHIFT_TRAFFIC
            and record.verdict is not Verdict.BLOCKED
            and turn.now_s - record.decided_at_s < hold_s
        )
        for record in case.incident.actions
    )


def _resolve(turn: Turn, case: Case, *, reason: str) -> None:
    for record in case.incident.actions:
        if record.action.kind in TEMPORARY and record.verdict is not Verdict.BLOCKED:
            case = take_back(turn, case, record, reason="the incident is over")
    incident: Incident = replace(
        case.incident, phase=IncidentPhase.RESOLVED, resolved_at_s=turn.now_s
    )
    turn.say(DecisionKind.RESOLVE, reason, incident=incident)
    turn.put(replace(case, incident=incident))


def _forget_old_cases(turn: Turn) -> None:
    """Drop cases closed for an hour: budgets look back no further."""
    kept = tuple(
        case
        for case in turn.state.cases
        if case.open or turn.now_s - (case.incident.resolved_at_s or 0.0) < HOUR_S
    )
    if len(kept) < len(turn.state.cases):
        turn.state = replace(turn.state, cases=kept)
