"""Least privilege, both ways: what is granted is used, and one right less is told by its name."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from types import SimpleNamespace

import pytest

from ops.adapters.kube.api import KubeApi
from ops.adapters.kube.rights import Right
from ops.controller.checks import operator_checks
from ops.controller.fleet.api_request import ApiRequest, Verb
from ops.controller.fleet.recommend import dry_run, recommended
from ops.controller.incidents.events import News, event_body
from ops.errors import KubeError
from ops.state import Action, ActionKind
from rca.state import Entity
from tests.cluster.api import ApiError
from tests.cluster.granted import granted, rights_in, used, without
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
from tests.cluster.stack import Prometheus, scrape_config
from tests.cluster.workloads import deployment, deployments_path, is_ready, pods_path
from tests.manifests.installs import of_kind

KEPT_MAX = 200  # Incidents of one fleet
TOLD_S = 40.0
SLOW_S = 180.0  # an abstention comes 45 s after the alert
SHIPPED = {
    right
    for kind in ("ClusterRole", "Role")
    for role in of_kind("default", kind)
    if role["metadata"]["name"].startswith("midwatch-operator")
    for right in rights_in(role)
}
pytestmark = [
    pytest.mark.cluster,
    pytest.mark.slow,
    pytest.mark.figure("b: rights granted and used, both ways; one right less is named"),
]


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory):
    """One that scrapes itself only: fleets without a metric of their own."""
    one = Prometheus(tmp_path_factory.mktemp("prometheus"), scrape_config({}))
    one.write(scrape_config({"prometheus": [one.url.removeprefix("http://")]}))
    yield one.start()
    one.stop()


@pytest.fixture(scope="module")
def shop(control_plane):
    """A namespace with two pods and a Fleet that has more resolved Incidents than are kept."""
    apply(control_plane)
    admin, name = control_plane.admin, f"rights-{time.monotonic_ns() % 10**6}"
    admin.create("/api/v1/namespaces", {"metadata": {"name": name}})
    admin.create(deployments_path(name), deployment("web", replicas=2))
    eventually(lambda: sum(map(is_ready, admin.items(pods_path(name)))) == 2)
    admin.create(path_of("fleets", name), body("Fleet", "chat"))
    for number in range(KEPT_MAX + 1):
        resolved_incident(admin, name, f"chat-20261101-000000-{number:05x}")
    yield name
    admin.delete(f"/api/v1/namespaces/{name}")


def resolved_incident(admin, namespace, name):
    labels = {"midwatch.dev/fleet": "chat"}
    made = body("Incident", name, {"fleet": "chat"}, labels=labels)
    with suppress(ApiError):
        admin.create(path_of("incidents", namespace), made)
        status = {"phase": "Resolved", "resolved": "2026-11-01T00:00:00Z"}
        admin.patch(path_of("incidents", namespace, name) + "/status", {"status": status})


def notification(namespace, *, firing=True, name="Slow", fingerprint="ab12"):
    """A body of Alertmanager's with one alert."""
    labels = {"alertname": name, "namespace": namespace, "severity": "critical"}
    ends = "0001-01-01T00:00:00Z" if firing else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    status = "firing" if firing else "resolved"
    alert = {"status": status, "labels": labels, "annotations": {}, "generatorURL": "",
             "startsAt": "2026-11-30T12:30:00Z", "endsAt": ends,
             "fingerprint": fingerprint}  # fmt: skip
    made = {"version": "4", "groupKey": name, "truncatedAlerts": 0, "status": status,
            "receiver": "midwatch", "groupLabels": {}, "commonLabels": {}, "commonAnnotations": {},
            "externalURL": "", "alerts": [alert]}  # fmt: skip
    return json.dumps(made).encode()


def left_behind(admin, namespace):
    """The Event that the operator will write next, as one that was killed leaves it behind."""
    news = News(reason="Mitigated", message="no alert fires for 30 s", warning=False, at_s=0.0)
    for name in open_incidents(admin, namespace):
        uid = admin.get(path_of("incidents", namespace, name))["metadata"]["uid"]
        made = event_body(news, incident=name, namespace=namespace, uid=uid)
        admin.create(f"/api/v1/namespaces/{namespace}/events", made)


def open_incidents(admin, namespace):
    found = admin.items(path_of("incidents", namespace))
    return [i["metadata"]["name"] for i in found if i.get("status", {}).get("phase") != "Resolved"]


@pytest.fixture(scope="module")
def story(control_plane, shop, prometheus, tmp_path_factory):
    """One life of an operator in which everything that it may do is needed."""
    admin, folder = control_plane.admin, tmp_path_factory.mktemp("story")
    with suppress(ApiError):
        admin.delete(LEASE_PATH)
    no_fleet_but(control_plane, shop)
    since = control_plane.audit.mark()
    worker = Worker(folder, metrics_url=prometheus.url).start()
    operator = Operator(control_plane, folder, metrics_url=prometheus.url, worker=worker)
    try:
        eventually(lambda: fetch(f"{worker.url}/readyz")[0] == 200, timeout_s=90.0)
        operator.start()
        wait_for_fleet(control_plane, shop, lambda fleet: condition(fleet, "Ready"))
        admin.create(path_of("replays", shop), body("Replay", "story", {"incident": "none"}))
        eventually(lambda: operator.post_alerts(notification(shop)) == 200, timeout_s=30.0)
        eventually(
            lambda: Right("create", "", "configmaps") in used(control_plane, since=since),
            timeout_s=SLOW_S, poll_s=1.0, what="a page of the report",
        )  # fmt: skip
        left_behind(admin, shop)
        operator.post_alerts(notification(shop, firing=False))
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


