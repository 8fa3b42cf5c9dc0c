"""Commands name what a cluster has: its labels, its pods, its Deployments."""

from __future__ import annotations

import pytest

from ops.reports.looks import look, look_back
from ops.reports.parts import ClockBase
from ops.reports.place import Place
from ops.reports.queries import Period
from ops.reports.reach import AsSeen
from ops.state import PodPhase, PodRecord, ServiceRecord
from rca.state import Entity, RankedCause, ResourceClass

LABEL = "app.kubernetes.io/name=db"
PERIOD = Period(from_s=700.0, to_s=760.0, clock=ClockBase(epoch_s=0.0))


def pod(name, *, label="", ready=True, service="db"):
    return PodRecord(
        name=name, region="west", service=service, node="n", phase=PodPhase.RUNNING, ready=ready,
        restarts=0, created_at_s=0.0, label=label,
    )  # fmt: skip


def service(name, *, revision):
    return ServiceRecord(
        region="west", service=name, replicas=2, ready_replicas=2, revision=revision
    )


def cause(*path, resource):
    return RankedCause(
        rank=1, entity=Entity.parse(path[0]), resource_class=resource, score=1.0, confidence=0.9,
        path=path,
    )  # fmt: skip


def first_looks(reach, resource, *path):
    return [one.text for one in look(cause(*path, resource=resource), reach=reach)]


LABELLED = AsSeen(known_pods=(pod("db-0", label=LABEL), pod("db-1", label=LABEL)))
NAMED = AsSeen(known_pods=(pod("db-0"), pod("db-1", ready=False)))
DEPLOYED = AsSeen(known_services=(service("db", revision="3"),))
STATEFUL = AsSeen(known_pods=LABELLED.known_pods, known_services=(service("db", revision=""),))


@pytest.mark.parametrize(
    ("reach", "resource", "says"),
    [
        (LABELLED, ResourceClass.LOSS, ["describe pods -l app.kubernetes.io/name=db"]),
        (NAMED, ResourceClass.LOSS, ["describe pods db-1"]),  # the one that is not well
        (LABELLED, ResourceClass.POOL, ["describe pods -l app.kubernetes.io/name=db"]),
        (STATEFUL, ResourceClass.POOL, ["describe pods -l app.kubernetes.io/name=db"]),
        (DEPLOYED, ResourceClass.POOL, ["rollout history deployment/db"]),
        (AsSeen(), ResourceClass.POOL, ["get pods -o wide"]),
        (NAMED, ResourceClass.CPU, ["top pod db-1", "describe pods db-1"]),
        (LABELLED, ResourceClass.CODE, [f"logs -l {LABEL} --since=30m --prefix"]),
    ],
)
def test_only_what_was_seen_is_offered(reach, resource, says):
    found = first_looks(reach, resource, "service:west/db")
    assert found == [f"kubectl --context west {text}" for text in says]


def test_a_call_is_timed_in_what_exists():
    link = ("link:west/door->db",)
    door = pod("door-0", service="door")
    inside = first_looks(AsSeen(known_pods=(door,)), ResourceClass.NETWORK, *link)
    assert "exec door-0 -- curl" in inside[0]
    assert len(first_looks(AsSeen(), ResourceClass.NETWORK, *link)) == 1


@pytest.mark.parametrize(
    ("pods", "says"),
    [
        ((pod("db-0", label="k=db"), pod("door-0", service="door", label="k=door")),
         ["get pods -l 'k in (door, db)' -o wide"]),
        ((pod("db-0", label="k=db"), pod("door-0", service="door")),
         ["get pods -l k=db -o wide", "get pods door-0 -o wide"]),
    ],
)  # fmt: skip
def test_both_ends_of_a_call_are_listed_as_they_can_be_chosen(pods, says):
    found = look_back(
        cause("link:west/door->db", resource=ResourceClass.NETWORK), place=Place(), period=PERIOD,
        query="", gone=False, changed=False, reach=AsSeen(known_pods=pods),
    )  # fmt: skip
    assert [one.text for one in found] == [f"kubectl --context west {text}" for text in says]
