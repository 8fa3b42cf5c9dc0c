"""The reflectors while the API server, its store or the way to it is broken, and after it."""

from __future__ import annotations

import json
import time
import urllib.request

import pytest

from tests.cluster.processes import eventually
from tests.cluster.reflected import RECOVERY_S, Reflected
from tests.cluster.workloads import pods_path

pytestmark = pytest.mark.cluster


@pytest.fixture
def watched(control_plane, namespace):
    found = Reflected(control_plane, namespace)
    found.grant()
    found.start()
    yield found
    found.close()


def test_a_restarted_api_server_is_met_again_and_nothing_is_missed(watched) -> None:
    watched.deploy(replicas=3)
    eventually(lambda: watched.ready() == 3)
    watched.plane.restart_api_server(down_s=1.0)
    began_s = time.monotonic()
    assert watched.ready() == 3  # what was known is still shown
    watched.change(replicas=5)
    eventually(lambda: watched.ready() == 5)
    eventually(watched.same)
    eventually(lambda: watched.view().stale == ())
    assert time.monotonic() - began_s < RECOVERY_S


@pytest.mark.parametrize("fault", ["half_open", "reset", "busy"])
def test_a_bad_line_to_the_server_makes_it_stale_and_then_whole_again(watched, fault) -> None:
    watched.deploy(replicas=2)
    eventually(lambda: watched.ready() == 2)
    if fault == "busy":
        body = {"kind": "Status", "code": 429, "reason": "TooManyRequests"}
        watched.proxy.answer(429, headers={"Retry-After": "1"}, body=json.dumps(body).encode())
    else:
        getattr(watched.proxy, fault)()
    watched.change(replicas=4)
    eventually(lambda: "pods" in watched.view().stale)
    assert watched.ready() == 2
    answered, since_s = watched.proxy.num_answered, time.monotonic()
    time.sleep(1.0)
    answered = watched.proxy.num_answered - answered
    # Four watches, a pause of a second each.
    assert answered <= 4 * (time.monotonic() - since_s + 1.0)
    eventually(lambda: watched.cache.trouble("pods"))
    watched.proxy.heal()
    eventually(lambda: watched.ready() == 4)
    eventually(watched.same)
    eventually(lambda: watched.view().stale == ())


def test_a_version_that_the_server_has_forgotten_is_listed_anew(watched) -> None:
    watched.deploy(replicas=2)
    eventually(lambda: watched.ready() == 2)
    watched.proxy.reset()
    time.sleep(0.2)
    watched.change(replicas=0)
    eventually(lambda: not watched.plane.admin.get(pods_path(watched.namespace))["items"])
    watched.change(replicas=3)
    compact(watched.plane)
    watched.plane.restart_api_server()
    watched.proxy.heal()
    eventually(lambda: watched.ready() == 3 and watched.same())
    assert watched.watch.tallies()["pods"].lists > 1


def test_a_store_that_stands_still_makes_nothing_up(watched) -> None:
    watched.deploy(replicas=2)
    eventually(lambda: watched.ready() == 2)
    etcd = watched.plane.programs["etcd"]
    etcd.pause()
    try:
        until_s = time.monotonic() + 12.0
        while time.monotonic() < until_s:
            assert watched.ready() == 2
            time.sleep(0.2)
    finally:
        etcd.resume()
    eventually(lambda: watched.view().stale == ())
    watched.change(replicas=3)
    eventually(lambda: watched.ready() == 3)
    eventually(watched.same)


def compact(plane) -> None:
    """Let etcd forget all but the present."""
    flag = "--listen-client-urls="
    (url,) = [
        str(word).removeprefix(flag)
        for word in plane.programs["etcd"].argv
        if str(word).startswith(flag)
    ]
    version = plane.admin.get("/api/v1/namespaces")["metadata"]["resourceVersion"]
    body = json.dumps({"revision": version, "physical": True}).encode()
    with urllib.request.urlopen(f"{url}/v3/kv/compaction", data=body, timeout=10.0) as answer:
        assert answer.status == 200
