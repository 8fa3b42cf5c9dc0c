"""The ablation bench: resumed without repeats, stale rows dropped, gains with the right sign."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "bench"))  # scripts, not a package
import bench_rca_ablation as bench

from rca.datasets import Case


def row(variant, case, rank, *, dataset="made", metric=None, channels=("metric",), granger=""):
    return {"of": "public", "set": dataset, "case": case, "variant": variant, "ranks": [rank],
            "metric_ranks": [metric], "labelled": metric is not None, "granger": granger,
            "channels": list(channels)}  # fmt: skip


def rows_where_spans_find_one_more():
    found = []
    for variant in bench.VARIANTS:
        for number in range(10):
            lost = variant.name == "spans" and number == 0
            found.append(row(variant.name, f"c{number}", 4 if lost else 1,
                             channels=("metric", "edges")))  # fmt: skip
    return found


def told(rows, part):
    return next(r for r in bench.summary("public", rows) if r["part"] == part)


def test_what_a_part_is_worth_is_whole_less_without():
    rows = rows_where_spans_find_one_more()
    spans = told(rows, "spans")
    assert spans["ac_at_1"] == 0.9 and spans["ac_at_1_worth"][0] == pytest.approx(0.1)
    assert spans["ac_at_1_worth"][1] <= 0.1 <= spans["ac_at_1_worth"][2]
    assert spans["spoke_in"] == 10 and told(rows, "logs")["spoke_in"] == 0
    assert told(rows, "topology")["ac_at_1_worth"] == [0.0, 0.0, 0.0]


def test_a_cause_that_is_not_ranked_is_a_miss_and_a_case_without_label_no_case():
    rows = rows_where_spans_find_one_more()
    for one in rows:
        if one["case"] == "c1":
            one["ranks"] = [None]
    assert told(rows, "whole")["ac_at_1"] == 0.9
    assert not [r for r in bench.summary("public", rows) if r["level"] == "metric"]


def test_rows_are_kept_between_runs_and_dropped_with_other_code(tmp_path):
    path = tmp_path / "rows.jsonl"
    bench.Rows(path, "one").add([row(v.name, "c0", 1) for v in bench.VARIANTS])
    assert bench.Rows(path, "one").has("public", "made", "c0")
    assert not bench.Rows(path, "two").has("public", "made", "c0")
    assert path.read_text() == ""


def test_a_case_cut_short_by_a_kill_is_measured_again(tmp_path):
    path = tmp_path / "rows.jsonl"
    lines = [json.dumps({**row(v.name, case, 1), "code": "one"}) + "\n"
             for case in ("c0", "c1") for v in bench.VARIANTS]  # fmt: skip
    path.write_text("".join(lines)[:-20])
    rows = bench.Rows(path, "one")
    assert rows.has("public", "made", "c0") and not rows.has("public", "made", "c1")
    assert {r["case"] for r in rows.kept} == {"c0"}


@pytest.mark.parametrize(("num", "most", "kept"), [(10, 3, 3), (3, 10, 3), (5, 0, 5), (7, 7, 7)])
def test_cases_are_taken_evenly_from_each_set(num, most, kept):
    cases = [Case("a", f"c{n:02d}", Path()) for n in range(num)]
    taken = bench.spread(cases, most)
    assert len(taken) == kept and taken[0] == cases[0] and taken == sorted(set(taken), key=str)
