"""Least privilege, both ways: what is granted is used, and nothing else is; who writes what."""

from __future__ import annotations

import json
from contextlib import suppress
from types import SimpleNamespace

import pytest

from ops.adapters.kube.api import KubeApi
from ops.adapters.kube.rights import Right
from ops.controller.fleet.api_request import ApiRequest, Verb
from ops.controller.fleet.recommend import dry_run, recommended
from ops.controller.incidents.events import News, event_body
from ops.state import Action, ActionKind
from rca.state import Entity
from tests.cluster.accounts import roles_in_force, without
from tests.cluster.api import ApiError
from tests.cluster.full_fleet import (
    SHIPPED,
    notification,
    open_incidents,
)
from tests.cluster.granted import granted, used
from tests.cluster.installing import OPERATOR, SYSTEM, WORKER, apply, body, no_fleet_but, path_of
from tests.cluster.own_processes import (
    LEASE_PATH,
    Operator,
    Worker,
    condition,
    fetch,
    wait_for_fleet,
)
from tests.cluster.processes import eventually
from tests.cluster.workloads import deployments_path, pods_path

SLOW_S = 600.0  # an abstention comes 45 s after the alert
pytestmark = [
    pytest.mark.cluster,
    pytest.mark.slow,
    pytest.mark.figure("b: rights granted and used, both ways; one right less is named"),
]


def left_behind(admin, namespace):
    """The Event that the operator will write next, as one that was killed leaves it behind."""
    news = News(reason="Mitigated", message="no alert fires for 30 s", warning=False, at_s=0.0)
    for name in open_incidents(admin, namespace):
        uid = admin.get(path_of("incidents", namespace, name))["metadata"]["uid"]
        made = event_body(news, incident=name, namespace=namespace, uid=uid)
        admin.create(f"/api/v1/namespaces/{namespace}/events", made)


@pytest.fixture(scope="module")
def story(control_plane, shop, empty_prometheus, tmp_path_factory):
    """One life of an operator in which everything that it may do is needed."""
    admin, folder = control_plane.admin, tmp_path_factory.mktemp("story")
    with suppress(ApiError):
        admin.delete(LEASE_PATH)
    no_fleet_but(control_plane, shop)
    since = control_plane.audit.mark()
    worker = Worker(folder, metrics_url=empty_prometheus.url).start()
    operator = Operator(control_plane, folder, metrics_url=empty_prometheus.url, worker=worker)
    try:
        eventually(lambda: fetch(f"{worker.url}/readyz")[0] == 200, what="a ready worker")
        operator.start()
        wait_for_fleet(control_plane, shop, lambda fleet: condition(fleet, "Ready"))
        admin.create(path_of("replays", shop), body("Replay", "story", {"incident": "none"}))
        eventually(lambda: operator.post_alerts(notification(shop)) == 200, what="an answer")
        eventually(
            lambda: Right("create", "", "configmaps") in used(control_plane, since=since),
            timeout_s=SLOW_S, poll_s=1.0, what="a page of the report",
        )  # fmt: skip
        left_behind(admin, shop)
        over = notification(shop, firing=False)
        eventually(lambda: operator.post_alerts(over) == 200, what="an answer")
        rare = {Right("patch", "", "configmaps"), Right("patch", "", "events")}
        eventually(
            lambda: rare <= used(control_plane, since=since),
            timeout_s=SLOW_S, poll_s=1.0, what="a second page, an Event counted up",
        )  # fmt: skip
    finally:  # it must not lead while other tests of this file look at operators of their own
        operator.stop()
        worker.stop()
    return SimpleNamespace(since=since)


def test_what_is_granted_is_what_the_files_say(control_plane, shop):
    base = {right for right in granted(control_plane) if right in SHIPPED}
    assert base == SHIPPED
    assert granted(control_plane, "midwatch-worker") == set()


def test_every_right_is_used_and_no_other_is_missing(control_plane, shop, story, capsys):
    held, needed = granted(control_plane) & SHIPPED, used(control_plane, since=story.since)
    with capsys.disabled():
        print(f"\n{len(held)} rights granted, {len(needed)} used by the story")
    assert sorted(map(str, held - needed)) == []
    assert sorted(map(str, needed - held)) == []
    refused = control_plane.audit.rights_refused(user=OPERATOR, since=story.since)
    assert sorted(map(str, refused)) == []


