"""Indices, generations, subscriptions and bounds of the cache."""

from __future__ import annotations

import threading

from ops.adapters.kube import tables
from ops.adapters.kube.cache import ClusterCache, Resource
from ops.adapters.kube.deployments import deployment_row
from ops.adapters.kube.events import event_row
from ops.adapters.kube.fields import Pool
from ops.adapters.kube.records import node_row, pod_row
from rca.state import ChangeKind
from tests.ops.adapters.kube.raw_objects import (
    T0_S,
    raw_deployment,
    raw_event,
    raw_node,
    raw_pod,
)

PODS, NODES, EVENTS, DEPLOYMENTS = (
    Resource.PODS,
    Resource.NODES,
    Resource.EVENTS,
    Resource.DEPLOYMENTS,
)
POOL = Pool()


def filled(wall_s=T0_S + 60.0):
    """Two namespaces with a pod each on node n1, one with a pod on n2."""
    cache = ClusterCache(clock=lambda: 0.0, wall=lambda: wall_s)
    cache.replace(NODES, [node_row(raw_node(name), POOL) for name in ("n1", "n2")])
    cache.replace(
        PODS,
        [
            pod_row(raw_pod(namespace=namespace, node=node), POOL)
            for namespace, node in (("a", "n1"), ("b", "n1"), ("c", "n2"))
        ],
    )
    cache.replace(DEPLOYMENTS, [deployment_row(raw_deployment(), POOL)])
    cache.replace(EVENTS, [])
    return cache


def listen(cache):
    heard = []
    cache.subscribe(lambda resource, namespace: heard.append((resource, namespace)))
    return heard


def put(cache, resource, decode, raw):
    cache.put(resource, decode(raw, POOL))


def test_a_changed_row_raises_its_namespace_and_wakes_it_only() -> None:
    cache = filled()
    heard, before = listen(cache), {name: cache.generation(name) for name in "abc"}
    put(cache, PODS, pod_row, raw_pod(ready=False))
    assert heard == [("pods", "a")]
    assert [cache.generation(name) == before[name] for name in "abc"] == [False, True, True]


def test_a_write_that_says_nothing_new_wakes_nobody() -> None:
    cache = filled()
    heard, before = listen(cache), cache.generation("a")
    put(cache, PODS, pod_row, raw_pod())
    put(cache, NODES, node_row, raw_node())
    put(cache, DEPLOYMENTS, deployment_row, raw_deployment())
    cache.drop(PODS, "a", "never-there")
    assert heard == []
    assert cache.generation("a") == before


def test_a_node_concerns_the_namespaces_that_have_pods_on_it() -> None:
    cache = filled()
    heard = listen(cache)
    put(cache, NODES, node_row, raw_node(ready="Unknown"))
    put(cache, EVENTS, event_row, raw_event(kind="Node", about="n1", namespace="default"))
    assert sorted(heard) == [("events", "a"), ("events", "b"), ("nodes", "a"), ("nodes", "b")]
    assert list(cache.rows("a").node_events) == ["n1"]
    cache.drop(PODS, "b", "web-7d9f-abcde")
    heard.clear()
    put(cache, NODES, node_row, raw_node())
    assert heard == [("nodes", "a")]


def test_a_pod_that_is_scheduled_counts_on_its_new_node() -> None:
    cache = filled()
    put(cache, PODS, pod_row, raw_pod(namespace="c", node="n1"))
    heard = listen(cache)
    put(cache, NODES, node_row, raw_node("n2", ready="False"))
    assert heard == []
    put(cache, NODES, node_row, raw_node("n1", ready="False"))
    assert sorted(heard) == [("nodes", "a"), ("nodes", "b"), ("nodes", "c")]


def test_a_sign_of_life_does_not_replace_the_first_list() -> None:
    cache = ClusterCache()
    cache.alive(PODS)
    assert not cache.listed(PODS)


def test_counts_of_an_event_keep_their_times_in_the_cache() -> None:
    cache = filled()
    put(cache, EVENTS, event_row, raw_event())
    put(cache, EVENTS, event_row, raw_event(count=5, last="2026-11-30T12:00:30Z"))
    (event,) = cache.rows("a").events
    assert event.seen == ((T0_S, 1), (T0_S + 30.0, 4))


