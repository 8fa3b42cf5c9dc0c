"""Did anything happen at all, and how far to trust the first service.

The ranking is always produced; these two say whether to believe it. The numbers below were fitted
on recorded incidents and on fault-free windows of theirs (`midwatch rca evaluate` prints how they
fare, also on sets that they have not seen).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from rca.channels.metric_table import MetricTable, owner_scores
from rca.channels.surprise import Split, Surprise
from rca.incident import IntArray
from rca.knobs import LocaliseConfig
from rca.onset import alike
from rca.state import FloatArray

# 5 % of fault-free windows reach 1.0; a little above, as a system not seen before may be noisier.
PRESENCE_MIN = 1.05
RIVAL_SHARE = 0.8  # of the first score: a service that reaches it is named as well
ACCUSED_MAX = 3
BLOCKS_MAX = 32
CHUNK_COLUMNS = 256  # keeps the memory of a wide table bounded
USUAL = math.log(2.0)  # the score of a series that is off by its own spread
# A channel of spans or logs divides by a median of maxima; quiet time often reaches twice that.
TRACE_SHARE = 1.0 / 3.0
# Chance that the first service is a cause = logistic of these times `confidence_features`.
CONFIDENCE = (0.2, 2.6, 4.5, -1.7)
CONFIDENCE_RANGE = (0.02, 0.98)


def metric_presence(
    table: MetricTable,
    times_s: FloatArray,
    levels: FloatArray,
    split: Split,
    config: LocaliseConfig,
) -> float:
    """How far the fault rows exceed what the incident's own normal rows show.

    Each row of a series counts by the logarithm of its distance from normal, so that a short spike
    moves the mean of a window little. Windows as long as the fault (at most a third of the normal
    rows) slide over the normal rows by half their length. What most owners of one metric share is
    taken off: a load that rises everywhere is nobody's fault. The strongest owner, or the
    strongest single column, since the fault is compared with the strongest in any normal window.

    Args:
        levels: of the candidate columns, shape [T, N], NaN missing.

    Returns:
        0 or more; 0 where there are too few normal rows to compare with.
    """
    normal_end = int(np.searchsorted(times_s, split.normal_end_s))
    start = int(np.searchsorted(times_s, split.fault_start_s))
    end = int(np.searchsorted(times_s, split.fault_end_s))
    rows = min(end - start, normal_end // 3)
    if rows < 1 or not len(table.score):
        return 0.0
    step = max(rows // 2, -(-(normal_end - rows) // BLOCKS_MAX), 1)
    begins = np.arange(normal_end - rows, -1, -step)
    off = _window_means(
        table, levels, np.append(begins, start), np.append(begins + rows, end)
    )  # [windows + 1, N]
    columns = table.columns
    for members in alike([name.metric for name in columns.names]):
        off[:, members] -= np.median(off[:, members], axis=1)[:, None]
    off[:, ~table.known] = 0.0
    against = off * columns.bad < 0.0
    score = np.abs(off) * np.where(against, config.wrong_way, 1.0)
    score *= columns.weight**config.kind_contrast
    owners = np.array([owner_scores(one, columns, table.known).max() for one in score])
    return max(
        float(strongest[-1] / (USUAL + strongest[:-1].max()))
        for strongest in (owners, score.max(axis=1))
    )


def _window_means(
    table: MetricTable, levels: FloatArray, begins: IntArray, ends: IntArray
) -> FloatArray:
    """Mean signed log distance of each window and column, 0 without data, shape [windows, N]."""
    out = np.zeros((len(begins), levels.shape[1]))
    for first in range(0, levels.shape[1], CHUNK_COLUMNS):
        part = slice(first, first + CHUNK_COLUMNS)
        scale = table.shift.scale[part]
        with np.errstate(invalid="ignore"):
            z = (levels[:, part] - table.law.centre[part]) / np.where(scale > 0.0, scale, np.inf)
        seen = np.isfinite(z)
        z = np.where(seen, np.sign(z) * np.log1p(np.abs(z)), 0.0)
        total = np.vstack([np.zeros((1, z.shape[1])), np.cumsum(z, axis=0)])
        count = np.vstack([np.zeros((1, z.shape[1])), np.cumsum(seen, axis=0)])
        number = count[ends] - count[begins]
        out[:, part] = (total[ends] - total[begins]) / np.maximum(number, 1.0)
    return out


def presence_of(surprises: Sequence[Surprise], metrics: float) -> float:
    """Largest sign of any channel that something happened; `PRESENCE_MIN` accuses.

    Args:
        metrics: of `metric_presence`. An announced change is no trouble by itself.
    """
    found = metrics
    for surprise in surprises:
        found = max(found, channel_presence(surprise))
    return round(found, 6)


def channel_presence(surprise: Surprise) -> float:
    """The same of one channel of spans or logs; 0 for the others."""
    if surprise.name in ("metric", "change") or surprise.skipped or not surprise.score:
        return 0.0
    return TRACE_SHARE * max(surprise.score.values()) / surprise.null


def confidence_features(presence: float, scores: Sequence[float]) -> tuple[float, ...]:
    """What a confidence is a function of: 1, log presence, margin, log10 of the candidates."""
    ranked = sorted(scores, reverse=True)
    first = ranked[0] if ranked else 0.0
    second = ranked[1] if len(ranked) > 1 else 0.0
    margin = (first - second) / first if first > 0.0 else 0.0
    return (1.0, math.log(max(presence, 0.1)), margin, math.log10(max(len(ranked), 1)))


def confidence_of(presence: float, scores: Mapping[str, float]) -> float:
    """Calibrated chance, 0..1, that the first of `scores` is a cause."""
    features = confidence_features(presence, list(scores.values()))
    x = sum(weight * value for weight, value in zip(CONFIDENCE, features, strict=True))
    return clipped(1.0 / (1.0 + math.exp(-max(min(x, 30.0), -30.0))))


def clipped(chance: float) -> float:
    """No answer is surer than the number of incidents behind the fit allows."""
    low, high = CONFIDENCE_RANGE
    return round(min(max(chance, low), high), 6)


def accused(ranked: Sequence[tuple[str, float]], presence: float) -> tuple[str, ...]:
    """Causes to name: none below the presence threshold, rivals of the first beside it."""
    if presence < PRESENCE_MIN or not ranked or ranked[0][1] <= 0.0:
        return ()
    least = RIVAL_SHARE * ranked[0][1]
    return tuple(name for name, score in ranked[:ACCUSED_MAX] if score >= least)
