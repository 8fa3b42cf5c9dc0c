"""Normal law of each series and how far later rows lie from it, for any matrix of levels.

Both the live loop and recorded incidents rest on it. No names, no kinds, no windows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rca.state import FloatArray

BoolArray = npt.NDArray[np.bool_]

QUARTILE_ROWS_MAX = 128
FROZEN_ROWS_MIN = 3
WAKE_SHARE = 1.0 / 20.0  # of its largest move: the scale of a series that never moved before


@dataclass(slots=True, kw_only=True)
class NormalLaw:
    """What a series does while nothing is wrong; every field has shape [N].

    Attributes:
        lower, centre, upper: quartiles.
        spread: standard deviation, 0 for a constant.
        quantum: smallest step seen between neighbouring rows, 0 where nothing moved.
        count: finite rows.
    """

    lower: FloatArray
    centre: FloatArray
    upper: FloatArray
    spread: FloatArray
    quantum: FloatArray
    count: FloatArray


@dataclass(slots=True, kw_only=True)
class Shift:
    """Distance of later rows from the normal law; every field has shape [N].

    Attributes:
        z: signed distance of the mean, in scales; 0 where a side has no data.
        after: mean of the later rows.
        scale: what counts as one.
        woke: constant before, moves now.
    """

    z: FloatArray
    after: FloatArray
    scale: FloatArray
    woke: BoolArray


def normal_law(normal: FloatArray) -> NormalLaw:
    """Law of each column of fault-free rows, shape [rows, N]; NaN cells are ignored."""
    # Quartiles need no more than some hundred rows; sorting along memory is three times faster.
    stride = -(-len(normal) // QUARTILE_ROWS_MAX)
    rows = np.sort(np.ascontiguousarray(normal[::stride].T), axis=1)  # [N, rows], NaN goes last
    count = np.isfinite(rows).sum(axis=1)
    columns = np.arange(len(rows))
    last = np.maximum(count - 1, 0)

    def quantile(q: float) -> FloatArray:
        low = np.floor(q * last).astype(np.intp)
        lower = rows[columns, low]
        upper = rows[columns, np.minimum(low + 1, last)]
        with np.errstate(invalid="ignore"):
            return np.asarray(lower + (upper - lower) * (q * last - low))

    finite = np.isfinite(normal)
    filled = np.where(finite, normal, 0.0)
    safe = np.maximum(finite.sum(axis=0), 1)
    mean = filled.sum(axis=0) / safe
    deviation = np.where(finite, normal - mean, 0.0)
    spread = np.sqrt((deviation * deviation).sum(axis=0) / safe)
    # Rounding leaves a dust of spread on a constant column.
    spread = np.where(spread <= 1e-9 * np.abs(mean), 0.0, spread)
    return NormalLaw(
        lower=quantile(0.25),
        centre=quantile(0.5),
        upper=quantile(0.75),
        spread=spread,
        quantum=_quantum(normal),
        count=safe * finite.any(axis=0),
    )


def shift_of(
    fault: FloatArray, law: NormalLaw, scale: FloatArray, *, floor_ratio: float | FloatArray
) -> Shift:
    """Two-sided distance of the mean of `fault` rows, shape [rows, N], from the law.

    Args:
        scale: spread of the series as the caller measures it, shape [N]. It is never taken
            below `floor_ratio` of the level.
    """
    seen = np.isfinite(fault)
    number = seen.sum(axis=0)
    filled = np.where(seen, fault, 0.0)
    after = np.where(number > 0, filled.sum(axis=0) / np.maximum(number, 1), np.nan)
    floor = floor_ratio * np.abs(law.centre)
    scale = np.maximum(scale, floor)
    # A constant that starts to move has no spread of its own: a share of its largest move
    # stands in, so that it counts as a clear event but not as an infinite one.
    constant = law.spread == 0.0
    largest = np.where(seen, np.abs(fault - law.centre), 0.0).max(axis=0, initial=0.0)
    scale = np.where(constant, np.maximum(floor, largest * WAKE_SHARE), scale)
    with np.errstate(invalid="ignore", divide="ignore"):
        z = np.where(scale > 0.0, (after - law.centre) / np.where(scale > 0.0, scale, 1.0), 0.0)
    return Shift(z=np.nan_to_num(z), after=after, scale=scale, woke=constant & (largest > 0.0))


def _quantum(normal: FloatArray) -> FloatArray:
    """Smallest step seen between neighbouring rows of each column, 0 where nothing moved."""
    steps = np.abs(np.diff(normal, axis=0))
    steps[~(steps > 0.0)] = np.inf
    smallest = steps.min(axis=0, initial=np.inf)
    return np.where(np.isfinite(smallest), smallest, 0.0)


def stopped(levels: FloatArray, normal_end: int) -> tuple[BoolArray, BoolArray]:
    """Which series stand still for longer than they ever did, and which ended."""
    num_rows = len(levels)
    moved = np.zeros(levels.shape, dtype=bool)
    moved[1:] = np.abs(np.diff(levels, axis=0)) > 0.0
    rows = np.arange(num_rows)[:, None]
    still = rows - np.maximum.accumulate(np.where(moved, rows, 0), axis=0)
    # Slowly collected series repeat values: only a stillness beyond their longest counts.
    longest = still[:normal_end].max(axis=0, initial=0)
    share = moved[:normal_end].sum(axis=0) * (longest + 1.0) / max(normal_end, 1)
    busy = share >= 0.5
    froze = busy & (still[-1] > 1.5 * longest + 2.0) & np.isfinite(levels[-3:]).all(axis=0)
    normal = np.isfinite(levels[:normal_end])
    # A fifth of the normal rows may lack, and a series that began halfway still has a past.
    present = normal[-max(normal_end // 4, 1) :].mean(axis=0) >= 0.8
    return froze, present & ~np.isfinite(levels[-2:]).any(axis=0)


def standstill(levels: FloatArray, normal_end: int) -> FloatArray:
    """How many times longer than ever before each series has stood still up to the last row.

    0 where it has not, or began to long before the trouble, or is a series that seldom moves: of
    those `stopped` tells for the live loop.

    Returns:
        Multiples of the longest normal run of one value, shape [N].
    """
    out = np.zeros(levels.shape[1])
    if min(normal_end, len(levels) - normal_end) < FROZEN_ROWS_MIN:
        return out
    tail = levels[len(levels) - FROZEN_ROWS_MIN :]
    for column in np.flatnonzero((tail == tail[0]).all(axis=0)).tolist():  # few
        finite = np.isfinite(levels[:, column])
        values = levels[finite, column]
        normal = int(finite[:normal_end].sum())
        begins = np.flatnonzero(np.diff(values) != 0.0) + 1  # of runs of one value but the first
        before = begins[begins < normal]
        if not len(before):
            continue
        longest = int(np.diff(before, prepend=0).max())  # of those that have ended
        run = len(values) - int(begins[-1])
        busy = len(before) * longest >= 0.5 * normal  # slowly collected series repeat values too
        if busy and 1.5 * longest + 1.5 < run <= len(values) - normal + longest:
            out[column] = run / longest
    return out
