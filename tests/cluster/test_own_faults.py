"""The operator's own faults: what it stands on breaks, and it comes back by itself.

"Comes back" is seen from outside: a Deployment is scaled, and the Fleet's status follows.
"""

from __future__ import annotations

import time

import pytest

from tests.cluster.fault_proxy import FaultProxy
from tests.cluster.installing import OPERATOR, path_of
from tests.cluster.own_processes import LEASE, LEASE_PATH, Kept
from tests.cluster.processes import eventually
from tests.cluster.watched import RECOVERY_S

LEASE_LOST = 75  # exit status: no longer sure that it leads
RESTARTS_MAX = 3  # of one fault; more would be a crash loop
REQUESTS_PER_S_MAX = 20.0  # of one operator to a server that says 429
pytestmark = [
    pytest.mark.cluster,
    pytest.mark.figure("a killed leader is replaced within 10 s, a stopped one within 2 s"),
    pytest.mark.figure("a leader that was paused for twice the lease writes nothing afterwards"),
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


@pytest.fixture
def start(make_operator):
    """Starts an operator; all of them are stopped after the test."""
    started = []

    def one(**options):
        started.append(make_operator(**options))
        return started[-1].start()

    yield one
    for operator in started:
        operator.program.resume() if operator.program.alive else None
        operator.stop()


@pytest.fixture
def pair(start):
    """A leader and a standby."""
    leader = start(name="first")
    eventually(lambda: leader.leads, timeout_s=30.0, what="a leader")
    standby = start(name="second")
    eventually(lambda: standby.probe("/readyz")[0] == 200, timeout_s=30.0, what="a standby")
    assert not standby.leads
    return leader, standby


def writes(plane, operator, since):
    """What this operator's token wrote since."""
    done = plane.audit.writes(user=OPERATOR, since=since)
    return [one for one in done if one.credential == operator.credential]


def test_a_killed_leader_is_replaced_within_ten_seconds(watched, pair, say):
    leader, standby = pair
    watched.wait()
    leader.program.kill()
    took_s = eventually(lambda: standby.leads, timeout_s=30.0, what="a new leader")
    say(f"takeover after kill -9: {took_s:.1f} s, status follows {watched.recovers():.1f} s later")
    assert took_s <= 10.0


def test_a_leader_that_is_asked_to_stop_hands_over_within_two_seconds(watched, pair, say):
    leader, standby = pair
    watched.wait()
    leader.program.process.terminate()
    took_s = eventually(lambda: standby.leads, timeout_s=30.0, what="a new leader")
    assert leader.program.wait(10.0) == 0
    say(f"takeover after SIGTERM: {took_s:.1f} s, status follows {watched.recovers():.1f} s later")
    assert took_s <= 2.0


def test_a_leader_that_has_just_begun_ends_when_it_is_asked_to(watched, start):
    leader = start()
    eventually(lambda: leader.leads, timeout_s=30.0, what="a leader")
    time.sleep(0.3)
    leader.program.process.terminate()
    assert leader.program.wait(5.0) == 0


def test_a_leader_paused_for_twice_the_lease_writes_nothing_when_it_goes_on(watched, pair, say):
    leader, standby = pair
    watched.wait()
    assert writes(watched.plane, leader, 0)  # the log can tell the two apart
    leader.program.pause()
    time.sleep(2.0 * LEASE["durationSeconds"])
    assert standby.leads
    watched.scale()  # something to write for both
    since = watched.plane.audit.mark()
    leader.program.resume()
    assert leader.program.wait(10.0) == LEASE_LOST
    watched.wait()
    assert writes(watched.plane, leader, since) == []
    assert writes(watched.plane, standby, since)
    holder = watched.plane.admin.get(LEASE_PATH)["spec"]["holderIdentity"]
    say(f"after SIGCONT the old leader wrote 0 objects and ended; the lease is {holder}'s")


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
        eventually(lambda: answers(installed), timeout_s=30.0, what="an API server")
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
            before = proxy.num_answered + proxy.num_connections
            if fault == "429":
                proxy.answer(429, headers={"Retry-After": "1"}, body=b"{}")
            elif fault == "half-open":
                proxy.half_open()
            else:
                proxy.reset()
            time.sleep(20.0)
            tried = (proxy.num_answered + proxy.num_connections - before) / 20.0
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
