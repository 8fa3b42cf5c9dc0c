"""The operator's own faults: what it stands on breaks, and it comes back by itself.

"Comes back" is seen from outside: a Deployment is scaled, and the Fleet's status follows. What
happens between two replicas stands in test_leading.py.
"""

from __future__ import annotations

import time

import pytest

from tests.cluster.fault_proxy import FaultProxy
from tests.cluster.installing import path_of
from tests.cluster.own_processes import Kept
from tests.cluster.processes import eventually
from tests.cluster.watched import RECOVERY_S

LEASE_LOST = 75  # exit status: no longer sure that it leads
ENDS_S = 30.0  # what a kubelet gives it
RESTARTS_MAX = 3  # of one fault; more would be a crash loop
REQUESTS_PER_S_MAX = 20.0  # of one operator to a server that says 429
pytestmark = [
    pytest.mark.cluster,
    pytest.mark.figure(
        f"API server restarted, etcd paused for 30 s, 429, half-open sockets: recovery within "
        f"{RECOVERY_S:.0f} s each, no crash loop"
    ),
]


@pytest.fixture(autouse=True)
def nobody_is_accused(watched):
    """Whatever breaks is midwatch's own ground: no fleet has an incident."""
    yield
    assert watched.plane.admin.items(path_of("incidents", watched.namespace)) == []


def test_a_leader_that_has_just_begun_ends_when_it_is_asked_to(make_operator):
    leader = make_operator().start()
    try:
        eventually(lambda: leader.leads, what="a leader")
        time.sleep(0.3)
        leader.program.process.terminate()
        assert leader.program.wait(ENDS_S) == 0
    finally:
        leader.stop()


def test_the_api_server_is_restarted(watched, installed, make_operator, say):
    with Kept(make_operator()) as kept:
        watched.wait()
        installed.restart_api_server(down_s=6.0)
        took_s = watched.recovers()
    say(f"API server away for 6 s: status follows after {took_s:.1f} s, exits {kept.statuses}")
    assert set(kept.statuses) <= {LEASE_LOST} and len(kept.statuses) <= RESTARTS_MAX


def test_etcd_hangs_for_thirty_seconds(watched, installed, make_operator, say):
    etcd = installed.programs["etcd"]
    with Kept(make_operator()) as kept:
        watched.wait()
        etcd.pause()
        try:
            time.sleep(30.0)
        finally:
            etcd.resume()
        eventually(lambda: answers(installed), what="an API server")
        took_s = watched.recovers()
    say(f"etcd paused for 30 s: status follows after {took_s:.1f} s, exits {kept.statuses}")
    assert set(kept.statuses) <= {LEASE_LOST} and len(kept.statuses) <= RESTARTS_MAX


def answers(plane):
    try:
        return plane.admin.get("/readyz")
    except Exception:  # noqa: BLE001  whatever it says while it starts
        return False


@pytest.mark.parametrize("fault", ["429", "half-open", "reset"])
def test_the_way_to_the_api_server_breaks(watched, installed, make_operator, say, fault):
    proxy = FaultProxy(installed.server, certificates=installed.folder)
    try:
        with Kept(make_operator(server=proxy.url)) as kept:
            watched.wait()
            before, since_s = proxy.num_answered + proxy.num_connections, time.monotonic()
            if fault == "429":
                proxy.answer(429, headers={"Retry-After": "1"}, body=b"{}")
            elif fault == "half-open":
                proxy.half_open()
            else:
                proxy.reset()
            time.sleep(20.0)
            tried = proxy.num_answered + proxy.num_connections - before
            tried /= time.monotonic() - since_s
            proxy.heal()
            took_s = watched.recovers()
    finally:
        proxy.close()
    say(
        f"{fault} for 20 s: status follows after {took_s:.1f} s, {tried:.1f} tries/s, "
        f"exits {kept.statuses}"
    )
    assert set(kept.statuses) <= {LEASE_LOST} and len(kept.statuses) <= RESTARTS_MAX
    assert tried <= REQUESTS_PER_S_MAX
