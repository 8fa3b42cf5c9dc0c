"""What the loop said of one fault, against the truth. Only scores read the truth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from ops.replay.faults import Truth
from ops.replay.run import WorldRecord, incidents_of
from ops.replay.score import AFTER_S
from ops.state import ActionKind, Decision, DecisionKind
from rca.state import RankedCause

Row = dict[str, Any]


def verdict(world: WorldRecord, truth: Truth) -> Row:
    """Place of the truth in the first verdict after the fault began, class, times, outcomes.

    A fault without any verdict has rank 0. UNDO actions are no remedies and are not counted.
    """
    right = {truth.entity} | truth.alternatives
    if truth.abstain:
        return _verdict_of_gap(world.decisions, truth)
    incident = next(
        (
            i for i in incidents_of(world.decisions)
            if i.detected_at_s >= truth.began_at_s - 5.0
            and i.detected_at_s <= truth.ended_at_s + AFTER_S and i.result is not None
        ),
        None,
    )  # fmt: skip
    outcomes = Counter(
        str(a.verdict)
        for i in incidents_of(world.decisions)
        for a in i.actions
        if a.action.kind is not ActionKind.UNDO
    )
    if incident is None or incident.result is None:
        return {"rank": 0, "class_right": False, "named": "", "confidence": 0.0,
                "diagnosed_at_s": None, "detected_at_s": None, "abstained": True,
                "outcomes": dict(outcomes), "ranking": []}  # fmt: skip
    first = _first_result(world.decisions, incident.incident_id) or incident.result.causes
    rank = next((k for k, c in enumerate(first, 1) if c.entity in right), 0)
    top = first[0] if first else None
    return {
        "rank": rank,
        "class_right": bool(top and rank == 1 and top.resource_class in truth.resource_classes),
        "named": str(top.entity) if top else "",
        "named_class": str(top.resource_class) if top else "",
        "confidence": round(top.confidence, 4) if top else 0.0,
        "detected_at_s": incident.detected_at_s,
        "diagnosed_at_s": incident.diagnosed_at_s,
        "abstained": incident.diagnosed_at_s is None,
        "outcomes": dict(sorted(outcomes.items())),
        "ranking": [[str(c.entity), str(c.resource_class), round(c.score, 3)] for c in first[:5]],
    }


def _first_result(
    decisions: Sequence[Decision], incident_id: str
) -> tuple[RankedCause, ...] | None:
    """Ranking at the first verdict of an incident: what the on-call engineer reads."""
    for decision in decisions:
        if decision.incident_id == incident_id and decision.kind in (
            DecisionKind.DIAGNOSE, DecisionKind.ABSTAIN,
        ):  # fmt: skip
            result = decision.incident.result if decision.incident else None
            return result.causes if result else None
    return None


def _verdict_of_gap(decisions: Sequence[Decision], truth: Truth) -> Row:
    """A gap is answered right by an abstention that names it while nobody is accused."""
    noted = next(
        (
            d for d in decisions
            if d.kind is DecisionKind.ABSTAIN and d.incident is None
            and d.at_s >= truth.began_at_s
        ),
        None,
    )  # fmt: skip
    accused = [d for d in decisions if d.kind is DecisionKind.DIAGNOSE]
    named = noted.details.get("entity") if noted else None
    right = named == truth.entity and not accused
    return {
        "rank": int(right), "class_right": right, "named": str(named or ""), "confidence": 0.0,
        "diagnosed_at_s": noted.at_s if noted else None,
        "detected_at_s": noted.at_s if noted else None,
        "abstained": True, "outcomes": {}, "ranking": [],
    }  # fmt: skip