# Needed only after a minute of trouble: the story above shows that the process needs them; that
# they are named is shown on the client and the checks that the process is made of.
SLOW_TO_NEED = {
    Right("create", "", "configmaps"),
    Right("patch", "", "configmaps"),
    Right("patch", "", "events"),
}


@pytest.mark.parametrize("right", sorted(SHIPPED - SLOW_TO_NEED), ids=str)
def test_a_right_that_is_taken_away_is_named(control_plane, shop, prometheus, tmp_path, right):
    admin = control_plane.admin
    for incident in open_incidents(admin, shop):  # what is open would take the alert
        admin.delete(path_of("incidents", shop, incident))
    if right.verb == "delete":  # one too many again
        for number in range(3):
            resolved_incident(
                admin, shop, f"chat-20261102-00000{number}-{time.monotonic_ns():x}"[:40]
            )
    if right.resource == "replays":
        with suppress(ApiError):
            admin.create(path_of("replays", shop), body("Replay", "again", {"incident": "none"}))
    if right.verb == "create" and right.resource == "leases":
        with suppress(ApiError):
            admin.delete(LEASE_PATH)
    with without(control_plane, right):
        operator = Operator(control_plane, tmp_path, metrics_url=prometheus.url).start()
        mark = f"Alert{time.monotonic_ns()}"
        post = notification(shop, name=mark, fingerprint=mark)
        wide = str(Right(right.verb, right.group, right.resource, right.subresource))
        try:
            began_s = time.monotonic()
            while not (told := names(operator, control_plane, shop, right)):
                assert time.monotonic() - began_s < TOLD_S, operator.program.log_tail()
                if right.verb in ("create", "patch"):
                    operator.post_alerts(post, timeout_s=2.0)
                time.sleep(0.2)
            assert wide.partition(" in ")[0] in told
            assert operator.program.alive
        finally:
            operator.program.kill()


@pytest.mark.parametrize("right", sorted(SLOW_TO_NEED), ids=str)
def test_a_right_that_is_needed_late_is_named_too(control_plane, shop, right):
    token = control_plane.token(SYSTEM, "midwatch-operator")
    api = KubeApi.connect(kubeconfig=control_plane.kubeconfig("midwatch-operator", token))
    folder = f"/api/v1/namespaces/{shop}/{right.resource}"
    involved = {"involvedObject": {"namespace": shop}} if right.resource == "events" else {}
    # Of ConfigMaps only reports, which an Incident owns, may be written at all.
    incident = control_plane.admin.items(path_of("incidents", shop))[0]["metadata"]
    owner = {"apiVersion": "midwatch.dev/v1alpha1", "kind": "Incident",
             "name": incident["name"], "uid": incident["uid"]}  # fmt: skip
    meta = {"name": "late-report", "ownerReferences": [owner]}
    with suppress(ApiError):
        control_plane.admin.create(folder, {"metadata": meta, **involved})
    leads = SimpleNamespace(leader_address=None, holder="me", last_error="")

    def told():
        with suppress(KubeError):
            if right.verb == "create":
                api.create(folder, {"metadata": {"name": "more"}}, params={"dryRun": "All"})
            else:
                api.patch(f"{folder}/late-report", {"metadata": {"labels": {"a": "b"}}})
        checks = operator_checks(
            leads, listed=True, num_fleets=1, forbidden=api.forbidden, watch_trouble=""
        )
        (one,) = [check for check in checks if check.type == "Authorized"]
        return "" if one.ok else one.message

    assert told() == ""
    with without(control_plane, right):
        eventually(told, timeout_s=TOLD_S)
        assert str(right).partition(" in ")[0] in told()
    eventually(lambda: told() == "", timeout_s=TOLD_S)


def names(operator, plane, namespace, right):
    """The condition that names the right: the operator's own, or the Fleet's."""
    what = str(right).partition(" in ")[0]
    _, told = operator.probe("/readyz")
    conditions = told["conditions"] if isinstance(told, dict) else []
    fleet = plane.admin.get(path_of("fleets", namespace, "chat"))
    for one in [*conditions, *fleet.get("status", {}).get("conditions", [])]:
        if (one["type"], one["status"]) == ("Authorized", "False") and what in one["message"]:
            return one["message"]
    return ""


def test_a_right_that_comes_back_is_no_longer_missed(control_plane, shop, prometheus, tmp_path):
    with without(control_plane, Right("list", "", "pods")):
        operator = Operator(control_plane, tmp_path, metrics_url=prometheus.url).start()
        missing = Right("list", "", "pods")
        eventually(lambda: names(operator, control_plane, shop, missing), timeout_s=TOLD_S)
    try:
        gone = eventually(lambda: "pods" not in str(operator.probe("/readyz")[1]), timeout_s=60.0)
        assert gone < 60.0
    finally:
        operator.stop()


def test_recommend_uses_what_it_adds(control_plane, shop, tmp_path):
    before = granted(control_plane)
    apply(control_plane, "overlays/recommend")
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
        eventually(lambda: told().startswith("no request"), timeout_s=TOLD_S)
        assert "list replicasets.apps" in told()
        assert any((r.verb, r.resource) == ("list", "replicasets") for r in api.forbidden)
    eventually(lambda: told().startswith("accepted"), timeout_s=TOLD_S)
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
        timeout_s=60.0, what="the second revision",
    )  # fmt: skip
