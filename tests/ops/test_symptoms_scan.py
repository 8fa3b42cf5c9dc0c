"""The sequential test: its threshold, its speed, and what must not set it off."""

from __future__ import annotations

import numpy as np
import pytest

from ops.config import DetectConfig
from ops.slo import NUM_COUNTS, Count, SloMeter
from ops.symptoms_scan import gains, risen, threshold

CONFIG = DetectConfig()
STEP_S, USUAL_ROWS = 5.0, 150


def meter_of(bad, total):
    """Meter of one key whose rows have these counts; limits are missed by the bad ones."""
    counts = np.zeros((len(bad), 1, NUM_COUNTS))
    counts[:, 0, Count.FINISHED] = counts[:, 0, Count.TTFT_SEEN] = total
    counts[:, 0, Count.TTFT_OVER] = bad
    return SloMeter(
        keys=(("east", "fast"),), target_ratios=np.array([0.95]),
        times_s=STEP_S * np.arange(1, len(bad) + 1), cumulative=np.cumsum(counts, axis=0),
    )  # fmt: skip


def looked_at(bad, total, *, usual=(3.0, 1500.0)):
    hit, strength = risen(
        meter_of(bad, total),
        bad_usual=np.array([usual[0]]), total_usual=np.array([usual[1]]), config=CONFIG,
    )  # fmt: skip
    return bool(hit[0]), float(strength[0])


def rows_until_seen(newest, *, total=10):
    """Rows of a loss until it is seen; None where it never is."""
    for k in range(1, len(newest) + 1):
        if looked_at(np.array([0.0] * 30 + newest[:k]), np.full(30 + k, float(total)))[0]:
            return k
    return None


def test_a_gain_is_the_log_likelihood_ratio_of_a_worked_example():
    # 5 of 10 against 1 of 10, both with the half that is added to the past: 1.5 of 11.
    def log_likelihood(bad, total, share):
        return bad * np.log(share) + (total - bad) * np.log(1.0 - share)

    common = 6.5 / 21.0
    expected = (
        log_likelihood(5.0, 10.0, 0.5) + log_likelihood(1.5, 11.0, 1.5 / 11.0)
        - log_likelihood(5.0, 10.0, common) - log_likelihood(1.5, 11.0, common)
    )  # fmt: skip
    found = gains(np.array([5.0]), np.array([10.0]), np.array([1.0]), np.array([10.0]))
    assert found == pytest.approx([expected])


def test_a_share_that_fell_or_is_not_known_gains_nothing():
    past = np.array([10.0]), np.array([100.0])
    assert gains(np.array([0.0]), np.array([50.0]), *past).tolist() == [0.0]
    assert gains(np.array([0.0]), np.array([0.0]), *past).tolist() == [0.0]


def test_the_threshold_allows_one_false_alarm_in_the_stated_time():
    every_s = 30.0 * 86_400.0
    least = threshold(num_windows=96, step_s=5.0, every_s=every_s)
    rows = every_s / 5.0
    assert rows * 96 * np.exp(-least) == pytest.approx(1.0)


@pytest.mark.parametrize(("lost", "rows"), [(5.0, 3), (2.0, 3), (1.0, 8)])
def test_a_loss_that_goes_on_is_seen_the_sooner_the_larger_it_is(lost, rows):
    assert rows_until_seen([lost] * 20) == rows


def test_two_scrapes_alone_carry_no_alarm():
    assert rows_until_seen([10.0, 10.0, *[0.0] * 20]) is None


def test_a_loss_that_the_budget_allows_is_no_symptom():
    bad = np.concatenate((np.zeros(30), np.full(24, 2.0)))  # 4 % of 50 a row, far beyond chance
    assert not looked_at(bad, np.full(54, 50.0))[0]


def test_what_is_usual_is_no_symptom():
    bad = np.full(54, 5.0)
    assert not looked_at(bad, np.full(54, 10.0), usual=(500.0, 1000.0))[0]


def test_without_a_past_nothing_is_compared():
    bad = np.concatenate((np.zeros(30), np.full(10, 9.0)))
    assert not looked_at(bad, np.full(40, 10.0), usual=(0.0, 20.0))[0]


def test_a_single_row_is_not_enough_to_look_at():
    assert looked_at(np.array([5.0]), np.array([10.0])) == (False, 0.0)


def test_healthy_luck_raises_far_fewer_alarms_than_its_bound():
    rng = np.random.default_rng(5)
    total = rng.poisson(10.0, USUAL_ROWS).astype(float)
    for _ in range(200):
        bad = rng.binomial(total.astype(int), 0.03).astype(float)
        assert not looked_at(bad, total, usual=(45.0, 1500.0))[0]
