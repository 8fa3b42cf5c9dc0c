"""What else was suspected, and why it was not named."""

from __future__ import annotations

from ops.reports import words
from ops.reports.build_findings import told
from ops.reports.parts import Candidate
from rca.state import ChangeEvent, Entity, EntityKind, RankedCause, RcaResult, ResourceClass

_CANDIDATES_MAX = 8
_CONFIDENCE_MIN = 0.005  # less is shown as 0.00, which tells nobody anything
_SAME = "the same story: its change was rolled back with effect"
_WAY = "On the way to the users"


def candidates_of(
    result: RcaResult | None, *, named: bool, region: str, back: ChangeEvent | None
) -> tuple[Candidate, ...]:
    """Best first; those of another region after all others.

    Args:
        back: a change that was rolled back with effect; its service is no other explanation.
    """
    if result is None:
        return ()
    out = {entity: told(why) for entity, why in result.ruled_out}
    if back is not None:
        same = Entity(EntityKind.SERVICE, back.region, back.service)
        out[same] = _SAME
    rest = result.causes[1:] if named else result.causes
    found = [
        Candidate(
            entity=c.entity,
            resource_class=c.resource_class,
            confidence=c.confidence,
            suspected=_suspected(c),
            ruled_out=out.get(c.entity, ""),
        )
        for c in rest[:_CANDIDATES_MAX]
        if c.confidence >= _CONFIDENCE_MIN or c.entity in out
    ]
    ranked = {c.entity for c in result.causes}
    found += [
        Candidate(
            entity=entity,
            resource_class=_class_of(entity),
            suspected=_why_checked(entity, region),
            ruled_out=_ruled_out(entity, why),
        )
        for entity, why in out.items()
        if entity not in ranked and why != _SAME
    ]
    return tuple(sorted(found, key=lambda c: c.entity.region != region))


def _why_checked(entity: Entity, region: str) -> str:
    if entity.kind is EntityKind.WORKLOAD:
        return "Always checked"
    return _WAY if entity.region == region else "Moved or changed at about that time"


def _ruled_out(entity: Entity, why: str) -> str:
    """Why something of which only a measurement is known is not the cause."""
    tail = ": no rise that explains this" if entity.kind is EntityKind.WORKLOAD else ""
    return words.capital(why) + tail


def _suspected(cause: RankedCause) -> str:
    texts = [e.text for e in cause.evidence if e.strength > 0 and e.channel != "graph"]
    return words.capital(told(texts[0])) if texts else _WAY


def _class_of(entity: Entity) -> ResourceClass:
    traffic = entity.kind is EntityKind.WORKLOAD
    return ResourceClass.LOAD if traffic else ResourceClass.UNKNOWN
