"""Figures of a sweep, worked by hand on a few rows."""

from __future__ import annotations

import orjson
import pytest

from ops.replay.summary import calibration, summarise


def row(kind="cpu-hog", rank=1, *, confidence=0.8, lost=None, waits=(100.0, 120.0), **more):
    lost = lost or {"without": 10.0, "with": 4.0, "oracle": 2.0, "restart": 9.0}
    symptom, diagnosed = waits
    return {
        "kind": kind, "rank": rank, "class_right": rank == 1, "abstained": diagnosed is None,
        "confidence": confidence, "detected_at_s": symptom, "first_symptom_s": symptom,
        "diagnosed_at_s": diagnosed, "outcomes": {"Effective": 1}, "peers": {"random": 2},
        "hide_direct": False, "innocent_closer": False, "lost": lost, **more,
    }  # fmt: skip


def healthy(days=1.0, accusations=0):
    return {"kind": "healthy", "days": days, "accusations": accusations}


def test_accuracy_counts_places():
    figures = summarise([row(rank=1), row(rank=3), row(rank=4), row(rank=0)])
    assert figures["ac_at_1"] == 0.25
    assert figures["ac_at_3"] == 0.5
    assert figures["peers"]["random"] == {"ac_at_1": 0.0, "ac_at_3": 1.0}
    assert figures["outcomes"] == {"Effective": 4}


def test_healthy_rows_count_days_and_accusations_only():
    figures = summarise([row(), healthy(2.0, 1), healthy(5.0)])
    assert figures["healthy"] == {"days": 7.0, "accusations": 1}
    assert figures["ac_at_1"] == 1.0
    assert list(figures["by_kind"]) == ["cpu-hog"]


def test_a_fault_without_a_target_is_told_and_counts_for_nothing():
    nothing = {"key": "k", "kind": "pool-exhaustion", "seed": 1, "skipped": "nothing is pooled"}
    figures = summarise([row(), nothing])
    assert (figures["runs"], figures["ac_at_1"]) == (1, 1.0)
    assert figures["skipped"] == {"pool-exhaustion": "nothing is pooled"}
    assert calibration([row(), nothing]) == calibration([row()])


def test_a_cause_named_before_any_symptom_took_no_time():
    figures = summarise([row(waits=(100.0, 90.0)), row(waits=(100.0, 130.0))])
    assert figures["time_to_cause_s"] == {"p50": 15.0, "p95": 28.5, "cases": 2}


def test_rows_without_a_cause_are_no_times():
    assert summarise([row(waits=(100.0, None))])["time_to_cause_s"]["cases"] == 0


def test_savings_are_measured_where_the_oracle_saves_something():
    hopeless = {"without": 10.0, "with": 10.0, "oracle": 9.5, "restart": 10.0}
    figures = summarise([row(), row(kind="metric-gap", lost=hopeless)])["slo"]
    assert figures["kinds"] == ["cpu-hog"]
    assert figures["cut_median"] == pytest.approx(0.6)
    assert figures["oracle_share_median"] == pytest.approx(0.75)


def test_the_worst_run_is_found_over_all_kinds():
    worse = {"without": 10.0, "with": 14.0, "oracle": 9.9, "restart": 10.0}
    slightly = {"without": 0.1, "with": 0.9, "oracle": 0.1, "restart": 0.1}
    figures = summarise([row(lost=worse), row(lost=slightly)])["slo"]
    assert figures["worst_ratio"] == pytest.approx(1.4)
    assert figures["worst_extra_minutes"] == pytest.approx(4.0)
    assert figures["runs_over_bound"] == 1


def test_nothing_makes_empty_figures():
    figures = summarise([])
    assert figures["runs"] == 0
    assert figures["ac_at_1"] is None
    orjson.dumps(figures)


def test_rows_of_the_loops_world_alone_are_enough():
    figures = summarise([row(lost={"with": 3.0})])
    assert figures["slo"]["cut_median"] is None
    assert figures["by_kind"]["cpu-hog"]["lost_without"] is None


def test_calibration_bins_what_was_named():
    rows = [row(confidence=0.1 * k, rank=int(k > 5)) for k in range(1, 11)]
    rows += [row(waits=(1.0, None)), healthy()]
    bins = calibration(rows, num_bins=2)
    assert [b["cases"] for b in bins] == [5, 5]
    assert [b["hits"] for b in bins] == [0, 5]
    assert bins[0]["high"] <= bins[1]["low"]
    assert calibration([]) == []


def test_lead_is_counted_where_the_slow_rule_would_page():
    figures = summarise(
        [
            row(waits=(100.0, 120.0), page_at_s=300.0),
            row(waits=(100.0, 130.0), page_at_s=120.0),  # the page came first
            row(waits=(100.0, None), page_at_s=300.0),  # no cause: never ahead
            row(page_at_s=None),
        ]
    )
    assert figures["lead_s"] == {"paged": 3, "ahead": 1, "p50": 85.0, "worst": -10.0}
