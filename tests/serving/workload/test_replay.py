"""Cuts, rates and spread stamps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from serving.errors import ConfigError
from serving.workload import cut, generate, smear, to_rate
from serving.workload.replay import mean_rate_rps


def table():
    return generate(seed=5, duration_s=600.0, rate_rps=5.0)


def test_cut_counts_time_from_its_start() -> None:
    whole = table()
    part = cut(whole, 100.0, 50.0)
    inside = (whole.arrival_s >= 100.0) & (whole.arrival_s < 150.0)
    assert len(part) == inside.sum()
    assert part.arrival_s.min() >= 0.0
    assert part.arrival_s.max() < 50.0


def test_to_rate_meets_the_rate_and_keeps_the_tokens() -> None:
    whole = table()
    fast = to_rate(whole, 40.0)
    assert mean_rate_rps(fast) == pytest.approx(40.0)
    assert fast.num_prompt_tokens.sum() == whole.num_prompt_tokens.sum()


@pytest.mark.parametrize("rate_rps", [0.0, -1.0, float("nan")])
def test_to_no_rate_is_refused(rate_rps: float) -> None:
    with pytest.raises(ConfigError, match="rate_rps"):
        to_rate(table(), rate_rps)


def test_trace_of_one_moment_has_no_rate() -> None:
    moment = replace(table(), arrival_s=np.zeros(len(table())))
    with pytest.raises(ConfigError, match="no rate"):
        to_rate(moment, 1.0)
    with pytest.raises(ConfigError, match="no rate"):
        to_rate(moment.window(5.0, 6.0), 1.0)


def test_smear_stays_inside_the_tick_and_keeps_all_rows() -> None:
    whole = table()
    coarse = replace(whole, arrival_s=np.floor(whole.arrival_s / 3.0) * 3.0)
    spread = smear(coarse, 3.0, seed=1)
    spread.check()
    ticks = np.floor(spread.arrival_s / 3.0)
    np.testing.assert_array_equal(ticks, coarse.arrival_s / 3.0)
    assert spread.num_prompt_tokens.sum() == whole.num_prompt_tokens.sum()
    assert len(np.unique(spread.arrival_s)) == len(whole)
    np.testing.assert_array_equal(spread.arrival_s, smear(coarse, 3.0, seed=1).arrival_s)
