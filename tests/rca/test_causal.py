"""The causal graph of an answer: arcs of both levels, calls that confirm, walk, path to users."""

from __future__ import annotations

from dataclasses import replace

import networkx as nx
import numpy as np
import pytest

from rca.granger_linear import LinearForecaster
from rca.incident import Column, Incident, Spans
from rca.localise import localise

ROWS, FAULT = 480, 400
CHAIN = ("store", "cart", "shop")  # each leads the next; shop is what users call
CALLS = (("shop", "cart"), ("cart", "store"), ("shop", "mail"))


def chained(*, names=CHAIN, seed=0, fault=9.0, **more):
    """Latency of the first drives the second, the second the third; `mail` and `user` stand by."""
    rng = np.random.default_rng(seed)
    columns = tuple(Column(s, "latency-90") for s in (*names, "mail", "user"))
    x = np.zeros((ROWS, len(columns)))
    noise = rng.normal(size=x.shape)
    noise[FAULT:, 0] += fault
    for t in range(2, ROWS):
        x[t] = 0.2 * x[t - 1] + noise[t]
        x[t, 1] += 0.8 * x[t - 1, 0]
        x[t, 2] += 0.8 * x[t - 2, 1]
    return Incident(
        incident_id="made", times_s=5.0 * np.arange(ROWS), values=10.0 + x, columns=columns,
        step_s=5.0, fault_at_s=5.0 * FAULT, **more,
    )  # fmt: skip


def by_ends(arcs):
    return {(a.cause, a.effect): a for a in arcs}


def test_arcs_run_from_cause_to_effect_at_both_levels():
    graph = localise(chained()).graph
    assert {("store_latency-90", "cart_latency-90"), ("cart_latency-90", "shop_latency-90")} <= (
        by_ends(graph.metrics).keys()
    )
    assert {("store", "cart"), ("cart", "shop")} <= by_ends(graph.services).keys()
    strengths = [arc.strength for arc in graph.metrics]
    assert strengths == sorted(strengths, reverse=True) and min(strengths) > 0.0
    assert all(arc.called is None for arc in (*graph.metrics, *graph.services))


def test_calls_confirm_an_arc_only_where_the_effect_calls_the_cause():
    graph = localise(chained(calls=CALLS, entry="shop")).graph
    arcs = by_ends(graph.services)
    assert arcs["store", "cart"].called and arcs["cart", "shop"].called
    turned = tuple((callee, caller) for caller, callee in CALLS)
    arcs = by_ends(localise(chained(calls=turned, entry="shop")).graph.services)
    assert arcs["store", "cart"].called is False


def test_the_path_leads_from_the_first_suspect_to_what_users_call():
    found = localise(chained(calls=CALLS, entry="shop"))
    assert found.services[0].name == "store"
    assert found.graph.path == CHAIN
    assert localise(chained(calls=CALLS, entry="shop"), granger=None).graph.path == CHAIN


def test_without_calls_the_path_ends_where_the_change_is_strongest_downstream():
    path = localise(chained()).graph.path
    assert path[0] == "store" and path[-1] in ("cart", "shop") and "mail" not in path


def test_calls_alone_draw_the_path_with_strength_zero():
    graph = localise(chained(calls=CALLS, entry="shop"), granger=None).graph
    assert graph.metrics == () and graph.visits == ()
    assert {(a.cause, a.effect): (a.strength, a.called) for a in graph.services} == {
        ("store", "cart"): (0.0, True), ("cart", "shop"): (0.0, True),
    }  # fmt: skip


def test_the_walk_ends_where_the_fault_began():
    visits = localise(chained()).graph.visits
    assert visits[0][0] == "store"
    assert 0.99 <= sum(share for _, share in visits) <= 1.0 + 1e-6


@pytest.mark.parametrize("seed", range(3))
def test_no_level_has_a_cycle_and_no_service_an_arc_to_itself(seed):
    incident = chained(seed=seed)
    rng = np.random.default_rng(seed)
    ring = rng.normal(size=(ROWS, 12))
    for t in range(1, ROWS):
        ring[t] += 0.7 * np.roll(ring[t - 1], 1)  # each leads the next, the last the first
    ring[FAULT:] += 40.0
    columns = tuple(Column(f"w{n // 2}", f"m{n % 2}") for n in range(12))
    incident = replace(incident, values=np.hstack([incident.values, ring]),
                       columns=(*incident.columns, *columns))  # fmt: skip
    graph = localise(incident).graph
    assert len(graph.metrics) >= 12  # eleven of the ring, and the chain
    assert len(graph.services) >= 5
    for arcs in (graph.metrics, graph.services):
        drawn = nx.DiGraph([(a.cause, a.effect) for a in arcs])
        assert nx.is_directed_acyclic_graph(drawn)
        assert all(a.cause != a.effect for a in arcs)


def test_the_model_explains_services_and_names_metrics_but_ranks_no_service():
    told = [localise(chained(seed=1), granger=model) for model in (None, LinearForecaster())]
    assert told[0].services == told[1].services and told[0].confidence == told[1].confidence
    assert [m.score for m in told[0].metrics] != [m.score for m in told[1].metrics]


def test_order_of_columns_does_not_matter():
    incident = chained(calls=CALLS, entry="shop")
    turned = replace(incident, values=incident.values[:, ::-1].copy(),
                     columns=incident.columns[::-1])  # fmt: skip
    assert localise(turned).graph == localise(incident).graph


def spans_of(calls):
    """One trace in which each caller's span holds its callees'."""
    services = tuple(sorted({name for pair in calls for name in pair}))
    row = {name: n for n, name in enumerate(services)}
    caller = {callee: above for above, callee in calls}
    num = len(services)
    return Spans(
        start_s=np.zeros(num), trace=np.zeros(num, dtype=int), span=np.arange(num),
        parent=np.array([row[caller[s]] if s in caller else -1 for s in services]),
        service=np.arange(num), operation=np.zeros(num, dtype=int), duration_s=np.ones(num),
        services=services, operations=("get",),
    )  # fmt: skip


@pytest.mark.parametrize("normal", [False, True])
def test_calls_are_read_off_spans_where_no_graph_is_given(normal):
    spans = spans_of((("cart", "store"), ("shop", "cart")))
    given = {"normal_spans": (spans,)} if normal else {"spans": spans}
    graph = localise(chained(**given)).graph
    arcs = by_ends(graph.services)
    assert arcs["store", "cart"].called and arcs["cart", "shop"].called
    assert graph.path == CHAIN  # shop calls, and nobody calls it
    left = localise(chained(**given), without=("topology",)).graph
    assert all(arc.called is None for arc in left.services)
