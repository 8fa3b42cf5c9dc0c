"""Each install on a real server: what the pods may be, what midwatch may do, nothing left after."""

from __future__ import annotations

import time

import pytest

from tests.cluster import binaries
from tests.cluster.api import ApiError
from tests.cluster.control_plane import ControlPlane
from tests.cluster.installing import (
    CRDS,
    KINDS,
    MANIFESTS,
    OPERATOR,
    SYSTEM,
    WORKER,
    apply,
    body,
    path_of,
)
from tests.cluster.processes import eventually
from tests.cluster.workloads import deployment, deployments_path, node
from tests.manifests.render import INSTALLS, rendered

pytestmark = pytest.mark.cluster
LIMIT_S = 60.0


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    """A control plane of this file's own: it starts without our kinds and ends without them."""
    plane = ControlPlane(binaries=binaries.find(), folder=tmp_path_factory.mktemp("empty"))
    plane.start()
    try:
        for region in ("north", "south"):
            plane.admin.create("/api/v1/nodes", node(f"{region}-0", region=region))
        yield plane
    finally:
        plane.stop()


@pytest.fixture
def chat(empty):
    """A namespace with a Deployment that is not ours."""
    name = f"chat-{time.monotonic_ns() % 10**6}"
    empty.admin.create("/api/v1/namespaces", {"metadata": {"name": name}})
    empty.admin.create(deployments_path(name), deployment("web", replicas=2))
    yield name
    empty.admin.delete(f"/api/v1/namespaces/{name}")


def ours(plane):
    """Every object, of whatever kind, that carries our name or our mark."""
    return sorted(
        f"{path}/{item['metadata']['name']}"
        for path, item in plane.admin.everything()
        if "midwatch" in path or marked(item["metadata"])
    )


def marked(metadata):
    told = [
        metadata["name"],
        metadata.get("namespace", ""),
        *metadata.get("labels", {}),
        *metadata.get("labels", {}).values(),
        *metadata.get("annotations", {}),
        *(owner["apiVersion"] for owner in metadata.get("ownerReferences", [])),
        *metadata.get("finalizers", []),
    ]
    return any("midwatch" in word for word in told)


def remove(plane, folder):
    """Take an install off, and wait until nothing of ours is left; names what stays."""
    plane.kubectl("delete", "-k", MANIFESTS / folder)
    until_s = time.monotonic() + LIMIT_S
    while left := ours(plane):
        assert time.monotonic() < until_s, f"{len(left)} left: {left[:5]}"
        time.sleep(0.5)


@pytest.mark.parametrize("name", INSTALLS)
def test_the_file_that_the_package_prints_is_what_kustomize_makes(name):
    stored = (MANIFESTS / "rendered" / f"{name}.yaml").read_bytes()
    assert stored == rendered(binaries.find().kubectl, INSTALLS[name]), "run `make manifests`"


def test_a_second_apply_changes_nothing(empty):
    apply(empty)
    kinds = (*(f"{kind}.midwatch.dev" for kind in KINDS),)
    before = [admin_version(empty, name) for name in kinds]
    empty.kubectl("apply", "-k", MANIFESTS)
    assert [admin_version(empty, name) for name in kinds] == before


def admin_version(plane, name):
    metadata = plane.admin.get(f"{CRDS}/{name}")["metadata"]
    return metadata["generation"], metadata["uid"]


def test_pods_of_the_install_pass_the_restricted_standard(empty):
    apply(empty)
    path = f"/api/v1/namespaces/{SYSTEM}/pods"
    eventually(lambda: len(empty.admin.items(path)) == 3, what="pods of operator and worker")
    root = {"metadata": {"name": "root"}, "spec": {"containers": [{"name": "a", "image": "a"}]}}
    with pytest.raises(ApiError, match="violates PodSecurity"):
        empty.admin.create(path, root, dryRun="All")


def test_the_worker_may_do_nothing(empty):
    apply(empty)
    told = empty.kubectl("auth", "can-i", "--list", f"--as={WORKER}").stdout
    resources = {line.split()[0] for line in told.splitlines()[1:] if line.strip()}
    own = {"selfsubjectreviews.authentication.k8s.io",
           "selfsubjectaccessreviews.authorization.k8s.io",
           "selfsubjectrulesreviews.authorization.k8s.io"}  # fmt: skip
    assert {name for name in resources if not name.startswith("[")} == own


