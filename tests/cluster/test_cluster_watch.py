"""The reflectors and the cache against a real API server and what happens to one."""

from __future__ import annotations

import json
import time
import urllib.request

import pytest

from ops.adapters.kube.api import KubeApi
from ops.adapters.kube.cache import ClusterCache, Resource
from ops.adapters.kube.cluster_watch import ClusterWatch
from ops.adapters.kube.fields import Pool
from ops.adapters.kube.records import pod_row
from ops.adapters.kube.reflector import Pace
from ops.adapters.kube.rights import Right
from ops.adapters.kube.view import cluster_view
from rca.state import ChangeKind
from tests.cluster.fault_proxy import FaultProxy
from tests.cluster.processes import eventually
from tests.cluster.workloads import deployment, deployments_path, pods_path

pytestmark = pytest.mark.cluster
RECOVERY_S, THOUSAND_S = 60.0, 240.0
PACE = Pace(watch_s=4.0, grace_s=2.0, pause_s_min=0.1, pause_s_max=1.0)
RULES = [
    {"apiGroups": [""], "resources": ["pods", "nodes", "events"], "verbs": ["list", "watch"]},
    {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["list", "watch"]},
]
ROLES = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
BINDINGS = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"


def settles(check, *, timeout_s=RECOVERY_S, poll_s=0.05, **more):
    """Wait until it holds, as long as a recovery may take at most; the machine may be busy."""
    return eventually(check, timeout_s=timeout_s, poll_s=poll_s, **more)


class Watched:
    """One namespace, watched with a ServiceAccount's rights through a proxy."""

    def __init__(self, plane, namespace) -> None:
        self.plane, self.namespace = plane, namespace
        self.proxy = FaultProxy(plane.server, certificates=plane.folder)
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "watcher"}}
        plane.admin.create(f"/api/v1/namespaces/{namespace}/serviceaccounts", account)
        config = plane.kubeconfig(
            namespace, plane.token(namespace, "watcher"), server=self.proxy.url
        )
        self.api = KubeApi.connect(kubeconfig=config, timeout_s=3.0)
        self.cache = ClusterCache()
        self.watch = ClusterWatch(self.api, self.cache, pace=PACE)

    def grant(self) -> None:
        name = f"watcher-{self.namespace}"
        meta = {"metadata": {"name": name}}
        self.plane.admin.create(ROLES, {**meta, "rules": RULES})
        binding = {
            **meta,
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": name,
            },
            "subjects": [
                {"kind": "ServiceAccount", "name": "watcher", "namespace": self.namespace}
            ],
        }
        self.plane.admin.create(BINDINGS, binding)

    def start(self):
        self.watch.start()
        settles(lambda: all(self.cache.listed(resource) for resource in Resource))
        return self

    def close(self) -> None:
        ended = self.watch.stop()
        self.api.close()
        self.proxy.close()
        for path in (ROLES, BINDINGS):
            self.plane.admin.delete(f"{path}/watcher-{self.namespace}")
        assert ended, "a reflector's thread did not end"

    def view(self):
        return cluster_view(
            self.cache, namespace=self.namespace, match_labels={}, now_s=time.time(), stale_s=7.0
        )

    def deploy(self, name="web", **options):
        return self.plane.admin.create(
            deployments_path(self.namespace), deployment(name, **options)
        )

    def change(self, name="web", **spec):
        path = f"{deployments_path(self.namespace)}/{name}"
        self.plane.admin.patch(path, {"spec": spec}, kind="strategic")

    def ready(self):
        return sum(pod.ready for pod in self.view().pods)

    def same(self) -> bool:
        """Whether the cache holds what the server has; asked until nothing moves in between."""
        items = self.plane.admin.get(pods_path(self.namespace))["items"]
        pool = Pool()
        held = {row.name: row for row in self.cache.rows(self.namespace).pods}
        return held == {raw["metadata"]["name"]: pod_row(raw, pool) for raw in items}


@pytest.fixture
def watched(control_plane, namespace):
    found = Watched(control_plane, namespace)
    found.grant()
    found.start()
    yield found
    found.close()


def test_a_quiet_cache_stays_young_and_bookmarks_carry_its_version_on(watched) -> None:
    watched.deploy(replicas=1)
    settles(lambda: watched.ready() == 1)
    oldest, until_s = 0.0, time.monotonic() + 9.0
    while time.monotonic() < until_s:
        oldest = max(oldest, *(watched.cache.age_s(resource) for resource in Resource))
        assert watched.view().stale == ()
        time.sleep(0.05)
    assert oldest < 6.0
    tallies = watched.watch.tallies()
    assert all((tally.lists, tally.failures) == (1, 0) for tally in tallies.values())
    # Nobody promises bookmarks: a resource that has not changed since the server started has none,
    # nor has one without a watch cache, as Events. There the end of each watch is the sign of life.
    assert tallies["pods"].bookmarks >= 1
    assert tallies["deployments"].bookmarks >= 1


