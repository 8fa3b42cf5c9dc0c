"""When it began: one moment for all series of a recorded incident, and one for each series.

Each series is put on a logarithmic axis in units of its own median (so that units and size do not
matter), and half of what all services share is taken off (a slow host, a load step). Two views of
"before against after" are joined per row: windows of two lengths, each against what the same
window shows elsewhere in the record, which finds short faults beside older disturbances, and the
likelihood ratio of one lasting shift, which finds long faints ones. The row at which one service
shows most is the change point.

Source: cumulative-sum scan for a change in mean (Hawkins 1977); the windows are its local form.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rca.incident import IntArray
from rca.state import FloatArray

WINDOWS = ((0.1, 0.2), (0.2, 0.4))  # rows after and before the candidate, shares of the record
ROWS_MIN = 3
LASTING_WEIGHT = 3.0
COMMON_SHARE = 0.5
OWNERS_MIN = 5  # fewer owners of one metric have no common mode worth the name
LOG_UNIT = 0.05  # of the median: below it a series counts as nothing
CLIP = 6.0
SATURATION = 4.0
WRONG_WAY = 0.5  # weight of a change against the bad direction
MAD_TO_SD = 1.4826


@dataclass(slots=True, kw_only=True)
class ChangePoint:
    """Moment at which one service changes most.

    Attributes:
        row: first row after the change; the change lies between it and the row before.
        at_s: the middle of the two rows' stamps.
        strength: of the change there, in the scan's unit; by chance about 4.
        curve: strength per row, 0 where no split is possible, shape [T].
    """

    row: int
    at_s: float
    strength: float
    curve: FloatArray


def find_change(
    times_s: FloatArray,
    levels: FloatArray,
    *,
    owner: IntArray,
    metric: Sequence[str],
    weight: FloatArray,
    bad: FloatArray,
    num_metrics: int = 3,
    first: int = 0,
    last: int | None = None,
) -> ChangePoint | None:
    """Scan all series in one pass.

    Args:
        levels: shape [T, N], NaN missing.
        owner: 0..K-1 per column; each owner is heard by its `num_metrics` strongest columns.
        metric: name per column; columns of one name form a common mode.
        weight, bad: per column, as `metric_kinds` gives them.
        first, last: the change is sought among rows first..last.

    Returns:
        None where fewer than eight rows or no column exist.
    """
    num_rows = len(times_s)
    if num_rows < 8 or not len(owner):
        return None
    scaled = _scaled(levels, metric)
    finite = np.isfinite(scaled)
    sums = _running(np.where(finite, scaled, 0.0))
    counts = _running(finite.astype(np.float64))
    score = sum(_local(sums, counts, bad, *w) for w in WINDOWS) / len(WINDOWS)
    score = (score + LASTING_WEIGHT * _lasting(scaled, sums, counts, bad)) * weight
    curve = np.zeros(num_rows)
    curve[1:] = _strongest_owner(score, owner, num_metrics)
    sought = curve.copy()
    sought[: max(first, 1)] = -1.0
    if last is not None:
        sought[last + 1 :] = -1.0
    row = int(np.argmax(sought))
    at_s = 0.5 * (float(times_s[row - 1]) + float(times_s[row]))
    return ChangePoint(row=row, at_s=at_s, strength=float(curve[row]), curve=curve)


def _scaled(levels: FloatArray, metric: Sequence[str]) -> FloatArray:
    """Logarithmic levels in units of their own median and spread, clipped, common mode damped."""
    size = _median(np.abs(levels))
    size = np.where(size > 0.0, size, np.nanmax(np.abs(levels), axis=0, initial=0.0))
    size = np.where(size > 0.0, size, 1.0)
    scaled = np.sign(levels) * np.log1p(np.abs(levels) / (LOG_UNIT * size))
    scaled -= _median(scaled)
    for columns in alike(metric):
        scaled[:, columns] -= COMMON_SHARE * _median(scaled[:, columns].T)[:, None]
    scaled -= _median(scaled)
    spread = np.maximum(_median(np.abs(scaled), 0.75), LOG_UNIT)
    return np.asarray(np.clip(scaled / spread, -CLIP, CLIP))


def alike(metric: Sequence[str]) -> list[list[int]]:
    """Columns of one metric, where enough owners have it for a common mode."""
    groups: dict[str, list[int]] = {}
    for column, name in enumerate(metric):
        groups.setdefault(name, []).append(column)
    return [columns for columns in groups.values() if len(columns) >= OWNERS_MIN]


def _median(values: FloatArray, share: float = 0.5) -> FloatArray:
    """Quantile of the finite values of each column; 0 for a column that has none."""
    rows = np.sort(values, axis=0)  # NaN goes last
    count = np.isfinite(values).sum(axis=0)
    columns = np.arange(values.shape[1])
    place = share * np.maximum(count - 1, 0)
    low = np.floor(place).astype(np.intp)
    high = np.minimum(low + 1, np.maximum(count - 1, 0))
    below, above = rows[low, columns], rows[high, columns]
    return np.where(count > 0, np.nan_to_num(below + (above - below) * (place - low)), 0.0)


def _running(values: FloatArray) -> FloatArray:
    """Sums of the first 0..T rows, shape [T + 1, N]."""
    return np.vstack([np.zeros((1, values.shape[1])), np.cumsum(values, axis=0)])


def _local(
    sums: FloatArray, counts: FloatArray, bad: FloatArray, after: float, before: float
) -> FloatArray:
    """log(1 + |z|) of the mean after less the mean before each row 1..T-1, shape [T - 1, N]."""
    total = len(sums) - 1
    rows = np.arange(1, total)
    ahead, behind = max(3, round(after * total)), max(4, round(before * total))
    high, low = np.minimum(rows + ahead, total), np.maximum(rows - behind, 0)
    right, left = counts[high] - counts[rows], counts[rows] - counts[low]
    step = (sums[high] - sums[rows]) / np.maximum(right, 1.0)
    step -= (sums[rows] - sums[low]) / np.maximum(left, 1.0)
    whole = (high - rows >= max(2, ahead / 3)) & (rows - low >= max(3, behind / 3))
    step = np.where(whole[:, None] & (right >= 1) & (left >= 1), step, np.nan)
    # What the same window shows elsewhere is the noise: most of the record holds no change.
    usual = np.maximum(MAD_TO_SD * _median(np.abs(step)), 0.1)
    z = np.nan_to_num(step / usual)
    against = (bad != 0.0) & (np.sign(z) * bad < 0.0)
    return np.asarray(
        np.minimum(np.log1p(np.abs(z) * np.where(against, WRONG_WAY, 1.0)), SATURATION)
    )


def _lasting(
    scaled: FloatArray, sums: FloatArray, counts: FloatArray, bad: FloatArray
) -> FloatArray:
    """Root of the log likelihood ratio per row of one lasting shift, shape [T - 1, N]."""
    total = np.maximum(counts[-1], 1.0)
    mean = sums[-1] / total
    squares = np.nansum(np.square(scaled), axis=0) - total * mean**2
    left = counts[1:-1]
    right = counts[-1] - left
    edge = max(ROWS_MIN, int(0.05 * len(scaled)))
    wide = (left >= edge) & (right >= edge)
    off = sums[1:-1] - left * mean
    between = np.where(wide, off * off * total / np.where(wide, left * right, 1.0), 0.0)
    # A perfectly clean step has no rest; one per mille of the total keeps the ratio finite.
    rest = np.maximum(squares - between, 1e-3 * squares + 1e-9)
    against = (bad != 0.0) & (off * bad > 0.0)  # more before than after
    return np.asarray(np.sqrt(np.log1p(between / rest)) * np.where(against, WRONG_WAY, 1.0))


def _strongest_owner(score: FloatArray, owner: IntArray, num_metrics: int) -> FloatArray:
    """Largest mean of an owner's strongest columns in each row, shape [rows]."""
    best = np.zeros(len(score))
    order = np.argsort(owner, kind="stable")
    starts = np.flatnonzero(np.diff(owner[order], prepend=-1))
    for columns in np.split(order, starts[1:]):
        kept = min(num_metrics, len(columns))
        mine = score[:, columns]
        if kept < len(columns):
            mine = np.partition(mine, len(columns) - kept, axis=1)[:, len(columns) - kept :]
        best = np.maximum(best, mine.mean(axis=1))
    return best


def onset_rows(
    levels: FloatArray, *, centre: FloatArray, scale: FloatArray, z: FloatArray, start: int
) -> npt.NDArray[np.intp]:
    """First row from `start` on at which each series leaves its normal band for two rows.

    Args:
        z: distance of the fault rows' mean; a series with |z| <= 1 has no onset.

    Returns:
        Rows, -1 where there is none, shape [N].
    """
    rows = levels[start:]
    if not len(rows):
        return np.full(levels.shape[1], -1, dtype=np.intp)
    with np.errstate(invalid="ignore", divide="ignore"):
        row_z = (rows - centre) / np.where(scale > 0.0, scale, np.inf) * np.sign(z)
    outside = row_z > np.minimum(3.0, np.maximum(0.5 * np.abs(z), 0.5))
    both = np.vstack([outside[:-1] & outside[1:], outside[-1:]])
    found = both.any(axis=0) & (np.abs(z) > 1.0)
    return np.where(found, start + np.argmax(both, axis=0), -1)
