"""Linear Granger causality by one ridge regression over all screened series.

The stand-in for the neural model, and the baseline that it must beat.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from rca.state import FloatArray

SCORE_MIN = 1.0  # change score below which a series is not worth a place


@dataclass(frozen=True, slots=True, kw_only=True)
class GrangerConfig:
    """Sizes of the regression."""

    lags: int = 3
    penalty: float = 30.0
    clip_z: float = 5.0
    num_series_max: int = 64
    rows_min: int = 150
    num_shifts: int = 8  # time-shifted copies that make the null
    step_s_max: float = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GrangerResult:
    """What the regression says.

    Attributes:
        granger: strength above the null, granger[i, j] = effect of column j on row i, 0 where
            not beyond chance, shape [K, K].
        innovation: mean standardised residual of the fault rows, two-sided, shape [K].
        skipped: why nothing was fitted; empty when it was.
    """

    granger: FloatArray
    innovation: FloatArray
    skipped: str = ""


def skip(num_series: int, reason: str) -> GrangerResult:
    """A result without arcs."""
    return GrangerResult(
        granger=np.zeros((num_series, num_series)),
        innovation=np.zeros(num_series),
        skipped=reason,
    )


def screen(
    scores: FloatArray, columns: Sequence[int], *, name: Callable[[int], str], num_max: int
) -> list[int]:
    """Columns to fit: strongest change first, ties by name, at most `num_max`."""
    moved = [c for c in columns if abs(scores[c]) > SCORE_MIN]
    return sorted(moved, key=lambda c: (-abs(scores[c]), name(c)))[:num_max]


def fit(
    levels: FloatArray,
    *,
    normal_end: int,
    fault_start: int,
    step_s: float,
    rng: np.random.Generator,
    config: GrangerConfig | None = None,
) -> GrangerResult:
    """Fit on normal rows only, read innovations of the fault rows and arcs against a shift null.

    Own history is regressed out first, so that it never competes with causes. An arc i <- j
    counts when its coefficients are larger than those of the same design against targets that
    were shifted in time, over all sources and shifts.

    Args:
        levels: comparable series, shape [T, K]; gaps are filled with the last value.

    Source: ridge vector autoregression, lags 1-3, penalty 30, rows clipped to 5 sd.
    Differs: own history on a path of its own; null by time shift instead of an F test.
    """
    config = config or GrangerConfig()
    num_series = levels.shape[1]
    if num_series < 2:
        return skip(num_series, "fewer than two series changed")
    if normal_end < config.rows_min:
        return skip(num_series, f"{normal_end} normal rows, {config.rows_min} are needed")
    if step_s > config.step_s_max:
        return skip(num_series, f"one sample per {step_s:.0f} s, {config.step_s_max:.0f} s at most")
    x = _standardised(levels, normal_end, config.clip_z)
    design = np.hstack([np.roll(x, lag, axis=0) for lag in range(1, config.lags + 1)])
    train = slice(config.lags, normal_end)
    own = _own_history(x, design, train, config)
    gram = design[train].T @ design[train]
    solve = np.linalg.inv(gram + config.penalty * np.eye(len(gram)))
    projector = solve @ design[train].T  # [lags K, rows]
    rest = x[train] - own[train]
    weights = projector @ rest  # [lags K, K]
    strength = _strength(weights, num_series)
    rows = len(rest)
    shifts = rng.integers(rows // 4, rows - rows // 4, size=config.num_shifts)
    null = np.zeros(num_series)
    for shift in shifts:
        shifted = _strength(projector @ np.roll(rest, int(shift), axis=0), num_series)
        null = np.maximum(null, shifted.max(axis=1))
    beyond = np.clip(strength / np.maximum(null[:, None], 1e-9) - 1.0, 0.0, None)
    weights = weights * _strong(beyond, config.lags)
    residual = x - own - design @ weights
    law = residual[train]
    scale = np.maximum(law.std(axis=0), 0.05)
    innovation = (residual[fault_start:].mean(axis=0) - law.mean(axis=0)) / scale
    return GrangerResult(granger=beyond, innovation=innovation)


def _standardised(levels: FloatArray, normal_end: int, clip_z: float) -> FloatArray:
    filled = _forward_filled(levels)
    normal = filled[:normal_end]
    centre = np.median(normal, axis=0)
    spread = normal.std(axis=0)
    spread = np.where(spread > 1e-12, spread, np.maximum(np.abs(centre), 1.0))
    x: FloatArray = (filled - centre) / spread
    x[:normal_end] = np.clip(x[:normal_end], -clip_z, clip_z)
    return np.clip(x, -50.0, 50.0)


def _forward_filled(levels: FloatArray) -> FloatArray:
    rows = np.where(np.isfinite(levels), np.arange(len(levels))[:, None], 0)
    filled = np.take_along_axis(levels, np.maximum.accumulate(rows, axis=0), axis=0)
    first = np.nan_to_num(np.nanmedian(np.where(np.isfinite(levels), levels, 0.0), axis=0))
    return np.where(np.isfinite(filled), filled, first)


def _own_history(
    x: FloatArray, design: FloatArray, train: slice, config: GrangerConfig
) -> FloatArray:
    """Prediction of each series from its own lags, shape [T, K]."""
    num_rows, num_series = x.shape
    lagged = design.reshape(num_rows, config.lags, num_series).transpose(2, 0, 1)  # [K, T, lags]
    past = lagged[:, train]
    gram = np.matmul(past.transpose(0, 2, 1), past) + np.eye(config.lags)
    target = np.matmul(past.transpose(0, 2, 1), x[train].T[:, :, None])
    weights = np.linalg.solve(gram, target)  # [K, lags, 1]
    return np.asarray(np.matmul(lagged, weights)[:, :, 0].T)


def _strength(weights: FloatArray, num_series: int) -> FloatArray:
    """Size of the coefficients of j in the equation of i over all lags, diagonal 0, [K, K]."""
    lags = weights.reshape(-1, num_series, num_series)  # [lags, source j, target i]
    size = np.sqrt((lags**2).sum(axis=0)).T
    np.fill_diagonal(size, 0.0)
    return np.asarray(size)


def _strong(beyond: FloatArray, lags: int) -> FloatArray:
    """1 for coefficients of arcs beyond the null, shape [lags K, K]."""
    return np.tile((beyond > 0.0).T.astype(float), (lags, 1))
