"""A bundle read as a recorded incident."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from ops.bundle import Manifest, write_bundle
from ops.cli import app
from ops.errors import BundleError
from ops.replay.bundle_incident import incidents_of_bundle
from rca.state import ChangeEvent, ChangeKind, Topology

ROWS, FAULT, STEP_S = 120, 90, 5.0


def write(folder, *, broken="b"):
    """Memory of two pods each of three services; one service's doubles."""
    rng = np.random.default_rng(0)
    lines = ["# TYPE container_memory_working_set_bytes gauge"]
    for service in "abc":
        for pod in range(2):
            level = 1e8 * rng.normal(1.0, 0.01, ROWS)
            if service == broken:
                level[FAULT:] *= 2.5
            labels = (f'region="east",service="{service}",pod="{service}-{pod}",'
                      f'node="n{pod}",container="main"')  # fmt: skip
            lines += [
                f"container_memory_working_set_bytes{{{labels}}} {value:.1f} {row * STEP_S:g}"
                for row, value in enumerate(level)
            ]
    write_bundle(
        folder,
        manifest=Manifest(start_s=0.0, end_s=ROWS * STEP_S, scrape_s=STEP_S, seed=1, version="1"),
        metrics_text="\n".join([*lines, "# EOF"]) + "\n",
        journal=b"",
        topology=Topology(),
        slos=[],
        changes=[
            ChangeEvent(at_s=FAULT * STEP_S - 20.0, kind=ChangeKind.DEPLOY, region="east",
                        service="b", revision_from="1", revision_to="2"),
        ],
    )  # fmt: skip
    return folder


def test_pods_services_nodes_and_changes_come_along(tmp_path):
    found = incidents_of_bundle(write(tmp_path / "bundle"))
    assert list(found) == ["east"]
    incident = found["east"]
    incident.check()
    assert incident.services == ("a", "b", "c")
    assert incident.nodes["b-1"] == "n1"
    assert incident.fault_at_s is None
    assert [c.service for c in incident.changes] == ["b"]


def test_the_command_ranks_a_bundle(tmp_path):
    folder = write(tmp_path / "bundle")
    done = CliRunner().invoke(app, ["rca", "rank", str(folder), "--json"])
    assert done.exit_code == 0, done.output
    answer = json.loads(done.stdout)
    assert answer["services"][0]["name"] == "b"
    assert answer["services"][0]["channels"] == ["metric", "change"]
    assert answer["change_at_s"] == pytest.approx(FAULT * STEP_S, abs=2 * STEP_S)


def test_a_bundle_without_pods_says_so(tmp_path):
    write_bundle(
        tmp_path / "b",
        manifest=Manifest(start_s=0.0, end_s=5.0, scrape_s=5.0, seed=1, version="1"),
        metrics_text="# TYPE up gauge\nup 1 5\n# EOF\n", journal=b"", topology=Topology(), slos=[],
    )  # fmt: skip
    with pytest.raises(BundleError, match="name no pod"):
        incidents_of_bundle(tmp_path / "b")