def test_nothing_is_written_in_observe_but_our_own_objects(control_plane, shop, story):
    written = control_plane.audit.writes(user=f"system:serviceaccount:{SYSTEM}:", since=story.since)
    assert {one.user for one in written} == {OPERATOR}
    places = {
        (one.right.group, one.right.resource, one.right.subresource, one.right.namespace)
        for one in written
    }
    assert places == {
        ("midwatch.dev", "fleets", "status", shop),
        ("midwatch.dev", "incidents", "", shop),
        ("midwatch.dev", "incidents", "status", shop),
        ("midwatch.dev", "replays", "status", shop),
        ("", "configmaps", "", shop),
        ("", "events", "", shop),
        ("coordination.k8s.io", "leases", "", SYSTEM),
    }
    incidents = {
        i["metadata"]["name"] for i in control_plane.admin.items(path_of("incidents", shop))
    }
    reports = [one.name for one in written if one.right.resource == "configmaps" and one.name]
    owners = incidents | {"story"}
    assert all(any(name.startswith(owner) for owner in owners) for name in reports)


def test_the_worker_asks_the_server_for_nothing(control_plane, story):
    assert control_plane.audit.accesses(user=WORKER) == []


def test_recommend_uses_what_it_adds(control_plane, shop, tmp_path):
    before = granted(control_plane)
    apply(control_plane, "overlays/recommend")
    roles_in_force(control_plane)
    added = granted(control_plane) - SHIPPED
    since = control_plane.audit.mark()
    token = control_plane.token(SYSTEM, "midwatch-operator")
    config = control_plane.kubeconfig("midwatch-operator", token)
    api = KubeApi.connect(kubeconfig=config)
    (pod, *_) = control_plane.admin.items(pods_path(shop))
    name = pod["metadata"]["name"]
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction",
                "metadata": {"name": name, "namespace": shop}}  # fmt: skip
    replicas = [{"op": "replace", "path": "/spec/replicas", "value": 3}]
    cordon = [{"op": "add", "path": "/spec/unschedulable", "value": True}]
    node = pod["spec"]["nodeName"]
    for verb, path, sent in (
        (Verb.PATCH, f"{deployments_path(shop)}/web/scale", replicas),
        (Verb.POST, f"{pods_path(shop)}/{name}/eviction", eviction),
        (Verb.PATCH, f"/api/v1/nodes/{node}", cordon),
    ):
        answer = dry_run(api, ApiRequest(verb=verb, path=path, body=sent))
        assert answer == "accepted: the server would carry it out"
    assert control_plane.admin.get(f"{pods_path(shop)}/{name}")["metadata"]["name"] == name
    roll_out(control_plane, shop, "web", image="registry.example/web:2")
    rollback = Action(
        action_id="", kind=ActionKind.ROLLBACK, target=Entity.parse("service:default/web"),
        params={"to_revision": "1"},
    )  # fmt: skip
    found = recommended(api, rollback, None, namespace=shop)
    assert found.dry_run == "accepted: the server would carry it out"
    assert json.loads(found.patch)[-1]["path"] == "/spec/template/spec/containers/0/image"
    assert used(control_plane, since=since) - SHIPPED == added
    lists = Right("list", "apps", "replicasets")

    def told():
        return recommended(api, rollback, None, namespace=shop).dry_run

    with without(control_plane, lists):
        eventually(lambda: told().startswith("no request"))
        assert "list replicasets.apps" in told()
        assert any((r.verb, r.resource) == ("list", "replicasets") for r in api.forbidden)
    eventually(lambda: told().startswith("accepted"))
    assert before <= granted(control_plane)
    assert control_plane.audit.writes(user=OPERATOR, since=since) == []
    web = control_plane.admin.get(f"{deployments_path(shop)}/web")
    assert web["spec"]["replicas"] == 2
    assert web["spec"]["template"]["spec"]["containers"][0]["image"].endswith(":2")


def roll_out(plane, namespace, name, *, image):
    """A second revision, as somebody's deploy makes it."""
    path = f"{deployments_path(namespace)}/{name}"
    containers = plane.admin.get(path)["spec"]["template"]["spec"]["containers"]
    changed = [{**containers[0], "image": image}]
    plane.admin.patch(path, {"spec": {"template": {"spec": {"containers": changed}}}})
    mark = "deployment.kubernetes.io/revision"
    eventually(
        lambda: plane.admin.get(path)["metadata"].get("annotations", {}).get(mark) == "2",
        what="the second revision",
    )  # fmt: skip
