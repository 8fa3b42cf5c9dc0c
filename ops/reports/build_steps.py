"""What is true now and what a person should do next, from an incident's decisions."""

from __future__ import annotations

from collections.abc import Sequence

from ops.reports import sentence, words
from ops.reports.build_story import done_title, taken_back
from ops.reports.looks import look
from ops.reports.parts import Command, Step
from ops.state import (
    ActionKind,
    ActionRecord,
    Decision,
    DecisionKind,
    Incident,
    IncidentPhase,
    Verdict,
)
from rca.state import EntityKind, RankedCause

_WELL = (IncidentPhase.MITIGATED, IncidentPhase.RESOLVED)
# What goes on acting after it was done; a restarted pod is over with its restart.
_LASTING = frozenset(
    {
        ActionKind.CORDON_DRAIN_NODE,
        ActionKind.SHIFT_TRAFFIC,
        ActionKind.SCALE_OUT,
        ActionKind.LIMIT_ADMISSION,
        ActionKind.ROLLBACK,
    }
)
_REMEDIES_ONCE = frozenset({ActionKind.RESTART_POD, ActionKind.REPLACE_POD})


def now_of(
    incident: Incident,
    decisions: Sequence[Decision],
    cause: RankedCause | None,
    *,
    usual: bool | None,
) -> str:
    """What holds at the end of the record and whether a person is needed, in short sentences.

    Args:
        usual: the cause's own measurements are back in their normal band; None = not known.
    """
    standing = _standing(incident, decisions)
    lasting = [r for r in standing if r.action.kind in _LASTING]
    if incident.phase not in _WELL:
        return _now_of_suffering(standing, cause)
    fault, masks = _fault(standing, lasting, cause, usual=usual)
    others = [r for r in lasting if r not in masks]
    if others:
        fault += f" Still in force: {_list(others)}."
    todo = (
        "Nothing to do before the morning."
        if incident.phase is IncidentPhase.RESOLVED
        else "Nothing to do now; midwatch goes on watching."
    )
    return f"Users are well. {fault} {todo}"


def _fault(
    standing: Sequence[ActionRecord],
    lasting: Sequence[ActionRecord],
    cause: RankedCause | None,
    *,
    usual: bool | None,
) -> tuple[str, Sequence[ActionRecord]]:
    """What became of the fault, and the actions in force that the sentence names."""
    helped = [r for r in standing if r.verdict is Verdict.EFFECTIVE]
    effective = [r for r in lasting if r in helped]
    once = [r for r in helped if r.action.kind in _REMEDIES_ONCE]
    rollback = any(r.action.kind is ActionKind.ROLLBACK for r in effective)
    if effective and (rollback or not usual):
        return f"The fault is masked by what is still in force: {_list(effective)}.", effective
    if cause is None:
        return "What made them suffer is not known.", ()
    if usual:
        return "The fault is gone: what was measured at the cause is usual again.", ()
    if once:
        return f"The fault is gone since midwatch {done_title(once[-1].action)}.", ()
    if usual is None:
        return "Whether the fault is gone is not known.", ()
    if lasting:
        named = _list(lasting)
        return f"The cause is still there, perhaps masked by what is still in force: {named}.", (
            lasting
        )
    return "The cause is still there: it still differs from its usual.", ()


def _now_of_suffering(standing: Sequence[ActionRecord], cause: RankedCause | None) -> str:
    if cause is None:
        return "Users are not well and no cause is named. A person must look."
    if any(r.verdict is Verdict.PENDING for r in standing):
        return (
            "Users are not well yet. The check of what was done is still to come; "
            "a person must look if it fails."
        )
    if any(r.verdict is Verdict.EFFECTIVE for r in standing):
        return "Users are better and not well yet. A person should look."
    return "The fault is still there. A person must look."


def _standing(incident: Incident, decisions: Sequence[Decision]) -> list[ActionRecord]:
    """Actions that were done and not taken back."""
    back = taken_back(decisions)
    return [
        r
        for r in incident.actions
        if r.action.kind is not ActionKind.UNDO
        and r.verdict is not Verdict.BLOCKED
        and r.action.action_id not in back
    ]


def _list(records: Sequence[ActionRecord]) -> str:
    return words.listed([_in_force(r) for r in records])


