"""Figures of trust: folds see nothing of what they judge, shared windows count once."""

from __future__ import annotations

import numpy as np
import pytest

from rca.judging import Reading, Trial
from rca.presence import PRESENCE_MIN, confidence_features
from rca.quiet import Source
from rca.trust import (
    Answer,
    Rule,
    calibration_figures,
    curve_figures,
    fit_rule,
    presence_figures,
    rules_by_fold,
)


def answer(presence, *, dataset="one", group=0, hit=None, copy=False, source=Source.METRICS):
    """A fault-free window unless `hit` says whether its fault was named."""
    quiet = hit is None
    trial = Trial(prepared=None, wanted=() if quiet else ("a",), copy=copy,
                  source=source if quiet else None)  # fmt: skip
    reading = Reading(presence=presence, hit=bool(hit),
                      features=confidence_features(presence, [presence, 0.1]))  # fmt: skip
    return Answer(dataset=dataset, fold=dataset, group=group, trial=trial, reading=reading)


def many(dataset, *, offset=0.0, seed=0, num=60):
    rng = np.random.default_rng(seed)
    return [
        answer(offset + v, dataset=dataset, group=n + 1000 * seed)
        for n, v in enumerate(rng.random(num))
    ] + [
        answer(offset + v, dataset=dataset, group=n + 1000 * seed + 500, hit=v > 0.4)
        for n, v in enumerate(2.0 * rng.random(num))
    ]


def test_a_threshold_lets_ninety_five_in_a_hundred_pass_and_shared_rows_count_once():
    quiet = [answer(n / 100.0, group=n) for n in range(100)]
    assert fit_rule(quiet).presence_min == pytest.approx(0.94)
    # Fifty windows over the same rows are one trial, not fifty.
    assert fit_rule([*quiet, *(answer(5.0, group=200) for _ in range(50))]).presence_min < 1.0


def test_a_fold_sees_nothing_of_its_own_set():
    strange = many("strange", offset=10.0, seed=1)
    rules = rules_by_fold([*many("one", seed=2), *many("two", seed=3), *strange])
    assert rules["strange"].presence_min < 1.0 < rules["one"].presence_min
    assert rules_by_fold(many("one")) == {}


def test_nothing_to_fit_leaves_the_shipped_numbers():
    assert fit_rule([]) == Rule()
    assert fit_rule([answer(1.0, hit=True)]) == Rule()


def test_accusations_and_coverage_are_counted_apart_by_source_and_set():
    rules = {"one": Rule(presence_min=1.0), "two": Rule(presence_min=1.0)}
    answers = [
        answer(2.0, group=0), answer(0.5, group=0), answer(0.5, group=1),
        answer(2.0, dataset="two", group=2, source=Source.TRACES),
        answer(2.0, group=3, hit=True), answer(2.0, group=4, hit=False),
        answer(0.5, group=5, hit=True), answer(2.0, group=3, hit=False, copy=True),
    ]  # fmt: skip
    found = presence_figures(answers, rules)
    assert (found["n"], found["windows"]) == (3, 4)
    assert found["false_accusations"] == pytest.approx(0.5)
    assert found["by_source"]["traces"] == {"false_accusations": 1.0, "n": 1, "windows": 1}
    assert found["by_set"]["one"]["false_accusations"] == pytest.approx(0.25)
    assert (found["coverage"], found["ac_at_1_answered"]) == (0.6667, 0.5)


def test_a_service_named_in_quiet_time_is_wrong_and_copies_are_said_apart():
    answers = [
        answer(0.3, group=0), answer(2.0, group=1, hit=True),
        answer(2.0, group=1, hit=True, copy=True),
    ]  # fmt: skip
    sure = {"one": Rule(weights=(9.0, 0.0, 0.0, 0.0))}
    found = calibration_figures(answers, sure)
    assert found["ece"] == pytest.approx(0.34, abs=0.02)  # 0.98 said, two of three right
    assert (found["n"], found["faults"], found["disturbed_copies"]) == (3, 1, 1)
    assert (found["fault_free"], found["cases"]) == (1, 2)
    assert [p["coverage"] for p in curve_figures(answers, sure)] == [1.0]


@pytest.mark.slow
def test_confidence_fitted_on_other_sets_is_honest_on_alike_ones():
    answers = [a for n in range(4) for a in many(str(n), seed=n + 1, num=150)]
    found = calibration_figures(answers, rules_by_fold(answers))
    boast = dict.fromkeys("0123", Rule(weights=(3.0, 0.0, 0.0, 0.0)))
    assert found["ece"] < 0.1 < 0.3 < calibration_figures(answers, boast)["ece"]
    assert found["interval"][0] <= found["ece"] + 0.01 <= found["interval"][1] + 0.02
    assert PRESENCE_MIN > 0.0
