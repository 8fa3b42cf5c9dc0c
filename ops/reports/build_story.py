"""Moments, changes and actions of an incident, from its decisions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ops.proposals import is_allowed
from ops.reports import sentence, words
from ops.reports.build_findings import told
from ops.reports.parts import Change, Mark, MarkKind
from ops.state import (
    Action,
    ActionKind,
    ActionRecord,
    Decision,
    DecisionKind,
    Incident,
    Verdict,
)
from rca.state import ChangeEvent, EntityKind, RankedCause, RcaResult, Symptom

_CHANGES_BEFORE_S = 1800.0
_SHIFT_FELT_S = 180.0  # users whom a shift overloads suffer within that time
# They end the cause itself; moving or shedding load helps whatever the cause is.
_REMEDIES = frozenset(
    {
        ActionKind.RESTART_POD,
        ActionKind.REPLACE_POD,
        ActionKind.CORDON_DRAIN_NODE,
        ActionKind.ROLLBACK,
    }
)
_MARK_OF = {
    DecisionKind.OPEN: MarkKind.DETECTED,
    DecisionKind.DIAGNOSE: MarkKind.DIAGNOSED,
    DecisionKind.ABSTAIN: MarkKind.ABSTAINED,
    DecisionKind.REFUSE: MarkKind.REFUSED,
    DecisionKind.ACT: MarkKind.ACTION,
    DecisionKind.OUTCOME: MarkKind.OUTCOME,
    DecisionKind.MITIGATED: MarkKind.MITIGATED,
    DecisionKind.RESOLVE: MarkKind.RESOLVED,
    DecisionKind.ALERT: MarkKind.NOTE,
    DecisionKind.NOTE: MarkKind.NOTE,
}


def changes_of(
    changes: Sequence[ChangeEvent],
    incident: Incident,
    cause: RankedCause | None,
    *,
    cause_onset_s: float | None,
) -> tuple[Change, ...]:
    """What people and controllers changed in the 30 minutes before detection.

    A suspect is what the diagnosis cites, and what was rolled back with effect.

    Args:
        cause_onset_s: when the cause began to differ; None = not known.
    """
    told_s = {e.onset_s for e in cause.evidence if e.channel == "change" and e.strength > 0} if (
        cause
    ) else set()  # fmt: skip
    back = rolled_back(changes, incident)
    region = cause.entity.region if cause else ""
    since_s = incident.detected_at_s - _CHANGES_BEFORE_S
    shown = [c for c in changes if since_s <= c.at_s <= incident.detected_at_s]
    return tuple(
        Change(
            at_s=change.at_s,
            title=change_title(change),
            region=change.region,
            suspect=change == back
            or (bool(cause) and change.at_s in told_s and change.region == region),
            why=_why(change, incident, cause_onset_s, region or incident.symptom.region),
            short=f"{change.kind} {change.revision_to}".strip(),
            service=change.service,
        )
        for change in shown
    )


def own_changes(
    decisions: Sequence[Decision], incident: Incident, cause: RankedCause | None
) -> tuple[Change, ...]:
    """Traffic that midwatch itself sent to where there is too much of it now."""
    if cause is None or cause.entity.kind is not EntityKind.WORKLOAD:
        return ()
    return tuple(
        Change(
            at_s=d.at_s,
            title=f"midwatch {done_title(d.action)}",
            region=cause.entity.region,
            suspect=True,
            why=f"{words.span(incident.began_at_s - d.at_s)} before users were hurt",
        )
        for d in decisions
        if d.kind is DecisionKind.ACT
        and d.action is not None
        and d.action.kind is ActionKind.SHIFT_TRAFFIC
        and d.action.params["to_region"] == cause.entity.region
        and 0.0 <= incident.began_at_s - d.at_s <= _SHIFT_FELT_S
    )


def confirmed(incident: Incident, decisions: Sequence[Decision]) -> Incident:
    """The incident with the diagnosis that an effective remedy of the cause has confirmed.

    What was named later, while the remedy's own traces faded, is told on the timeline only.
    """
    remedies = [
        r.decided_at_s
        for r in incident.actions
        if r.verdict is Verdict.EFFECTIVE and r.action.kind in _REMEDIES
    ]
    if not remedies:
        return incident
    results = [
        d.incident.result
        for d in decisions
        if d.incident_id == incident.incident_id
        and d.kind is DecisionKind.DIAGNOSE
        and d.incident is not None
        and d.at_s <= remedies[-1]
    ]
    return replace(incident, result=results[-1]) if results else incident


def rolled_back(changes: Sequence[ChangeEvent], incident: Incident) -> ChangeEvent | None:
    """The newest change that a rollback ended with effect; None where there is none."""
    found = [
        change
        for record in incident.actions
        if record.action.kind is ActionKind.ROLLBACK and record.verdict is Verdict.EFFECTIVE
        for change in changes
        if change.service == record.action.target.name
        and change.region == record.action.target.region
        and change.at_s <= record.decided_at_s
        and change.revision_from == str(record.action.params.get("to_revision", ""))
    ]
    return max(found, default=None, key=lambda c: (c.at_s, c.revision_to))


def _why(change: ChangeEvent, incident: Incident, cause_onset_s: float | None, region: str) -> str:
    """ "20 s before the cause began, 1 min before users were hurt"."""
    gap = incident.began_at_s - change.at_s
    hurt = f"{words.span(gap)} {'before' if gap >= 0 else 'after'} users were hurt"
    if change.region != region:
        return f"other region, {hurt}"
    if cause_onset_s is None or cause_onset_s == incident.began_at_s:
        return hurt
    lead = cause_onset_s - change.at_s
    if round(abs(lead)) == 0:
        return f"as the cause began, {hurt}"
    side = "before" if lead > 0 else "after"
    return f"{words.span(lead)} {side} the cause began, {hurt}"


def change_title(change: ChangeEvent) -> str:
    """ "config session-store 117 → 118"."""
    step = f" {change.revision_from} → {change.revision_to}" if change.revision_to else ""
    return f"{change.kind} {change.service}{step}"


def marks_of(
    decisions: Sequence[Decision],
    incident: Incident,
    changes: Sequence[Change],
    *,
    first_miss_s: float,
    page_s: float | None,
) -> tuple[Mark, ...]:
    """Every moment of the incident in order."""
    symptom = incident.symptom
    marks = [
        Mark(at_s=c.at_s, kind=MarkKind.CHANGE, text=f"{c.title}, {c.region}") for c in changes
    ]
    lane = f"{symptom.region} {symptom.slo_class}".strip()
    if symptom.reason == "alert" and not symptom.bad_ratio > 0.0:  # also where it is NaN
        text = f"an alert fires in {lane}"
        marks.append(Mark(at_s=incident.began_at_s, kind=MarkKind.BEGAN, text=text))
    else:
        marks += [
            Mark(at_s=incident.began_at_s, kind=MarkKind.BEGAN, text=f"bad share of {lane} rises"),
            Mark(at_s=first_miss_s, kind=MarkKind.SLO_MISS, text=f"{lane}: first bad minute"),
        ]
    for decision in decisions:
        text = _mark_text(decision, incident, changes)
        kind = MarkKind.RECOMMENDED if is_allowed(decision) else _MARK_OF[decision.kind]
        marks.append(Mark(at_s=decision.at_s, kind=kind, text=text))
    if page_s is not None:
        text = "14.4× page, in the same run without midwatch"
        marks.append(Mark(at_s=page_s, kind=MarkKind.PAGE, text=text))
    return tuple(sorted(marks, key=lambda m: m.at_s))


def _mark_text(decision: Decision, incident: Incident, changes: Sequence[Change]) -> str:
    """A decision in the report's words; a refusal is told with what became of the users."""
    text = told(decision.reason)
    match decision.kind:
        case DecisionKind.OPEN:
            now = decision.incident or incident
            return _symptom_text(now.symptom)
        case DecisionKind.DIAGNOSE if decision.incident is not None:
            return _verdict_text(decision, decision.incident.result)
        case DecisionKind.ACT if decision.action is not None:
            suspects = [c for c in changes if c.suspect]
            if decision.action.kind is ActionKind.ROLLBACK and suspects:
                text = f"{suspects[-1].title}, {suspects[-1].why}"
            return f"{done_title(decision.action)}: {text}"
        case DecisionKind.OUTCOME:
            for record in incident.actions:
                if record.checked_at_s == decision.at_s:
                    return f"{verdict_words(record)}: {record.verdict_reason}".rstrip(": ")
        case DecisionKind.REFUSE if decision.action is not None and is_allowed(decision):
            text = f"midwatch would have {done_title(decision.action)}"
            return f"{text}: {decision.action.reason}" if decision.action.reason else text
        case DecisionKind.REFUSE if incident.mitigated_at_s is not None:
            gap = incident.mitigated_at_s - decision.at_s
            if gap >= 0:
                return f"{text} (users were well {words.span(gap)} later)"
    return text


