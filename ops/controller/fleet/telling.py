"""A decision in the words of the log and of a Fleet's status. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from ops.proposals import best_first, is_allowed, is_proposal
from ops.state import Decision

PROPOSE = "propose"  # told in place of a refusal that is only the dry run's


def told(decision: Decision) -> tuple[str, str]:
    """Kind and reason: "propose", "would act: replace-pod pod:eu/llm-2: its GPU clock fell"."""
    action = decision.action
    if action is None or not is_proposal(decision):
        return str(decision.kind), decision.reason
    what = f"{action.kind} {action.target}"
    if not is_allowed(decision):
        return str(decision.kind), f"{what}: {decision.reason}"
    return PROPOSE, f"would act: {what}{f': {action.reason}' if action.reason else ''}"


def newest(decisions: Sequence[Decision]) -> Decision:
    """The last decision; of several proposals at the end the best, which comes first of them.

    Args:
        decisions: of one step, at least one.
    """
    proposals: list[Decision] = []
    for decision in reversed(decisions):
        if not is_proposal(decision) or decision.incident_id != decisions[-1].incident_id:
            break
        proposals.insert(0, decision)
    best = best_first(proposals, allowed=is_allowed, at=lambda one: one.at_s)
    return best[0] if best else decisions[-1]
