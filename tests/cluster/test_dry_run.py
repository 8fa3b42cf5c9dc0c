"""What a real server says to a recommended action, and what is told of it."""

from __future__ import annotations

import logging
from contextlib import suppress

import pytest

from ops.adapters.kube.api import KubeApi, PatchKind
from ops.controller.fleet.api_request import ApiRequest, Verb
from ops.controller.fleet.recommend import ALL_DRY, dry_run
from ops.controller.fleet.rollback import read_rollback
from ops.errors import KubeError
from tests.cluster.processes import eventually
from tests.cluster.workloads import deployment, deployments_path, pods_path

pytestmark = pytest.mark.cluster
SECRET = "postgres://u:hunter2@db"
QUOTED = "'the value is ' + object.spec.template.spec.containers[0].env[0].value"
POLICIES = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolic"


@pytest.fixture
def api(control_plane):
    config = control_plane.kubeconfig("dry-run", control_plane.tokens["admin"])
    return KubeApi.connect(kubeconfig=config, timeout_s=30.0)


@pytest.fixture
def quoting(control_plane, namespace):
    """A policy that refuses every change of a Deployment here, and quotes a value of it."""
    rule = {"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["UPDATE"],
            "resources": ["deployments"]}  # fmt: skip
    where = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    policy = {
        "matchConstraints": {"resourceRules": [rule], "namespaceSelector": where},
        "validations": [{"expression": "false", "messageExpression": QUOTED}],
    }
    bound = {"policyName": namespace, "validationActions": ["Deny"]}
    made = [("ies", policy), ("ybindings", bound)]

    def create():
        for plural, spec in made:
            body = {"metadata": {"name": namespace}, "spec": spec}
            control_plane.admin.create(f"{POLICIES}{plural}", body)

    yield create
    for plural, _ in made:
        control_plane.admin.delete(f"{POLICIES}{plural}/{namespace}")


def refusal(api, request):
    """What is told once the rule holds; a server under load may be too slow for one answer."""
    told = []

    def refused():
        with suppress(KubeError):
            told.append(dry_run(api, request))
        return told and told[-1].startswith("refused")

    eventually(refused, what="a refusal")
    return told[-1]


def test_a_disruption_budget_refuses_an_eviction_for_good(control_plane, namespace, api):
    admin = control_plane.admin
    admin.create(deployments_path(namespace), deployment("chat"))
    eventually(lambda: admin.items(pods_path(namespace)), what="a pod")
    (pod,) = admin.items(pods_path(namespace))
    budget = {"maxUnavailable": 0, "selector": {"matchLabels": {"app": "chat"}}}
    folder = f"/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets"
    admin.create(folder, {"metadata": {"name": "chat"}, "spec": budget})
    name = pod["metadata"]["name"]
    body = {"apiVersion": "policy/v1", "kind": "Eviction",
            "metadata": {"name": name, "namespace": namespace}}  # fmt: skip
    request = ApiRequest(verb=Verb.POST, path=f"{pods_path(namespace)}/{name}/eviction", body=body)
    refused = refusal(api, request)
    assert "429 TooManyRequests" in refused
    assert "disruption budget" in refused


def test_a_policy_that_quotes_a_withheld_value_is_not_repeated(
    control_plane, namespace, api, quoting, caplog
):
    caplog.set_level(logging.DEBUG)
    admin, made = control_plane.admin, deployment("web")
    (container,) = made["spec"]["template"]["spec"]["containers"]
    container["env"] = [{"name": "DSN", "value": SECRET}]
    admin.create(deployments_path(namespace), made)

    def read():
        return read_rollback(api, namespace=namespace, name="web", to_revision="1")

    eventually(lambda: "already" in str(read()), what="revision 1")
    container["env"] = [{"name": "DSN", "value": "none"}]
    changes = [{"op": "replace", "path": "/spec/template/spec/containers/0", "value": container}]
    api.patch(f"{deployments_path(namespace)}/web", changes, kind=PatchKind.JSON)
    eventually(lambda: isinstance(read(), ApiRequest), what="revision 2")
    asked = read()
    quoting()
    refused = refusal(api, asked)
    assert refused.startswith("refused: 422 Invalid (")
    assert "hunter2" not in f"{refused} {caplog.text}"
    with pytest.raises(KubeError, match="hunter2"):  # so the server does quote it
        api.patch(asked.path, asked.body, kind=PatchKind.JSON, params=ALL_DRY)
