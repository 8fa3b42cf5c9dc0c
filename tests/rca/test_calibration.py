"""Stated confidence against what came true."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from rca.calibration import (
    calibration_error,
    chance_of,
    error_interval,
    fit_chance,
    risk_coverage,
)


def honest(num=4000, *, seed=1):
    rng = np.random.default_rng(seed)
    said = rng.random(num)
    return said.tolist(), (rng.random(num) < said).tolist()


def test_calibration_is_zero_for_honest_and_large_for_boastful_confidence():
    assert calibration_error(*honest())[0] < 0.03
    assert calibration_error([0.99] * 100, [False] * 100)[0] == pytest.approx(0.99)
    assert calibration_error([], []) == (0.0, 0.0)


def test_the_brier_score_is_the_mean_squared_distance():
    assert calibration_error([1.0, 0.5], [True, False])[1] == pytest.approx(0.125)


@pytest.mark.slow
def test_copies_of_one_case_widen_the_interval():
    said, hit = honest(300)
    alone = error_interval(said, hit, list(range(300)))
    copied = error_interval(said * 5, hit * 5, list(range(300)) * 5)
    taken_for_new = error_interval(said * 5, hit * 5, list(range(1500)))
    assert copied == pytest.approx(alone, abs=0.02)
    assert taken_for_new[1] - taken_for_new[0] < 0.75 * (copied[1] - copied[0])


def test_a_fit_recovers_the_law_and_is_calibrated():
    rng = np.random.default_rng(3)
    features = np.column_stack([np.ones(5000), rng.normal(0.0, 1.0, (5000, 2))])
    hit = (rng.random(5000) < chance_of(features, (-0.5, 1.5, 0.0))).astype(float)
    weights = fit_chance(features, hit, np.ones(5000))
    assert weights == pytest.approx((-0.5, 1.5, 0.0), abs=0.15)
    assert calibration_error(chance_of(features, weights).tolist(), hit.tolist())[0] < 0.02


def test_a_perfect_feature_does_not_run_away():
    features = np.column_stack([np.ones(40), np.repeat([-1.0, 1.0], 20)])
    weights = fit_chance(features, np.repeat([0.0, 1.0], 20), np.ones(40))
    assert 1.0 < weights[1] < 10.0


def test_risk_falls_with_coverage_where_confidence_knows_something():
    curve = risk_coverage(*honest())
    risks, coverage = [p["risk"] for p in curve], [p["coverage"] for p in curve]
    assert coverage == sorted(coverage) and coverage[-1] == 1.0
    assert risks[0] < 0.06 and risks[-1] == pytest.approx(0.5, abs=0.03)
    assert all(a < b + 0.01 for a, b in pairwise(risks))


def test_equal_confidence_stands_or_falls_together():
    assert risk_coverage([0.9] * 10 + [0.1] * 10, [True] * 10 + [False] * 10) == [
        {"coverage": 0.5, "risk": 0.0, "confidence": 0.9},
        {"coverage": 1.0, "risk": 0.5, "confidence": 0.1},
    ]
    assert risk_coverage([], []) == []
