"""What a person is told to type, typed: it does what the dry run has asked, and says it truly."""

from __future__ import annotations

import os
import subprocess

import pytest

from ops.controller.fleet.api_request import CORDON_ONLY
from ops.controller.live_commands import here
from tests.cluster import binaries
from tests.cluster.processes import WAIT_S, eventually
from tests.cluster.workloads import deployment, deployments_path, is_ready, pods_path

pytestmark = pytest.mark.cluster
CONTAINER = {"name": "main", "image": "example.test/main:1"}


def typed(plane, command):
    """The command as a shell runs it, with the admin's rights."""
    kubectl = binaries.find().kubectl
    config = plane.kubeconfig("typing", plane.tokens["admin"])
    path = f"{kubectl.parent}:{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, check=False, timeout=WAIT_S,
        env={**os.environ, "PATH": path, "KUBECONFIG": str(config)},
    )  # fmt: skip


def ready(plane, namespace):
    return [one for one in plane.admin.items(pods_path(namespace)) if is_ready(one)]


def started(plane, namespace):
    """The one pod of a new Deployment, once it is ready."""
    plane.admin.create(deployments_path(namespace), deployment("chat"))
    eventually(lambda: ready(plane, namespace))
    (pod,) = ready(plane, namespace)
    return pod


def test_a_pod_is_evicted_and_its_owner_makes_a_new_one(control_plane, namespace):
    name = started(control_plane, namespace)["metadata"]["name"]
    done = typed(
        control_plane, here(f"kubectl --context eu delete pod {name}", namespace=namespace)
    )
    assert done.returncode == 0, done.stderr

    def replaced():
        return [p for p in ready(control_plane, namespace) if p["metadata"]["name"] != name]

    eventually(replaced)
    (fresh,) = replaced()
    assert fresh["metadata"]["name"].startswith("chat-")


def test_a_drain_stops_at_a_pod_without_a_controller_the_node_cordoned(control_plane, namespace):
    """As it is told beside the answer to the cordon, which alone the dry run asks for."""
    admin = control_plane.admin
    pod = started(control_plane, namespace)
    node = pod["spec"]["nodeName"]
    alone = {"metadata": {"name": "alone"}, "spec": {"nodeName": node, "containers": [CONTAINER]}}
    admin.create(pods_path(namespace), alone)
    drain = f"kubectl --context eu drain {node} --ignore-daemonsets --delete-emptydir-data"
    try:
        done = typed(control_plane, here(drain, namespace=namespace))
        assert done.returncode != 0
        assert "declare no controller" in done.stderr
        assert admin.get(f"/api/v1/nodes/{node}")["spec"]["unschedulable"] is True
        assert "leaves the node cordoned" in CORDON_ONLY
        names = [p["metadata"]["name"] for p in admin.items(pods_path(namespace))]
        assert pod["metadata"]["name"] in names
    finally:
        admin.patch(f"/api/v1/nodes/{node}", {"spec": {"unschedulable": None}})
