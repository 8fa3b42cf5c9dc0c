"""Moments, changes, actions and the next step of an incident, from its decisions."""

from __future__ import annotations

from collections.abc import Sequence

from ops.reports import sentence, words
from ops.reports.parts import Change, Command, DoneAction, Mark, MarkKind, Step
from ops.state import (
    Action,
    ActionKind,
    ActionRecord,
    Decision,
    DecisionKind,
    Incident,
    IncidentPhase,
    Verdict,
)
from rca.state import ChangeEvent, Entity, EntityKind, RankedCause, RcaResult, Symptom

_CHANGES_BEFORE_S = 1800.0
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
    changes: Sequence[ChangeEvent], incident: Incident, cause: RankedCause | None
) -> tuple[Change, ...]:
    """What people and controllers changed in the 30 minutes before detection."""
    told = {e.onset_s for e in cause.evidence if e.channel == "change" and e.strength > 0} if (
        cause
    ) else set()  # fmt: skip
    since_s = incident.detected_at_s - _CHANGES_BEFORE_S
    shown = [c for c in changes if since_s <= c.at_s <= incident.detected_at_s]
    onset_s = incident.began_at_s if cause is None or cause.onset_s is None else cause.onset_s
    onset_s = max(onset_s, incident.began_at_s)
    found = []
    for change in shown:
        suspect = bool(cause) and change.at_s in told and change.region == _region(cause)
        found.append(
            Change(
                at_s=change.at_s,
                title=change_title(change),
                region=change.region,
                suspect=suspect,
                why=_why(change, onset_s, _region(cause) or incident.symptom.region),
            )
        )
    return tuple(found)


def _region(cause: RankedCause | None) -> str:
    return cause.entity.region if cause else ""


def _why(change: ChangeEvent, onset_s: float, region: str) -> str:
    gap = onset_s - change.at_s
    when = f"{words.span(gap)} {'before' if gap >= 0 else 'after'} the onset"
    return when if change.region == region else f"other region, {when}"


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
    marks += [
        Mark(at_s=incident.began_at_s, kind=MarkKind.BEGAN, text=f"bad share of {lane} rises"),
        Mark(at_s=first_miss_s, kind=MarkKind.SLO_MISS, text=f"{lane}: first bad minute"),
    ]
    for decision in decisions:
        text = words.arrows(decision.reason)
        if decision.kind is DecisionKind.OPEN:
            text = _symptom_text(decision.incident.symptom if decision.incident else symptom)
        elif decision.kind is DecisionKind.DIAGNOSE and decision.incident is not None:
            text = _verdict_text(decision, decision.incident.result)
        if decision.kind is DecisionKind.ACT and decision.action is not None:
            text = f"{done_title(decision.action)}: {text}"
        marks.append(Mark(at_s=decision.at_s, kind=_MARK_OF[decision.kind], text=text))
    if page_s is not None:
        text = "14.4× page, in the same run without midwatch"
        marks.append(Mark(at_s=page_s, kind=MarkKind.PAGE, text=text))
    return tuple(sorted(marks, key=lambda m: m.at_s))


def _symptom_text(symptom: Symptom) -> str:
    lane = f"{symptom.region} {symptom.slo_class}".strip()
    bad = words.percent(symptom.bad_ratio)
    return {
        "latency": f"{bad} of the requests of {lane} miss a limit",
        "errors": f"{bad} of the requests of {lane} fail",
    }.get(symptom.reason, f"requests of {lane} no longer end")


def _verdict_text(decision: Decision, result: RcaResult | None) -> str:
    if result is None or not result.causes:
        return words.arrows(decision.reason)
    first = result.causes[0]
    noun = f"{sentence.entity_noun(first.entity)}, {sentence.RESOURCE_NOUNS[first.resource_class]}"
    sure = sentence.confidence_text(first.confidence)
    again = "revised: " if decision.reason.startswith("revised") else ""
    return f"{again}{noun}, confidence {sure}: {words.arrows(result.reason)}"


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


def done_of(incident: Incident, decisions: Sequence[Decision]) -> tuple[DoneAction, ...]:
    """Actions with their verdicts; one that was taken back needs no undo any more."""
    back = _taken_back(decisions)
    done = []
    for record in incident.actions:
        action = record.action
        if action.kind is ActionKind.UNDO:
            continue  # told with what it took back
        taken_back_s = back.get(action.action_id)
        reason = record.verdict_reason
        if taken_back_s is not None:
            reason = f"{reason}; taken back {words.span(taken_back_s - record.decided_at_s)} later"
        needless = action.undo.startswith("none needed") or record.verdict is Verdict.BLOCKED
        keep = taken_back_s is None and not needless
        typed = action.undo.startswith("kubectl ")
        done.append(
            DoneAction(
                at_s=record.decided_at_s,
                title=done_title(action),
                verdict=record.verdict,
                verdict_reason=reason.strip("; "),
                checked_at_s=record.checked_at_s,
                undo=action.undo if keep and not typed else "",
                undo_command=action.undo if keep and typed else "",
            )
        )
    return tuple(done)


