"""Topology from what was scraped and watched: who calls whom, who runs where, where users enter."""

from __future__ import annotations

from collections.abc import Iterable

from ops.state import PodRecord
from rca.state import EntityKind, MetricFrame, Topology


def discover(frame: MetricFrame, pods: Iterable[PodRecord]) -> Topology:
    """Topology of the frame's window; pods that are gone are known from their series' labels."""
    calls: dict[tuple[str, str], set[str]] = {}
    entries: set[tuple[str, str]] = set()
    placed: dict[str, tuple[str, str, str]] = {}
    for role, series in zip(frame.roles, frame.series, strict=True):
        if role is None:
            continue
        entity = role.entity
        if entity.kind is EntityKind.LINK:
            caller, _, callee = entity.name.partition("->")
            calls.setdefault((entity.region, caller), set()).add(callee)
        elif entity.kind is EntityKind.POD and entity.name not in placed:
            placed[entity.name] = (entity.region, series.label("service"), series.label("node"))
        elif entity.kind is EntityKind.SERVICE and role.role.startswith("frontend_"):
            entries.add((entity.region, entity.name))
    placed.update({pod.name: (pod.region, pod.service, pod.node) for pod in pods})
    return Topology(
        calls={caller: tuple(sorted(callees)) for caller, callees in sorted(calls.items())},
        pods=dict(sorted(placed.items())),
        entries=tuple(sorted(entries)),
    )
