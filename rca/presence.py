"""Did anything happen at all, and how far to trust the first service.

The ranking is always produced; these two say whether to believe it. The numbers below were fitted
on recorded incidents and on quiet moments inside their normal rows (`midwatch rca evaluate` prints
how they fare, also for sets that they have not seen).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from rca.channels.surprise import Surprise

PRESENCE_MIN = 1.72  # 5 % of quiet moments reach it
RIVAL_SHARE = 0.8  # of the first score: a service that reaches it is named as well
ACCUSED_MAX = 3
# Chance that the first service is a cause = logistic of these times (1, log presence, margin,
# log10 of the number of candidates). Source: logistic regression (ridge 1, every set and mode
# weighs the same) over the cases and four disturbed copies of each.
_CONFIDENCE = (0.2, 2.6, 4.5, -1.7)
CONFIDENCE_RANGE = (0.02, 0.98)


def presence_of(surprises: Sequence[Surprise], metrics: float) -> float:
    """Largest score of any channel, in units of the most that quiet time shows.

    Args:
        metrics: presence by the metrics, which compare with the largest of their normal blocks;
            the null of the other channels is a median of maxima already. An announced change is
            no trouble by itself.
    """
    found = metrics
    for surprise in surprises:
        if surprise.name not in ("metric", "change") and not surprise.skipped and surprise.score:
            found = max(found, max(surprise.score.values()) / surprise.null)
    return round(found, 6)


def confidence_of(presence: float, scores: Mapping[str, float]) -> float:
    """Calibrated chance, 0..1, that the first of `scores` is a cause."""
    ranked = sorted(scores.values(), reverse=True)
    first = ranked[0] if ranked else 0.0
    second = ranked[1] if len(ranked) > 1 else 0.0
    margin = (first - second) / first if first > 0.0 else 0.0
    features = (
        1.0,
        math.log(max(presence, 0.1)),
        margin,
        math.log10(max(len(ranked), 1)),
    )
    x = sum(weight * value for weight, value in zip(_CONFIDENCE, features, strict=True))
    chance = 1.0 / (1.0 + math.exp(-max(min(x, 30.0), -30.0)))
    low, high = CONFIDENCE_RANGE
    return round(min(max(chance, low), high), 6)


def accused(ranked: Sequence[tuple[str, float]], presence: float) -> tuple[str, ...]:
    """Causes to name: none below the presence threshold, rivals of the first beside it."""
    if presence < PRESENCE_MIN or not ranked or ranked[0][1] <= 0.0:
        return ()
    least = RIVAL_SHARE * ranked[0][1]
    return tuple(name for name, score in ranked[:ACCUSED_MAX] if score >= least)
