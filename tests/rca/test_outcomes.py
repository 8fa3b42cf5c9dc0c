"""Figures of cases that are not one felt fault of one service."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from rca.datasets import Case
from rca.incident import Labels
from rca.judging import Judged
from rca.outcomes import other_outcomes


def judged(*, each_rank=(), presence=0.0, felt=None, **labels):
    known = {"incident_id": "x", "dataset": "set", "system": "s", "service": ""} | labels
    return Judged(
        case=Case("set", "x", Path("x")), labels=Labels(**known), each_rank=each_rank,
        presence=presence, felt=felt,
    )  # fmt: skip


def figures(*cases):
    return other_outcomes(cases, {"set": 2.0})


def test_two_causes_count_where_the_first_four_names_hold_both():
    pair = {"service": "a", "also": ("b",)}
    found = figures(
        judged(each_rank=(1, 4), **pair), judged(each_rank=(1, 5), **pair),
        judged(each_rank=(2, 1), **pair), judged(**pair), judged(service="a", each_rank=(1,)),
    )  # fmt: skip
    assert found["simultaneous"] == {"n": 4, "both_in_top_4": 0.5}


def unfelt(kind, **values):
    one = judged(fault_type=kind, **values)
    return replace(one, labels=replace(one.labels, felt=False))


def test_faults_that_nobody_feels_are_counted_where_somebody_is_accused():
    found = figures(
        unfelt("cpu-hog", service="a", presence=2.0), unfelt("cpu-hog", service="a", presence=1.9),
        unfelt("metric-gap", presence=9.0), unfelt("none", presence=9.0),
        judged(service="a", presence=9.0, fault_type="cpu-hog"),
    )  # fmt: skip
    assert found == {
        "without_effect": {
            "n": 3,
            "accused": 0.6667,
            "changed": 0.6667,
            "by_kind": {"cpu-hog": {"n": 2, "accused": 1}, "metric-gap": {"n": 1, "accused": 1}},
        }
    }


def test_nobody_is_accused_of_a_change_that_the_symptoms_do_not_show():
    found = figures(
        unfelt("cpu-hog", service="a", presence=9.0, felt=1.9),
        unfelt("cpu-hog", service="a", presence=9.0, felt=2.1),
        judged(service="a", fault_type="cpu-hog", felt=8.0),
        judged(fault_type="none", felt=0.5), judged(fault_type="none", felt=3.0),
    )  # fmt: skip
    assert found["without_effect"]["accused"] == 0.5
    assert found["without_effect"]["changed"] == 1.0
    assert found["noticed"] == {
        "faults": {"n": 1, "share": 1.0}, "quiet": {"n": 2, "share": 0.5},
    }  # fmt: skip


def test_trouble_of_no_service_is_kept_apart_from_quiet_time():
    found = figures(judged(fault_type="traffic-burst"), judged(fault_type="none"))
    assert found == {
        "no_service": {
            "n": 1,
            "accused": 0.0,
            "changed": 0.0,
            "by_kind": {"traffic-burst": {"n": 1, "accused": 0}},
        }
    }
    assert Labels(incident_id="x", dataset="s", system="s", service="").is_quiet
