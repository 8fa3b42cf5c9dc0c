"""What is true now, from an incident's decisions."""

from __future__ import annotations

from collections.abc import Sequence

from ops.reports import sentence, words
from ops.reports.build_story import done_title, taken_back
from ops.state import (
    ActionKind,
    ActionRecord,
    Decision,
    Incident,
    IncidentPhase,
    Verdict,
)
from rca.state import RankedCause

WELL = (IncidentPhase.MITIGATED, IncidentPhase.RESOLVED)
# What goes on acting after it was done; a restarted pod is over with its restart.
LASTING = frozenset(
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
    acting = standing(incident, decisions)
    lasting = [r for r in acting if r.action.kind in LASTING]
    if incident.phase not in WELL:
        return _now_of_suffering(acting, cause)
    fault, masks = _fault(acting, lasting, cause, usual=usual)
    others = [r for r in lasting if r not in masks]
    if others:
        fault += f" Still in force: {_list(others)}."
    return f"Users are well. {fault}"


def _fault(
    acting: Sequence[ActionRecord],
    lasting: Sequence[ActionRecord],
    cause: RankedCause | None,
    *,
    usual: bool | None,
) -> tuple[str, Sequence[ActionRecord]]:
    """What became of the fault, and the actions in force that the sentence names."""
    helped = [r for r in acting if r.verdict is Verdict.EFFECTIVE]
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


def _now_of_suffering(acting: Sequence[ActionRecord], cause: RankedCause | None) -> str:
    if cause is None:
        return "Users are not well and no cause is named. A person must look."
    if any(r.verdict is Verdict.PENDING for r in acting):
        return (
            "Users are not well yet. The check of what was done is still to come; "
            "a person must look if it fails."
        )
    if any(r.verdict is Verdict.EFFECTIVE for r in acting):
        return "Users are better and not well yet. A person should look."
    return "The fault is still there. A person must look."


def standing(incident: Incident, decisions: Sequence[Decision]) -> list[ActionRecord]:
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
    return words.listed([in_force(r) for r in records])


def in_force(record: ActionRecord) -> str:
    """What an action that goes on acting is called: "2 extra instances of db in west"."""
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
