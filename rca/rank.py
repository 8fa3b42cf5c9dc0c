"""Random walk from the symptom along effect -> cause arcs."""

from __future__ import annotations

from collections.abc import Mapping

import networkx as nx

from rca.state import Entity

DAMPING = 0.85


def walk(
    graph: nx.DiGraph, *, restart: Mapping[Entity, float], prior: Mapping[Entity, float]
) -> dict[Entity, float]:
    """Personalised PageRank, scaled so that the most visited entity has 1.

    Args:
        graph: arcs effect -> cause with `weight`.
        restart: symptom entity -> weight; entities that the graph lacks are ignored.
        prior: entity -> change strength 0..1; an arc counts the more the more its cause changed.

    Returns:
        Visits per entity; empty for a graph without arcs or without a known symptom.

    Source: MicroRCA and RUN rank by PageRank with a personalisation vector.
    Differs: restart is on the symptoms, not on dangling nodes, and no graph is cut to a DAG.
    """
    known = {entity: weight for entity, weight in restart.items() if entity in graph}
    if graph.number_of_edges() == 0 or sum(known.values()) <= 0.0:
        return {}
    weighted: nx.DiGraph = nx.DiGraph()
    weighted.add_nodes_from(sorted(graph.nodes))
    for effect, cause, data in sorted(graph.edges(data=True), key=lambda e: (e[0], e[1])):
        weighted.add_edge(effect, cause, weight=data["weight"] * (0.05 + prior.get(cause, 0.0)))
    # A walk that stays where it is ends on the culprit; without it leaves always win.
    for entity in sorted(prior):
        if entity in weighted and prior[entity] > 0.0:
            weighted.add_edge(entity, entity, weight=prior[entity])
    visits = nx.pagerank(
        weighted, alpha=DAMPING, personalization=known, dangling=known, weight="weight", tol=1e-8
    )
    for entity in known:
        # Restarts are no evidence: what falls on the symptom itself is taken off.
        visits[entity] = max(0.0, visits[entity] - (1.0 - DAMPING) * known[entity])
    top = max(visits.values())
    return {e: v / top for e, v in visits.items()} if top > 0.0 else {}
