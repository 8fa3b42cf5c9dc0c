"""Two replicas on a real server: one leads, the other takes over, nobody writes for both."""

from __future__ import annotations

import base64
import json
import time
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest

from tests.cluster.installing import SYSTEM, apply
from tests.cluster.own_processes import LEASE, LEASE_PATH, Operator, add_fleet, wait_for_fleet
from tests.cluster.processes import WAIT_S, eventually
from tests.cluster.workloads import deployment, deployments_path

pytestmark = pytest.mark.cluster
READS = {"get", "list", "watch"}
HANDOVER_S, TAKEOVER_S = 2.0, 10.0


@pytest.fixture
def pair(control_plane, namespace, tmp_path):
    """A leader with a fleet whose pods change all the time, and a standby."""
    apply(control_plane)
    with running(Operator(control_plane, tmp_path, name="first")) as first:
        eventually(lambda: first.leads, what="the first replica leads")
        with running(Operator(control_plane, tmp_path, name="second")) as second:
            control_plane.admin.create(
                deployments_path(namespace), deployment("web", replicas=1, gpus=0)
            )
            add_fleet(control_plane, namespace)
            wait_for_fleet(
                control_plane, namespace, lambda fleet: fleet.get("status", {}).get("pods") == 1
            )
            yield first, second


@contextmanager
def running(operator):
    operator.start()
    try:
        yield operator
    finally:
        if operator.program.alive:
            operator.program.kill()


def scale(plane, namespace, replicas):
    path = f"{deployments_path(namespace)}/web/scale"
    plane.admin.patch(path, {"spec": {"replicas": replicas}})


def seen(plane, namespace, pods):
    return wait_for_fleet(
        plane, namespace, lambda fleet: fleet.get("status", {}).get("pods") == pods
    )  # fmt: skip


def holder(plane):
    return plane.admin.get(LEASE_PATH)["spec"].get("holderIdentity", "")


def writes_of(plane, operator, *, since):
    """Verb and resource of all that this one process changed, by its token's own id."""
    token = (operator.folder / "token").read_text().split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    with (plane.folder / "audit.log").open("rb") as log:
        log.seek(since)
        events = [json.loads(line) for line in log.read().splitlines() if line.endswith(b"}")]
    key = "authentication.kubernetes.io/credential-id"
    return [
        (event["verb"], event["objectRef"]["resource"])
        for event in events
        if event["user"].get("extra", {}).get(key) == [f"JTI={claims['jti']}"]
        and event["verb"] not in READS
        and event["responseStatus"].get("code", 0) < 400
    ]


@pytest.mark.figure("takeover after SIGTERM")
def test_an_orderly_end_gives_the_lease_up_and_another_takes_it(
    control_plane, namespace, pair, say
):
    first, second = pair
    old = holder(control_plane)
    began_s = time.monotonic()
    first.program.process.terminate()

    def given_up():
        ended = not first.program.alive  # looked at first: it may end right after it gave it up
        held = holder(control_plane) == old
        assert not (ended and held), "it ended as the holder"
        return not held

    eventually(given_up, what="a Lease that is given up")
    eventually(lambda: holder(control_plane), what="a new holder")
    took_s = time.monotonic() - began_s
    say(f"takeover after SIGTERM: {took_s:.2f} s")
    assert took_s <= HANDOVER_S
    assert first.program.wait(WAIT_S) == 0
    scale(control_plane, namespace, 2)
    seen(control_plane, namespace, 2)
    eventually(lambda: second.leads, what="the second replica leads")
    assert control_plane.admin.get(LEASE_PATH)["spec"]["leaseTransitions"] >= 1


def taken_over_s(plane, leader):
    """Kill the leader; seconds until another has taken the Lease, by its own word."""
    old, killed_at = holder(plane), datetime.now(UTC)
    leader.program.kill()
    eventually(lambda: holder(plane) not in ("", old), what="a new holder")
    acquired = plane.admin.get(LEASE_PATH)["spec"]["acquireTime"]
    return (datetime.fromisoformat(acquired) - killed_at).total_seconds()


@pytest.mark.figure("takeover after kill -9")
def test_a_killed_leader_is_replaced_within_ten_seconds(control_plane, namespace, pair, say):
    leader, _ = pair
    took_s = taken_over_s(control_plane, leader)
    say(f"takeover after kill -9: {took_s:.2f} s")
    assert took_s <= TAKEOVER_S
    scale(control_plane, namespace, 3)
    seen(control_plane, namespace, 3)


@pytest.mark.figure("a leader that was stopped writes nothing when it goes on")
def test_a_stopped_leader_writes_nothing_after_it_goes_on(control_plane, namespace, pair):
    first, second = pair
    for replicas in (2, 3, 2):  # it is in the middle of writing when it is stopped
        scale(control_plane, namespace, replicas)
        time.sleep(0.2)
    first.program.pause()
    time.sleep(2.0 * LEASE["durationSeconds"])
    eventually(lambda: second.leads, what="the second replica leads")
    scale(control_plane, namespace, 4)
    seen(control_plane, namespace, 4)
    mark = control_plane.audit.mark()
    first.program.resume()
    assert first.program.wait(WAIT_S) == 75
    time.sleep(0.5)
    assert writes_of(control_plane, first, since=mark) == []
    scale(control_plane, namespace, 1)
    seen(control_plane, namespace, 1)
    mark = control_plane.audit.mark()
    scale(control_plane, namespace, 2)
    seen(control_plane, namespace, 2)
    assert ("patch", "fleets") in writes_of(control_plane, second, since=mark)


def test_the_standby_says_who_leads_and_waits(control_plane, namespace, pair):
    _, second = pair
    eventually(lambda: second.probe("/readyz")[0] == 200, what="a standby that is ready")
    _, body = second.probe("/readyz")
    by_type = {one["type"]: one for one in body["conditions"]}
    assert by_type["Elected"]["reason"] == "Waits"
    assert holder(control_plane) in by_type["Elected"]["message"]
    assert writes_of(control_plane, second, since=0) == []
    assert SYSTEM in LEASE_PATH
