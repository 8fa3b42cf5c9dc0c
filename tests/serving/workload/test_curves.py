"""Curves find planted hours, days and levels, and leave alone what chance explains."""

from __future__ import annotations

import numpy as np
import pytest

from serving.workload.curves import curves, draw_levels
from serving.workload.laws import SHARES, LevelLaw

HOUR_CURVE = 1.0 + 0.8 * np.sin(np.arange(24) / 24 * 2 * np.pi)
WEEK = np.array([1.2, 1.2, 1.2, 1.2, 1.2, 0.5, 0.5])


def counts(seed=1, *, days=21, week=WEEK, level=1.0):
    index = np.arange(days * 24)
    mean = 50 * HOUR_CURVE[index % 24] * week[index // 24 % 7] * level
    return np.random.default_rng(seed).poisson(mean).astype(float)


def test_planted_hours_and_days_are_found() -> None:
    found = curves(counts(), 0)
    assert found.hours == pytest.approx(HOUR_CURVE, abs=0.12)
    assert found.days == pytest.approx(WEEK / WEEK.mean(), abs=0.05)


def test_days_that_differ_by_chance_are_equal() -> None:
    level = np.repeat(np.random.default_rng(2).lognormal(0, 1, 21), 24)
    found = curves(counts(week=np.ones(7), level=level), 0)
    assert found.days == (None,) * 7
    assert found.level.day_share > 0.8


def test_counting_noise_is_no_level() -> None:
    found = curves(counts(), 0).level
    assert found is None or np.ptp(found.quantiles[1:-1]) < 0.3


def test_the_spread_of_levels_is_not_that_of_counting() -> None:
    rng = np.random.default_rng(0)
    planted = rng.lognormal(0.0, 0.5, 60 * 24)
    found = curves(rng.poisson(10 * planted).astype(float), 0).level
    drawn = np.interp(rng.random(20_000), SHARES, found.quantiles)
    wanted = float((planted / planted.mean()).var())
    assert drawn.var() == pytest.approx(wanted, abs=0.05)  # counting alone would add 0.1


def test_one_burst_does_not_draw_the_curve() -> None:
    busy = counts(week=np.ones(7))
    busy[5 * 24 + 3] = 20_000.0
    assert curves(busy, 0).hours[3] < 4.0  # a plain mean would say 15


def test_levels_hang_together_as_fitted() -> None:
    law = LevelLaw(
        active=(1.0,) * 24,
        quantiles=tuple(np.exp(np.linspace(-2, 2, len(SHARES)))),
        day_share=0.4,
        hold=0.7,
    )
    levels = np.log(draw_levels(law, np.arange(24 * 400), np.random.default_rng(1)))
    near = np.corrcoef(levels[:-1], levels[1:])[0, 1]
    assert near == pytest.approx(0.4 + 0.6 * 0.7, abs=0.06)
    day = levels.reshape(-1, 24)
    assert np.corrcoef(day[:, 0], day[:, 20])[0, 1] == pytest.approx(0.4, abs=0.1)


def test_too_little_tells_nothing() -> None:
    found = curves(np.array([3.0]), 5)
    assert found.hours == (None,) * 24
    assert found.level is None
    assert curves(np.ones(30), 22).hours[22:] != (None, None)
