"""First forecasts of demand and of cold starts."""

from __future__ import annotations

import numpy as np
import pytest

from coldstart.demand import cold_start_quantile_s, demand_quantile
from coldstart.state import ColdStart


def forecast(rates, *, quantile=0.9):
    return demand_quantile(np.asarray(rates, float), step_s=5.0, horizon_s=60.0, quantile=quantile)


def test_flat_demand_stays_where_it_is():
    assert forecast(np.full(100, 3.0)) == pytest.approx(3.0)


def test_a_ramp_is_followed_upwards():
    ramp = np.linspace(1.0, 5.0, 100)
    assert forecast(ramp) > 4.8


def test_falling_demand_never_takes_capacity_away():
    falling = np.linspace(5.0, 1.0, 100)
    assert forecast(falling) >= falling[-6:].mean() - 1e-9


def test_a_higher_quantile_asks_for_no_less():
    rates = np.random.default_rng(3).poisson(20, 200) / 5.0
    assert forecast(rates, quantile=0.99) >= forecast(rates, quantile=0.6)


@pytest.mark.parametrize("seed", range(5))
def test_the_quantile_holds_on_fresh_noise(seed):
    rates = np.random.default_rng(seed).poisson(20, 400) / 5.0
    kept = [
        forecast(rates[:end], quantile=0.9) >= rates[end + 6 : end + 12].mean()
        for end in range(100, 380, 10)
    ]
    assert np.mean(kept) >= 0.8


def test_nothing_known_gives_nothing():
    assert np.isnan(forecast([np.nan] * 10))
    assert np.isnan(forecast([]))


def test_gaps_are_skipped_and_short_histories_work():
    assert forecast([np.nan, 2.0, np.nan, 2.0]) == pytest.approx(2.0)
    assert forecast([4.0]) == pytest.approx(4.0)


def start(cold_start_s):
    return ColdStart(region="r", service="s", created_at_s=10.0, ready_at_s=10.0 + cold_start_s)


def test_cold_starts_give_their_quantile_and_the_default_counts_once():
    assert cold_start_quantile_s([], quantile=0.8, default_s=60.0) == 60.0
    seen = [start(20.0)] * 9
    assert cold_start_quantile_s(seen, quantile=0.5, default_s=60.0) == 20.0
    assert cold_start_quantile_s([start(20.0)], quantile=1.0, default_s=60.0) == 60.0
    assert cold_start_quantile_s([start(-5.0)], quantile=0.5, default_s=60.0) == 60.0
