"""The regression recovers planted links, from normal rows only."""

from __future__ import annotations

import numpy as np
import pytest

from rca.granger_linear import GrangerConfig, LinearForecaster, screen


def planted(seed, rows=360):
    """0 drives 1, 1 drives 2; 3..7 are alone."""
    rng = np.random.default_rng(seed)
    x = np.zeros((rows, 8))
    noise = rng.normal(0, 1, (rows, 8))
    for t in range(1, rows):
        x[t] = 0.3 * x[t - 1] + noise[t]
        x[t, 1] += 0.8 * x[t - 1, 0]
        x[t, 2] += 0.8 * x[t - 1, 1]
    return x


def fitted(x, *, normal_end=340, seed=0, **more):
    return LinearForecaster(**more).fit(x, normal_end=normal_end, fault_start=342, step_s=5.0,
                                        rng=np.random.default_rng(seed))  # fmt: skip


@pytest.mark.parametrize("seed", range(5))
def test_planted_arcs_are_found_with_the_cause_as_the_column(seed):
    granger = fitted(planted(seed)).granger
    assert granger[1, 0] > 0.5 and granger[2, 1] > 0.5
    assert granger[0, 1] < 0.3 and np.diag(granger).max() == 0.0
    assert (granger[3:, :] > 0).sum() <= 2


def test_changing_fault_rows_leaves_the_arcs_unchanged():
    x = planted(1)
    y = x.copy()
    y[342:] *= 40.0
    assert np.array_equal(fitted(x).granger, fitted(y).granger)


def test_a_fault_stands_out_where_it_began_once_causes_are_taken_off():
    x = planted(2)
    x[342:, 0] += 8.0
    for t in range(343, 360):
        x[t, 1] += 0.8 * 8.0
    result = fitted(x)
    exogenous = np.abs(result.exogenous)
    assert exogenous[0] == exogenous.max()
    assert exogenous[1] < 0.5 * exogenous[0]
    assert exogenous[1] < abs(result.innovation[1])


def test_rescaling_a_series_leaves_the_arcs_unchanged():
    x = planted(3)
    y = x.copy()
    y[:, 0] *= 1e6
    assert fitted(y).granger == pytest.approx(fitted(x).granger, abs=1e-6)


def test_gaps_and_constants_are_survived():
    x = planted(4)
    x[::9, 1] = np.nan
    x[:, 3] = 7.0
    x[:, 4] = np.nan
    result = fitted(x)
    assert np.isfinite(result.granger).all() and np.isfinite(result.innovation).all()


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"normal_end": 100}, "normal rows"), ({"config": GrangerConfig(step_s_max=1.0)}, "sample")],
)
def test_what_cannot_be_fitted_is_skipped_with_a_reason(change, reason):
    result = fitted(planted(0), **change)
    assert reason in result.skipped
    assert not result.granger.any()


def test_the_screen_takes_the_strongest_and_breaks_ties_by_name():
    scores = np.array([2.0, -3.0, 2.0, 0.5])
    assert screen(scores, range(4), name=lambda c: "dcba"[c], num_max=2) == [1, 2]


def test_what_lies_before_the_first_value_comes_from_normal_rows():
    x = planted(5)
    x[:30, 2] = np.nan
    y = x.copy()
    y[342:, 2] += 1e6
    assert np.array_equal(fitted(x).ratio, fitted(y).ratio)