def test_changes_are_told_as_what_they_are(watched) -> None:
    watched.deploy(replicas=2, region="north")
    settles(lambda: watched.ready() == 2)

    def template(**container):
        return {"spec": {"containers": [{"name": "main", **container}]}}

    watched.change(template=template(image="example.test/web:2"))
    settles(lambda: len(watched.view().changes) == 2)
    watched.change(template=template(envFrom=[{"configMapRef": {"name": "s", "optional": True}}]))
    settles(lambda: len(watched.view().changes) == 3)
    watched.change(replicas=3)
    settles(lambda: len(watched.view().changes) == 4)
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
        settles(lambda: all(later.listed(resource) for resource in Resource))
        changes = cluster_view(
            later, namespace=watched.namespace, match_labels={}, now_s=time.time()
        ).changes
        assert {(c.revision_from, c.revision_to) for c in changes} == {("2", "3")}
    finally:
        assert again.stop()


def test_events_of_pods_are_there_with_their_service(watched) -> None:
    watched.deploy(replicas=1, gpus=9)  # no node has as many
    settles(lambda: any(e.reason == "FailedScheduling" for e in watched.view().events))
    (event,) = [e for e in watched.view().events if e.reason == "FailedScheduling"]
    assert (event.service, event.warning) == ("web", True)
    assert "Insufficient nvidia.com/gpu" in event.message


def test_a_restarted_api_server_is_met_again_and_nothing_is_missed(watched) -> None:
    watched.deploy(replicas=3)
    settles(lambda: watched.ready() == 3)
    watched.plane.restart_api_server(down_s=1.0)
    began_s = time.monotonic()
    assert watched.ready() == 3  # what was known is still shown
    watched.change(replicas=5)
    settles(lambda: watched.ready() == 5)
    settles(watched.same)
    settles(lambda: watched.view().stale == ())
    assert time.monotonic() - began_s < RECOVERY_S


@pytest.mark.parametrize("fault", ["half_open", "reset", "busy"])
def test_a_bad_line_to_the_server_makes_it_stale_and_then_whole_again(watched, fault) -> None:
    watched.deploy(replicas=2)
    settles(lambda: watched.ready() == 2)
    if fault == "busy":
        body = {"kind": "Status", "code": 429, "reason": "TooManyRequests"}
        watched.proxy.answer(429, headers={"Retry-After": "1"}, body=json.dumps(body).encode())
    else:
        getattr(watched.proxy, fault)()
    watched.change(replicas=4)
    settles(lambda: "pods" in watched.view().stale)
    assert watched.ready() == 2
    answered = watched.proxy.num_answered
    time.sleep(1.0)
    assert watched.proxy.num_answered - answered <= 8  # four watches, a pause of a second each
    settles(lambda: watched.cache.trouble("pods"))
    watched.proxy.heal()
    settles(lambda: watched.ready() == 4)
    settles(watched.same)
    settles(lambda: watched.view().stale == ())


def test_a_version_that_the_server_has_forgotten_is_listed_anew(watched) -> None:
    watched.deploy(replicas=2)
    settles(lambda: watched.ready() == 2)
    watched.proxy.reset()
    time.sleep(0.2)
    watched.change(replicas=0)
    settles(lambda: not watched.plane.admin.get(pods_path(watched.namespace))["items"])
    watched.change(replicas=3)
    compact(watched.plane)
    watched.plane.restart_api_server()
    watched.proxy.heal()
    settles(lambda: watched.ready() == 3 and watched.same())
    assert watched.watch.tallies()["pods"].lists > 1


def test_a_store_that_stands_still_makes_nothing_up(watched) -> None:
    watched.deploy(replicas=2)
    settles(lambda: watched.ready() == 2)
    etcd = watched.plane.programs["etcd"]
    etcd.pause()
    try:
        until_s = time.monotonic() + 12.0
        while time.monotonic() < until_s:
            assert watched.ready() == 2
            time.sleep(0.2)
    finally:
        etcd.resume()
    settles(lambda: watched.view().stale == ())
    watched.change(replicas=3)
    settles(lambda: watched.ready() == 3)
    settles(watched.same)


def test_missing_rights_are_named_and_a_grant_is_noticed(control_plane, namespace) -> None:
    found = Watched(control_plane, namespace)
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
        settles(lambda: found.api.forbidden == wanted)
        view = found.view()
        assert view.pods is None
        assert view.stale == ("pods", "nodes", "deployments", "events")
        assert "grant: list pods in the whole cluster" in found.cache.trouble("pods")
        found.grant()
        settles(lambda: found.view().stale == ())
        assert not found.api.forbidden
    finally:
        found.close()


def test_a_thousand_pods_come_are_replaced_and_go(watched) -> None:
    watched.deploy(replicas=1000, cores="10m")
    settles(lambda: watched.ready() == 1000, timeout_s=THOUSAND_S, poll_s=0.2, what="1,000 ready")
    assert {pod.service for pod in watched.view().pods} == {"web"}
    assert {pod.region for pod in watched.view().pods} == {"north", "south"}
    services = watched.view().services
    assert sum(service.replicas for service in services) == 1000
    dead = sorted(pod.name for pod in watched.view().pods)[::10]
    for name in dead:
        watched.plane.admin.delete(f"{pods_path(watched.namespace)}/{name}")
    settles(
        lambda: watched.ready() == 1000 and not {pod.name for pod in watched.view().pods} & {*dead},
        timeout_s=THOUSAND_S,
        poll_s=0.2,
        what="a hundred others in place of those deleted",
    )
    settles(watched.same)
    watched.change(replicas=0)
    settles(lambda: watched.view().pods == (), timeout_s=THOUSAND_S, poll_s=0.2)
    assert watched.watch.tallies()["pods"].lists == 1


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
