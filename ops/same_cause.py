"""One causal component is one incident: what an answer names beside a cause that is known."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ops.pipeline_state import Case, Turn
from ops.state import DecisionKind
from ops.topology import explains, related
from rca.state import RankedCause, RcaResult


def holder_of(turn: Turn, cases: Iterable[Case], result: RcaResult) -> Case | None:
    """The case to whose causal component the first candidate of an answer belongs; oldest first.

    Either they are the same, or one makes the other look ill: what a lost callee does to its
    callers is no second cause, however sure a diagnosis of the callers alone would be.
    """
    named = [case for case in cases if case.cause is not None]
    for one_of in (_same, _suffers, _makes_suffer):
        for case in named:
            if one_of(turn, case, result):
                return case
    return None


def note_suspect(turn: Turn, case: Case, result: RcaResult) -> Case:
    """Say once of every other suspect what becomes of it.

    One that the named cause would make look ill changes nothing. One that would make the named
    cause look ill may be the cause of both: the incident's own symptom is looked at once more,
    and the suspect is named where that answer is surer than the first was.
    """
    first, known = result.causes[0], _named(case)
    if known is None or first.entity in (known.entity, *case.suspects):
        return case
    case = replace(case, suspects=(*case.suspects, first.entity))
    why = "is the same trouble"
    if not _same(turn, case, result):
        why = "suffers from it"
        if not _suffers(turn, case, result):
            why = "may make it suffer; it is looked at once more"
            case = replace(
                case, revise=True, revise_above=known.confidence, next_diagnosis_at_s=turn.now_s
            )
    turn.say(
        DecisionKind.NOTE,
        f"the cause is still {known.entity}: {first.entity} {first.resource_class}, confidence "
        f"{first.confidence:.2f}, {why}",
        incident=case.incident,
    )
    return turn.put(case)


def _named(case: Case) -> RankedCause | None:
    result = case.incident.result
    return result.causes[0] if case.cause is not None and result is not None else None


def _same(turn: Turn, case: Case, result: RcaResult) -> bool:
    cause = case.cause
    return cause is not None and related(result.causes[0].entity, cause, turn.topology)


def _suffers(turn: Turn, case: Case, result: RcaResult) -> bool:
    """Whether the named cause would make the answer's first candidate look as it does."""
    cause, own = case.cause, case.incident.result
    if cause is None or own is None:
        return False
    return explains(cause, result.causes[0], turn.topology, (own, result))


def _makes_suffer(turn: Turn, case: Case, result: RcaResult) -> bool:
    """The other way round."""
    known, own = _named(case), case.incident.result
    if known is None or own is None:
        return False
    return explains(result.causes[0].entity, known, turn.topology, (own, result))
