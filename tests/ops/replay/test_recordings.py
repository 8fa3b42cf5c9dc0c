"""Incidents of the simulated fleet as recorded cases."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ops.replay.recordings import Recording, record
from ops.replay.scenarios import load_embedded
from rca.datasets import find_cases, read_case

LOAD = (0.5, 0.6)


def written(tmp_path, one):
    folder = record(load_embedded("small"), one, root=tmp_path, load=LOAD, after_s=120.0)
    return folder and read_case(find_cases(folder)[0])


def test_one_seed_in_three_is_kept_apart():
    sets = [Recording("cpu-hog", seed).dataset("chat") for seed in range(6)]
    assert sets.count("chat-unseen") == 2
    assert sets[2] == "chat-unseen"


@pytest.mark.slow
def test_a_fault_is_recorded_with_its_truth_apart(tmp_path):
    incident, labels = written(tmp_path, Recording("cpu-hog", 1))
    incident.check()
    assert labels.service in incident.services
    assert labels.contiguous
    assert labels.fault_type == "cpu-hog"
    assert incident.instances[labels.instance] == labels.service
    assert incident.nodes[labels.instance]
    assert incident.times_s[0] < incident.fault_at_s < incident.times_s[-1]
    assert incident.times_s[-1] - incident.fault_at_s <= 120.0
    metrics = {column.metric for column in incident.columns}
    assert {"container-cpu", "gpu-power", "engine-ttft", "edge-latency"} <= metrics
    # Rates, not counters: work done does not pile up.
    cpu = [k for k, c in enumerate(incident.columns) if c.metric == "container-cpu"]
    assert np.nanmedian(incident.values[:, cpu]) < 5.0


@pytest.mark.slow
def test_two_faults_at_once_are_both_in_the_truth(tmp_path):
    _, labels = written(tmp_path, Recording("cpu-hog", 1, also="gpu-throttle"))
    assert labels.also == ("llm",)
    assert labels.fault_type == "cpu-hog+gpu-throttle"


@pytest.mark.slow
def test_a_quiet_stretch_has_no_cause(tmp_path):
    _, labels = written(tmp_path, Recording("", 1))
    assert (labels.service, labels.fault_type) == ("", "none")


@pytest.mark.slow
def test_a_cause_that_the_layout_cannot_name_is_not_written(tmp_path):
    assert written(tmp_path, Recording("traffic-burst", 1)) is None
    assert not any(tmp_path.iterdir())


@pytest.mark.slow
def test_the_same_seed_writes_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        written(tmp_path / name, Recording("memory-leak", 4))
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*.*"))
    assert len(files) >= 3
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_changes_of_a_case_are_read(tmp_path):
    folder = tmp_path / "set" / "one"
    folder.mkdir(parents=True)
    (folder / "metrics.csv").write_text("time,a_cpu\n1,1\n2,1\n")
    change = {"at_s": 1.5, "kind": "deploy", "service": "a", "revision_to": "v2"}
    (folder / "case.json").write_text(json.dumps({"inject_time": 2, "changes": [change]}))
    incident, _ = read_case(find_cases(tmp_path)[0])
    assert incident.changes[0].service == "a"
    assert incident.changes[0].revision_to == "v2"
