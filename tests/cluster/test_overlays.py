"""Each install on a real server: what the pods may be, what midwatch may do, nothing left after."""

from __future__ import annotations

import shutil
import time

import kubernetes_validate
import pytest
import yaml

from ops.adapters.kube.rights import Right
from tests.cluster import binaries
from tests.cluster.accounts import in_force
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
from tests.cluster.processes import WAIT_S, eventually
from tests.cluster.workloads import deployment, deployments_path, node, pods_path
from tests.manifests.installs import of_kind
from tests.manifests.render import INSTALLS, rendered

pytestmark = pytest.mark.cluster
POLICY = "midwatch writes its own objects only"


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
    until_s = time.monotonic() + WAIT_S
    while left := ours(plane):
        assert time.monotonic() < until_s, f"{len(left)} left: {left[:5]}"
        time.sleep(0.5)


@pytest.mark.parametrize("name", INSTALLS)
def test_the_file_that_the_package_prints_is_what_kustomize_makes(name):
    stored = (MANIFESTS / "rendered" / f"{name}.yaml").read_bytes()
    assert stored == rendered(binaries.find().kubectl, INSTALLS[name]), "run `make manifests`"


OWN_OVERLAY = """
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [midwatch/base]
components: [midwatch/components/bundle-volume]
images:
- {name: ghcr.io/midwatch/operator, newName: registry.example/ops/operator, newTag: v1}
- {name: ghcr.io/midwatch/worker, newName: registry.example/ops/worker, digest: "sha256:DIGEST"}
configMapGenerator:
- name: midwatch-operator-settings
  namespace: midwatch-system
  behavior: replace
  files: [operator.yaml]
""".replace("DIGEST", "0" * 64)


def test_an_overlay_of_ones_own_has_its_images_settings_and_volume(tmp_path):
    shutil.copytree(MANIFESTS, tmp_path / "midwatch")
    (tmp_path / "kustomization.yaml").write_text(OWN_OVERLAY)
    (tmp_path / "operator.yaml").write_text("scrapeSeconds: 7\n")
    made = list(yaml.safe_load_all(rendered(binaries.find().kubectl, tmp_path)))
    pods = {one["metadata"]["name"]: one["spec"]["template"]["spec"]
            for one in made if one["kind"] == "Deployment"}  # fmt: skip
    operator, worker = pods["midwatch-operator"], pods["midwatch-worker"]
    assert operator["containers"][0]["image"] == "registry.example/ops/operator:v1"
    assert worker["containers"][0]["image"] == f"registry.example/ops/worker@sha256:{'0' * 64}"
    (mounted,) = [v["configMap"]["name"] for v in operator["volumes"] if "configMap" in v]
    held = {c["metadata"]["name"]: c["data"] for c in made if c["kind"] == "ConfigMap"}
    assert held[mounted] == {"operator.yaml": "scrapeSeconds: 7\n"}
    shipped = {c["metadata"]["name"] for c in of_kind("default", "ConfigMap")}
    assert mounted not in shipped, "other settings, another name: a roll-out"
    (claim,) = [one for one in made if one["kind"] == "PersistentVolumeClaim"]
    (bundles,) = [volume for volume in worker["volumes"] if volume["name"] == "bundles"]
    assert bundles == {
        "name": "bundles", "persistentVolumeClaim": {"claimName": claim["metadata"]["name"]}
    }  # fmt: skip
    for item in made:
        kubernetes_validate.validate(item, "1.36", strict=True)


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
    same = {"spec": {"replicas": 2}}  # until the policy acts, this is a write without effect
    eventually(lambda: refused(lambda: api.patch(path, same), POLICY), what=POLICY)
    assert api.patch(path, scale, dryRun="All")["spec"]["replicas"] == 3
    eventually(lambda: empty.admin.items(pods_path(chat)), what="a pod")
    (pod, *_) = empty.admin.items(pods_path(chat))
    name = pod["metadata"]["name"]
    evict = f"/api/v1/namespaces/{chat}/pods/{name}/eviction"
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
    assert refused(lambda: api.create(evict, eviction), POLICY)
    dry = eviction | {"deleteOptions": {"dryRun": ["All"]}}
    assert api.create(evict, dry, dryRun="All")
    cordon = {"spec": {"unschedulable": True}}
    assert refused(lambda: api.patch("/api/v1/nodes/north-0", cordon), POLICY)
    assert api.patch("/api/v1/nodes/north-0", cordon, dryRun="All")
    assert refused(lambda: api.patch(f"{deployments_path(chat)}/web", scale), POLICY)
    assert api.patch(f"{deployments_path(chat)}/web", scale, dryRun="All")["spec"]["replicas"] == 3
    assert empty.admin.get(f"{deployments_path(chat)}/web")["spec"]["replicas"] == 2
    empty.admin.patch(f"{deployments_path(chat)}/web", scale)  # nobody else is held back
    remove(empty, "overlays/recommend")


