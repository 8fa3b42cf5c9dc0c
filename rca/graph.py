"""Effect -> cause arcs between entities, from calls, places and Granger links; paths to users.

Also Granger matrices of series without their cycles.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping, Sequence

import networkx as nx
import numpy as np
from scipy.sparse.csgraph import connected_components

from rca.channels.case import Case, link_ends
from rca.channels.red import RedTree
from rca.state import Entity, EntityKind, FloatArray

CALL_WEIGHT = 1.0
PART_WEIGHT = 1.0  # a pod of its service, a node of its pods, a link of its caller


def causal_graph(case: Case, tree: RedTree, named: Collection[Entity]) -> nx.DiGraph:
    """Arcs effect -> cause (the direction in which blame walks), `weight` on each arc.

    A caller's trouble may come from its callees and links, a service's from its pods, a pod's
    from its node. No self-arcs.

    Args:
        named: entities with evidence; of pods, nodes and the rest only these are drawn.
    """
    graph: nx.DiGraph = nx.DiGraph()
    region = case.symptom.region
    for (where, caller), callees in sorted(tree.callees.items()):
        if where != region:
            continue
        for callee in callees:
            above = Entity(EntityKind.SERVICE, region, caller)
            below = Entity(EntityKind.SERVICE, region, callee)
            link = Entity(EntityKind.LINK, region, f"{caller}->{callee}")
            _arc(graph, above, below, CALL_WEIGHT)
            if link in named:
                _arc(graph, above, link, PART_WEIGHT)
    for entity in sorted(named):
        if entity.region != region:
            continue
        if entity.kind is EntityKind.POD:
            _, service, node = case.pod_place.get(entity.name, ("", "", ""))
            if service:
                _arc(graph, Entity(EntityKind.SERVICE, region, service), entity, PART_WEIGHT)
            host = Entity(EntityKind.NODE, region, node)
            if host in named:
                _arc(graph, entity, host, PART_WEIGHT)
        elif entity.kind is EntityKind.WORKLOAD:
            for where, service in sorted(tree.inbound):
                if where == region:
                    _arc(graph, Entity(EntityKind.SERVICE, region, service), entity, PART_WEIGHT)
        elif entity.kind is EntityKind.REGISTRY:
            for other in sorted(named):
                if other.kind is EntityKind.POD and other.region == region:
                    _arc(graph, other, entity, PART_WEIGHT)
    return graph


def add_links(graph: nx.DiGraph, links: Mapping[tuple[Entity, Entity], float]) -> None:
    """Add Granger links (cause, effect) -> strength to the arcs that the graph has or lacks."""
    for (cause, effect), strength in sorted(links.items()):
        _arc(graph, effect, cause, strength)


def _arc(graph: nx.DiGraph, effect: Entity, cause: Entity, weight: float) -> None:
    if effect == cause:
        return
    known = graph.get_edge_data(effect, cause)
    graph.add_edge(effect, cause, weight=weight + (known["weight"] if known else 0.0))


def without_cycles(granger: FloatArray, names: Sequence[str]) -> FloatArray:
    """Cut the weakest arc of a cycle, by absolute strength, until none is left; for drawings.

    An arc that lies on no cycle is never cut. Self-arcs are dropped first: they are no causes.

    Args:
        granger: granger[i, j] = effect of series j on series i, shape [K, K].
        names: of the series; they break ties, places of columns never do.
    """
    left = granger.astype(float, copy=True)
    np.fill_diagonal(left, 0.0)
    while True:
        _, part = connected_components(left != 0.0, directed=True, connection="strong")
        # Both ends in one strong component: there is a way back, so the arc closes a cycle.
        cyclic = np.argwhere((left != 0.0) & (part[:, None] == part[None, :]))
        if len(cyclic) == 0:
            return left
        i, j = min(cyclic.tolist(), key=lambda a: (abs(left[a[0], a[1]]), names[a[0]], names[a[1]]))
        left[i, j] = 0.0


def path_to_users(
    case: Case, tree: RedTree, entity: Entity, entries: Collection[str]
) -> tuple[str, ...]:
    """Entities from a cause to the service that users call, along the shortest chain of callers."""
    region = case.symptom.region
    start: list[Entity] = [entity]
    if entity.kind is EntityKind.POD:
        service = case.pod_place.get(entity.name, ("", "", ""))[1]
    elif entity.kind is EntityKind.LINK:
        service = link_ends(entity)[0]
    elif entity.kind is EntityKind.NODE:
        hosted = sorted(
            {s for r, s, n in case.pod_place.values() if r == region and n == entity.name and s}
        )
        chains = [_callers_up(tree, region, name, entries) for name in hosted]
        reaching = [c for c in chains if c[-1] in entries]
        service = min(reaching or chains, key=len)[0] if chains else ""
    elif entity.kind is EntityKind.SERVICE:
        service, start = entity.name, []
    else:
        return (str(entity), *(str(Entity(EntityKind.SERVICE, region, e)) for e in entries))
    chain = _callers_up(tree, region, service, entries)
    services = [Entity(EntityKind.SERVICE, region, name) for name in chain]
    return tuple(str(e) for e in [*start, *services])


def _callers_up(
    tree: RedTree, region: str, service: str, entries: Collection[str]
) -> tuple[str, ...]:
    if not service:
        return ()
    came: dict[str, str] = {service: ""}
    todo = deque([service])
    while todo:
        name = todo.popleft()
        if name in entries:
            chain = [name]
            while came[chain[-1]]:
                chain.append(came[chain[-1]])
            return tuple(reversed(chain))
        for caller in sorted(tree.callers.get((region, name), ())):
            if caller and caller not in came:
                came[caller] = name
                todo.append(caller)
    return (service,)
