"""Spread of an incident: from the cause along the diagnosis' arcs to the lanes that suffer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ops.reports import sentence, words
from ops.reports.build_evidence import Measured, name_of
from ops.reports.parts import (
    Change,
    Lane,
)
from ops.reports.parts_spread import SpreadArc, SpreadNode, SpreadRole
from ops.state import Incident
from rca.state import Entity, EntityKind, RankedCause

_ARC_WEIGHT_MIN = 0.03
_NODES_MAX = 12
_SAME_S = 10.0  # two scrapes: what is seen so little after the first miss moved with it
_STEPS_MAX = 6  # from the cause to the farthest victim


def cause_onset_s(cause: RankedCause, incident: Incident, measured: Measured | None) -> float:
    """When the cause began to differ: what its series say first, else the users' own onset."""
    onset_s = incident.began_at_s if cause.onset_s is None else cause.onset_s
    own_s = measured.onset_of(cause.entity) if measured else None
    return onset_s if own_s is None else min(onset_s, own_s)  # some metrics are collected late


def spread_of(
    incident: Incident,
    cause: RankedCause | None,
    changes: Sequence[Change],
    lanes: Sequence[Lane],
    measured: Measured | None,
    *,
    first_miss_s: float,
) -> tuple[tuple[SpreadNode, ...], tuple[SpreadArc, ...]]:
    """From the cause along the arcs of the diagnosis to the lanes that missed their SLO."""
    result = incident.result
    if cause is None or result is None:
        return (), ()
    zero_s = cause_onset_s(cause, incident, measured)
    reached: dict[Entity, float] = {cause.entity: zero_s}
    arcs: list[SpreadArc] = []
    strong = sorted(
        (a for a in result.arcs if a.weight >= _ARC_WEIGHT_MIN),
        key=lambda a: (-a.weight, str(a.cause), str(a.effect)),
    )
    for _ in range(_STEPS_MAX):
        for arc in strong:
            if arc.cause not in reached or arc.effect in reached or len(reached) >= _NODES_MAX:
                continue
            onset_s = measured.onset_of(arc.effect) if measured else None
            known_s = incident.began_at_s if onset_s is None else onset_s
            if 0.0 < known_s - first_miss_s <= _SAME_S:
                known_s = first_miss_s
            reached[arc.effect] = max(known_s, reached[arc.cause])
            text = arc.text or "moved after"
            arcs.append(
                SpreadArc(
                    cause=str(arc.cause),
                    effect=str(arc.effect),
                    text=f"{words.capital(text)} {name_of(arc.cause)}: weight {arc.weight:.2f}.",
                )
            )
    nodes = [
        SpreadNode(
            key=str(entity),
            name=name_of(entity),
            role=SpreadRole.CAUSE if entity == cause.entity else SpreadRole.VICTIM,
            onset_s=onset_s,
            detail=sentence.RESOURCE_NOUNS[cause.resource_class]
            if entity == cause.entity
            else str(entity.kind),
        )
        for entity, onset_s in reached.items()
    ]
    _add_changes(nodes, arcs, cause, changes)
    _add_misses(nodes, arcs, cause, reached, lanes, first_miss_s)
    return tuple(nodes), tuple(arcs)


def _add_changes(
    nodes: list[SpreadNode], arcs: list[SpreadArc], cause: RankedCause, changes: Sequence[Change]
) -> None:
    for change in changes:
        if change.suspect:
            key = f"change/{change.at_s}/{change.title}"
            nodes.append(
                SpreadNode(
                    key=key, name=change.title, role=SpreadRole.CHANGE, onset_s=change.at_s
                )
            )  # fmt: skip
            arcs.append(
                SpreadArc(
                    cause=key,
                    effect=str(cause.entity),
                    text=f"{words.capital(change.why)}.",
                    measured=False,
                )
            )


def _add_misses(
    nodes: list[SpreadNode],
    arcs: list[SpreadArc],
    cause: RankedCause,
    reached: Mapping[Entity, float],
    lanes: Sequence[Lane],
    first_miss_s: float,
) -> None:
    """The lanes that suffer hang at the last thing on the cause's way to them that moved."""
    way = (cause.entity, *map(Entity.parse, cause.path))
    hangs_at = next(e for e in reversed(way) if e in reached)
    # Users talk to the last service, whether or not it moved.
    door = next((e for e in reversed(way) if e.kind is EntityKind.SERVICE), None)
    moved_s = reached[hangs_at]
    for lane in lanes:
        bad = [
            lane.start_s + 60.0 * k
            for k, ratio in enumerate(lane.bad_with)
            if ratio > lane.budget_ratio and lane.start_s + 60.0 * (k + 1) > moved_s
        ]
        if bad and lane.region == hangs_at.region:
            key = f"lane/{lane.region}/{lane.slo_class}"
            nodes.append(
                SpreadNode(
                    key=key,
                    name=sentence.lane_name(lane),
                    role=SpreadRole.SLO_MISS,
                    onset_s=max(min(bad), moved_s, first_miss_s),
                )
            )
            text = f"Served through {name_of(door)}." if door else ""
            arcs.append(SpreadArc(cause=str(hangs_at), effect=key, text=text))
