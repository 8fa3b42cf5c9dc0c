"""The walk ends on the changed entity at the end of the chain of causes."""

from __future__ import annotations

import networkx as nx
import pytest

from rca.rank import walk
from rca.state import Entity, EntityKind

A, B, C, D = (Entity(EntityKind.SERVICE, "r", name) for name in "abcd")


def chain():
    """c waits for b, b for a, c for d."""
    graph = nx.DiGraph()
    for effect, cause in ((C, B), (B, A), (C, D)):
        graph.add_edge(effect, cause, weight=1.0)
    return graph


def test_the_origin_comes_before_what_it_drags_along():
    visits = walk(chain(), restart={C: 1.0}, prior={A: 0.9, B: 0.2, C: 0.1})
    assert max(visits, key=lambda e: visits[e]) == A
    assert visits[D] < 0.1


def test_every_node_is_present_once_even_when_all_tie():
    visits = walk(chain(), restart={C: 1.0}, prior={})
    assert set(visits) == {A, B, C, D}


def test_cycles_do_not_stop_the_walk():
    graph = chain()
    graph.add_edge(A, C, weight=1.0)
    assert walk(graph, restart={C: 1.0}, prior={A: 1.0})[A] == pytest.approx(1.0)


def test_no_arcs_or_no_symptom_give_no_walk():
    assert walk(nx.DiGraph(), restart={A: 1.0}, prior={}) == {}
    assert walk(chain(), restart={Entity(EntityKind.NODE, "r", "n"): 1.0}, prior={}) == {}