def verdict_words(record: ActionRecord) -> str:
    """ "Effective", "No effect seen within 1 min 30 s"."""
    if record.verdict is not Verdict.NO_EFFECT:
        return record.verdict.value
    if record.checked_at_s is None:
        return "No effect seen"
    return f"No effect seen within {words.span(record.checked_at_s - record.decided_at_s)}"


def _symptom_text(symptom: Symptom) -> str:
    lane = f"{symptom.region} {symptom.slo_class}".strip()
    bad = words.percent(symptom.bad_ratio)
    return {
        "latency": f"{bad} of the requests of {lane} miss a limit",
        "errors": f"{bad} of the requests of {lane} fail",
        "alert": f"an alert fires in {lane}",
    }.get(symptom.reason, f"requests of {lane} no longer end")


def _verdict_text(decision: Decision, result: RcaResult | None) -> str:
    if result is None or not result.causes:
        return told(decision.reason)
    first = result.causes[0]
    noun = f"{sentence.entity_noun(first.entity)}, {sentence.RESOURCE_NOUNS[first.resource_class]}"
    sure = sentence.confidence_text(first.confidence)
    again = "revised: " if decision.reason.startswith("revised") else ""
    return f"{again}{noun}, confidence {sure}: {told(result.reason)}"


def done_title(action: Action) -> str:
    """An action in the past tense."""
    target, params = action.target, action.params
    where = sentence.entity_noun(target)
    match action.kind:
        case ActionKind.RESTART_POD:
            return f"restarted {where}"
        case ActionKind.REPLACE_POD:
            return f"replaced {where}"
        case ActionKind.CORDON_DRAIN_NODE:
            return f"cordoned and drained {where}"
        case ActionKind.SHIFT_TRAFFIC:
            share = words.percent(float(params["share"]))
            return f"sent {share} of the users of {target.region} to {params['to_region']}"
        case ActionKind.SCALE_OUT:
            return f"started {params['add']:g} more of {where}"
        case ActionKind.LIMIT_ADMISSION:
            ratio = words.percent(float(params["ratio"]))
            return f"admitted only {ratio} of the requests of {target.region}"
        case ActionKind.ROLLBACK:
            return f"rolled {where} back to {params['to_revision']}"
        case ActionKind.UNDO:
            return f"took {params['action_id']} back"


def taken_back(decisions: Sequence[Decision]) -> dict[str, float]:
    """When each action that was undone was undone, by its id."""
    return {
        str(d.action.params["action_id"]): d.at_s
        for d in decisions
        if d.kind is DecisionKind.ACT and d.action and d.action.kind is ActionKind.UNDO
    }
