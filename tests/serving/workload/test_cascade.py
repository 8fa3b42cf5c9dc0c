"""Splits recover how bursty counts are at each width and give it back."""

from __future__ import annotations

import numpy as np
import pytest

from serving.workload.cascade import BANDS, draw_splits, fit_splits
from serving.workload.measures import fano, ks

WINDOW_S = 1200.0


def bursty(seed: int, *, bursts: int = 600, each: int = 20, length_s: float = 3.0):
    """Bursts anywhere in ten windows, each spread over `length_s`."""
    rng = np.random.default_rng(seed)
    starts = rng.uniform(0, 10 * WINDOW_S - length_s, bursts)
    return np.sort((starts[:, None] + rng.uniform(0, length_s, (bursts, each))).ravel())


def drawn(splits, *, seed: int = 1, mean: float = 1200.0, windows: int = 10, ratio: float = 1.0):
    rng = np.random.default_rng(seed)
    counts = rng.poisson(mean * ratio, windows)
    starts_s = np.arange(windows) * WINDOW_S
    return draw_splits(rng, counts, starts_s, WINDOW_S, splits, rate_ratio=ratio)


def test_chance_has_no_unevenness() -> None:
    rng = np.random.default_rng(3)
    splits = np.array(fit_splits(np.sort(rng.uniform(0, 12_000, 30_000)), 12_000.0, WINDOW_S))
    assert splits.shape[1] == 2 * BANDS
    assert splits[:6].max() < 0.02


@pytest.mark.parametrize("width_s", [1.0, 10.0, 60.0])
def test_counts_vary_as_measured_at_every_width(width_s) -> None:
    source = bursty(1)
    again = drawn(fit_splits(source, 12_000.0, WINDOW_S))
    assert fano(again, width_s) == pytest.approx(fano(source, width_s), rel=0.3)
    assert fano(source, width_s) > 3.0  # far from chance


def test_gaps_follow() -> None:
    source = bursty(1)
    again = drawn(fit_splits(source, 12_000.0, WINDOW_S))
    assert ks(np.diff(source), np.diff(again)) < 0.1
    assert ks(np.diff(source), np.random.default_rng(1).exponential(1.0, 12_000)) > 0.3


def test_at_a_higher_rate_bursts_grow_in_height() -> None:
    splits = fit_splits(bursty(1), 12_000.0, WINDOW_S)
    once, twice = drawn(splits), drawn(splits, ratio=2.0)
    assert len(twice) == pytest.approx(2 * len(once), rel=0.05)
    # Counts twice as high with the same shape: the excess of the Fano factor doubles.
    assert fano(twice, 10.0) - 1 == pytest.approx(2 * (fano(once, 10.0) - 1), rel=0.3)


def test_every_request_stays_in_its_window() -> None:
    splits = ((0.9,) * 2 * BANDS, (0.0,) * 2 * BANDS)
    counts = np.array([0, 5, 1, 300])
    at = draw_splits(np.random.default_rng(1), counts, np.arange(4) * 7.0, 7.0, splits)
    assert np.array_equal(np.histogram(at, np.arange(5) * 7.0)[0], counts)
    assert (np.diff(at) >= 0).all()


def test_no_law_is_chance() -> None:
    at = drawn((), mean=3000.0)
    assert fano(at, 10.0) == pytest.approx(1.0, abs=0.15)


def test_silences_stay_silent() -> None:
    rng = np.random.default_rng(4)
    # Every window is idle in one half, dense in the other.
    starts = np.arange(60) * WINDOW_S + rng.integers(0, 2, 60) * WINDOW_S / 2
    source = np.sort((starts[:, None] + rng.uniform(0, WINDOW_S / 2, (60, 200))).ravel())
    splits = fit_splits(source, 60 * WINDOW_S, WINDOW_S)
    again = drawn(splits, mean=200.0, windows=60)
    halves = np.histogram(again, np.arange(121) * WINDOW_S / 2)[0].reshape(60, 2)
    assert (halves.min(axis=1) == 0).mean() > 0.9


def test_a_few_requests_make_no_law_of_bursts() -> None:
    found = [
        row[:BANDS]
        for seed in range(20)
        for row in fit_splits(
            np.sort(np.random.default_rng(seed).uniform(0, 12_000, 400)), 12_000.0, WINDOW_S
        )
    ]
    # Unevenness by chance alone; without the drawing towards none the largest band is at 0.03.
    assert np.mean([max(row) for row in found]) < 0.015
