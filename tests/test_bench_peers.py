"""The bench of RCA peers: same frame for all, no label given, a failure is a counted miss."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent / "bench" / "peers"))  # scripts, not a package
import run
import summary
import worker
from cleaning import clean
from frame import FallbackError, Frame, Ranking, checked, load, save
from references import REFERENCES, absmeanz, column_order, maxrobust, svcmean
from thin import thinned

from rca.datasets import Case
from rca.incident import Column, Incident, Labels

ROWS, FAULT_AT = 40, 30.0
QUIET = np.tile([9.0, 10.0, 11.0, 10.0], ROWS // 4)


def frame_of(**columns: np.ndarray) -> Frame:
    return Frame(
        columns=tuple(columns),
        services=tuple(name.rpartition("_")[0] for name in columns),
        times_s=np.arange(float(ROWS)),
        values=np.stack(list(columns.values()), axis=1),
        fault_at_s=FAULT_AT,
    )


def stepped(step: float, base: np.ndarray = QUIET) -> np.ndarray:
    return base + np.where(np.arange(ROWS) >= FAULT_AT, step, 0.0)


def incident_of(**columns: np.ndarray) -> Incident:
    return Incident(
        incident_id="made", times_s=np.arange(float(ROWS)), step_s=1.0, fault_at_s=FAULT_AT,
        columns=tuple(Column.parse(c) for c in columns),
        values=np.stack(list(columns.values()), axis=1),
    )  # fmt: skip


def test_a_fall_counts_for_the_two_sided_scores_and_not_for_the_one_sided():
    frame = frame_of(a_cpu=stepped(-8.0), b_cpu=stepped(3.0), c_cpu=QUIET)
    assert absmeanz(frame).columns == ["a_cpu", "b_cpu", "c_cpu"]
    assert maxrobust(frame).columns[0] == "b_cpu"


def test_what_never_moved_before_is_left_unranked_and_ties_fall_by_name():
    flat = np.full(ROWS, 0.1)
    frame = frame_of(z_cpu=stepped(3.0), b_cpu=stepped(3.0), a_mem=stepped(9.0, flat))
    for method in (absmeanz, maxrobust):
        assert method(frame).columns == ["b_cpu", "z_cpu"]
    assert svcmean(frame).columns[0] == "a_mem"  # its floor gives the constant a scale


def test_svcmean_ranks_services_by_the_mean_of_their_columns():
    frame = frame_of(a_cpu=stepped(9.0), a_mem=QUIET, b_cpu=stepped(6.0), b_mem=stepped(6.0))
    found = svcmean(frame)
    assert found.columns[0] == "a_cpu"
    assert found.services == ["b", "a"]


def test_every_reference_ranks_the_same_whatever_the_order_of_columns_but_column_order():
    columns = {"b_cpu": stepped(2.0), "a_cpu": stepped(5.0), "c_cpu": QUIET}
    there = frame_of(**columns)
    back = frame_of(**dict(reversed(columns.items())))
    for name in ("absmeanz", "maxrobust", "svcmean"):
        assert REFERENCES[name](there) == REFERENCES[name](back)
    assert column_order(back).columns == ["c_cpu", "a_cpu", "b_cpu"]
    assert sorted(REFERENCES["random"](there).columns) == sorted(columns)


def test_the_frame_has_no_symptoms_and_no_gaps():
    gappy, late, unseen = QUIET.copy(), QUIET.copy(), QUIET.copy()
    gappy[[0, 5]] = np.nan
    late[:28] = np.nan
    unseen[30:] = np.nan
    frame = clean(incident_of(sli_latency=QUIET, a_cpu=gappy, b_cpu=late, c_cpu=unseen))
    assert frame.columns == ("a_cpu",)
    assert (frame.values[0, 0], frame.values[5, 0]) == (QUIET[1], QUIET[4])
    with pytest.raises(ValueError, match="fault time"):
        clean(replace(incident_of(a_cpu=QUIET), fault_at_s=None))


def test_the_second_try_has_no_column_alike_to_another_and_none_that_stands_still():
    noise = np.random.default_rng(0).normal(size=(2, ROWS))
    frame = frame_of(c_cpu=noise[0], b_cpu=-3.0 * noise[0] + 1.0, a_mem=noise[1],
                     d_mem=np.full(ROWS, 0.1))  # fmt: skip
    found = thinned(frame)
    assert (found.columns, found.services) == (("a_mem", "b_cpu"), ("a", "b"))
    np.testing.assert_array_equal(found.values[:, 1], frame.values[:, 1])
    assert thinned(found).columns == found.columns


def test_a_frame_on_disk_is_the_same_frame(tmp_path):
    frame = clean(incident_of(a_cpu=QUIET, b_cpu=stepped(1.0)))
    save(frame, tmp_path / "f.npz")
    again = load(tmp_path / "f.npz")
    assert (again.columns, again.services, again.fault_at_s) == (
        frame.columns, frame.services, frame.fault_at_s)  # fmt: skip
    np.testing.assert_array_equal(again.values, frame.values)


def test_column_order_is_a_fallback_and_no_ranking():
    assert checked(["b", "a"], ["a", "b"]).columns == ["b", "a"]
    for ranks in (["a", "c"], []):
        with pytest.raises(FallbackError):
            checked(ranks, ["a", "b", "c"])


def test_a_method_that_raises_or_says_column_order_is_a_failure_with_its_reason(monkeypatch):
    monkeypatch.setattr(worker, "REPEATED_S", 0.0)
    frame = frame_of(a_cpu=QUIET)

    def raises(_: Frame) -> Ranking:
        raise RuntimeError("singular matrix")

    def falls_back(_: Frame) -> Ranking:
        # Not printed: pytest would hold it back.
        os.write(2, b" 4%| 1/3 circa failed (ValueError: too few (3)); returning the unranked ")
        os.write(2, b"column order\n")
        return Ranking(["a_cpu"])

    assert worker.in_process(raises, frame, 9.0)["failed"] == "RuntimeError: singular matrix"
    said = worker.in_process(falls_back, frame, 9.0)
    assert said["failed"] == "circa failed (ValueError: too few (3))"
    assert "columns" not in said
    assert worker.in_process(column_order, frame, 9.0)["columns"] == ["a_cpu"]


@pytest.mark.slow
def test_a_method_out_of_time_is_ended(monkeypatch):
    def spins(_: Frame) -> Ranking:
        while True:
            pass

    found = worker.in_process(spins, frame_of(a_cpu=QUIET), 1.0)
    assert found["timeout"] is True
    assert 0.5 < found["cpu_s"] < 3.0


def known(tmp_path: Path) -> run.Known:
    incident = replace(
        incident_of(**{"node-1_cpu": QUIET, "a.0_cpu": QUIET, "b.0_cpu": QUIET}),
        instances={"a.0": "a", "b.0": "b"},
    )
    labels = Labels(incident_id="made", dataset="x", system="x", service="b",
                    metrics=("b.0_cpu",), fault_type="cpu")  # fmt: skip
    return run.Known(Case("x", "one", tmp_path), incident, labels, tmp_path / "0.npz")


def test_machines_are_no_candidates_and_pods_count_for_their_service(tmp_path):
    one = known(tmp_path)
    row = run.scored("m", one, {"columns": ["node-1_cpu", "b.0_cpu", "a.0_cpu"], "cpu_s": 1.0})
    assert (row["rank"], row["metric_rank"], row["failed"]) == (1, 1, "")
    row = run.scored("m", one, {"columns": ["a.0_cpu"], "services": ["node-1", "a", "b"]})
    assert (row["rank"], row["metric_rank"]) == (2, None)
    assert run.scored("m", one, {"failed": "no answer"})["rank"] is None


def test_rows_outlive_a_stop_and_are_not_run_again(tmp_path):
    path, one = tmp_path / "peers.jsonl", known(tmp_path)
    first = run.Rows(path, forget=set())
    first.add([run.scored("m", one, {"columns": ["b.0_cpu"]})])
    assert run.Rows(path, forget=set()).has("m", one.case)
    assert run._parts("m", [one], run.Rows(path, forget=set())) == []
    assert not run.Rows(path, forget={"m"}).has("m", one.case)
    assert path.read_text() == ""


def test_a_set_given_up_stays_given_up_in_the_next_run(tmp_path):
    rows, one = run.Rows(tmp_path / "peers.jsonl", forget=set()), known(tmp_path)
    rows.add([run.scored("m", one, {"failed": f"{worker.OUT_OF_TIME} 120 CPU s"})] * 2)
    assert rows.late("m", "x") == worker.GIVE_UP_AFTER
    rows.add([run.scored("m", one, {"columns": ["b.0_cpu"]})])
    assert rows.late("m", "x") == 0


def test_spaced_cases_take_both_ends():
    assert run.spaced(list(range(5)), 20) == list(range(5))
    found = run.spaced(list(range(50)), 20)
    assert (len(found), found[0], found[-1]) == (20, 0, 49)
    assert len(set(found)) == 20


def row(method: str, name: str, case: str, rank: int | None, failed: str = "") -> summary.Row:
    return {"method": method, "set": name, "case": case, "kind": "cpu", "rank": rank,
            "metric_rank": rank, "metric_labelled": True, "candidates": 4, "cpu_s": 0.5,
            "wall_s": 0.6, "failed": failed}  # fmt: skip


def test_failures_are_misses_in_the_means_and_counted_with_their_reason():
    rows = [
        *(row("ours", s, c, 1) for s in "xy" for c in "12"),
        row("peer", "x", "1", 1), row("peer", "x", "2", 3),
        row("peer", "y", "1", 1), row("peer", "y", "2", 1, "no answer"),
        row("slow", "x", "1", 2),
    ]  # fmt: skip
    found = summary.summarise(rows, first=("ours", "peer", "slow"), ours=("ours",))
    peer = found["rows"][1]
    assert peer["macro"]["ac_at_1"] == 0.5
    assert peer["sets"]["y"]["failures"] == {"no answer": 1}
    assert found["best_peer"] == {"ac_at_1": "peer", "avg_at_5": "peer"}
    assert found["random_expected_ac_at_1"] == 0.25
    assert {p["theirs"]: (p["n"], p["ac_at_1"]["value"]) for p in found["paired"]} == {
        "peer": (4, 0.5), "slow": (1, 1.0)}  # fmt: skip
    shown = summary.table(found)
    assert "peer on y: 1 x no answer" in shown
    assert json.loads(json.dumps(found)) == found


def test_sets_and_kinds_where_the_peer_is_better_are_told():
    rows = [
        *(row("ours", "x", str(n), 2 if n < 2 else 1) for n in range(4)),
        *(row("best", "x", str(n), 1) for n in range(4)),
        *(row(m, "y", str(n), rank) for m, rank in (("ours", 1), ("best", 3)) for n in range(4)),
        *(row(m, "y", "4", None if m == "ours" else 1) for m in ("ours", "best")),
        *(row("floor", "x", str(n), 1) for n in range(4)),
    ]  # fmt: skip
    one = summary.summarise(rows, first=("ours", "best", "floor"), ours=("ours",))["against_best"][
        0
    ]
    assert one["theirs"] == "best"
    assert one["behind"] == "x (2 against 4 of 4, best)"  # in y one case against four, ahead
    assert one["kinds_lost"] == [{"set": "x", "kind": "cpu", "n": 4, "ours": 2, "theirs": 4}]


def test_one_case_fewer_is_not_behind():
    rows = [row(m, "x", str(n), 2 if m == "ours" and n == 0 else 1)
            for m in ("ours", "best") for n in range(3)]  # fmt: skip
    found = summary.summarise(rows, first=("ours", "best"), ours=("ours",))
    assert found["against_best"][0]["behind"] == "none"
    assert found["rows"][0]["macro"]["rerank_at_1"] == 0.6667
    assert found["rows"][0]["macro"]["retrieval_at_5"] == 1.0


def test_another_python_is_refused_with_the_next_step(monkeypatch, tmp_path):
    monkeypatch.setattr(run, "VENV", tmp_path)
    with pytest.raises(SystemExit, match="--python"):
        run.environment(str(tmp_path / "no-such-python"))
