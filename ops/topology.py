"""Topology from what was scraped and watched: who calls whom, who runs where, what is related."""

from __future__ import annotations

from collections.abc import Iterable

from ops.state import PodRecord
from rca.state import (
    Entity,
    EntityKind,
    MetricFrame,
    RankedCause,
    RcaResult,
    ResourceClass,
    Topology,
)

# What a caller shows where a callee fails: errors and slow calls, connections that are held
# longer, calls that are made again. What else can be wrong is its own: a clock, a leak, a change.
CARRIED = frozenset(
    {ResourceClass.CODE, ResourceClass.NETWORK, ResourceClass.POOL, ResourceClass.LOAD,
     ResourceClass.UNKNOWN}
)  # fmt: skip


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


def explains(
    cause: Entity, other: RankedCause, topology: Topology, answers: Iterable[RcaResult]
) -> bool:
    """Whether trouble at `cause` would look like `other`: failures travel from callees to callers.

    The two are then one causal component. Of a link its callee's end counts, for a callee that
    is gone is told of the calls to it.

    Args:
        answers: diagnoses, whose arcs and links tell of calls that the topology lacks: a loop
            that reads of metrics only what users get knows no calls itself.
    """
    entity = other.entity
    if cause.region != entity.region or other.resource_class not in CARRIED:
        return False
    reached = _first_hit(cause, topology)
    todo, callers = list(reached), _callers(cause.region, topology, answers)
    while todo:
        fresh = callers.get(todo.pop(), set()) - reached
        reached |= fresh
        todo += fresh
    if entity.kind is EntityKind.LINK:
        return entity.name.partition("->")[2] in reached
    return entity.kind is not EntityKind.NODE and bool(_services_of(entity, topology) & reached)


def _first_hit(cause: Entity, topology: Topology) -> set[str]:
    """Services in which trouble at `cause` shows first."""
    if cause.kind is EntityKind.NODE:
        return {
            service
            for region, service, node in topology.pods.values()
            if node == cause.name and region == cause.region and service
        }
    if cause.kind is EntityKind.LINK:
        return {cause.name.partition("->")[0]}
    return _services_of(cause, topology)


def _callers(region: str, topology: Topology, answers: Iterable[RcaResult]) -> dict[str, set[str]]:
    """Callee -> callers in a region, as far as anybody has told."""
    calls = {
        (caller, callee)
        for (where, caller), callees in topology.calls.items()
        for callee in callees
        if where == region
    }
    for answer in answers:
        for arc in answer.arcs:
            ends = (arc.effect, arc.cause)
            if all(one.kind is EntityKind.SERVICE and one.region == region for one in ends):
                calls.add((arc.effect.name, arc.cause.name))
        for told in answer.causes:
            if told.entity.kind is EntityKind.LINK and told.entity.region == region:
                caller, _, callee = told.entity.name.partition("->")
                calls.add((caller, callee))
    found: dict[str, set[str]] = {}
    for caller, callee in calls:
        found.setdefault(callee, set()).add(caller)
    return found


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
