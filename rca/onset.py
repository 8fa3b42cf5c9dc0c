"""When it began: one moment for all series of a recorded incident, and one for each series.

Each series is put on a logarithmic axis in units of its own median (so that units and size do not
matter), and what all services share is taken off (a slow host, a load step). Two views of "before
against after" are joined per row: windows of two lengths, each against what the same window shows
elsewhere in the record, which finds short faults beside older disturbances, and the likelihood
ratio of one lasting shift, which finds long faint ones. The row at which one service shows most is
the change point.

A rate over the last rows turns a step into a ramp. How many rows that takes is read off the data,
and a ramp of that length is sought: the mean of the steps at each of its rows.

Source: cumulative-sum scan for a change in mean (Hawkins 1977); the windows are its local form.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rca.incident import IntArray
from rca.state import FloatArray

WINDOWS = ((0.1, 0.2), (0.2, 0.4))  # rows after and before the candidate, shares of the record
ROWS_MIN = 3
LASTING_WEIGHT = 3.0
OWNERS_MIN = 5  # fewer owners of one metric have no common mode worth the name
LOG_UNIT = 0.05  # of the median: below it a series counts as nothing
CLIP = 6.0
SATURATION = 4.0
WRONG_WAY = 0.5  # weight of a change against the bad direction
MAD_TO_SD = 1.4826
CHUNK_COLUMNS = 256  # taken at a time, so that a wide table needs little memory
QUANTILE_ROWS = 256  # are enough for a median or a quartile
RAMP_ROWS_MAX = 60
RAMP_COLUMNS = 64  # evenly spaced, tell the length of the ramp


@dataclass(slots=True, kw_only=True)
class ChangePoint:
    """Moment at which one service changes most.

    Attributes:
        row: first row after the change; the change lies between it and the row before.
        at_s: the middle of the two rows' stamps.
        strength: of the change there, in the scan's unit; by chance about 4.
        curve: strength per row, 0 where no split is possible, shape [T].
        ramp_rows: over so many rows a sudden change climbs, 1 for a step.
    """

    row: int
    at_s: float
    strength: float
    curve: FloatArray
    ramp_rows: int = 1


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
    ramp = ramp_rows(levels)
    score = np.empty((len(owner), num_rows - 1), dtype=np.float32)
    for columns, shared in _chunks(metric):
        scaled = _scaled(np.ascontiguousarray(levels[:, columns].T), shared)
        against = bad[columns][:, None]
        found = _scores(scaled, against, ramp)
        score[columns] = found * weight[columns][:, None]
    curve = np.zeros(num_rows)
    curve[1:] = _strongest_owner(score, owner, num_metrics)
    sought = curve.copy()
    sought[: max(first, 1)] = -1.0
    if last is not None:
        sought[last + 1 :] = -1.0
    row = int(np.argmax(sought))
    at_s = 0.5 * (float(times_s[row - 1]) + float(times_s[row]))
    return ChangePoint(row=row, at_s=at_s, strength=float(curve[row]), curve=curve, ramp_rows=ramp)


def ramp_rows(levels: FloatArray) -> int:
    """Rows over which a sudden change climbs; 1 where it is a step.

    A mean over the last w rows gains the newest row and loses the one w rows ago: its differences
    cancel after w rows. Here w is the lag by which half of that cancelling is seen, in the median
    of the series; unsmoothed noise cancels after one row, what does not cancel is taken as a step.

    Args:
        levels: shape [T, N], NaN missing.

    Source: autocorrelation of an overinvertible moving average (Box and Jenkins 1970).
    """
    taken = np.linspace(0, levels.shape[1] - 1, min(RAMP_COLUMNS, levels.shape[1])).astype(np.intp)
    steps = np.nan_to_num(np.diff(_logarithm(np.ascontiguousarray(levels[:, taken].T)), axis=1))
    spread = steps.std(axis=1, keepdims=True)
    steps = np.clip(steps[spread[:, 0] > 0.0] / spread[spread[:, 0] > 0.0], -5.0, 5.0)
    lags = np.arange(1, min(RAMP_ROWS_MAX, steps.shape[1] // 4) + 1)
    if not len(steps) or not len(lags):
        return 1
    # Autocorrelation by the spectrum; twice the length, so that the end does not meet the start.
    spectrum = np.fft.rfft(steps, 2 * steps.shape[1], axis=1)
    cancel = np.fft.irfft(np.abs(spectrum) ** 2, axis=1)[:, : len(lags) + 1]
    together = cancel[:, 1:] / cancel[:, :1] * steps.shape[1] / (steps.shape[1] - lags)
    seen = np.median(together, axis=0)
    lost = np.where(seen < -2.0 / np.sqrt(steps.shape[1]), -seen, 0.0)
    if not lost.any():
        return 1
    return int(lags[np.searchsorted(np.cumsum(lost), 0.5 * lost.sum() - 1e-12)])


def alike(metric: Sequence[str]) -> list[list[int]]:
    """Columns of one metric, where enough owners have it for a common mode."""
    groups: dict[str, list[int]] = {}
    for column, name in enumerate(metric):
        groups.setdefault(name, []).append(column)
    return [columns for columns in groups.values() if len(columns) >= OWNERS_MIN]


def _chunks(metric: Sequence[str]) -> Iterator[tuple[IntArray, bool]]:
    """Columns to be taken together, and whether they have a common mode."""
    groups = alike(metric)
    for columns in groups:
        yield np.array(columns, dtype=np.int64), True
    grouped = {column for columns in groups for column in columns}
    single = [column for column in range(len(metric)) if column not in grouped]
    for first in range(0, len(single), CHUNK_COLUMNS):
        yield np.array(single[first : first + CHUNK_COLUMNS], dtype=np.int64), False


def _logarithm(levels: FloatArray) -> FloatArray:
    """Signed logarithm of each series in units of its own size, shape [N, T]."""
    size = _median(np.abs(levels))
    largest = np.nanmax(np.abs(levels), axis=1, initial=0.0)
    size = np.where(size > 0.0, size, np.where(largest > 0.0, largest, 1.0))
    return np.sign(levels) * np.log1p(np.abs(levels) / (LOG_UNIT * size[:, None]))


def _scaled(levels: FloatArray, shared: bool) -> FloatArray:
    """Logarithmic levels without common mode in units of their own spread, shape [N, T]."""
    scaled = _logarithm(levels)
    scaled -= _median(scaled)[:, None]
    if shared:
        common = _median(scaled.T, rows_max=len(scaled))
        scaled -= common
        scaled -= _median(scaled)[:, None]
    spread = np.maximum(_median(np.abs(scaled), 0.75), LOG_UNIT)
    return np.clip(scaled / spread[:, None], -CLIP, CLIP)


def _median(values: FloatArray, share: float = 0.5, *, rows_max: int = QUANTILE_ROWS) -> FloatArray:
    """Quantile of the finite values of each series, 0 where it has none, shape [N].

    Args:
        values: shape [N, T].
        rows_max: of more values, so many evenly spaced ones are looked at.
    """
    stride = -(-values.shape[1] // rows_max)
    rows = np.sort(values[:, ::stride], axis=1)  # NaN goes last
    count = np.isfinite(rows).sum(axis=1)
    number = np.arange(len(rows))
    place = share * np.maximum(count - 1, 0)
    low = np.floor(place).astype(np.intp)
    high = np.minimum(low + 1, np.maximum(count - 1, 0))
    below, above = rows[number, low], rows[number, high]
    return np.where(count > 0, np.nan_to_num(below + (above - below) * (place - low)), 0.0)


def _scores(scaled: FloatArray, bad: FloatArray, ramp: int) -> FloatArray:
    """Change before each row 1..T-1 in both views, shape [N, T - 1]."""
    finite = np.isfinite(scaled)
    filled = np.where(finite, scaled, 0.0)
    sums, counts = _running(filled), _running(finite.astype(np.float64))
    local = sum(_local(sums, counts, bad, ramp, *w) for w in WINDOWS) / len(WINDOWS)
    return local + LASTING_WEIGHT * _lasting(filled, sums, counts, bad, ramp)


def _running(values: FloatArray) -> FloatArray:
    """Sums of the first 0..T values, shape [N, T + 1]."""
    return np.hstack([np.zeros((len(values), 1)), np.cumsum(values, axis=1)])


def _climbing(steps: FloatArray, ramp: int) -> FloatArray:
    """Mean over the `ramp` rows from each row on, fewer at the end: a ramp is a mean of steps."""
    if ramp <= 1:
        return steps
    total = _running(steps)
    begins = np.arange(steps.shape[1])
    ends = np.minimum(begins + ramp, steps.shape[1])
    return np.asarray((total[:, ends] - total[:, begins]) / (ends - begins))


def _local(
    sums: FloatArray,
    counts: FloatArray,
    bad: FloatArray,
    ramp: int,
    after: float,
    before: float,
) -> FloatArray:
    """log(1 + |z|) of the mean after less the mean before each row 1..T-1, shape [N, T - 1]."""
    total = sums.shape[1] - 1
    rows = np.arange(1, total)
    ahead, behind = max(3, round(after * total)), max(4, round(before * total))
    high, low = np.minimum(rows + ahead, total), np.maximum(rows - behind, 0)
    right, left = counts[:, high] - counts[:, rows], counts[:, rows] - counts[:, low]
    step = (sums[:, high] - sums[:, rows]) / np.maximum(right, 1.0)
    step -= (sums[:, rows] - sums[:, low]) / np.maximum(left, 1.0)
    whole = (high - rows >= max(2, ahead / 3)) & (rows - low >= max(3, behind / 3))
    known = whole & (right >= 1) & (left >= 1)
    step = np.where(known, _climbing(np.where(known, step, 0.0), ramp), np.nan)
    # What the same window shows elsewhere is the noise: most of the record holds no change.
    usual = np.maximum(MAD_TO_SD * _median(np.abs(step)), 0.1)
    z = np.nan_to_num(step / usual[:, None])
    against = (bad != 0.0) & (np.sign(z) * bad < 0.0)
    return np.asarray(
        np.minimum(np.log1p(np.abs(z) * np.where(against, WRONG_WAY, 1.0)), SATURATION)
    )


def _lasting(
    filled: FloatArray, sums: FloatArray, counts: FloatArray, bad: FloatArray, ramp: int
) -> FloatArray:
    """Root of the log likelihood ratio per row of one lasting shift, shape [N, T - 1]."""
    total = np.maximum(counts[:, -1:], 1.0)
    mean = sums[:, -1:] / total
    squares = np.square(filled).sum(axis=1, keepdims=True) - total * mean**2
    left = counts[:, 1:-1]
    right = counts[:, -1:] - left
    edge = max(ROWS_MIN, int(0.05 * filled.shape[1]))
    wide = (left >= edge) & (right >= edge)
    off = _climbing(sums[:, 1:-1] - left * mean, ramp)
    energy = _climbing(left * right / total, ramp)
    between = np.where(wide, off * off / np.where(wide, energy, 1.0), 0.0)
    # A perfectly clean step has no rest; one per mille of the total keeps the ratio finite.
    rest = np.maximum(squares - between, 1e-3 * squares + 1e-9)
    against = (bad != 0.0) & (off * bad > 0.0)  # more before than after
    return np.asarray(np.sqrt(np.log1p(between / rest)) * np.where(against, WRONG_WAY, 1.0))


def _strongest_owner(
    score: npt.NDArray[np.float32], owner: IntArray, num_metrics: int
) -> FloatArray:
    """Largest mean of an owner's strongest columns in each row, shape [rows]."""
    best = np.zeros(score.shape[1])
    order = np.argsort(owner, kind="stable")
    starts = np.flatnonzero(np.diff(owner[order], prepend=-1))
    for columns in np.split(order, starts[1:]):
        kept = min(num_metrics, len(columns))
        mine = score[columns]
        if kept < len(columns):
            mine = np.partition(mine, len(columns) - kept, axis=0)[len(columns) - kept :]
        best = np.maximum(best, mine.mean(axis=0, dtype=np.float64))
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