def _taken_back(decisions: Sequence[Decision]) -> dict[str, float]:
    """When each action that was undone was undone, by its id."""
    return {
        str(d.action.params["action_id"]): d.at_s
        for d in decisions
        if d.kind is DecisionKind.ACT and d.action and d.action.kind is ActionKind.UNDO
    }


def next_step_of(
    incident: Incident, decisions: Sequence[Decision], cause: RankedCause | None
) -> Step:
    """What a person should do now, given what was done already."""
    if cause is None:
        return _step_of_abstention(incident)
    done = [r for r in incident.actions if r.action.kind is not ActionKind.UNDO]
    effective = [r for r in done if r.verdict is Verdict.EFFECTIVE]
    pending = [r for r in done if r.verdict is Verdict.PENDING]
    back = _taken_back(decisions)
    standing = [r for r in effective if r.action.action_id not in back]
    if standing:
        return _step_after(standing, cause)
    if effective:
        return Step(
            title=f"Find out why {sentence.entity_noun(cause.entity)} failed; it may come back.",
            detail=f"What helped was taken back: {done_title(effective[-1].action)}.",
            commands=_look(cause.entity),
        )
    if pending:
        return Step(
            title=f"Wait for the check of what was done: {done_title(pending[-1].action)}.",
            detail="Its outcome is not known yet.",
            commands=_look(cause.entity),
        )
    refused = [d for d in decisions if d.kind is DecisionKind.REFUSE and d.action is not None]
    if refused and refused[-1].action is not None and refused[-1].action.command:
        action = refused[-1].action
        return Step(
            title=f"Decide by hand: midwatch would have {done_title(action)}.",
            detail=f"It did not: {refused[-1].reason}.",
            commands=(
                Command(label="Run", text=action.command),
                Command(label="Undo", text=action.undo),
            ),
        )
    if incident.phase in (IncidentPhase.MITIGATED, IncidentPhase.RESOLVED):
        return Step(
            title=f"Find out why {sentence.entity_noun(cause.entity)} failed; it may come back.",
            detail="Users are well again; nothing that was done was seen to help.",
            commands=_look(cause.entity),
        )
    tried = "Nothing that was done helped" if incident.actions else "No action fits this cause"
    return Step(
        title=f"Look at {sentence.entity_noun(cause.entity)}.",
        detail=f"{tried}; a person must decide.",
        commands=_look(cause.entity),
    )


def _step_of_abstention(incident: Incident) -> Step:
    result = incident.result
    likeliest = result.causes[0] if result and result.causes else None
    settle = result.would_settle if result else ()
    detail = f"{settle[0]} would settle it." if settle else ""
    if likeliest is None:
        return Step(title="Look at what users of this region get.", detail=detail)
    return Step(
        title=f"Check {sentence.entity_noun(likeliest.entity)} first; it is likeliest.",
        detail=detail,
        commands=_look(likeliest.entity),
    )


def _step_after(helped: Sequence[ActionRecord], cause: RankedCause) -> Step:
    """What remains to be done after actions that helped."""
    last = helped[-1].action
    resource = sentence.RESOURCE_NOUNS[cause.resource_class]
    rest = {
        ActionKind.RESTART_POD: f"Find out why its {resource} went wrong; it may come back.",
        ActionKind.REPLACE_POD: f"Find out why its {resource} went wrong; it may come back.",
        ActionKind.CORDON_DRAIN_NODE: "Have the node repaired before it takes pods again.",
        ActionKind.SHIFT_TRAFFIC: "Traffic goes back by itself; the cause is still there.",
        ActionKind.SCALE_OUT: "Scale back when the demand is over.",
        ActionKind.LIMIT_ADMISSION: "The limit ends by itself; the cause is still there.",
        ActionKind.ROLLBACK: "Keep the change out of the next roll-out until it is mended.",
        ActionKind.UNDO: "",
    }
    kinds = dict.fromkeys(record.action.kind for record in reversed(helped))
    node = last.kind is ActionKind.CORDON_DRAIN_NODE
    return Step(
        title=f"Keep what was done: {done_title(last)}.",
        detail=" ".join(rest[kind] for kind in kinds if rest[kind]),
        commands=_look(last.target if node else cause.entity),
    )


def _look(entity: Entity) -> tuple[Command, ...]:
    """A command that shows more and changes nothing."""
    context = f"kubectl --context {entity.region}"
    text = {
        EntityKind.POD: f"{context} get events --field-selector involvedObject.name={entity.name}",
        EntityKind.NODE: f"{context} describe node {entity.name}",
        EntityKind.SERVICE: f"{context} rollout history deployment/{entity.name}",
        EntityKind.LINK: f"{context} get endpointslices -l "
        f"kubernetes.io/service-name={entity.name.partition('->')[2]}",
        EntityKind.WORKLOAD: f"{context} get hpa",
        EntityKind.REGISTRY: f"{context} get events --field-selector reason=Pulling",
        EntityKind.TELEMETRY: f"{context} get pods --all-namespaces -l app={entity.name}",
    }[entity.kind]
    return (Command(label="Look", text=text),)
