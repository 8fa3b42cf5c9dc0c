"""Incidents of the simulated fleet as recorded cases."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from ops.replay.faults import CATALOGUE
from ops.replay.recordings import SERVICE_KINDS, Recording, record, recordings
from ops.replay.scenarios import load_embedded
from rca.datasets import find_cases, read_case
from rca.localise import localise

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
def test_trouble_of_no_service_is_written_without_a_cause(tmp_path):
    _, labels = written(tmp_path, Recording("traffic-burst", 1))
    assert (labels.service, labels.fault_type) == ("", "traffic-burst")
    assert not labels.is_quiet
    assert not labels.is_fault


@pytest.mark.slow
def test_a_machine_stands_for_the_services_it_ran(tmp_path):
    incident, labels = written(tmp_path, Recording("node-loss", 1))
    lived = {incident.instances[pod] for pod, node in incident.nodes.items()
             if node == labels.instance}  # fmt: skip
    assert set(labels.right) <= lived


@pytest.mark.slow
def test_either_end_of_a_slow_link_is_right(tmp_path):
    incident, labels = written(tmp_path, Recording("slow-link", 1))
    callee, caller = labels.right
    assert (caller, callee) in incident.calls


@pytest.mark.slow
def test_traces_logs_and_symptoms_come_along(tmp_path):
    incident, labels = written(tmp_path, Recording("cpu-hog", 1))
    spans, logs = incident.spans, incident.logs
    before = spans.start_s < incident.fault_at_s
    assert before.sum() > 300 and (~before).sum() > 300
    assert set(spans.services) == set(incident.services)
    assert set(np.unique(logs.trace)) <= set(np.unique(spans.trace)) | set(logs.trace)
    assert {"success", "ttft"} <= {c.metric for c in incident.columns if c.is_symptom}
    assert labels.felt


@pytest.mark.slow
def test_a_mild_fault_is_marked_as_one_that_nobody_felt(tmp_path):
    _, labels = written(tmp_path, Recording("cpu-hog", 1, mild=True))
    assert labels.service
    assert not labels.felt
    assert not labels.is_fault


def test_a_seed_gives_every_kind_pairs_of_two_services_and_mild_faults_once():
    kinds = list(CATALOGUE)
    found = recordings(kinds, 4, pairs=3, quiet=2, mild=2)
    assert [r.kind for r in found[: len(kinds)]] == kinds
    pairs = [{r.kind, r.also} for r in found if r.also]
    assert len(pairs) == 3
    assert all(len(p) == 2 and p & set(SERVICE_KINDS) for p in pairs)
    assert sum(r.mild for r in found) == 2
    assert len({r.name for r in found}) == len(found) == len(kinds) + 7
    assert found == recordings(kinds, 4, pairs=3, quiet=2, mild=2)
    assert len({r.dataset("x") for r in found}) == 1


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


@pytest.mark.slow
def test_bytes_do_not_depend_on_the_hash_seed(tmp_path):
    code = (
        "import sys; from pathlib import Path; from ops.replay.recordings import Recording, record;"
        "from ops.replay.scenarios import load_embedded;"
        "record(load_embedded('small'), Recording('node-loss', 4), root=Path(sys.argv[1]),"
        " load=(0.5, 0.6), after_s=60.0)"
    )
    for seed in ("1", "2"):
        subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / seed)], check=True,
            env=os.environ | {"PYTHONHASHSEED": seed},
        )  # fmt: skip
    files = sorted(p.relative_to(tmp_path / "1") for p in (tmp_path / "1").rglob("*.*"))
    assert {f.name for f in files} == {
        "case.json", "graph.json", "logs.csv.gz", "metrics.csv.gz", "spans.csv.gz",
    }  # fmt: skip
    for file in files:
        assert (tmp_path / "1" / file).read_bytes() == (tmp_path / "2" / file).read_bytes()


@pytest.mark.slow
def test_other_names_give_the_same_ranking(tmp_path):
    incident, _ = written(tmp_path, Recording("bad-code", 1))
    names = sorted(incident.services)
    fresh = {name: f"s{len(names) - n}" for n, name in enumerate(names)}
    pods = {pod: fresh.get(pod) or f"{fresh[s]}-{n}"
            for n, (pod, s) in enumerate(sorted(incident.instances.items()))}  # fmt: skip

    def renamed(table):
        return replace(table, services=tuple(fresh[s] for s in table.services))

    callees = {f"call {old}": f"call {new}" for old, new in fresh.items()}
    spans = renamed(incident.spans)
    spans = replace(spans, operations=tuple(callees.get(o, o) for o in spans.operations))
    lines = tuple(_reworded(line, fresh) for line in incident.logs.messages)
    other = replace(
        incident,
        columns=tuple(replace(c, owner=pods.get(c.owner, c.owner)) for c in incident.columns),
        instances={pods[pod]: fresh[s] for pod, s in incident.instances.items()},
        nodes={pods.get(pod, pod): node for pod, node in incident.nodes.items()},
        calls=tuple((fresh[a], fresh[b]) for a, b in incident.calls),
        entry=fresh[incident.entry],
        spans=spans,
        logs=replace(renamed(incident.logs), messages=lines),
        changes=tuple(replace(c, service=fresh[c.service]) for c in incident.changes),
    )
    plain, told = (localise(one, granger=None) for one in (incident, other))
    assert [(fresh[s.name], s.score) for s in plain.services if s.score > 0.0] == [
        (s.name, s.score) for s in told.services if s.score > 0.0
    ]


def _reworded(line, fresh):
    for old, new in fresh.items():
        line = line.replace(f"call to {old} ", f"call to {new} ")
    return line