def test_midwatch_writes_its_own_objects_only_whatever_its_roles_say(empty, chat):
    apply(empty)
    # Wider rights than shipped: the policy must hold even then.
    empty.kubectl("create", "clusterrolebinding", "too-much", "--clusterrole=cluster-admin",
                  f"--user={OPERATOR}")  # fmt: skip
    in_force(empty, OPERATOR, [Right("create", "", "secrets")])
    api = operator_api(empty)
    configmaps = f"/api/v1/namespaces/{chat}/configmaps"
    web = f"{deployments_path(chat)}/web"
    own = api.create(path_of("incidents", chat), body("Incident", "own", {"fleet": "chat"}))
    owner = {"apiVersion": own["apiVersion"], "kind": "Incident", "name": "own",
             "uid": own["metadata"]["uid"]}  # fmt: skip
    taken = {"metadata": {"ownerReferences": [owner]}, "data": {"a": "b"}}

    def configmap(name, **metadata):
        return {"metadata": {"name": name, **metadata}}

    for name in ("foreign", "foreign-report"):
        empty.admin.create(configmaps, configmap(name))
    empty.admin.create(configmaps, configmap("owned", ownerReferences=[owner]))
    empty.admin.create(configmaps, configmap("old-report", ownerReferences=[owner]))
    events = f"/api/v1/namespaces/{chat}/events"

    def event(name, component):
        about = {"kind": "Incident", "name": "own", "namespace": chat}
        return {"metadata": {"name": name}, "involvedObject": about, "reason": "Killing",
                "reportingComponent": component, "reportingInstance": component,
                "source": {"component": component}}  # fmt: skip

    empty.admin.create(events, event("of-a-kubelet", "kubelet"))
    same = {"spec": {"replicas": 2}}  # until the policy acts, this is a write without effect
    eventually(lambda: refused(lambda: api.patch(web, same), POLICY), what=POLICY)
    for number, call in enumerate(
        (
            lambda: api.patch(f"{web}/scale", {"spec": {"replicas": 0}}),
            lambda: api.delete(web),
            lambda: api.create(configmaps, configmap("a-report")),
            lambda: api.create(configmaps, configmap("aws-auth", ownerReferences=[owner])),
            lambda: api.patch(f"{configmaps}/foreign", taken),
            lambda: api.patch(f"{configmaps}/foreign-report", taken),
            lambda: api.patch(f"{configmaps}/owned", {"data": {"a": "b"}}),
            lambda: api.delete(f"{configmaps}/old-report"),
            lambda: api.create(f"/api/v1/namespaces/{chat}/secrets", configmap("s")),
            lambda: api.create(events, event("in-another-s-name", "kubelet")),
            lambda: api.patch(f"{events}/of-a-kubelet", event("of-a-kubelet", "midwatch")),
            lambda: api.delete(f"{events}/of-a-kubelet"),
            lambda: api.create(
                f"/api/v1/namespaces/{SYSTEM}/serviceaccounts/midwatch-worker/token", {"spec": {}}
            ),
        )
    ):
        assert refused(call, POLICY), number
    assert api.patch(f"{web}/scale", {"spec": {"replicas": 0}}, dryRun="All")  # changes nothing
    api.create(events, event("our-news", "midwatch"))
    api.patch(f"{events}/our-news", {"count": 2})
    api.create(configmaps, configmap("own-report", ownerReferences=[owner]))
    api.patch(f"{configmaps}/own-report", {"data": {"report": "again"}})
    empty.admin.patch(f"{configmaps}/foreign", taken)  # nobody else is held back
    empty.kubectl("delete", "clusterrolebinding", "too-much")
    for name in ("foreign", "foreign-report", "owned", "old-report", "own-report"):
        empty.admin.delete(f"{configmaps}/{name}")
    remove(empty, ".")


def test_the_overlay_observe_lets_no_fleet_ask_for_more(empty, chat):
    apply(empty, "overlays/observe")
    fleet = body("Fleet", "acting", {"mode": "Recommend"})
    fleets = path_of("fleets", chat)
    eventually(
        lambda: refused(lambda: empty.admin.create(fleets, fleet, dryRun="All"), "holds midwatch"),
        what="a Fleet of another mode refused",
    )
    empty.admin.create(fleets, body("Fleet", "watched"))
    remove(empty, "overlays/observe")


def evicted(plane, pod):
    """Whether a drain gets this pod off."""
    name = pod["metadata"]["name"]
    path = f"/api/v1/namespaces/{SYSTEM}/pods/{name}/eviction"
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
    try:
        plane.admin.create(path, eviction, dryRun="All")
    except ApiError as error:
        assert error.status == 429, error
        return False
    return True


def test_a_drain_takes_one_of_two_operators_and_any_that_is_not_ready(empty):
    apply(empty)
    path = f"/api/v1/namespaces/{SYSTEM}/pods"
    budget = f"/apis/policy/v1/namespaces/{SYSTEM}/poddisruptionbudgets/midwatch-operator"

    def operators():
        return empty.admin.items(path, labelSelector="app.kubernetes.io/name=midwatch-operator")

    def healthy():
        return empty.admin.get(budget).get("status", {}).get("currentHealthy")

    eventually(lambda: len(operators()) == 2 and healthy() == 2)
    assert empty.admin.get(budget)["status"]["disruptionsAllowed"] == 1
    condition = {"type": "Ready", "status": "False", "reason": "Test"}
    for pod in operators():
        name = pod["metadata"]["name"]
        empty.admin.patch(
            f"{path}/{name}/status", {"status": {"conditions": [condition]}}, kind="strategic"
        )
    eventually(lambda: healthy() == 0)
    assert [evicted(empty, pod) for pod in operators()] == [True, True]
    remove(empty, ".")
