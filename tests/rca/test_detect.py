"""When something changed, and whether more requests are bad now."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rca.detect import (
    PAGE_WINDOWS,
    bad_share_rose,
    burn_rate,
    burns,
    change_points,
    share_change_point,
)


def test_each_series_gets_its_own_change_point():
    rng = np.random.default_rng(0)
    values = rng.normal(0, 1, (200, 3))
    values[150:, 0] += 6.0
    values[80:, 1] -= 6.0
    began, strength = change_points(np.arange(200) * 5.0, values)
    assert np.abs(began[:2] - [750.0, 400.0]).max() <= 5.0
    assert (strength[:2] > 10.0).all() and strength[2] < 5.0


def test_missing_rows_and_constants_are_no_change():
    values = np.column_stack([np.full(50, np.nan), np.ones(50)])
    began, strength = change_points(np.arange(50.0), values)
    assert np.isnan(began).all()
    assert strength.tolist() == [0.0, 0.0]


def test_a_perfect_step_is_finite():
    values = np.zeros((20, 1))
    values[10:] = 1.0
    began, strength = change_points(np.arange(20.0), values)
    assert began[0] == 10.0
    assert math.isfinite(strength[0])


def test_the_share_of_bad_requests_has_its_own_moment():
    total = np.full(60, 20.0)
    bad = np.where(np.arange(60) >= 45, 5.0, 0.0)
    began, strength = share_change_point(np.arange(60) * 5.0, bad, total)
    assert began == 225.0
    assert strength > 10.0


@pytest.mark.parametrize("bad", [0.0, 1.0])
def test_a_steady_share_never_rose(bad):
    _, strength = share_change_point(np.arange(60) * 5.0, np.full(60, bad), np.full(60, 20.0))
    assert strength < 0.1


def test_more_traffic_at_the_same_share_is_no_rise():
    assert (
        abs(bad_share_rose(bad_before=10, total_before=1000, bad_after=50, total_after=5000)) < 0.5
    )
    assert bad_share_rose(bad_before=10, total_before=1000, bad_after=20, total_after=100) > 5.0
    assert bad_share_rose(bad_before=0, total_before=0, bad_after=5, total_after=5) == 0.0


def test_burn_rate_one_spends_the_budget_exactly():
    assert burn_rate([1.0], [100.0], target_ratio=0.99) == pytest.approx(1.0)
    assert burn_rate([], [], target_ratio=0.99) == 0.0
    with pytest.raises(ValueError, match="equal lengths"):
        burn_rate([1.0], [], target_ratio=0.99)
    with pytest.raises(ValueError, match=r"\(0, 1\)"):
        burn_rate([1.0], [1.0], target_ratio=1.0)


def test_a_page_needs_the_long_and_the_short_window():
    times = np.arange(0, 3600.0, 60.0)
    total = np.full(60, 100.0)
    all_hour = np.full(60, 20.0)
    over = np.where(times > 3200, 0.0, 20.0)
    now = {"now_s": 3540.0, "target_ratio": 0.99, "rules": PAGE_WINDOWS[:1]}
    assert burns(times, all_hour, total, **now) is not None
    assert burns(times, over, total, **now) is None
