"""The overlay of docs/operator.md, built by kubectl: own images, nothing else changed."""

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


def image(deployment):
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return container["image"]
