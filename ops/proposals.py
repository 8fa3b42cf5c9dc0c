"""Which of an incident's proposals comes first, and which were not judged. Pure.

Screen, page and status name the same next action because all of them ask here. Proposals are told
in the order of `ops.decide`: what mends a cause at one pod comes before what empties a whole node.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from ops.state import Decision, DecisionKind

T = TypeVar("T")
DRY_RUN = "dry run"  # the guard's reason where nothing else stands against an action
NO_FRESH_DATA = "no fresh data: "  # begins a reason that says nothing against the action itself


def is_proposal(decision: Decision) -> bool:
    """Whether it tells of an action that was not taken: recommended, or refused by the guard."""
    return decision.kind is DecisionKind.REFUSE and decision.action is not None


def is_allowed(decision: Decision) -> bool:
    """Whether nothing but the dry run stands against the action."""
    return is_proposal(decision) and decision.reason == DRY_RUN


def is_unjudged(reason: str) -> bool:
    """Whether the guard could not judge for want of data: nothing is known against the action."""
    return reason.startswith(NO_FRESH_DATA)


def best_first(
    items: Iterable[T], *, allowed: Callable[[T], bool], at: Callable[[T], Any]
) -> list[T]:
    """What the guard allows, as proposed; then what it refuses, of the newest moment first.

    Args:
        items: in the order of proposal.
        at: when it was judged.
    """
    kept = list(items)
    refused = sorted((one for one in kept if not allowed(one)), key=at, reverse=True)
    return [one for one in kept if allowed(one)] + refused


def as_judged(decisions: Sequence[Decision]) -> list[Decision]:
    """The last judgement of each proposed action, best first.

    An outage of the data takes back no judgement that was made before it.
    """
    found: dict[tuple[str, str], Decision] = {}
    for decision in filter(is_proposal, decisions):
        assert decision.action is not None
        key = (str(decision.action.kind), str(decision.action.target))
        if key not in found or not is_unjudged(decision.reason) or is_unjudged(found[key].reason):
            found[key] = decision
    return best_first(found.values(), allowed=is_allowed, at=lambda one: one.at_s)
