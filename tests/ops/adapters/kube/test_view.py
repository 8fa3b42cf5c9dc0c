"""What a fleet sees of its cluster."""

from __future__ import annotations

import math

from ops.adapters.kube import view as views
from ops.adapters.kube.cache import ClusterCache, Resource
from ops.adapters.kube.deployments import deployment_row
from ops.adapters.kube.events import event_row
from ops.adapters.kube.fields import Pool
from ops.adapters.kube.records import node_row, pod_row
from ops.adapters.kube.view import cluster_view, stale_text
from rca.state import ChangeKind, Entity
from tests.ops.adapters.kube.raw_objects import (
    T0_S,
    raw_deployment,
    raw_event,
    raw_node,
    raw_pod,
)

NOW_S = T0_S + 60.0
POOL = Pool()


class World:
    """A cache that a test fills."""

    def __init__(self) -> None:
        self.clock_s = 0.0
        self.cache = ClusterCache(clock=lambda: self.clock_s, wall=lambda: NOW_S)

    def list(self, *, pods=(), nodes=(), deployments=(), events=()):
        for resource, decode, raws in (
            (Resource.NODES, node_row, nodes),
            (Resource.PODS, pod_row, pods),
            (Resource.DEPLOYMENTS, deployment_row, deployments),
            (Resource.EVENTS, event_row, events),
        ):
            self.cache.replace(resource, [decode(raw, POOL) for raw in raws])
        return self

    def view(self, now_s=NOW_S, **labels):
        return cluster_view(self.cache, namespace="a", match_labels=labels, now_s=now_s)


def test_nothing_is_known_before_the_first_list() -> None:
    view = World().view()
    assert (view.pods, view.nodes, view.services, view.changes, view.events) == (None,) * 5
    assert view.stale == ("pods", "nodes", "deployments", "events")
    assert all(map(math.isinf, view.ages_s.values()))
    assert stale_text(view).startswith("pods never listed, nodes never listed")


def test_after_an_empty_list_there_is_nothing() -> None:
    view = World().list().view()
    assert (view.pods, view.services, view.stale) == ((), (), ())


def test_an_empty_list_is_told_apart_from_none_at_all() -> None:
    world = World()
    assert world.view().pods is None
    world.cache.replace(Resource.PODS, [])
    assert world.view().pods == ()


def test_each_list_makes_its_own_part_known() -> None:
    world = World()
    world.cache.replace(Resource.PODS, [pod_row(raw_pod(), POOL)])
    view = world.view()
    assert len(view.pods) == 1
    assert (view.nodes, view.services, view.events) == (None, None, None)
    assert view.stale == ("nodes", "deployments", "events")


def test_old_knowledge_is_shown_and_called_stale_with_its_age() -> None:
    world = World().list(pods=[raw_pod()])
    world.clock_s = 40.0
    assert world.view().stale == ()
    world.clock_s = 73.0
    world.cache.alive(Resource.NODES)
    view = world.view()
    assert len(view.pods) == 1
    assert view.stale == ("pods", "deployments", "events")
    assert stale_text(view) == "pods 73 s old, deployments 73 s old, events 73 s old"


def test_a_fleet_is_chosen_by_all_of_its_labels_in_its_own_namespace() -> None:
    labels = {"fleet": "x", "tier": "front"}
    world = World().list(
        pods=[
            raw_pod("web-1-a", labels=labels),
            raw_pod("web-1-b", labels={"fleet": "x"}),
            raw_pod("web-1-c", labels=labels, namespace="b"),
            raw_pod("job-1-d", labels=labels, phase="Succeeded", ready=False),
        ],
        deployments=[
            raw_deployment(labels={"app": "web", **labels}),
            raw_deployment("other"),
        ],
    )
    view = world.view(fleet="x", tier="front")
    assert [pod.name for pod in view.pods] == ["web-1-a"]
    assert [service.service for service in view.services] == ["web"]
    assert len(world.view().pods) == 2


