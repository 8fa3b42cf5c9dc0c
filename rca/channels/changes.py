"""Announced changes as candidates: close in time, in scope, and the service itself misbehaves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from rca.channels.case import Case, Finding
from rca.kinds import plain
from rca.state import ChangeEvent, ChangeKind, Entity, EntityKind, ResourceClass

CHANNEL = "change"
BEFORE_S = 900.0  # how long a change stays a candidate
AFTER_S = 30.0  # onsets are read from noisy rows: a change may seem to come a little later
MEMORY_S = 150.0
_CLASS = {
    ChangeKind.DEPLOY: ResourceClass.CODE,
    ChangeKind.CONFIG: ResourceClass.CONFIG_CHANGE,
    ChangeKind.FLAG: ResourceClass.CONFIG_CHANGE,
    ChangeKind.SCALE: ResourceClass.START_UP,
}


def change_findings(
    case: Case, changes: Sequence[ChangeEvent], misbehaves: Mapping[Entity, float]
) -> list[Finding]:
    """One finding per changed service.

    Args:
        misbehaves: service -> 0..1, how far its own numbers are off (own time, own errors, its
            calls, its pools). Nearness in time alone earns next to nothing: harmless changes
            are common.
    """
    found: dict[Entity, Finding] = {}
    for change in sorted(changes):
        since_s = case.onset_s - change.at_s
        if not -AFTER_S <= since_s <= BEFORE_S or change.at_s > case.now_s:
            continue
        entity = Entity(EntityKind.SERVICE, change.region, change.service)
        near = math.exp(-max(since_s, 0.0) / MEMORY_S)
        off = misbehaves.get(entity, 0.0)
        strength = near * (0.05 + 0.95 * off)
        if entity in found and found[entity].strength >= strength:
            continue
        when = f"{plain(abs(since_s))} s {'before' if since_s >= 0 else 'after'} the onset"
        revision = f" {change.revision_from} -> {change.revision_to}".rstrip(" ->")
        found[entity] = Finding(
            entity=entity,
            channel=CHANNEL,
            strength=strength,
            resource=_CLASS[change.kind],
            text=f"{change.kind}{revision}, {when}",
            specificity=0.55 if off > 0.2 else 0.1,
            onset_s=change.at_s,
        )
    return [found[entity] for entity in sorted(found)]
