"""What docs/operator.md shows can be used as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from ops.controller.fleet.status import FleetSight, fleet_status
from ops.controller.resources.fleet import FleetSpec, FleetStatus
from ops.controller.settings import parse_settings
from tests.manifests.installs import MANIFESTS

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "operator.md").read_text(encoding="utf-8")
WORDS_MAX = 2_700  # ten minutes


def block(head: str) -> str:
    """The YAML block that begins with this comment."""
    return PAGE.partition(f"```yaml\n{head}")[2].partition("\n")[2].partition("```")[0]


def test_it_can_be_read_in_ten_minutes():
    assert len(PAGE.split()) <= WORDS_MAX


@pytest.mark.parametrize("name", ["operator.yaml", "worker.yaml"])
def test_its_settings_are_complete_and_taken(name):
    settings = parse_settings(yaml.safe_load(block(f"# {name}")), path=name)
    assert "default" in settings.metrics_endpoints
    assert settings.worker.token_file is not None


def test_its_two_settings_speak_of_one_worker_and_one_token():
    ours, theirs = (yaml.safe_load(block(f"# {n}.yaml"))["worker"] for n in ("operator", "worker"))
    assert ours["url"] == f"http://{theirs['listen']}"
    assert ours["tokenFile"] == theirs["tokenFile"]


def test_the_images_it_replaces_are_those_of_the_manifests():
    shipped = yaml.safe_load((MANIFESTS / "base" / "kustomization.yaml").read_text())["images"]
    replaced = yaml.safe_load(block("# kustomization.yaml"))["images"]
    assert [one["name"] for one in replaced] == [one["newName"] for one in shipped]


def test_its_patch_for_a_release_names_kinds_of_the_component_alone():
    added = yaml.safe_load(block("# added to kustomization.yaml"))
    (component,) = added["components"]
    folder = MANIFESTS / component.removeprefix("midwatch/")
    objects = [
        one
        for name in yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]
        for one in yaml.safe_load_all((folder / name).read_text())
    ]
    (patch,) = added["patches"]
    assert {one["apiVersion"].partition("/")[0] for one in objects} == {patch["target"]["group"]}
    assert all("labels" in one["metadata"] for one in objects)  # what the patch adds to
    assert len(objects) == 3


def test_every_file_of_the_manifests_that_it_names_is_there():
    named = set(re.findall(r"(?:manifests|midwatch)/((?:base|examples)/[\w./-]+\.yaml)", PAGE))
    assert named
    assert not [name for name in named if not (MANIFESTS / name).is_file()]


def test_every_trouble_that_status_can_show_is_explained():
    spec = FleetSpec()
    status = fleet_status(FleetSight(generation=1, spec=spec), FleetStatus(), now_s=1e9)
    kinds = {item.type for item in status.conditions} - {"Acting"}
    assert {kind for kind in kinds if f"`! {kind} False`" not in PAGE} == set()


def test_the_screen_it_shows_is_the_stored_one():
    golden = Path(__file__).resolve().parents[1] / "golden" / "screens" / "why_named.txt"
    assert golden.read_text(encoding="utf-8").replace(" --context eu", "") in PAGE
