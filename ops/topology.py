"""Topology from what was scraped and watched: who calls whom, who runs where, what is related."""

from __future__ import annotations

from collections.abc import Iterable

from ops.state import PodRecord
from rca.state import Entity, EntityKind, MetricFrame, Topology


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


def related(a: Entity, b: Entity, topology: Topology) -> bool:
    """Whether two accusations can be the same cause: equal, or one is a part of the other.

    Pods of one service are: the sibling often shows what a common cause does. Pods that only
    share a node are not, unless the node itself is accused.
    """
    if a == b or (a.kind is EntityKind.WORKLOAD and b.kind is EntityKind.WORKLOAD):
        return True  # a wave of users reaches several regions at once
    if a.region != b.region:
        return False
    if EntityKind.NODE in (a.kind, b.kind):
        return _node_of(a, topology) == _node_of(b, topology) != ""
    return bool(_services_of(a, topology) & _services_of(b, topology))


def _node_of(entity: Entity, topology: Topology) -> str:
    if entity.kind is EntityKind.NODE:
        return entity.name
    return topology.pods.get(entity.name, ("", "", ""))[2]


def _services_of(entity: Entity, topology: Topology) -> set[str]:
    if entity.kind is EntityKind.POD:
        names = {topology.pods.get(entity.name, ("", "", ""))[1]}
    elif entity.kind is EntityKind.LINK:
        names = set(entity.name.partition("->")[::2])
    else:
        names = {entity.name} if entity.kind is EntityKind.SERVICE else set()
    return names - {""}
