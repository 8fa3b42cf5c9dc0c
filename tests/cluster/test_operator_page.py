"""The overlays of docs/operator.md, built by kubectl: own images, a release and nothing else."""

from __future__ import annotations

import shutil

import pytest
import yaml

from tests.cluster.installing import MANIFESTS
from tests.manifests.test_operator_page import block

pytestmark = pytest.mark.cluster


def test_own_images_are_named_in_an_overlay(control_plane, tmp_path):
    shutil.copytree(MANIFESTS, tmp_path / "midwatch")  # midwatch operator manifests --out midwatch
    (tmp_path / "kustomization.yaml").write_text(block("# kustomization.yaml"))
    built = list(yaml.safe_load_all(control_plane.kubectl("kustomize", tmp_path).stdout))
    shipped = list(yaml.safe_load_all(control_plane.kubectl("kustomize", MANIFESTS).stdout))
    assert len(built) == len(shipped)
    images = {image(one) for one in built if one["kind"] == "Deployment"}
    assert images == {
        "registry.example.com/midwatch/operator:0.1.0",
        "registry.example.com/midwatch/worker:0.1.0",
    }


def test_a_release_is_named_on_all_that_a_prometheus_operator_selects(control_plane, tmp_path):
    shutil.copytree(MANIFESTS, tmp_path / "midwatch")
    whole = block("# kustomization.yaml") + block("# added to kustomization.yaml")
    (tmp_path / "kustomization.yaml").write_text(whole)
    built = list(yaml.safe_load_all(control_plane.kubectl("kustomize", tmp_path).stdout))
    named = [
        (one["kind"], one["metadata"]["labels"]["release"])
        for one in built
        if "release" in one["metadata"].get("labels", {})
    ]
    monitor = ("ServiceMonitor", "kube-prometheus-stack")
    assert sorted(named) == [("PrometheusRule", "kube-prometheus-stack"), monitor, monitor]


def image(deployment):
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return container["image"]