def test_records_say_what_the_rows_say() -> None:
    world = World().list(
        pods=[
            raw_pod("llm-5c-a", resources={"limits": {"nvidia.com/gpu": "4"}}, restarts=2),
            raw_pod("llm-5c-b", ready=False, phase="Pending", node=""),
        ],
        nodes=[raw_node(gpus=8), raw_node("n9", region="south", gpus=8)],
        deployments=[raw_deployment("llm", revision="5", replicas=3)],
    )
    view = world.view()
    first, second = view.pods
    assert (first.region, first.service, first.node, first.engine) == ("north", "llm", "n1", True)
    assert (first.restarts, first.created_at_s) == (2, T0_S)
    assert (second.region, second.ready) == ("north", False)  # where its sibling is
    (service,) = view.services
    assert (service.replicas, service.ready_replicas) == (3, 1)
    assert (service.revision, service.previous_revision, service.replicas_max) == ("5", "4", 0)
    assert [(node.name, node.gpus) for node in view.nodes] == [("n1", 8)]


def test_a_pod_belongs_to_its_deployment_else_to_what_its_labels_say() -> None:
    kept = raw_pod("db-0", labels={"app.kubernetes.io/name": "store"})
    kept["metadata"]["ownerReferences"] = [
        {"kind": "StatefulSet", "name": "db", "controller": True}
    ]
    bare = raw_pod("alone")
    bare["metadata"] |= {"labels": {}, "ownerReferences": []}
    view = World().list(pods=[raw_pod("my-web-7d-x"), kept, bare]).view()
    assert {pod.name: pod.service for pod in view.pods} == {
        "alone": "alone",
        "db-0": "store",
        "my-web-7d-x": "my-web",
    }


def test_who_makes_a_new_pod_is_told_and_nobody_where_nobody_does() -> None:
    static, bare = raw_pod("static"), raw_pod("bare")
    static["metadata"]["ownerReferences"] = [{"kind": "Node", "name": "n1", "controller": True}]
    bare["metadata"]["ownerReferences"] = [{"kind": "Note", "name": "x"}]  # owns, controls nothing
    view = World().list(pods=[raw_pod("web-7d-x"), static, bare]).view()
    assert {pod.name: pod.owner for pod in view.pods} == {
        "bare": "", "static": "", "web-7d-x": "ReplicaSet",
    }  # fmt: skip


def test_a_pod_tells_the_label_by_which_its_service_is_chosen() -> None:
    pods = [
        raw_pod("web-7d9f-a", labels={"app.kubernetes.io/name": "web"}),
        raw_pod("db-7d9f-b", labels={"app": "back", "tier": "db"}),
        raw_pod("auth-7d9f-c", labels={"app": "back"}),
    ]
    told = {pod.service: pod.label for pod in World().list(pods=pods).view().pods}
    assert told == {"web": "app.kubernetes.io/name=web", "db": "tier=db", "auth": ""}


def test_regions_come_from_nodes_then_labels_then_siblings_then_the_only_one() -> None:
    def regions(pods, nodes):
        return [pod.region for pod in World().list(pods=pods, nodes=nodes).view().pods]

    label = {"topology.kubernetes.io/region": "east"}
    here, lost = raw_pod("web-1-a"), raw_pod("web-1-b", node="lost", labels=label)
    pending, alone = raw_pod("web-1-c", node=""), raw_pod("api-1-d", node="")
    north = [raw_node()]
    assert regions([here, lost], north) == ["north", "east"]
    assert regions([here, pending], north) == ["north", "north"]
    assert regions([alone], north) == ["north"]
    assert regions([alone], []) == ["default"]
    two = [raw_node(), raw_node("n2", region="south")]
    others = [raw_pod("api-1-a", node="n2"), here, pending]
    assert regions(others, two) == ["south", "north", "north"]
    assert regions([here], [raw_node(region="")]) == ["default"]
    both = [raw_node(), raw_node("n2", region="south")]
    spread = [raw_pod("web-1-a"), raw_pod("web-1-b", node="n2"), alone]
    assert regions(spread, both) == ["default", "north", "south"]


