"""Does a stated confidence come true: calibration error, Brier score, risk against coverage, fit.

An answer is a hit where its first service is a cause; in fault-free time no answer is one. Answers
of one case, its disturbed copies included, are no independent trials: intervals resample cases.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rca.incident import IntArray
from rca.state import FloatArray

CALIBRATION_BINS = 5
RESAMPLES = 1000
RIDGE = 1.0
NEWTON_STEPS = 30
CURVE_POINTS = 20


def chance_of(features: FloatArray, weights: Sequence[float]) -> FloatArray:
    """Logistic of the weighted features, shape [n].

    Args:
        features: shape [n, k].
        weights: length k.
    """
    x = np.clip(features @ np.asarray(weights, dtype=float), -30.0, 30.0)
    return np.asarray(1.0 / (1.0 + np.exp(-x)))


def fit_chance(features: FloatArray, hit: FloatArray, weight: FloatArray) -> tuple[float, ...]:
    """Weights of a logistic regression, by Newton's method; the first feature is the constant 1.

    Args:
        features: shape [n, k].
        hit: 0 or 1, shape [n].
        weight: how much each answer counts, shape [n].

    Source: logistic regression with a ridge penalty (le Cessie and van Houwelingen 1992); the
    constant is not penalised.
    """
    num = features.shape[1]
    ridge = np.diag([0.0, *[RIDGE] * (num - 1)])
    weights = np.zeros(num)
    for _ in range(NEWTON_STEPS):
        chance = chance_of(features, weights.tolist())
        slope = features.T @ (weight * (hit - chance)) - ridge @ weights
        curve = (features * (weight * chance * (1.0 - chance))[:, None]).T @ features + ridge
        step = np.linalg.solve(curve + 1e-9 * np.eye(num), slope)
        weights += step
        if float(np.abs(step).max()) < 1e-8:
            break
    return tuple(float(w) for w in weights)


def calibration_error(confidence: Sequence[float], hit: Sequence[bool]) -> tuple[float, float]:
    """Expected calibration error over five bins of equal mass, and the Brier score.

    Source: Naeini et al. 2015 with equal-mass bins; the error of a perfect forecast shrinks with
    the number of cases and is about .03 at 600.
    """
    if not len(confidence):
        return 0.0, 0.0
    said: FloatArray = np.asarray(confidence, dtype=float)
    was: FloatArray = np.asarray(hit, dtype=float)
    return _error(said, was), float(np.mean((said - was) ** 2))


def _error(said: FloatArray, was: FloatArray) -> float:
    order = np.argsort(said, kind="stable")
    off = (said - was)[order]
    parts = np.array_split(off, min(CALIBRATION_BINS, len(off)))
    return float(sum(abs(part.sum()) for part in parts) / len(off))


def error_interval(
    confidence: Sequence[float], hit: Sequence[bool], case: Sequence[int], *, seed: int = 0
) -> tuple[float, float]:
    """95 % interval of the calibration error over resampled cases, all answers of one together.

    Args:
        case: number of the case that each answer belongs to.

    An error cannot fall below zero, so a resampled one tends to be larger than the measured.
    """
    if not len(confidence):
        return 0.0, 0.0
    said: FloatArray = np.asarray(confidence, dtype=float)
    was: FloatArray = np.asarray(hit, dtype=float)
    order = np.argsort(np.asarray(case), kind="stable")
    cuts = np.flatnonzero(np.diff(np.asarray(case)[order])) + 1
    members: list[IntArray] = np.split(order, cuts)
    rng = np.random.default_rng([seed, 8])
    found = []
    for _ in range(RESAMPLES):
        drawn = np.concatenate([members[n] for n in rng.integers(0, len(members), len(members))])
        found.append(_error(said[drawn], was[drawn]))
    low, high = np.quantile(found, (0.025, 0.975))
    return float(low), float(high)


def risk_coverage(confidence: Sequence[float], hit: Sequence[bool]) -> list[dict[str, float]]:
    """Share of wrong answers among the most confident ones, by how many are answered.

    Returns:
        At most `CURVE_POINTS` points of coverage (rising), risk and the confidence that the last
        of these answers has. Answers of equal confidence stand or fall together.

    Source: El-Yaniv and Wiener 2010.
    """
    said: FloatArray = np.asarray(confidence, dtype=float)
    order = np.argsort(-said, kind="stable")
    said, wrong = said[order], 1.0 - np.asarray(hit, dtype=float)[order]
    ends = np.flatnonzero(np.append(np.diff(said) < 0.0, True)) if len(said) else np.empty(0, int)
    wanted = np.ceil(np.linspace(0.0, 1.0, CURVE_POINTS + 1)[1:] * len(said)).astype(int) - 1
    kept = np.unique(ends[np.searchsorted(ends, wanted)]) if len(ends) else ends
    risk = np.cumsum(wrong)
    return [
        {"coverage": round(float(n + 1) / len(said), 4), "risk": round(float(risk[n] / (n + 1)), 4),
         "confidence": round(float(said[n]), 4)}
        for n in kept.tolist()
    ]  # fmt: skip
