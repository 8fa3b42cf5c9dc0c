"""How a rate goes with the hour of day and the day of week, and the level around the two.

A level says how busy an hour is beyond what its hour and day tell. Levels hang together: one part
is the whole day's, the other fades from hour to hour.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import fdtrc, ndtr, ndtri
from scipy.stats import rankdata

from serving.workload.laws import DAYS, HOURS, SHARES, LevelLaw

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LEVEL_HOURS_MIN = 48  # hours that a law of levels needs
LEVEL_COUNT_MIN = 5.0  # expected requests of an hour that tells its level
FLAT_P = 0.05  # days of the week that differ less than chance would are equal
ACTIVE_MIN = 0.9  # share of days with any request, above which an hour is busy as a rule
FAR_HOURS = 12  # apart within a day: what still hangs together is the day's
FLOOR_RATIO = 0.02  # of the mean rate: an hour of the curve that was seen empty


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves:
    """What `curves` finds."""

    hours: tuple[float | None, ...]  # rate by hour of day over the mean; None = not seen
    days: tuple[float | None, ...]  # by day of week; None = not seen, or all alike
    level: LevelLaw | None


def curves(counts: Floats, first_hour: int) -> Curves:
    """The curves of hourly counts.

    Args:
        counts: requests of consecutive whole hours, [hours].
        first_hour: hours from midnight of the first day to the first count.
    """
    if len(counts) < 2 or not counts.any():
        return Curves(hours=(None,) * HOURS, days=(None,) * DAYS, level=None)
    index = first_hour + np.arange(len(counts))
    by_hour = _by_hour(counts, index)
    by_day = _by_day(counts, index)
    expected = filled(by_hour)[index % HOURS] * filled(by_day)[index // HOURS % DAYS]
    expected *= counts.mean() / expected.mean()
    return Curves(hours=by_hour, days=by_day, level=_level(counts, expected, index))


def filled(curve: tuple[float | None, ...]) -> Floats:
    """The curve as a factor; 1 where nothing was seen."""
    return np.array([1.0 if value is None else max(value, FLOOR_RATIO) for value in curve])


def draw_levels(law: LevelLaw | None, index: Ints, rng: np.random.Generator) -> Floats:
    """Level of each hour, [n]; `index` counts consecutive hours from a midnight."""
    if law is None or not len(index):
        return np.ones(len(index))
    day = index // HOURS - index[0] // HOURS
    whole_day = rng.standard_normal(int(day[-1]) + 1)[day]
    shocks = rng.standard_normal(len(index))
    fading, held = np.empty(len(index)), float(shocks[0])
    for k, shock in enumerate(shocks.tolist()):
        held = law.hold * held + (1.0 - law.hold**2) ** 0.5 * shock if k else held
        fading[k] = held
    normal = law.day_share**0.5 * whole_day + (1.0 - law.day_share) ** 0.5 * fading
    active = np.asarray(law.active)[index % HOURS]
    share = (ndtr(normal) - (1.0 - active)) / active
    levels: Floats = np.interp(share, SHARES, law.quantiles) / active
    levels[share < 0.0] = 0.0
    return levels


def _by_hour(counts: Floats, index: Ints) -> tuple[float | None, ...]:
    """Mean share of the day by hour, no whole day weighing more than the median one, so that no
    single burst draws the curve; plain means where there is no whole day."""
    day = index // HOURS
    whole = [d for d in np.unique(day) if (day == d).sum() == HOURS and counts[day == d].any()]
    if not whole:
        means = _means(counts, index % HOURS, HOURS) / (counts.mean() or 1.0)
        return tuple(None if np.isnan(m) else round(float(m), 4) for m in means)
    table = np.array([counts[day == d] for d in whole])  # [days, HOURS]
    totals = table.sum(axis=1)
    shares = np.average(
        table / totals[:, None], axis=0, weights=np.minimum(totals, np.median(totals))
    )
    return tuple(np.round(shares * HOURS, 4).tolist())


def _by_day(counts: Floats, index: Ints) -> tuple[float | None, ...]:
    """Mean of each day of week over the mean of all; none where they differ no more than days
    of one kind do (analysis of variance of the log counts), or without a whole week."""
    day = index // HOURS
    days = np.array([d for d in np.unique(day) if (day == d).sum() == HOURS], dtype=np.int64)
    totals = np.array([counts[day == d].sum() for d in days])
    week = days % DAYS
    if len(np.unique(week)) < DAYS:
        return (None,) * DAYS
    if len(days) >= 2 * DAYS:
        logs = np.log1p(totals)
        means = _means(logs, week, DAYS)
        between = float(((means[week] - logs.mean()) ** 2).sum()) / (DAYS - 1)
        within = float(((logs - means[week]) ** 2).sum()) / (len(days) - DAYS)
        if within > 0.0 and fdtrc(DAYS - 1, len(days) - DAYS, between / within) > FLAT_P:
            return (None,) * DAYS
    by_day = _means(totals, week, DAYS)
    return tuple(np.round(by_day / by_day.mean(), 4).tolist())


def _level(counts: Floats, expected: Floats, index: Ints) -> LevelLaw | None:
    hour = index % HOURS
    telling = expected >= LEVEL_COUNT_MIN
    if telling.sum() < LEVEL_HOURS_MIN:
        return None
    # An hour of day that is quiet in the mean is idle on most days, not slow on all of them.
    # Where few requests are expected, chance alone leaves hours empty.
    seen = np.bincount(hour[telling], counts[telling] > 0, minlength=HOURS)
    among = np.bincount(hour[telling], minlength=HOURS)
    active = np.where(among > 0, (seen + 0.5) / (among + 0.5), 1.0)
    expected_active = expected / active[hour]
    known = telling & (counts > 0)
    level = counts[known] / expected_active[known]
    level /= level.mean()
    # What counting alone spreads will be drawn again with the counts: take it out.
    variance, noise = float(level.var()), float(np.mean(1.0 / expected_active[known]))
    if variance <= noise and (active > ACTIVE_MIN).all():
        return None
    level = np.maximum(1.0 + (level - 1.0) * max(1.0 - noise / variance, 0.0) ** 0.5, 0.0)
    normal = np.full(len(counts), np.nan)
    normal[telling] = ndtri(rankdata(counts[telling] / expected[telling]) / (telling.sum() + 1.0))
    day = index // HOURS
    far = day[FAR_HOURS:] == day[:-FAR_HOURS]
    day_share = min(_correlation(normal[:-FAR_HOURS][far], normal[FAR_HOURS:][far]), 0.99)
    near = _correlation(normal[:-1], normal[1:])
    return LevelLaw(
        active=tuple(np.round(active, 4).tolist()),
        quantiles=tuple(np.round(np.quantile(level, SHARES), 4).tolist()),
        day_share=round(day_share, 4),
        hold=round(min(max((near - day_share) / (1.0 - day_share), 0.0), 0.99), 4),
    )


def _correlation(a: Floats, b: Floats) -> float:
    """Of normal scores; 0 where it is negative or cannot be told."""
    known = ~np.isnan(a + b)
    if known.sum() < LEVEL_HOURS_MIN // 2:
        return 0.0
    spread = float(a[known].std() * b[known].std())
    covariance = float(np.mean((a[known] - a[known].mean()) * (b[known] - b[known].mean())))
    return max(0.0, covariance / spread) if spread > 0.0 else 0.0


def _means(values: Floats, index: Ints, size: int) -> Floats:
    """Mean of the values of each index, NaN where there is none, [size]."""
    counts = np.bincount(index, minlength=size).astype(np.float64)
    totals = np.bincount(index, values, minlength=size)
    means: Floats = np.where(counts > 0, totals / np.maximum(counts, 1), np.nan)
    return means