def test_a_service_in_two_regions_has_a_record_in_each() -> None:
    world = World().list(
        pods=[
            raw_pod("web-1-a"),
            raw_pod("web-1-b", node="n2"),
            raw_pod("web-1-c", node="n2", ready=False),
            raw_pod("web-1-d", node="n2", deleting=True),
        ],
        nodes=[raw_node(), raw_node("n2", region="south")],
        deployments=[raw_deployment(replicas=4)],
    )
    services = world.view().services
    assert [(s.region, s.replicas, s.ready_replicas) for s in services] == [
        ("north", 1, 1),
        ("south", 2, 1),
    ]
    assert [s.replicas_in_all for s in services] == [4, 4]  # spec.replicas, wherever it is asked


def test_a_deployment_without_pods_wants_them_and_has_none() -> None:
    world = World().list(nodes=[raw_node()], deployments=[raw_deployment(replicas=2)])
    (service,) = world.view().services
    assert (service.region, service.replicas, service.ready_replicas) == ("north", 2, 0)


def test_changes_carry_region_and_revisions_and_outlive_their_deployment() -> None:
    world = World().list(pods=[raw_pod()], nodes=[raw_node()], deployments=[raw_deployment()])
    new = raw_deployment(revision="2", container={"image": "shop/web:2"})
    world.cache.put(Resource.DEPLOYMENTS, deployment_row(new, POOL))
    world.cache.drop(Resource.DEPLOYMENTS, "a", "web")
    first, second = world.view(app="web").changes
    assert (first.kind, first.region, first.service) == (ChangeKind.DEPLOY, "north", "web")
    assert (first.revision_from, first.revision_to, second.revision_to) == ("1", "2", "")
    assert world.view(app="other").changes == ()
    assert world.view(now_s=NOW_S + 4000.0, app="web").changes == ()


def test_events_name_the_pod_the_service_or_the_node() -> None:
    world = World().list(
        pods=[raw_pod(), raw_pod("dead-77-x")],
        nodes=[raw_node()],
        deployments=[raw_deployment()],
        events=[
            raw_event("e1"),
            raw_event("e2", kind="ReplicaSet", about="web-7d9f", reason="FailedCreate"),
            raw_event("e3", kind="Deployment", about="web", reason="ScalingReplicaSet"),
            raw_event("e4", kind="Node", about="n1", namespace="default", reason="NodeNotReady"),
            raw_event("e5", about="web-7d9f-before-us"),
            raw_event("e6", about="web-old-abcde"),
            raw_event("e7", about="dead-77-x", reason="Killing"),
            raw_event("e8", kind="Service", about="web"),
            raw_event("e9", about="web-7d9f-other"),
        ],
    )
    other = raw_pod("web-7d9f-other", labels={"app": "not-web"})
    world.cache.put(Resource.PODS, pod_row(other, POOL))
    world.cache.drop(Resource.PODS, "a", "dead-77-x")
    view = world.view()
    assert "pod:north/web-7d9f-other" in {str(event.entity) for event in view.events}
    chosen = {str(event.entity) for event in world.view(app="web").events}
    assert "pod:north/web-7d9f-other" not in chosen
    events = {
        str(event.entity): event.service
        for event in view.events
        if event.entity.name != "web-7d9f-other"
    }
    assert events == {
        "pod:north/web-7d9f-abcde": "web",
        "service:north/web": "web",
        "node:north/n1": "",
        "pod:north/web-old-abcde": "web",  # of a pod deleted before the first list
        "pod:north/dead-77-x": "dead",
    }


def test_events_are_made_again_only_where_something_about_them_changed() -> None:
    world = World().list(
        pods=[raw_pod(), raw_pod("web-7d9f-x")],
        nodes=[raw_node()],
        events=[raw_event("e1"), raw_event("e2", about="web-7d9f-x", reason="Unhealthy")],
    )
    before = world.view().events
    world.cache.put(Resource.PODS, pod_row(raw_pod(ready=False), POOL))
    world.cache.put(Resource.EVENTS, event_row(raw_event("e1", count=3), POOL))
    after = world.view().events
    assert [event.reason for event in after] == ["BackOff", "BackOff", "Unhealthy"]
    assert after[-1] is before[-1]
    world.cache.put(Resource.NODES, node_row(raw_node(region="south"), POOL))
    assert {event.entity.region for event in world.view().events} == {"south"}


