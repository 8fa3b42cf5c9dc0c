"""The objects of a try-out on a control plane: every pod keeps its name and gets a controller."""

from __future__ import annotations

import pytest
import yaml
from typer.testing import CliRunner

from ops.cli import app
from ops.replay.live import LiveServer
from tests.cluster.processes import eventually
from tests.cluster.workloads import is_ready, pods_path

pytestmark = pytest.mark.cluster
CALM_S = 3.0  # in which controllers would make more pods, did they miss those that are there


def interrupted(_server, _seconds):
    raise KeyboardInterrupt


def test_the_pods_of_a_try_out_are_adopted_and_no_others_are_made(
    control_plane, namespace, monkeypatch, tmp_path
):
    monkeypatch.setattr(LiveServer, "wait", interrupted)
    done = CliRunner().invoke(app, [
        "chaos", "serve", "small", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--rate",
        "1", "--warm-up-s", "30", "--lasts-s", "60", "--namespace", namespace, "--try-out",
        str(tmp_path),
    ])  # fmt: skip
    assert done.exit_code == 0, done.output
    made = list(yaml.safe_load_all((tmp_path / "cluster.yaml").read_text()))
    names = {one["metadata"]["name"] for one in made if one["kind"] == "Pod"}
    nodes = [one["metadata"]["name"] for one in made if one["kind"] == "Node"]

    def pods():
        return control_plane.admin.items(pods_path(namespace))

    def adopted():
        return [
            pod
            for pod in pods()
            if is_ready(pod) and pod["metadata"].get("ownerReferences", [{}])[0].get("controller")
        ]

    try:
        control_plane.kubectl("apply", "-f", tmp_path / "cluster.yaml")
        eventually(lambda: len(adopted()) == len(names), what="adopted pods")
        with pytest.raises(AssertionError):
            eventually(lambda: len(pods()) != len(names), timeout_s=CALM_S)
        assert {pod["metadata"]["name"] for pod in adopted()} == names
    finally:
        control_plane.kubectl("delete", "replicasets", "--all", "-n", namespace)
        control_plane.kubectl("delete", "nodes", *nodes)
