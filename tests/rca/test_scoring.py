"""Figures of rankings: ties, misses, floors, calibration."""

from __future__ import annotations

import numpy as np
import pytest

from rca.scoring import (
    MISS,
    accuracy,
    bootstrap_interval,
    calibration_error,
    mean_accuracy,
    random_floor,
    rank_of,
)


def test_the_first_hit_counts_and_repeats_do_not():
    assert rank_of(["a", "b", "a", "c"], ["c"]) == 3
    assert rank_of(["a", "b"], ["b", "a"]) == 1
    assert rank_of(["a", "b"], ["z"]) == MISS


def test_accuracy_is_the_share_of_cases_and_a_miss_counts_nowhere():
    found = accuracy([1, 2, 6, MISS])
    assert (found.ac_at_1, found.ac_at_3, found.ac_at_5) == (0.25, 0.5, 0.5)
    assert found.avg_at_5 == pytest.approx((0.25 + 0.5 * 4) / 5)
    assert accuracy([]).ac_at_1 == 0.0


def test_the_mean_over_sets_does_not_weigh_by_size():
    assert mean_accuracy([accuracy([1]), accuracy([9] * 99)]).ac_at_1 == 0.5


def test_uniform_guesses_give_the_random_floor():
    rng = np.random.default_rng(0)
    names = [f"s{n}" for n in range(8)]
    ranks = [rank_of(list(rng.permutation(names)), ["s3"]) for _ in range(4000)]
    assert accuracy(ranks).ac_at_1 == pytest.approx(random_floor([8] * 4000), abs=0.02)


def test_the_interval_holds_the_share_and_shrinks():
    few, many = bootstrap_interval([True, False] * 5), bootstrap_interval([True, False] * 500)
    assert few[0] < 0.5 < few[1]
    assert many[1] - many[0] < 0.5 * (few[1] - few[0])


def test_calibration_is_zero_for_honest_and_large_for_boastful_confidence():
    rng = np.random.default_rng(1)
    said = rng.random(4000)
    hit = rng.random(4000) < said
    assert calibration_error(list(said), list(hit))[0] < 0.03
    assert calibration_error([0.99] * 100, [False] * 100)[0] == pytest.approx(0.99)
