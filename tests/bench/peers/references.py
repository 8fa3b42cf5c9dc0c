"""Reference rankings, a few lines each: what a causal method has to beat.

Plain numpy, so that they run beside the peers in the peers' own environment and in the tests.
Columns with no spread before the fault are left unranked by `absmeanz` and `maxrobust`, as the
published scores do; ties fall by name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from frame import Frame, Ranking

LEVEL_FLOOR = 0.01  # of svcmean's scale, share of the mean


def by_score(names: Sequence[str], scores: np.ndarray) -> list[str]:
    """Names by falling score, then by name; without a finite score none."""
    ranked = [(-s, n) for n, s in zip(names, scores.tolist(), strict=True) if np.isfinite(s)]
    return [name for _, name in sorted(ranked)]


def absmeanz(frame: Frame) -> Ranking:
    """|mean z| over the fault rows, with mean and standard deviation of the normal rows."""
    with np.errstate(divide="ignore", invalid="ignore"):
        z = (frame.fault.mean(axis=0) - frame.normal.mean(axis=0)) / _spread(frame.normal)
    return Ranking(by_score(frame.columns, np.abs(z)))


def maxrobust(frame: Frame) -> Ranking:
    """Largest (x - median) / IQR over the fault rows; one-sided, as in BARO."""
    low, median, high = np.quantile(frame.normal, (0.25, 0.5, 0.75), axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        z = (frame.fault.max(axis=0) - median) / np.where(high > low, high - low, np.nan)
    return Ranking(by_score(frame.columns, z))


def svcmean(frame: Frame) -> Ranking:
    """Service mean of log(1 + |mean z|), the scale at least 1 % of the mean."""
    mean = frame.normal.mean(axis=0)
    scale = np.fmax(_spread(frame.normal), LEVEL_FLOOR * np.abs(mean))
    with np.errstate(divide="ignore", invalid="ignore"):
        z = (frame.fault.mean(axis=0) - mean) / np.where(scale > 0.0, scale, np.nan)
    score = np.log1p(np.abs(z))
    names = sorted(set(frame.services))
    owner = np.array(frame.services)
    means = np.array([_mean(score[owner == name]) for name in names])
    return Ranking(by_score(frame.columns, score), by_score(names, means))


def column_order(frame: Frame) -> Ranking:
    """The order of the source: what a method that says nothing is worth."""
    return Ranking(list(frame.columns))


def shuffled(frame: Frame, *, seed: int = 0) -> Ranking:
    """Columns shuffled, services apart from them: a blind guess does not favour wide services."""
    rng = np.random.default_rng([seed, len(frame.columns), int(frame.fault_at_s)])
    names = sorted(set(frame.services))
    return Ranking(
        [frame.columns[n] for n in rng.permutation(len(frame.columns))],
        [names[n] for n in rng.permutation(len(names))],
    )


def _spread(values: np.ndarray) -> np.ndarray:
    """Standard deviation; NaN where a column does not move at all."""
    moves = (values != values[:1]).any(axis=0)  # a constant's computed sd may be rounding dust
    return np.where(moves, values.std(axis=0), np.nan)


def _mean(values: np.ndarray) -> float:
    seen = values[np.isfinite(values)]
    return float(seen.mean()) if len(seen) else float("nan")


REFERENCES: dict[str, Callable[[Frame], Ranking]] = {
    "absmeanz": absmeanz,
    "maxrobust": maxrobust,
    "svcmean": svcmean,
    "random": shuffled,
    "column order": column_order,
}
