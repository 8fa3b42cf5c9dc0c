"""Incident sets on disk: layout, missing cells, doubled stamps, damage."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import numpy as np
import pytest

from rca.datasets import find_cases, read_case
from rca.errors import DatasetError
from rca.incident import Column
from rca.wide import read_wide

DATA = Path(os.environ.get("MIDWATCH_DATA", Path(__file__).parents[3] / "shared" / "data")) / "rca"

METRICS = (
    "time,shop_cpu,shop_latency-90,cart-db_mem,sli_latency\n10,1,,5,1\n20,2,3,5,1\n30,9,3,,2\n"
)
SPANS = (
    "t_ms,trace,span,parent,service,op,dur_us\n"
    "-2000,a,1,-1,shop,GET /,5000\n-1999,a,2,1,cart-db,q,2500\n"
)
LOGS = 't_ms,service,trace,message\n100,shop,a,"INFO one, two"\n200,shop,,no trace\n'


def write_case(root: Path, *, name="one", metrics=METRICS, meta=None, **files) -> Path:
    folder = root / "set" / name
    folder.mkdir(parents=True)
    (folder / "metrics.csv").write_text(metrics, encoding="utf-8")
    meta = {"inject_time": 25, "sampling_s": 10, "root_cause_service": "shop"} | (meta or {})
    (folder / "case.json").write_text(json.dumps(meta), encoding="utf-8")
    for file, text in files.items():
        (folder / f"{file}.csv.gz").write_bytes(gzip.compress(text.encode()))
    return folder


def test_a_case_is_read_with_missing_cells_as_nan_and_labels_apart(tmp_path):
    write_case(tmp_path, spans=SPANS, logs=LOGS)
    (tmp_path / "set" / "graph.json").write_text('{"calls": [["shop", "cart-db"]]}')
    incident, labels = read_case(*find_cases(tmp_path))
    assert incident.columns[1] == Column("shop", "latency-90")
    assert np.isnan(incident.values[0, 1]) and np.isnan(incident.values[2, 2])
    assert incident.services == ("cart-db", "shop")
    assert incident.calls == (("shop", "cart-db"),)
    assert (incident.fault_at_s, incident.step_s) == (25.0, 10.0)
    assert labels.service == "shop" and labels.metrics is None
    assert incident.spans.start_s.tolist() == [23.0, 23.001]
    assert incident.spans.parent.tolist() == [-1, incident.spans.span[0]]
    assert incident.logs.trace.tolist() == [incident.spans.trace[0], -1]
    assert not {"root_cause_service", "fault_type"} & set(incident.__slots__)


def test_pods_belong_to_services_and_what_is_no_pod_is_no_candidate(tmp_path):
    metrics = "time,cart.0_cpu,cart.1_cpu,node-1_cpu\n1,1,1,1\n2,1,1,1\n"
    write_case(tmp_path, metrics=metrics, meta={"instances": {"cart.0": "cart", "cart.1": "cart"}})
    incident, _ = read_case(*find_cases(tmp_path))
    assert incident.services == ("cart",)


def test_rows_of_one_stamp_are_merged_and_sorted(tmp_path):
    path = tmp_path / "wide.csv"
    path.write_text("time,a_x\n3,3\n1,1\n3,\n2,2\n3,4\n")
    wide = read_wide(path)
    assert wide.times_s.tolist() == [1, 2, 3]
    assert wide.values[:, 0].tolist() == [1, 2, 4]
    assert any("sorted" in note for note in wide.notes)
    assert any("2 rows repeat a time" in note for note in wide.notes)


def test_only_and_single_folders_choose_cases(tmp_path):
    write_case(tmp_path)
    write_case(tmp_path, name="two")
    assert [c.case_id for c in find_cases(tmp_path)] == ["set/one", "set/two"]
    assert len(find_cases(tmp_path / "set")) == 2
    assert len(find_cases(tmp_path / "set" / "two")) == 1
    with pytest.raises(DatasetError, match="sets there: set"):
        find_cases(tmp_path, only="other")
    with pytest.raises(DatasetError, match="does not exist"):
        find_cases(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("metrics.csv", "", "is empty"),
        ("metrics.csv", "t,a_x\n1,1\n", "no column 'time'"),
        ("metrics.csv", "time,a_x\n1,one\n", "line 2, column 'a_x': 'one' is no number"),
        ("metrics.csv", "time,a_x\n1,1,1\n", "line 2: 3 cells"),
        ("metrics.csv", "time,a_x,a_x\n1,1,1\n", "'a_x' appears twice"),
        ("metrics.csv", "time,a_x\n,1\n", "none of 1 rows has a time"),
        ("case.json", "[]", "expected an object"),
        ("case.json", "{", "case.json"),
        ("case.json", '{"inject_time": "soon"}', "inject_time is 'soon'"),
        ("case.json", '{"instances": ["a"]}', "instances is"),
        ("spans.csv", "t_ms,trace\n1,1\n", "no column 'span'"),
        ("spans.csv", SPANS.replace("2500", "long"), "dur_us is 'long'"),
        ("logs.csv", LOGS.replace("100", "now"), "t_ms is 'now'"),
        ("../graph.json", '{"calls": [["a"]]}', "expected pairs"),
    ],
)
def test_damage_is_named_with_its_file(tmp_path, file, text, said):
    folder = write_case(tmp_path)
    (folder / file).write_text(text, encoding="utf-8")
    with pytest.raises(DatasetError, match=said) as error:
        read_case(*find_cases(tmp_path))
    assert str(tmp_path) in str(error.value)


def test_a_cut_archive_is_an_error_of_its_own(tmp_path):
    folder = write_case(tmp_path, spans=SPANS)
    (folder / "spans.csv.gz").write_bytes((folder / "spans.csv.gz").read_bytes()[:-12])
    with pytest.raises(DatasetError, match="damaged"):
        read_case(*find_cases(tmp_path))


@pytest.mark.slow
@pytest.mark.skipif(
    not DATA.is_dir(), reason=f"no incident sets in {DATA}; set MIDWATCH_DATA to their parent"
)
def test_the_first_case_of_every_public_set_reads():
    first = {case.dataset: case for case in reversed(find_cases(DATA))}
    for case in first.values():
        incident, labels = read_case(case)
        incident.check()
        assert labels.service in incident.services
        assert incident.times_s[0] < incident.fault_at_s < incident.times_s[-1]
