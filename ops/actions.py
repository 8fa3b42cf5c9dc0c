"""The acting half of one step: propose, ask the guard, order, judge, take back."""

from __future__ import annotations

import re
from dataclasses import replace

from ops.decide import propose
from ops.guard import refusal
from ops.moves import COMES_BACK
from ops.outcome import before_action, judge, settled
from ops.pipeline_state import Case, Turn
from ops.proposals import is_unjudged
from ops.remedies import lost_for_good
from ops.slo_keys import Key
from ops.state import (
    Action,
    ActionKind,
    ActionRecord,
    DecisionKind,
    IncidentPhase,
    Snapshot,
    Verdict,
)

# What leaves something behind that can be taken back; a restarted pod cannot be un-restarted.
UNDOABLE = frozenset(
    {
        ActionKind.CORDON_DRAIN_NODE,
        ActionKind.SHIFT_TRAFFIC,
        ActionKind.SCALE_OUT,
        ActionKind.LIMIT_ADMISSION,
        ActionKind.ROLLBACK,
    }
)

# What removes a cause, as opposed to what helps to live with it.
MENDS = frozenset(
    {
        ActionKind.RESTART_POD,
        ActionKind.REPLACE_POD,
        ActionKind.CORDON_DRAIN_NODE,
        ActionKind.ROLLBACK,
    }
)

FOR_REGION = "for_region"  # parameter of an action that makes room for that region's users


def with_record(case: Case, record: ActionRecord) -> Case:
    """Case with one action's record replaced, or added when it is new."""
    ids = [r.action.action_id for r in case.incident.actions]
    actions = list(case.incident.actions)
    if record.action.action_id in ids:
        actions[ids.index(record.action.action_id)] = record
    else:
        actions.append(record)
    return replace(case, incident=replace(case.incident, actions=tuple(actions)))


def _keys_judged(case: Case, action: Action, turn: Turn) -> tuple[Key, ...]:
    """Whose requests tell whether an action helped; moved users count where they went."""
    to_region = action.params.get("to_region")
    if FOR_REGION in action.params:
        to_region = action.target.region
    moved = tuple(key for key in turn.state.meter.keys if key[0] == to_region)
    return case.keys + tuple(key for key in moved if key not in case.keys)


def check_outcomes(turn: Turn, case: Case) -> Case:
    """Judge the actions that have settled; take back what made things worse."""
    config = turn.config.outcome
    for record in case.incident.actions:
        pending = record.verdict is Verdict.PENDING
        if _waits_for_users(turn, case, record):
            continue
        if not pending or not settled(record, turn.snapshot, config):
            continue
        keys = _keys_judged(case, record.action, turn)
        judged = judge(
            record,
            turn.snapshot,
            after=turn.share(keys),
            usual_ratio=turn.usual_ratio(keys),
            began_at_s=case.incident.symptom.began_at_s,
            config=config,
        )
        case = with_record(case, judged)
        turn.say(
            DecisionKind.OUTCOME,
            f"{judged.verdict}: {judged.verdict_reason}",
            incident=case.incident,
            action=judged.action,
            verdict=judged.verdict,
        )
        if judged.verdict is Verdict.WORSE:
            why = f"{judged.action.kind} on {judged.action.target} made it worse"
            case = replace(case, incident=replace(case.incident, stand_down=why))
            case = take_back(turn, case, judged, reason=f"{why}: {judged.verdict_reason}")
        elif judged.verdict is Verdict.EFFECTIVE:
            case = replace(case, next_action_at_s=turn.now_s + turn.config.act.watch_s)
        elif not _mended(case):  # a cause whose removal helped is not looked for again
            case = replace(case, revise=True, next_diagnosis_at_s=turn.now_s)
        turn.put(case)
    return case


def _under_way(record: ActionRecord, snapshot: Snapshot) -> bool:
    """Whether nothing else may be done yet; room that is ready, all of it, waits for its users."""
    if record.verdict is not Verdict.PENDING:
        return False
    if FOR_REGION not in record.action.params or record.ready_before is None:
        return True
    target = record.action.target
    wanted = record.ready_before + float(record.action.params["add"])
    return not any(
        (s.region, s.service) == (target.region, target.name) and s.ready_replicas >= wanted
        for s in snapshot.services
    )


def _waits_for_users(turn: Turn, case: Case, record: ActionRecord) -> bool:
    """Whether room was made for users who were not sent there yet, or not judged there yet."""
    region = record.action.params.get(FOR_REGION)
    if region is None:
        return False
    sent = [
        r for r in case.incident.actions
        if r.action.kind is ActionKind.SHIFT_TRAFFIC and r.action.target.region == region
    ]  # fmt: skip
    if sent:
        return any(r.verdict is Verdict.PENDING for r in sent)
    config = turn.config.outcome
    wait_s = config.settle_s[record.action.kind] * config.wait_factor_max
    return turn.now_s - record.decided_at_s < wait_s


def take_back(turn: Turn, case: Case, record: ActionRecord, *, reason: str) -> Case:
    """Order an action taken back, once."""
    action = record.action
    if action.kind not in UNDOABLE or action.action_id in case.undone:
        return case
    undo = Action(
        action_id="",
        kind=ActionKind.UNDO,
        target=action.target,
        params={"action_id": action.action_id},
        reason=reason,
        undo=f"do {action.action_id} again",
        command=action.undo,
    )
    before = len(case.incident.actions)
    case = _order(turn, case, (undo,))
    if len(case.incident.actions) == before:
        return case  # refused for now; tried again at the next step
    return turn.put(replace(case, undone=(*case.undone, action.action_id)))


