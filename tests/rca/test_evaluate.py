"""Evaluation: labels stay out, folds stay apart, failures count, other layouts are read."""

from __future__ import annotations

import csv
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import rca.judging
from ops.cli import app
from rca.datasets import find_cases
from rca.disturb import Disturbance
from rca.evaluate import LeaveOut, evaluate, report
from rca.judging import Method
from rca.knobs import LocaliseConfig

DATA = Path(os.environ.get("MIDWATCH_DATA", Path(__file__).parents[3] / "shared" / "data")) / "rca"
SERVICES = ("ads", "cart", "pay", "shop", "user")
KEYS = {"macro", "sets", "presence", "calibration", "risk_coverage", "change_point", "join_found",
        "cpu_s", "failures", "failed", "granger", "knobs", "cases"}  # fmt: skip


def write_set(root: Path, name: str, *, cases=3, system="Made", services=SERVICES, step_s=10):
    """Cases in which one service's CPU triples, in the columns of a common public layout."""
    metrics = ("cpu", "mem", "diskio", "socket", "latency-50", "latency-90", "workload", "error")
    for number in range(cases):
        rng = np.random.default_rng([number, *name.encode()])
        guilty = services[number % len(services)]
        folder = root / name / f"case{number}"
        folder.mkdir(parents=True)
        rows = rng.normal(1.0, 0.05, (80, len(services) * len(metrics)))
        header = [f"{s}_{m}" for s in services for m in metrics]
        rows[60:, header.index(f"{guilty}_cpu")] *= 3.0
        with (folder / "metrics.csv").open("w", newline="") as file:
            out = csv.writer(file)
            out.writerow(["time", *header])
            out.writerows([n * step_s, *row] for n, row in enumerate(rows.tolist()))
        meta = {"inject_time": 60 * step_s, "sampling_s": step_s, "system": system,
                "root_cause_service": guilty, "root_cause_metrics": [f"{guilty}_cpu"],
                "fault_type": "cpu"}  # fmt: skip
        (folder / "case.json").write_text(json.dumps(meta))
    return root


def run(root, **kwargs):
    return evaluate(root, cpu_s=lambda: 0.0, **kwargs)


def test_a_set_never_seen_before_is_scored_with_all_figures(tmp_path):
    figures = report(run(write_set(tmp_path, "made")))
    assert figures.keys() == KEYS
    assert figures["macro"] == {"ac_at_1": 1.0, "ac_at_3": 1.0, "ac_at_5": 1.0, "avg_at_5": 1.0}
    assert [(c["set"], c["case"], c["rank"], c["failed"]) for c in figures["cases"]] == [
        ("made", f"case{n}", 1, "") for n in range(3)
    ]
    one = figures["sets"]["made"]
    assert (one["n"], one["metric"]) == (3, {"n": 3, "ac_at_1": 1.0})
    assert one["by_kind"] == {"cpu": {"n": 3, "ac_at_1": 1.0}}
    assert figures["change_point"]["made"] == {"within": 1.0, "n": 3}
    assert figures["join_found"] == {}
    sure = figures["calibration"]
    assert (sure["faults"], sure["disturbed_copies"], sure["fault_free"]) == (3, 12, 6)
    assert sure["n"] == 21
    assert figures["presence"]["n"] == 3  # two windows of one record share rows
    assert "fold" not in figures["presence"]  # one set has no others
    assert figures["failures"] == 0


def test_the_join_of_a_spliced_record_is_no_change_point(tmp_path):
    write_set(tmp_path, "made")
    for case in find_cases(tmp_path):
        path = case.folder / "case.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"baseline": "spliced"}))
    figures = report(run(tmp_path))
    assert figures["change_point"] == {}
    assert figures["join_found"] == {"made": {"within": 1.0, "n": 3}}


@pytest.mark.slow
def test_labels_and_folder_names_do_not_reach_the_answer(tmp_path):
    write_set(tmp_path, "made")
    before = [j.prepared.incident for j in run(tmp_path).judged]
    for case in find_cases(tmp_path):
        path = case.folder / "case.json"
        meta = json.loads(path.read_text()) | {"root_cause_service": "shop", "fault_type": "x"}
        path.write_text(json.dumps(meta))
    shutil.move(tmp_path / "made", tmp_path / "renamed")
    after = run(tmp_path)
    for one, other in zip(before, after.judged, strict=True):
        np.testing.assert_array_equal(one.values, other.prepared.incident.values)
    assert sum(j.rank == 1 for j in after.judged) < 3


@pytest.mark.slow
def test_a_fold_is_tuned_without_what_it_scores(tmp_path):
    write_set(tmp_path, "one", system="A (x)")
    write_set(tmp_path, "two", system="A (y)")
    write_set(tmp_path, "three", system="B")
    by_set = run(tmp_path, leave_out=LeaveOut.SET)
    assert set(by_set.knobs) == {"one", "two", "three"}
    assert set(by_set.rules) == {"one", "two", "three"}
    by_system = run(tmp_path, leave_out=LeaveOut.SYSTEM)
    assert set(by_system.knobs) == {"a", "b"}
    assert report(by_system)["macro"]["ac_at_1"] == 1.0


def test_a_case_that_fails_is_a_miss_and_counted(tmp_path, monkeypatch):
    write_set(tmp_path, "made", cases=2)
    decide = rca.judging.decide

    def fails_once(prepared, config, **kwargs):
        if prepared.incident.incident_id == "case0":
            raise ValueError("made to fail")
        return decide(prepared, config, **kwargs)

    monkeypatch.setattr(rca.judging, "decide", fails_once)
    figures = report(run(tmp_path))
    assert figures["failures"] == 1
    assert figures["sets"]["made"]["ac_at_1"] == 0.5


