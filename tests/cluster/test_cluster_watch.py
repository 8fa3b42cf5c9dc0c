"""The reflectors and the cache against a real API server: what they hold, tell and may not see."""

from __future__ import annotations

import time

import pytest

from ops.adapters.kube.cache import ClusterCache, Resource
from ops.adapters.kube.cluster_watch import ClusterWatch
from ops.adapters.kube.rights import Right
from ops.adapters.kube.view import cluster_view
from rca.state import ChangeKind
from tests.cluster.processes import eventually
from tests.cluster.reflected import PACE, Reflected
from tests.cluster.workloads import pods_path

pytestmark = pytest.mark.cluster
THOUSAND_S = 600.0
# A watch of four seconds and what a busy machine adds; four of these watches follow one another.
YOUNG_S, QUIET_S = 12.0, 16.0


@pytest.fixture
def watched(control_plane, namespace):
    found = Reflected(control_plane, namespace)
    found.grant()
    found.start()
    yield found
    found.close()


def test_a_quiet_cache_stays_young_and_bookmarks_carry_its_version_on(watched) -> None:
    watched.deploy(replicas=1)
    eventually(lambda: watched.ready() == 1)
    oldest, until_s = 0.0, time.monotonic() + QUIET_S
    while time.monotonic() < until_s:
        oldest = max(oldest, *(watched.cache.age_s(resource) for resource in Resource))
        assert watched.view(stale_s=YOUNG_S).stale == ()
        time.sleep(0.05)
    assert oldest < YOUNG_S
    tallies = watched.watch.tallies()
    assert all(tally.lists == 1 for tally in tallies.values())
    # The end of a quiet watch is no failure; that a busy server answers one too late may happen.
    assert all(tally.failures <= 1 < tally.watches for tally in tallies.values())
    # Nobody promises bookmarks: a resource that has not changed since the server started has none,
    # nor has one without a watch cache, as Events. There the end of each watch is the sign of life.
    for name in ("pods", "deployments"):
        eventually(lambda name=name: watched.watch.tallies()[name].bookmarks, what=name)


def test_changes_are_told_as_what_they_are(watched) -> None:
    watched.deploy(replicas=2, region="north")
    eventually(lambda: watched.ready() == 2)

    def template(**container):
        return {"spec": {"containers": [{"name": "main", **container}]}}

    watched.change(template=template(image="example.test/web:2"))
    eventually(lambda: len(watched.view().changes) == 2)
    watched.change(template=template(envFrom=[{"configMapRef": {"name": "s", "optional": True}}]))
    eventually(lambda: len(watched.view().changes) == 3)
    watched.change(replicas=3)
    eventually(lambda: len(watched.view().changes) == 4)
    told = [(c.kind, c.revision_from, c.revision_to, c.summary) for c in watched.view().changes]
    assert sorted(told) == [
        (ChangeKind.CONFIG, "2", "3", "environment of main"),
        (ChangeKind.DEPLOY, "", "1", "created"),
        (
            ChangeKind.DEPLOY,
            "1",
            "2",
            "image of main: example.test/web:1 -> example.test/web:2",
        ),
        (ChangeKind.SCALE, "2", "3", "replicas 2 -> 3"),
    ]
    assert all(abs(change.at_s - time.time()) < 60.0 for change in watched.view().changes)
    (revision,) = {service.revision for service in watched.view().services}
    (previous,) = {service.previous_revision for service in watched.view().services}
    assert (revision, previous) == ("3", "2")
    later = ClusterCache()
    again = ClusterWatch(watched.api, later, pace=PACE)
    again.start()
    try:
        eventually(lambda: all(later.listed(resource) for resource in Resource))
        changes = cluster_view(
            later, namespace=watched.namespace, match_labels={}, now_s=time.time()
        ).changes
        assert {(c.revision_from, c.revision_to) for c in changes} == {("2", "3")}
    finally:
        assert again.stop()


def test_events_of_pods_are_there_with_their_service(watched) -> None:
    watched.deploy(replicas=1, gpus=9)  # no node has as many
    eventually(lambda: any(e.reason == "FailedScheduling" for e in watched.view().events))
    (event,) = [e for e in watched.view().events if e.reason == "FailedScheduling"]
    assert (event.service, event.warning) == ("web", True)
    assert "Insufficient nvidia.com/gpu" in event.message


def test_missing_rights_are_named_and_a_grant_is_noticed(control_plane, namespace) -> None:
    found = Reflected(control_plane, namespace)
    try:
        found.watch.start()
        wanted = {
            Right("list", group, resource)
            for group, resource in (
                ("", "pods"),
                ("", "nodes"),
                ("", "events"),
                ("apps", "deployments"),
            )
        }
        eventually(lambda: found.api.forbidden == wanted)
        view = found.view()
        assert view.pods is None
        assert view.stale == ("pods", "nodes", "deployments", "events")
        words = "grant: list pods in the whole cluster"
        eventually(lambda: words in (found.cache.trouble("pods") or ""), what=words)
        found.grant()
        eventually(lambda: found.view().stale == ())
        assert not found.api.forbidden
    finally:
        found.close()


def test_a_thousand_pods_come_are_replaced_and_go(watched) -> None:
    watched.deploy(replicas=1000, cores="10m")
    eventually(
        lambda: watched.ready() == 1000, timeout_s=THOUSAND_S, poll_s=0.2, what="1,000 ready"
    )
    assert {pod.service for pod in watched.view().pods} == {"web"}
    assert {pod.region for pod in watched.view().pods} == {"north", "south"}
    services = watched.view().services
    assert sum(service.replicas for service in services) == 1000
    dead = sorted(pod.name for pod in watched.view().pods)[::10]
    for name in dead:
        watched.plane.admin.delete(f"{pods_path(watched.namespace)}/{name}")
    eventually(
        lambda: watched.ready() == 1000 and not {pod.name for pod in watched.view().pods} & {*dead},
        timeout_s=THOUSAND_S,
        poll_s=0.2,
        what="a hundred others in place of those deleted",
    )
    eventually(watched.same)
    watched.change(replicas=0)
    eventually(lambda: watched.view().pods == (), timeout_s=THOUSAND_S, poll_s=0.2)
    assert watched.watch.tallies()["pods"].lists == 1