def return_shifted(turn: Turn, region: str, *, reason: str) -> Case | None:
    """Take back every shift into a region that has begun to suffer.

    Returns:
        The case whose shift it was, None when nobody's users were sent there. The requests of a
        shift stay for a while after it was taken back: until then what they cost is its price.
    """
    blamed = None
    for case in turn.open_cases:
        for record in case.shifts_to(region, now_s=turn.now_s, echo_s=turn.config.act.shift_echo_s):
            blamed = case = take_back(turn, case, record, reason=reason)
    return blamed


def _mended(case: Case) -> bool:
    """Whether an action that removes a cause has helped."""
    return any(
        r.verdict is Verdict.EFFECTIVE and r.action.kind in MENDS for r in case.incident.actions
    )


def return_mended(turn: Turn, case: Case) -> Case:
    """Give traffic back as soon as its own region is whole again: a shift costs the other one."""
    incident, region = case.incident, case.incident.symptom.region
    if incident.phase is not IncidentPhase.MITIGATED:
        return case
    whole = all(
        s.ready_replicas >= s.replicas for s in turn.snapshot.services if s.region == region
    )
    cause = incident.result.causes[0] if incident.result and incident.result.causes else None
    lost = cause is not None and cause.resource_class in COMES_BACK
    if whole and (lost or _mended(case)):
        for record in incident.actions:
            if record.action.kind is ActionKind.SHIFT_TRAFFIC and record.verdict not in (
                Verdict.BLOCKED,
                Verdict.PENDING,
            ):
                case = take_back(turn, case, record, reason=f"{region} is whole again")
    return case


def lift_limits(turn: Turn, case: Case) -> Case:
    """Take back admission limits whose time is up: turning users away must end by itself."""
    hold_s = turn.config.act.admission_hold_s
    for record in case.incident.actions:
        limits = record.action.kind is ActionKind.LIMIT_ADMISSION
        over = turn.now_s - record.decided_at_s >= hold_s
        if limits and over and record.verdict is not Verdict.BLOCKED:
            case = take_back(turn, case, record, reason=f"limited for {hold_s:.0f} s, long enough")
    return case


def act(turn: Turn, case: Case) -> Case:
    """Take the best alternative that the guard allows, while users suffer from a named cause."""
    incident, config = case.incident, turn.config.act
    taken = [r for r in incident.actions if r.action.kind is not ActionKind.UNDO]
    if (
        incident.phase is not IncidentPhase.DIAGNOSED
        or incident.stand_down
        or turn.now_s < case.next_action_at_s
        or any(_under_way(r, turn.snapshot) for r in incident.actions)
        or len(taken) >= config.actions_max_per_incident
        or turn.is_over(case)
    ):
        return case
    assert incident.result is not None, "a diagnosed incident has a result"
    suffering = frozenset(region for c in turn.open_cases for region, _ in c.keys)
    alternatives = propose(
        incident.result.causes[0],
        incident,
        turn.snapshot,
        regions_suffering=suffering,
        config=turn.config,
        distress=turn.distress(incident.symptom.region),
    )
    case = replace(case, next_action_at_s=turn.now_s + config.retry_s)
    if not alternatives:
        lost = lost_for_good(incident.result.causes[0], turn.snapshot)
        why = f"no action fits this cause{f': {lost}' if lost else ''}"
        case = _refuse(turn, case, None, f"{why}; a person must look")
    for actions in alternatives:
        before = len(case.incident.actions)
        case = _order(turn, case, actions)
        if len(case.incident.actions) > before:
            break
    return turn.put(case)


def _order(turn: Turn, case: Case, actions: tuple[Action, ...]) -> Case:
    """Write an ACT for each action that the guard lets through, a REFUSE for each other."""
    for action in actions:
        reason = refusal(
            action, case.incident, turn.snapshot, log=turn.log, config=turn.config.guard
        )
        if reason:
            case = _refuse(turn, case, action, reason)
            continue
        number = len(case.incident.actions) + 1
        action = replace(action, action_id=f"{case.incident.incident_id}-a{number}")
        record = before_action(
            ActionRecord(action=action, decided_at_s=turn.now_s),
            turn.snapshot,
            share=turn.share(
                _keys_judged(case, action, turn), since_s=case.incident.symptom.began_at_s
            ),
        )
        case = turn.put(with_record(case, record))
        turn.say(DecisionKind.ACT, action.reason, incident=case.incident, action=action)
    return case


def _refuse(turn: Turn, case: Case, action: Action | None, reason: str) -> Case:
    """Write a refusal once per action and reason; ages and counts in it may change.

    Once more after an outage of the data, and at the next one: what was judged is judged anew.
    """
    head = f"{action.kind if action else ''} "
    mark = head + re.sub(r"[0-9.]+", "#", reason)
    if mark in case.refused:
        return case
    turn.say(DecisionKind.REFUSE, reason, incident=case.incident, action=action)
    unjudged = is_unjudged(reason)
    kept = [
        one
        for one in case.refused
        if not one.startswith(head) or is_unjudged(one.removeprefix(head)) == unjudged
    ]
    return turn.put(replace(case, refused=(*kept, mark)))
