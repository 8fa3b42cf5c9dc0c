"""What rows keep of the server's objects."""

from __future__ import annotations

import pytest

from ops.adapters.kube.events import event_row, merged
from ops.adapters.kube.fields import MALFORMED, Pool
from ops.adapters.kube.records import node_row, pod_row
from ops.state import PodPhase
from tests.ops.adapters.kube.raw_objects import T0_S, raw_event, raw_node, raw_pod


def pod(**changes):
    return pod_row(raw_pod(**changes), Pool())


def test_a_pod_keeps_what_decisions_need() -> None:
    row = pod(restarts=3, labels={"tier": "front"})
    assert (row.namespace, row.name, row.node) == ("a", "web-7d9f-abcde", "n1")
    assert (row.owner_kind, row.owner) == ("ReplicaSet", "web-7d9f")
    assert (row.phase, row.ready, row.restarts) == (PodPhase.RUNNING, True, 3)
    assert row.created_at_s == T0_S
    assert row.label("tier") == "front"
    assert row.label("none") == ""
    assert not row.engine
    assert not row.done


def test_the_owner_is_the_one_that_controls() -> None:
    raw = raw_pod()
    raw["metadata"]["ownerReferences"].insert(0, {"kind": "Node", "name": "n1"})
    assert pod_row(raw, Pool()).owner_kind == "ReplicaSet"


@pytest.mark.parametrize(
    ("changes", "phase", "ready"),
    [
        ({"phase": "Pending", "ready": False}, PodPhase.PENDING, False),
        ({"phase": "Failed", "ready": False, "reason": "Evicted"}, PodPhase.FAILED, False),
        ({"deleting": True}, PodPhase.TERMINATING, False),  # ready no longer: it takes no traffic
        ({"phase": "Unknown", "ready": False}, PodPhase.RUNNING, False),
    ],
)
def test_the_phase_is_the_one_that_decisions_know(changes, phase, ready) -> None:
    row = pod(**changes)
    assert (row.phase, row.ready) == (phase, ready)


def test_reasons_say_why_a_container_waits_or_ended() -> None:
    row = pod(
        state={"waiting": {"reason": "CrashLoopBackOff"}},
        last={"terminated": {"reason": "OOMKilled"}},
        reason="Evicted",
    )
    assert row.reasons == ("CrashLoopBackOff", "OOMKilled", "Evicted")
    assert pod(last={"terminated": {"reason": "Completed"}}).reasons == ()


@pytest.mark.parametrize(
    "changes",
    [
        {"resources": {"limits": {"nvidia.com/gpu": "1"}}},
        {"resources": {"requests": {"amd.com/gpu": 2}}},
        {"labels": {"nvidia.com/gpu": "true"}},
    ],
)
def test_a_pod_that_asks_for_gpus_serves_a_model(changes) -> None:
    assert pod(**changes).engine


def test_zero_gpus_are_none() -> None:
    assert not pod(resources={"limits": {"nvidia.com/gpu": "0"}}).engine


def test_pods_of_one_template_share_their_labels() -> None:
    pool = Pool()
    first, second = (pod_row(raw_pod(f"web-7d9f-{name}"), pool) for name in "xy")
    assert first.labels is second.labels


def test_a_finished_pod_is_marked() -> None:
    assert pod(phase="Succeeded", ready=False).done


@pytest.mark.parametrize(
    "raw",
    [
        {},
        {"metadata": {}},
        {"metadata": None},
        {**raw_pod(), "spec": 3},
        {**raw_pod(), "status": 1},
    ],
)
def test_what_is_no_pod_is_refused(raw) -> None:
    with pytest.raises(MALFORMED):
        pod_row(raw, Pool())


def test_a_node_keeps_region_health_and_gpus() -> None:
    row = node_row(raw_node(gpus=8, unschedulable=True), Pool())
    assert (row.region, row.ready, row.unschedulable, row.gpus) == ("north", True, True, 8)
    assert not node_row(raw_node(ready="Unknown"), Pool()).ready


def test_an_event_counted_before_we_looked_is_spread_over_first_and_last() -> None:
    row = event_row(raw_event(count=7, last="2026-11-30T12:10:00Z"), Pool())
    assert row.seen == ((T0_S, 6), (T0_S + 600.0, 1))
    assert row.warning


def test_each_later_count_is_kept_with_its_time() -> None:
    row = event_row(raw_event(), Pool())
    for number in range(2, 5):
        later = raw_event(count=number * 2, last=f"2026-11-30T12:0{number}:00Z")
        row = merged(row, event_row(later, Pool()))
    assert row.seen == ((T0_S, 1), (T0_S + 120, 3), (T0_S + 180, 2), (T0_S + 240, 2))
    assert sum(count for _, count in row.seen) == row.count


def test_observations_are_bounded_and_no_count_is_lost() -> None:
    row = event_row(raw_event(), Pool())
    for count in range(2, 60):
        later = raw_event(count=count, last=f"2026-11-30T12:{count:02}:00Z")
        row = merged(row, event_row(later, Pool()))
    assert len(row.seen) == 16
    assert sum(count for _, count in row.seen) == row.count == 59
    assert row.seen[0][0] == T0_S


def test_an_event_made_anew_under_its_old_name_starts_again() -> None:
    old = event_row(raw_event(count=9, last="2026-11-30T12:05:00Z"), Pool())
    new = event_row(raw_event(first="2026-11-30T12:20:00Z"), Pool())
    assert merged(old, new) == new


def test_events_of_the_newer_group_and_long_messages_are_read() -> None:
    raw = raw_event(message="x" * 999, count=None)
    raw |= {"firstTimestamp": None, "lastTimestamp": None, "eventTime": "2026-11-30T12:00:01.5Z"}
    raw["series"] = {"count": 3, "lastObservedTime": "2026-11-30T12:00:09.25Z"}
    row = event_row(raw, Pool())
    assert len(row.message) == 256
    assert row.seen == ((T0_S + 1.5, 2), (T0_S + 9.25, 1))
