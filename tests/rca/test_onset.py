"""Change points: steps and ramps, common loads, gaps, units, wide tables."""

from __future__ import annotations

import numpy as np
import pytest

import rca.onset
from rca.onset import find_change, onset_rows, ramp_rows

ROWS, FAULT, OWNERS = 400, 280, 6


def levels(*, window=1, seed=0, metrics=1, factor=3.0, owner=2, rows=ROWS):
    """Positive noise, each sample the mean of the last `window`; one owner's level changes."""
    rng = np.random.default_rng(seed)
    raw = np.exp(rng.normal(0.0, 0.3, (rows + window, OWNERS * metrics)))
    raw[FAULT + window :, owner::OWNERS] *= factor
    sums = np.cumsum(raw, axis=0)
    return (sums[window:] - sums[:-window]) / window


def change(values, *, metrics=1, **kwargs):
    num = values.shape[1]
    return find_change(
        np.arange(float(len(values))), values, owner=np.arange(num) % OWNERS,
        metric=[f"m{n // OWNERS}" for n in range(num)], weight=np.ones(num), bad=np.zeros(num),
        **kwargs,
    )  # fmt: skip


def test_the_length_of_a_ramp_is_that_of_the_mean_which_makes_it():
    assert ramp_rows(levels()) == 1
    for window in (5, 15, 30):
        assert ramp_rows(levels(window=window, rows=1200)) == pytest.approx(window, abs=1)


def test_what_wanders_without_smoothing_is_taken_as_a_step():
    rng = np.random.default_rng(1)
    assert ramp_rows(np.exp(0.02 * np.cumsum(rng.normal(0, 1, (600, 8)), axis=0))) == 1
    assert ramp_rows(np.full((50, 3), np.nan)) == ramp_rows(np.ones((50, 3))) == 1


def test_a_step_is_found_at_its_row():
    found = change(levels())
    assert found.ramp_rows == 1
    assert found.row == pytest.approx(FAULT, abs=1)
    assert found.at_s == found.row - 0.5


def test_a_ramp_is_dated_to_its_foot_and_not_to_its_middle(monkeypatch):
    """Means over 40 rows: who seeks a step finds the middle of the climb."""
    values = [levels(window=40, seed=seed, factor=2.0) for seed in range(8)]
    late = [change(v).row - FAULT for v in values]
    monkeypatch.setattr(rca.onset, "ramp_rows", lambda _: 1)
    naive = [change(v).row - FAULT for v in values]
    assert np.mean(naive) > np.mean(late) + 8.0
    assert abs(np.mean(late)) <= 8.0


def test_a_load_that_all_owners_share_is_not_the_change():
    values = levels(seed=3)
    values[100:] *= 6.0
    assert change(values).row == pytest.approx(FAULT, abs=2)


def test_units_missing_cells_and_dead_series_do_not_move_it():
    values = levels(seed=4, metrics=2)
    row = change(values).row
    assert change(values * np.logspace(-6, 6, values.shape[1])).row == row
    rng = np.random.default_rng(5)
    values[rng.random(values.shape) < 0.3] = np.nan
    values[:, 7] = np.nan
    values[:, 8] = 0.0
    assert change(values).row == pytest.approx(row, abs=5)


def test_a_table_taken_in_parts_gives_the_same_curve(monkeypatch):
    values = levels(seed=6, metrics=3)
    names = {"owner": np.arange(18) % OWNERS, "metric": [str(n) for n in range(18)],
             "weight": np.ones(18), "bad": np.zeros(18)}  # fmt: skip
    whole = find_change(np.arange(float(ROWS)), values, **names)
    monkeypatch.setattr(rca.onset, "CHUNK_COLUMNS", 4)
    np.testing.assert_array_equal(find_change(np.arange(float(ROWS)), values, **names).curve,
                                  whole.curve)  # fmt: skip


def test_the_change_is_sought_only_where_asked_and_never_in_too_few_rows():
    values = levels(seed=7)
    assert change(values, first=5, last=100).row <= 100
    assert change(values[:7]) is None


def test_each_series_has_its_own_onset():
    values = np.ones((40, 2))
    values[20:, 0], values[30:, 1] = 9.0, 9.0
    rows = onset_rows(values, centre=np.ones(2), scale=np.full(2, 0.5), z=np.array([9.0, 0.5]),
                      start=10)  # fmt: skip
    assert rows.tolist() == [20, -1]
