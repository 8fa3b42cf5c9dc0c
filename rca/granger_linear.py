"""Linear Granger causality by one ridge regression over all screened series.

What a diagnosis uses unless it is handed another forecaster, and the baseline that
`rca.granger` must beat.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from rca.forecasters import (
    ROWS_MIN,
    STEP_S_MAX,
    STILL,
    GrangerResult,
    against_law,
    among_still,
    moving,
    skip,
    standardised,
    unfit,
)
from rca.state import FloatArray

SCORE_MIN = 1.0  # change score below which a series is not worth a place


@dataclass(frozen=True, slots=True, kw_only=True)
class GrangerConfig:
    """Sizes of the regression."""

    lags: int = 3
    penalty: float = 30.0
    clip_z: float = 5.0
    num_series_max: int = 64
    rows_min: int = ROWS_MIN
    num_shifts: int = 8  # time-shifted copies that make the null
    step_s_max: float = STEP_S_MAX


def screen(
    scores: FloatArray, columns: Sequence[int], *, name: Callable[[int], str], num_max: int
) -> list[int]:
    """Columns to fit: strongest change first, ties by name, at most `num_max`."""
    moved = [c for c in columns if abs(scores[c]) > SCORE_MIN]
    return sorted(moved, key=lambda c: (-abs(scores[c]), name(c)))[:num_max]


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearForecaster:
    """The regression as a `Forecaster`."""

    config: GrangerConfig = field(default_factory=GrangerConfig)

    @property
    def num_series_max(self) -> int:
        """Most series that one fit may take; the caller screens."""
        return self.config.num_series_max

    def fit(
        self,
        levels: FloatArray,
        *,
        normal_end: int,
        fault_start: int,
        step_s: float,
        rng: np.random.Generator,
    ) -> GrangerResult:
        """See `rca.forecasters.Forecaster`.

        Own history is regressed out first, so that it never competes with causes. An arc i <- j
        counts when its coefficients are larger than those of the same design against targets
        that were shifted in time, over all sources and shifts.

        Source: ridge vector autoregression, lags 1-3, penalty 30, rows clipped to 5 sd.
        Differs: own history on a path of its own; null by time shift instead of an F test.
        """
        config, num_series = self.config, levels.shape[1]
        reason = unfit(
            num_series,
            normal_end=normal_end,
            step_s=step_s,
            rows_min=config.rows_min,
            step_s_max=config.step_s_max,
        )
        if reason:
            return skip(num_series, reason)
        x = standardised(levels, normal_end=normal_end, clip_z=config.clip_z)
        moved = moving(x, normal_end=normal_end)
        if moved.sum() < 2:
            return skip(num_series, STILL)
        result = _fit(x[:, moved], normal_end, fault_start, config, rng)
        return among_still(result, x, moved, normal_end=normal_end, fault_start=fault_start)


def _fit(
    x: FloatArray,
    normal_end: int,
    fault_start: int,
    config: GrangerConfig,
    rng: np.random.Generator,
) -> GrangerResult:
    num_series = x.shape[1]
    design = np.hstack([np.roll(x, lag, axis=0) for lag in range(1, config.lags + 1)])
    train = slice(config.lags, normal_end)
    own = _own_history(x, design, train, config)
    gram = design[train].T @ design[train]
    solve = np.linalg.inv(gram + config.penalty * np.eye(len(gram)))
    projector = solve @ design[train].T  # [lags K, rows]
    rest = x[train] - own[train]
    weights = projector @ rest  # [lags K, K]
    null = np.maximum(_null(projector, rest, config, rng), 1e-9)
    ratio = _strength(weights, num_series) / null[:, None]
    beyond = np.clip(ratio - 1.0, 0.0, None)
    caused = design @ (weights * _strong(beyond, config.lags))
    return GrangerResult(
        granger=beyond,
        ratio=ratio,
        innovation=against_law(x - own, normal=train, fault_start=fault_start),
        exogenous=against_law(x - own - caused, normal=train, fault_start=fault_start),
        model="linear",
    )


def _null(
    projector: FloatArray, rest: FloatArray, config: GrangerConfig, rng: np.random.Generator
) -> FloatArray:
    """Largest strength of any source over time-shifted copies of each target, shape [K]."""
    rows, num_series = rest.shape
    null = np.zeros(num_series)
    for shift in rng.integers(rows // 4, rows - rows // 4, size=config.num_shifts):
        shifted = _strength(projector @ np.roll(rest, int(shift), axis=0), num_series)
        null = np.maximum(null, shifted.max(axis=1))
    return null


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
