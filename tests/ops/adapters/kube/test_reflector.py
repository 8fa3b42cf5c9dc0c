"""The cache follows the server through whatever the server does; pauses replace hot loops."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import Counter

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ops.adapters.kube.cache import ClusterCache, Resource
from ops.adapters.kube.cluster_watch import ClusterWatch
from ops.adapters.kube.fields import Pool
from ops.adapters.kube.records import pod_row
from ops.adapters.kube.reflector import Pace, Reflector
from ops.errors import KubeError
from tests.ops.adapters.kube.fake_collection import FakeCollection, expired
from tests.ops.adapters.kube.raw_objects import raw_pod
from tests.ops.adapters.kube.scripted_server import says, silent, streams

PODS = Resource.PODS
PATH = "/api/v1/pods"


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def make(server, **pace):
    clock = Clock()
    cache = ClusterCache(clock=clock, wall=lambda: 1796040000.0)
    reflector = Reflector(
        server,
        cache,
        PODS,
        path=PATH,
        decode=pod_row,
        pace=Pace(**{"page_items": 2, **pace}),
        rng=np.random.default_rng(1),
    )
    return cache, reflector, clock


def held(cache, namespaces="abc"):
    return {(row.namespace, row.name): row for name in namespaces for row in cache.rows(name).pods}


def stored(objects):
    pool = Pool()
    return {key: pod_row(raw, pool) for key, raw in objects.items()}


def refused(status=429, **fields):
    return KubeError("refused by the test", status=status, **fields)


def test_a_list_is_read_by_pages_and_then_watched_from_its_version() -> None:
    server = FakeCollection()
    for number in range(5):
        server.put(raw_pod(f"web-7d9f-{number}"))
    cache, reflector, _ = make(server)
    assert reflector.step() == 0.0
    assert held(cache) == stored(server.objects)
    assert [verb for verb, _ in server.asked] == ["list", "list", "list", "watch"]
    watch = server.asked[-1][1]
    assert (watch["resourceVersion"], watch["allowWatchBookmarks"]) == ("15", True)
    assert 16 <= watch["timeoutSeconds"] <= 24


def test_the_next_watch_continues_from_the_bookmark() -> None:
    server = FakeCollection()
    _, reflector, _ = make(server)
    reflector.step()
    server.put(raw_pod())
    server.delete("a", "web-7d9f-abcde")
    reflector.step()
    server.compact()
    assert reflector.step() == 0.0
    assert server.asked[-1] == ("watch", {**server.asked[-1][1], "resourceVersion": "12"})
    assert (reflector.tally.lists, reflector.tally.bookmarks) == (1, 3)


@pytest.fixture(autouse=True)
def quiet(caplog):
    caplog.set_level(logging.CRITICAL, logger="ops.adapters.kube")


@pytest.mark.parametrize("in_stream", [True, False])
def test_a_version_that_is_gone_means_a_new_list_at_once_but_not_for_ever(in_stream) -> None:
    server = FakeCollection(expired_in_stream=in_stream)
    cache, reflector, _ = make(server)
    reflector.step()
    for number in range(3):
        server.put(raw_pod(f"web-7d9f-{number}"))
    server.compact()
    assert reflector.step() == 0.0
    assert reflector.step() == 0.0
    assert held(cache) == stored(server.objects)
    server.faults.extend([expired()] * 20)
    pauses = [reflector.step() for _ in range(4)]
    assert pauses[0] == 0.0
    assert all(pause > 0.2 for pause in pauses[1:])


def test_a_list_that_expires_between_its_pages_leaves_what_was_known() -> None:
    server = FakeCollection()
    for number in range(5):
        server.put(raw_pod(f"web-7d9f-{number}"))
    cache, reflector, _ = make(server)
    reflector.step()
    before = held(cache)
    server.delete("a", "web-7d9f-0")
    server.compact()
    server.faults.extend([None, None, expired()])  # watch, page 1, page 2
    reflector.step()
    reflector.step()
    assert held(cache) == before
    reflector.step()
    assert held(cache) == stored(server.objects)


def test_pauses_grow_are_jittered_and_end_with_the_first_success() -> None:
    server = FakeCollection()
    _, reflector, _ = make(server)
    server.faults.extend([refused(500)] * 12)
    pauses = [reflector.step() for _ in range(12)]
    for number, pause in enumerate(pauses):
        full = min(20.0, 0.5 * 2**number)
        assert 0.5 * full <= pause <= full
    assert len(set(pauses[6:])) == 6  # no two replicas return at the same moment
    assert reflector.step() == 0.0
    server.faults.append(refused(500))
    assert reflector.step() <= 0.5


def test_a_watch_that_breaks_but_brings_something_each_time_is_not_held_back() -> None:
    server = FakeCollection()
    _, reflector, _ = make(server)
    reflector.step()
    for number in range(6):
        server.put(raw_pod(f"web-7d9f-{number}"))
        server.faults.append(lambda lines: [lines[0], refused(0, reason="Dropped")])
        assert reflector.step() <= 0.5


def test_a_server_that_names_a_pause_gets_it_within_reason() -> None:
    server = FakeCollection()
    _, reflector, _ = make(server)
    server.faults.extend([refused(retry_after_s=7.0), refused(retry_after_s=500.0)])
    assert 7.0 <= reflector.step() <= 8.75
    assert 60.0 <= reflector.step() <= 75.0


@pytest.mark.parametrize(
    "spoil",
    [
        lambda lines: [b"<html>"],
        lambda lines: [b"[1]"],
        lambda lines: [b'{"type":"ADDED"}'],
        lambda lines: [],  # ends at once, without a word
        lambda lines: [refused(0, reason="Timeout")],
        lambda lines: [refused(0, reason="Dropped")],
    ],
)
def test_a_spoilt_watch_means_a_pause_and_loses_nothing(spoil) -> None:
    server = FakeCollection()
    cache, reflector, _ = make(server)
    reflector.step()
    server.put(raw_pod())
    server.faults.append(spoil)
    assert reflector.step() > 0.0
    assert cache.trouble(PODS)
    assert reflector.step() == 0.0
    assert held(cache) == stored(server.objects)
    assert not cache.trouble(PODS)


def test_a_store_that_was_put_back_to_an_older_copy_is_listed_again() -> None:
    server = FakeCollection()
    cache, reflector, _ = make(server)
    for number in range(3):
        server.put(raw_pod(f"web-7d9f-{number}"))
    reflector.step()
    server.rewind(2)
    reflector.step()
    assert "store restored" in cache.trouble(PODS)
    reflector.step()
    assert held(cache) == stored(server.objects)
    assert len(held(cache)) == 1


def test_before_the_first_list_nothing_is_known_and_afterwards_the_age_tells() -> None:
    server = FakeCollection()
    cache, reflector, clock = make(server)
    server.faults.append(refused(403, reason="Forbidden"))
    reflector.step()
    assert math.isinf(cache.age_s(PODS))
    assert not cache.listed(PODS)
    reflector.step()
    assert cache.age_s(PODS) == 0.0
    clock.now_s += 30.0
    server.faults.append(refused(503))
    reflector.step()
    assert cache.age_s(PODS) == 30.0
    reflector.step()
    assert cache.age_s(PODS) == 0.0


def test_a_malformed_object_is_counted_and_left_out() -> None:
    server = FakeCollection()
    server.put({"metadata": {"name": "odd", "namespace": "a"}})
    server.put(raw_pod())
    cache, reflector, _ = make(server)
    reflector.step()
    assert [name for _, name in held(cache)] == ["web-7d9f-abcde"]
    assert reflector.tally.malformed == 1


def test_a_list_without_a_version_is_not_believed() -> None:
    server = FakeCollection()
    server.get_bytes = lambda path, **_: b'{"items":[]}'
    cache, reflector, _ = make(server)
    assert reflector.step() > 0.0
    assert not cache.listed(PODS)


def test_the_thread_ends_at_once_though_the_server_says_nothing(server, connect) -> None:
    listed = {"metadata": {"resourceVersion": "5"}, "items": [raw_pod()]}
    server.answer(says(200, listed), streams(end="open"))
    cache = ClusterCache()
    heard = threading.Event()
    cache.subscribe(lambda resource, namespace: heard.set())
    reflector = Reflector(connect(), cache, PODS, path=PATH, decode=pod_row)
    reflector.start()
    assert heard.wait(30.0)
    while reflector._stream is None:
        time.sleep(0.001)
    assert reflector.stop()  # the server would say nothing for longer than this waits
    assert [name for _, name in held(cache)] == ["web-7d9f-abcde"]
    assert reflector.tally.failures == 0


def test_all_watches_are_told_to_end_before_any_is_waited_for(server, connect) -> None:
    server.answer(silent)
    watch = ClusterWatch(connect(), ClusterCache())
    watch.start()
    while len(server.requests) < 4:
        time.sleep(0.001)
    assert not watch.stop(timeout_s=0.0)
    server.closing.set()  # each is told and gives up as soon as it can
    assert watch.stop(timeout_s=30.0)


def test_a_fault_of_ours_is_logged_and_the_list_begun_again(monkeypatch) -> None:
    server = FakeCollection()
    server.put(raw_pod())
    cache, reflector, _ = make(server, pause_s_min=0.001, pause_s_max=0.001)
    replace, calls = cache.replace, []

    def faulty(resource, rows):
        calls.append(resource)
        if len(calls) == 1:
            raise RuntimeError("a fault of ours")
        replace(resource, rows)
        reflector._stopping.set()

    monkeypatch.setattr(cache, "replace", faulty)
    reflector.start()
    reflector._thread.join(30.0)
    assert len(calls) == 2
    assert held(cache) == stored(server.objects)


NAMES = st.sampled_from([("a", "web-7d9f-0"), ("a", "web-7d9f-1"), ("b", "web-7d9f-0")])
PUT = st.tuples(st.just("put"), NAMES, st.sampled_from(["", "n1", "n2"]), st.booleans())
OTHER = st.one_of(
    st.tuples(st.just("delete"), NAMES),
    st.tuples(st.just("compact")),
    st.tuples(st.just("step")),
    st.tuples(st.just("fault"), st.sampled_from(["429", "410", "cut", "garbage", "silent"])),
)


def fault(kind, cut=1):
    broken = {"garbage": b"{", "silent": refused(0, reason="Timeout"), "cut": refused(0)}
    if kind == "429":
        return refused(429, retry_after_s=1.0)
    return expired() if kind == "410" else lambda lines: [*lines[:cut], broken[kind]]


@pytest.mark.slow
@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(st.one_of(PUT, PUT, PUT, OTHER), min_size=5, max_size=30), st.booleans(), st.booleans()
)
def test_after_any_sequence_the_cache_is_what_the_server_had(steps, in_stream, bookmarks) -> None:
    server = FakeCollection(expired_in_stream=in_stream, bookmarks=bookmarks)
    cache, reflector, _ = make(server)
    for kind, *rest in steps:
        if kind == "put":
            (namespace, name), node, ready = rest
            server.put(raw_pod(name, namespace=namespace, node=node, ready=ready))
        elif kind == "delete":
            server.delete(*rest[0])
        elif kind == "compact":
            server.compact()
        elif kind == "fault":
            server.faults.append(fault(rest[0]))
        else:
            reflector.step()
            version = reflector._version
            if version is not None:
                assert held(cache) == stored(server.snapshots[int(version)])
    server.faults.clear()
    for _ in range(4):
        reflector.step()
    assert held(cache) == stored(server.objects)
    on_nodes = Counter((row.node, row.namespace) for row in held(cache).values() if row.node)
    index = {
        (node, namespace): count
        for node, counts in cache._pods._on.items()
        for namespace, count in counts.items()
    }
    assert index == on_nodes
