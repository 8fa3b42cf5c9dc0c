"""Pods that are being started: by which roll-out, and whether their images come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from rca.align import Aligned
from rca.state import ChangeEvent, ChangeKind, ClusterEvent, EntityKind

CHANGED_S = 900.0  # how long a roll-out explains the age of the pods it started
PULL_S, PULL_FACTOR = 10.0, 3.0  # a pull is overdue beyond this, and beyond what pulls took


def started_by_rollouts(
    aligned: Aligned,
    places: Mapping[str, tuple[str, str, str]],
    announced: Sequence[ChangeEvent],
    events: Sequence[ClusterEvent],
    now_s: float,
) -> frozenset[str]:
    """Pods whose first sign of life follows a roll-out of their service."""
    since: dict[tuple[str, str], float] = {}
    for change in sorted(announced):
        if change.kind is not ChangeKind.SCALE and now_s - CHANGED_S <= change.at_s <= now_s:
            since[(change.region, change.service)] = change.at_s
    if not since:
        return frozenset()
    first: dict[str, float] = {}
    for event in sorted(events):
        if event.entity.kind is EntityKind.POD and event.at_s <= now_s:
            first.setdefault(event.entity.name, event.at_s)
    suspects = {pod for pod, place in places.items() if place[:2] in since}
    columns = [
        c
        for c, role in enumerate(aligned.roles)
        if role.entity.kind is EntityKind.POD and role.entity.name in suspects
    ]
    rows = np.isfinite(aligned.levels[:, columns])
    begins = np.where(rows.any(axis=0), rows.argmax(axis=0), len(rows) - 1)
    for column, row in zip(columns, begins.tolist(), strict=True):
        pod, at_s = aligned.roles[column].entity.name, float(aligned.times_s[row])
        first[pod] = min(first.get(pod, at_s), at_s)
    # A counter's first rate needs two scrapes, so signs lag; none comes before the pod exists.
    return frozenset(pod for pod in suspects if first.get(pod, -np.inf) >= since[places[pod][:2]])


def overdue_pulls(
    events: Sequence[ClusterEvent], *, onset_s: float, now_s: float
) -> frozenset[str]:
    """Pods whose image pull lasts longer than pulls took before the onset."""
    since: dict[str, float] = {}
    took = [0.0]
    for event in sorted(events):
        if event.at_s > now_s:
            break
        if event.reason == "Pulling":
            since.setdefault(event.entity.name, event.at_s)
        elif event.reason in ("Pulled", "Started"):
            began_s = since.pop(event.entity.name, None)
            if began_s is not None and event.at_s < onset_s:
                took.append(event.at_s - began_s)
    overdue_s = max(PULL_S, PULL_FACTOR * float(np.median(took)))
    return frozenset(pod for pod, began_s in since.items() if now_s - began_s > overdue_s)