def _in_force(record: ActionRecord) -> str:
    action = record.action
    where = sentence.entity_noun(action.target)
    match action.kind:
        case ActionKind.ROLLBACK:
            return f"the rollback of {where} to {action.params['to_revision']}"
        case ActionKind.SCALE_OUT:
            added = int(float(action.params["add"]))
            return f"{words.count(added, 'extra instance')} of {where}"
        case ActionKind.SHIFT_TRAFFIC:
            share = words.percent(float(action.params["share"]))
            return f"{share} of the users of {action.target.region} at {action.params['to_region']}"
        case ActionKind.LIMIT_ADMISSION:
            ratio = words.percent(float(action.params["ratio"]))
            return f"the limit that admits {ratio} of the requests of {action.target.region}"
        case _:
            return f"{where} kept out of service"


def next_step_of(
    incident: Incident,
    decisions: Sequence[Decision],
    cause: RankedCause | None,
    *,
    usual: bool | None = None,
) -> Step:
    """What a person should do, given what was done already.

    Args:
        usual: the cause's own measurements are back in their normal band; None = not known.
    """
    if cause is None:
        return _step_of_abstention(incident)
    done = [r for r in incident.actions if r.action.kind is not ActionKind.UNDO]
    standing = _standing(incident, decisions)
    effective = [r for r in done if r.verdict is Verdict.EFFECTIVE]
    helped = [r for r in standing if r.verdict is Verdict.EFFECTIVE]
    pending = [r for r in done if r.verdict is Verdict.PENDING]
    extra = " ".join(_of_extra(r, usual) for r in standing if r not in helped).strip()
    if helped:
        return _step_after(helped, cause, usual)
    if effective:
        back = f"What helped was taken back: {done_title(effective[-1].action)}."
        return Step(title=_find_out(cause), detail=back, commands=look(cause))
    if pending:
        return Step(
            title=f"Wait for the check of what was done: {done_title(pending[-1].action)}.",
            detail="Its outcome is not known yet.",
            commands=look(cause),
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
    if incident.phase in _WELL:
        detail = "Users are well again; no check saw an effect of what was done."
        return Step(
            title=_find_out(cause), detail=f"{detail} {extra}".strip(), commands=look(cause)
        )
    tried = "Nothing that was done helped" if incident.actions else "No action fits this cause"
    return Step(
        title=f"Look at {sentence.entity_noun(cause.entity)}.",
        detail=f"{tried}; a person must decide. {extra}".strip(),
        commands=look(cause),
    )


def _find_out(cause: RankedCause) -> str:
    if cause.entity.kind is EntityKind.WORKLOAD:
        return "Find out who sends it: the entry's access logs by client."
    noun = sentence.entity_noun(cause.entity)
    verb = sentence.verb_of(cause.entity.kind, cause.resource_class)
    return f"Find out why {noun} {verb}; it may come back."


def _of_extra(record: ActionRecord, usual: bool | None) -> str:
    """Extra instances that were not seen to help go on running and cost money."""
    if record.action.kind is not ActionKind.SCALE_OUT:
        return ""
    when = (
        "take them back in the morning, the demand is usual again"
        if usual
        else "take them back when the demand is usual again"
    )
    return f"{words.capital(_in_force(record))} still run: {when}."


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
        commands=look(likeliest),
    )


def _step_after(helped: Sequence[ActionRecord], cause: RankedCause, usual: bool | None) -> Step:
    """What remains to be done after actions that helped."""
    last = helped[-1].action
    verb = sentence.verb_of(EntityKind.POD, cause.resource_class)
    rest = {
        ActionKind.RESTART_POD: f"Find out why it {verb}; it may come back.",
        ActionKind.REPLACE_POD: f"Find out why it {verb}; it may come back.",
        ActionKind.CORDON_DRAIN_NODE: "Have the node repaired before it takes pods again.",
        ActionKind.SHIFT_TRAFFIC: "Traffic goes back by itself; the cause must still be found.",
        ActionKind.LIMIT_ADMISSION: "The limit ends by itself; the cause must still be found.",
        ActionKind.ROLLBACK: "Keep the change out of the next roll-out until it is mended.",
    }
    rest[ActionKind.SCALE_OUT] = " ".join(
        _of_extra(r, usual) for r in helped if r.action.kind is ActionKind.SCALE_OUT
    )
    if cause.entity.kind is EntityKind.WORKLOAD:
        rest[ActionKind.SCALE_OUT] += f" {_find_out(cause)}"
    kinds = dict.fromkeys(record.action.kind for record in reversed(helped))
    node = last.kind is ActionKind.CORDON_DRAIN_NODE
    return Step(
        title=f"Keep what was done: {done_title(last)}.",
        detail=" ".join(rest[kind] for kind in kinds).strip(),
        commands=look(cause, entity=last.target if node else None),
    )
