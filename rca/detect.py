"""Has something changed, and when: change points, burn rates, a test on shares of bad requests."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rca.state import FloatArray


def change_points(
    times_s: FloatArray, values: FloatArray, *, rows_min: int = 3
) -> tuple[FloatArray, FloatArray]:
    """Most likely moment of one lasting shift of the mean, for many series in one pass.

    Args:
        times_s: shape [T].
        values: shape [T, N], NaN missing.
        rows_min: finite rows wanted on each side.

    Returns:
        began_at_s [N] (NaN where a series has too few rows) and strength [N] >= 0: root of the
        likelihood ratio of a Gaussian with equal spread on both sides; about 3 by chance.

    Source: cumulative-sum scan for a single change in mean (Hawkins 1977).
    """
    num_rows, num_series = values.shape
    began = np.full(num_series, np.nan)
    strength = np.zeros(num_series)
    if num_rows < 2 * rows_min or num_series == 0:
        return began, strength
    finite = np.isfinite(values)
    count = np.cumsum(finite, axis=0, dtype=np.float64)
    total = count[-1]
    centre = np.where(finite, values, 0.0).sum(axis=0) / np.maximum(total, 1.0)
    centred = np.where(finite, values - centre, 0.0)
    left_sum = np.cumsum(centred, axis=0)[:-1]
    squares = np.square(centred).sum(axis=0)
    left = count[:-1]
    right = total - left
    valid = (left >= rows_min) & (right >= rows_min)
    with np.errstate(divide="ignore", invalid="ignore"):
        between = np.where(valid, left_sum**2 * total / (left * right), 0.0)
    place = np.argmax(between, axis=0)
    best = between[place, np.arange(num_series)]
    found = (best > 0.0) & (squares > 0.0)
    # A perfectly clean step has no rest; one per mille of the total keeps the ratio finite.
    rest = np.maximum(squares - best, 1e-3 * squares)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(found, total * np.log1p(best / np.where(rest > 0, rest, 1.0)), 0.0)
    strength = np.sqrt(ratio)
    began = np.where(found, times_s[place + 1], np.nan)
    return began, strength


def share_change_point(
    times_s: FloatArray, bad: FloatArray, total: FloatArray, *, rows_min: int = 1
) -> tuple[float, float]:
    """Most likely moment at which the share of bad requests rose.

    Args:
        times_s: shape [T].
        bad, total: requests per row, shape [T]; NaN rows are ignored.

    Returns:
        (began_at_s, strength): NaN and 0.0 when the share never rose. Strength is the root of
        the binomial likelihood ratio, about 3 by chance.
    """
    usable = np.isfinite(bad) & np.isfinite(total)
    bad_sum = np.cumsum(np.where(usable, bad, 0.0))
    all_sum = np.cumsum(np.where(usable, total, 0.0))
    if len(times_s) < 2 * rows_min or all_sum[-1] <= 0.0:
        return math.nan, 0.0
    left_bad, left_all = bad_sum[:-1], all_sum[:-1]
    right_bad, right_all = bad_sum[-1] - left_bad, all_sum[-1] - left_all
    gain = (
        _log_likelihood(left_bad, left_all)
        + _log_likelihood(right_bad, right_all)
        - _log_likelihood(bad_sum[-1:], all_sum[-1:])
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        rose = (left_all > 0) & (right_all > 0) & (right_bad / right_all > left_bad / left_all)
    gain = np.where(rose, gain, 0.0)
    gain[: rows_min - 1] = 0.0
    place = int(np.argmax(gain))
    if gain[place] <= 0.0:
        return math.nan, 0.0
    return float(times_s[place + 1]), math.sqrt(2.0 * float(gain[place]))


def _log_likelihood(bad: FloatArray, total: FloatArray) -> FloatArray:
    good = np.maximum(total - bad, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(total > 0, np.clip(bad / np.where(total > 0, total, 1.0), 0, 1), 0.0)
        out = np.where(bad > 0, bad * np.log(np.where(share > 0, share, 1.0)), 0.0)
        return np.asarray(
            out + np.where(good > 0, good * np.log(np.where(share < 1, 1 - share, 1.0)), 0.0)
        )


def bad_share_rose(
    *, bad_before: float, total_before: float, bad_after: float, total_after: float
) -> float:
    """z of "the share of bad requests is higher now", pooled and with half a request added.

    Returns:
        0.0 when either side has no request.

    Source: two-proportion z test with the correction of Agresti and Caffo (2000).
    """
    if total_before <= 0.0 or total_after <= 0.0:
        return 0.0
    p0 = (bad_before + 0.5) / (total_before + 1.0)
    p1 = (bad_after + 0.5) / (total_after + 1.0)
    pooled = (bad_before + bad_after + 1.0) / (total_before + total_after + 2.0)
    spread = math.sqrt(pooled * (1.0 - pooled) * (1.0 / total_before + 1.0 / total_after))
    return (p1 - p0) / spread if spread > 0.0 else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BurnWindow:
    """Long and short window of one burn-rate rule."""

    window_s_long: float
    window_s_short: float
    burn_rate_min: float


# Source: Google SRE Workbook, "Alerting on SLOs", table 5-8 (page on the first, then on the next).
PAGE_WINDOWS = (
    BurnWindow(window_s_long=3600.0, window_s_short=300.0, burn_rate_min=14.4),
    BurnWindow(window_s_long=21600.0, window_s_short=1800.0, burn_rate_min=6.0),
)


def burn_rate(
    bad: Sequence[float] | FloatArray, total: Sequence[float] | FloatArray, *, target_ratio: float
) -> float:
    """Speed at which the error budget is spent; 1.0 spends it exactly by the period's end.

    Raises:
        ValueError: the series differ in length or the target leaves no budget.

    Source: Google SRE Workbook, "Alerting on SLOs".
    Differs: an empty window counts as 0.0, not as unknown.
    """
    if len(bad) != len(total):
        raise ValueError(f"bad has {len(bad)} samples, total {len(total)}; pass equal lengths")
    if not 0.0 < target_ratio < 1.0:
        raise ValueError(f"target_ratio is {target_ratio}, expected a value in (0, 1)")
    all_requests = float(np.nansum(total))
    if all_requests <= 0.0:
        return 0.0
    return float(np.nansum(bad)) / all_requests / (1.0 - target_ratio)


def burns(
    times_s: FloatArray,
    bad: FloatArray,
    total: FloatArray,
    *,
    now_s: float,
    target_ratio: float,
    rules: Sequence[BurnWindow] = PAGE_WINDOWS,
) -> BurnWindow | None:
    """First rule whose long and short windows both burn too fast at `now_s`, if any."""
    for rule in rules:
        rates = []
        for window_s in (rule.window_s_long, rule.window_s_short):
            rows = (times_s > now_s - window_s) & (times_s <= now_s)
            rates.append(burn_rate(bad[rows], total[rows], target_ratio=target_ratio))
        if min(rates) >= rule.burn_rate_min:
            return rule
    return None