def test_many_scalings_do_not_push_out_a_deploy() -> None:
    cache = filled()
    put(cache, DEPLOYMENTS, deployment_row, raw_deployment(revision="2"))
    for number in range(300):
        put(cache, DEPLOYMENTS, deployment_row, raw_deployment(revision="2", replicas=number))
    changes = cache.rows("a").changes
    assert len(changes) == 201
    assert [c.revision_to for c in changes if c.kind is ChangeKind.DEPLOY] == ["2"]


def test_a_list_tells_only_of_what_differs() -> None:
    cache = filled()
    heard = listen(cache)
    kept = [pod_row(raw_pod(namespace="a"), POOL), pod_row(raw_pod(namespace="b", node=""), POOL)]
    cache.replace(PODS, kept)
    assert sorted(heard) == [("pods", "b"), ("pods", "c")]
    assert cache.counts()["pods"] == 2


def test_a_subscription_can_be_ended_and_its_fault_ends_nothing() -> None:
    cache = filled()

    def broken(resource, namespace):
        raise RuntimeError("a fault of the subscriber")

    end = cache.subscribe(broken)
    heard = listen(cache)
    put(cache, PODS, pod_row, raw_pod(ready=False))
    end()
    put(cache, PODS, pod_row, raw_pod())
    assert heard == [("pods", "a"), ("pods", "a")]


def test_a_deleted_pod_is_remembered_for_its_events() -> None:
    cache = filled()
    cache.drop(PODS, "a", "web-7d9f-abcde")
    put(cache, EVENTS, event_row, raw_event(reason="Killing"))
    rows = cache.rows("a")
    assert rows.pods == []
    assert rows.gone["web-7d9f-abcde"].node == "n1"


def test_events_are_bounded_and_the_oldest_go_first(monkeypatch) -> None:
    monkeypatch.setattr(tables, "EVENTS_MAX", 4)
    monkeypatch.setattr(tables, "EVENTS_MAX_NAMESPACE", 3)
    cache = filled()
    for number in range(5):
        put(cache, EVENTS, event_row, raw_event(f"e{number}"))
    assert [row.name for row in cache.rows("a").events] == ["e2", "e3", "e4"]
    for number in range(2):
        put(cache, EVENTS, event_row, raw_event(f"f{number}", namespace="b"))
    assert [row.name for row in cache.rows("a").events] == ["e3", "e4"]
    assert cache.counts()["events"] == 4


def test_an_event_counted_up_is_young_again(monkeypatch) -> None:
    monkeypatch.setattr(tables, "EVENTS_MAX_NAMESPACE", 2)
    cache = filled()
    for name, count in (("e0", 1), ("e1", 1), ("e0", 2), ("e2", 1)):
        put(cache, EVENTS, event_row, raw_event(name, count=count))
    assert [row.name for row in cache.rows("a").events] == ["e0", "e2"]


def test_old_events_are_not_kept() -> None:
    cache = filled(wall_s=T0_S + 3000.0)
    put(cache, EVENTS, event_row, raw_event("old"))
    cache._wall = lambda: T0_S + 3700.0
    put(cache, EVENTS, event_row, raw_event("new", first="2026-11-30T13:01:00Z"))
    put(cache, EVENTS, event_row, raw_event("late"))
    assert [row.name for row in cache.rows("a").events] == ["new"]


def test_an_event_that_the_server_dropped_is_gone() -> None:
    cache = filled()
    put(cache, EVENTS, event_row, raw_event())
    cache.drop(EVENTS, "a", "e1")
    assert cache.rows("a").events == []


def test_readers_and_writers_do_not_disturb_each_other() -> None:
    cache, sizes, stop = filled(), [], threading.Event()

    def read():
        while not stop.is_set():
            sizes.append(len({row.name for row in cache.rows("a").pods}))
        sizes.append(-1)

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(300):
        put(cache, PODS, pod_row, raw_pod(f"web-7d9f-{number % 7}", ready=number % 2 == 0))
        cache.drop(PODS, "a", f"web-7d9f-{number % 5}")
    stop.set()
    reader.join()
    assert sizes[-1] == -1  # it came to its end
    assert max(sizes) <= 8