def operator_api(plane):
    return plane.api(plane.token(SYSTEM, "midwatch-operator"))


def refused(call, *words):
    """Whether the server refuses, for this reason; admission policies take a moment to act."""
    try:
        call()
    except ApiError as error:
        return error.status in (403, 422) and all(word in str(error) for word in words)
    return False


def test_in_recommend_the_server_takes_dry_runs_only(empty, chat):
    apply(empty, "overlays/recommend")
    api = operator_api(empty)
    path = f"{deployments_path(chat)}/web/scale"
    scale = {"spec": {"replicas": 3}}
    policy = "only recommends in this release"
    same = {"spec": {"replicas": 2}}  # until the policy acts, this is a write without effect
    eventually(lambda: refused(lambda: api.patch(path, same), policy), timeout_s=30.0)
    assert api.patch(path, scale, dryRun="All")["spec"]["replicas"] == 3
    (pod, *_) = empty.admin.items(f"/api/v1/namespaces/{chat}/pods")
    name = pod["metadata"]["name"]
    evict = f"/api/v1/namespaces/{chat}/pods/{name}/eviction"
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
    assert refused(lambda: api.create(evict, eviction), policy)
    dry = eviction | {"deleteOptions": {"dryRun": ["All"]}}
    assert api.create(evict, dry, dryRun="All")
    cordon = {"spec": {"unschedulable": True}}
    assert refused(lambda: api.patch("/api/v1/nodes/north-0", cordon), policy)
    assert api.patch("/api/v1/nodes/north-0", cordon, dryRun="All")
    with pytest.raises(ApiError, match="cannot patch resource"):
        api.patch(f"{deployments_path(chat)}/web", scale, dryRun="All")
    assert empty.admin.get(f"{deployments_path(chat)}/web")["spec"]["replicas"] == 2
    empty.admin.patch(f"{deployments_path(chat)}/web", scale)  # nobody else is held back
    remove(empty, "overlays/recommend")


def test_the_overlay_observe_holds_midwatch_to_its_own_objects(empty, chat):
    apply(empty, "overlays/observe")
    # Wider rights than shipped: the policy must hold even then.
    empty.kubectl("create", "clusterrolebinding", "too-much", "--clusterrole=cluster-admin",
                  f"--user={OPERATOR}")  # fmt: skip
    api = operator_api(empty)
    configmaps = f"/api/v1/namespaces/{chat}/configmaps"
    policy = "in Observe midwatch writes its own objects only"
    empty.admin.create(configmaps, {"metadata": {"name": "foreign"}})
    owner = {"apiVersion": "midwatch.dev/v1alpha1", "kind": "Incident", "name": "a", "uid": "1"}
    taken = {"metadata": {"ownerReferences": [owner]}, "data": {"a": "b"}}
    web = f"{deployments_path(chat)}/web"
    eventually(
        lambda: refused(lambda: api.patch(web, {"spec": {"replicas": 2}}), policy), timeout_s=30.0
    )
    for call in (
        lambda: api.patch(f"{web}/scale", {"spec": {"replicas": 0}}),
        lambda: api.delete(web),
        lambda: api.create(configmaps, {"metadata": {"name": "mine"}}),
        lambda: api.patch(f"{configmaps}/foreign", taken),
        lambda: api.delete(f"{configmaps}/foreign"),
        lambda: api.create(f"/api/v1/namespaces/{chat}/secrets", {"metadata": {"name": "s"}}),
    ):
        assert refused(call, policy)
    api.create(path_of("incidents", chat), body("Incident", "own", {"fleet": "chat"}))
    report = {"metadata": {"name": "report", "ownerReferences": [owner]}}
    api.create(configmaps, report)
    fleet = body("Fleet", "acting", {"mode": "Recommend"})
    fleets = path_of("fleets", chat)
    eventually(
        lambda: refused(lambda: empty.admin.create(fleets, fleet, dryRun="All"), "holds midwatch"),
        timeout_s=30.0,
    )
    empty.admin.create(fleets, body("Fleet", "watched"))
    empty.kubectl("delete", "clusterrolebinding", "too-much")
    remove(empty, "overlays/observe")