def test_each_occurrence_of_an_event_has_its_own_time() -> None:
    world = World().list(
        pods=[raw_pod()], events=[raw_event(count=40, last="2026-11-30T12:00:50Z")]
    )
    assert [(event.at_s, event.count) for event in world.view().events] == [
        (T0_S, 39),
        (T0_S + 50.0, 1),
    ]
    assert world.view().events[0].entity == Entity.parse("pod:default/web-7d9f-abcde")


def test_a_node_that_fails_is_seen_though_no_pod_of_the_fleet_is_on_it() -> None:
    world = World().list(pods=[raw_pod()], nodes=[raw_node(), raw_node("n2")])
    assert [node.ready for node in world.view().nodes] == [True, True]
    world.cache.put(Resource.NODES, node_row(raw_node("n2", ready="Unknown"), POOL))
    assert [node.ready for node in world.view().nodes] == [True, False]


def test_an_unchanged_namespace_is_not_built_again() -> None:
    world = World().list(pods=[raw_pod()], nodes=[raw_node()])
    first = world.view()
    world.cache.put(Resource.PODS, pod_row(raw_pod(namespace="b"), POOL))
    assert world.view().pods is first.pods
    world.cache.put(Resource.PODS, pod_row(raw_pod(ready=False), POOL))
    assert world.view().pods is not first.pods


def stateful_pod(name, set_name, *, labels=None, **changes):
    pod = raw_pod(name, **changes)
    pod["metadata"]["labels"] = labels or {}
    owner = {"kind": "StatefulSet", "name": set_name, "controller": True}
    pod["metadata"]["ownerReferences"] = [owner]
    return pod


def test_a_stateful_set_is_a_service_by_its_pods() -> None:
    gpu = {"requests": {"nvidia.com/gpu": "8"}}
    world = World().list(
        nodes=[raw_node("n1", region="north"), raw_node("n2", region="south")],
        pods=[
            stateful_pod("llm-0", "llm", resources=gpu),
            stateful_pod("llm-1", "llm", resources=gpu, ready=False),
            stateful_pod("llm-2", "llm", resources=gpu, node="n2"),
            stateful_pod("db-0", "db", deleting=True),
            raw_pod("web-7d9f-abcde"),
        ],
        deployments=[raw_deployment(replicas=1)],
    )
    told = {
        (s.region, s.service): (s.replicas, s.ready_replicas, s.engine, s.revision)
        for s in world.view().services
        if s.service != "web"
    }
    assert told == {
        ("north", "llm"): (2, 1, True, ""),
        ("south", "llm"): (1, 1, True, ""),
        ("north", "db"): (1, 0, False, ""),  # its name comes back
    }


def test_groups_of_a_leader_worker_set_are_one_service() -> None:
    labels = {"leaderworkerset.sigs.k8s.io/name": "llm"}
    world = World().list(
        nodes=[raw_node()],
        pods=[
            stateful_pod("llm-0", "llm", labels=labels),
            stateful_pod("llm-0-1", "llm-0", labels=labels),
            stateful_pod("llm-1", "llm", labels=labels),
            stateful_pod("llm-1-1", "llm-1", labels=labels),
        ],
    )
    (service,) = world.view().services
    assert (service.service, service.replicas, service.ready_replicas) == ("llm", 4, 4)


def test_a_service_of_a_deployment_is_told_once() -> None:
    world = World().list(
        nodes=[raw_node()],
        pods=[raw_pod(), stateful_pod("web-0", "web", labels={"app": "web"})],
        deployments=[raw_deployment(replicas=1)],
    )
    assert [service.service for service in world.view().services] == ["web"]


def test_views_that_nobody_looks_at_any_more_are_forgotten(monkeypatch) -> None:
    cache, now = ClusterCache(), [0.0]
    monkeypatch.setattr(views, "monotonic_s", lambda: now[0])
    for k in range(5):
        cluster_view(cache, namespace=f"preview-{k}", match_labels={}, now_s=NOW_S)
    now[0] = views._UNSEEN_S + 1.0
    cache.replace(Resource.PODS, [])
    cluster_view(cache, namespace="shop", match_labels={}, now_s=NOW_S)
    memo = views._MEMOS[cache]
    assert [key[0] for key in memo.views] == [key[0] for key in memo.looked_s] == ["shop"]