@pytest.mark.slow
def test_leaving_out_the_only_set_is_told(tmp_path):
    write_set(tmp_path, "made", cases=2)
    options = ["--data", str(tmp_path), "--granger", "off", "--leave-out", "set"]
    done = CliRunner().invoke(app, ["rca", "evaluate", *options])
    assert done.exit_code == 0 and "holds one set, so there was nothing to choose" in done.stderr
    done = CliRunner().invoke(
        app, ["rca", "evaluate", *options, "--only", "nope"], env={"COLUMNS": "400"}
    )
    assert done.exit_code == 2 and "holds no set 'nope'" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(("file", "content"), [
    ("metrics.csv", b"\x00\xff"), ("metrics.csv", b"time,a_x\n"), ("case.json", b"{"),
    ("case.json", b'{"root_cause_service": 3}'), ("spans.csv", b"a,b\n"),
])  # fmt: skip
def test_a_damaged_case_is_named_and_the_others_are_scored(tmp_path, file, content):
    write_set(tmp_path, "made", cases=3)
    (tmp_path / "made" / "case1" / file).write_bytes(content)
    done = CliRunner().invoke(
        app, ["rca", "evaluate", "--data", str(tmp_path), "--granger", "off", "--json"]
    )
    figures = json.loads(done.stdout)
    assert done.exit_code == 1 and figures["failures"] == 1
    assert list(figures["failed"]) == ["made/case1"] and file in figures["failed"]["made/case1"]
    told = [line for line in done.stderr.splitlines() if line.startswith("failed")]
    assert told == [f"failed, counted as a miss: made/case1: {figures['failed']['made/case1']}"]
    known = file != "case.json"  # else nobody knows what would have been right
    assert figures["sets"]["made"]["n"] == 2 + known
    assert figures["sets"]["made"]["ac_at_1"] == pytest.approx(2 / (2 + known), abs=1e-4)
    assert "Traceback" not in done.output


@pytest.mark.slow
@pytest.mark.parametrize("how", [
    Disturbance(hide_fault_time=True), Disturbance(shift_s=60.0), Disturbance(shift_s=-60.0),
    Disturbance(drop_cells=0.3), Disturbance(late_services=0.3), Disturbance(dirty=True),
    Disturbance(shuffle_columns=True, rescale_units=True),
])  # fmt: skip
def test_disturbed_cases_are_still_solved(tmp_path, how):
    write_set(tmp_path, "made", cases=2)
    result = run(tmp_path, method=Method(disturbance=how, channels=()))
    assert [j.rank for j in result.judged] == [1, 1]


def test_the_command_prints_figures_and_json(tmp_path):
    write_set(tmp_path, "made", cases=2)
    options = ["rca", "evaluate", "--data", str(tmp_path), "--channels", "metrics"]
    shown = CliRunner().invoke(app, options)
    assert shown.exit_code == 0 and "made" in shown.output and "fault-free windows" in shown.output
    done = CliRunner().invoke(app, [*options, "--json", "--no-topology", "--no-onset"])
    assert json.loads(done.stdout).keys() == KEYS


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--data", "nowhere"], "nowhere does not exist"),
        (["--data", ".", "--drop-cells", "2"], "drop_cells is 2.0"),
        (["--data", ".", "--only", "none-such"], "none-such"),
    ],
)
def test_wrong_use_is_named(options, said, tmp_path, monkeypatch):
    write_set(tmp_path, "made", cases=1)
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["rca", "evaluate", *options], env={"COLUMNS": "200"})
    assert done.exit_code == 2
    assert said in done.output


def test_rank_reads_a_case_and_a_bare_table(tmp_path):
    write_set(tmp_path, "made", cases=1)
    folder = tmp_path / "made" / "case0"
    shown = CliRunner().invoke(app, ["rca", "rank", str(folder)])
    assert shown.exit_code == 0, shown.output
    assert "\nads: cpu rose from" in shown.output
    done = CliRunner().invoke(app, ["rca", "rank", str(folder / "metrics.csv"), "--json"])
    answer = json.loads(done.stdout)
    assert answer["services"][0]["name"] == "ads"
    assert answer["metrics"][0]["name"] == "ads_cpu"
    assert answer["change_at_s"] == pytest.approx(600, abs=20)
    missing = CliRunner().invoke(app, ["rca", "rank", str(tmp_path / "no.csv")])
    assert missing.exit_code == 2


@pytest.mark.slow
@pytest.mark.skipif(not DATA.is_dir(), reason=f"no recorded incidents at {DATA}")
def test_recorded_incidents_keep_their_figures():
    figures = report(run(DATA, method=Method(channels=())))
    assert figures["failures"] == 0
    assert figures["macro"]["ac_at_1"] >= 0.60
    assert figures["macro"]["avg_at_5"] >= 0.68
    assert figures["sets"]["rcd_sockshop"]["metric"]["ac_at_1"] >= 0.9
    assert figures["presence"]["fold"]["false_accusations"] <= 0.06
    assert figures["presence"]["fold"]["coverage"] >= 0.65
    assert figures["calibration"]["fold"]["ece"] <= 0.09
    assert LocaliseConfig().saturation == figures["knobs"]["shipped"]["saturation"]
