"""Change score of every series at once: two-sided, with a floor under the scale.

Blind spots of one-sided or unfloored scores that this one has not: falls count, constant series
count, series that freeze or vanish count, bytes weigh as much as ratios.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rca.align import Aligned, BoolArray, Windows
from rca.state import FloatArray

LEVEL_FLOOR_RATIO = 0.02
ONSET_Z = 3.0
QUARTILE_ROWS_MAX = 128


@dataclass(slots=True, kw_only=True)
class ChangeTable:
    """Change of each series between normal and fault rows; every field has shape [N].

    Attributes:
        score: sign * log(1 + |mean z|); 0 where a side has no data.
        before, after: median of normal rows, mean of fault rows.
        onset_s: first fault-side row that leaves the normal band for two rows, NaN if none.
        woke: constant before, moves now.
        froze: moved in every normal block, stands still now.
        vanished: had data up to the onset, has none now.
    """

    score: FloatArray
    before: FloatArray
    after: FloatArray
    onset_s: FloatArray
    woke: BoolArray
    froze: BoolArray
    vanished: BoolArray


def measure_changes(aligned: Aligned, windows: Windows) -> ChangeTable:
    """Score all series of a frame in one pass.

    Source: specs of the N-Sigma and BARO families (mean z, median and IQR).
    Differs: the scale is never below max(IQR, 0.5 sd, 2 % of the level, one quantum), both
    directions count, constant series are kept.
    """
    levels = aligned.levels
    normal, fault = levels[: windows.normal_end], levels[windows.fault_start :]
    quarter, centre, upper, spread = _normal_law(normal)
    fault_seen = np.isfinite(fault)
    num_fault = fault_seen.sum(axis=0)
    filled = np.where(fault_seen, fault, 0.0)
    after = np.where(num_fault > 0, filled.sum(axis=0) / np.maximum(num_fault, 1), np.nan)
    floor = LEVEL_FLOOR_RATIO * np.abs(centre)
    scale = np.maximum.reduce([upper - quarter, 0.5 * spread, floor, _quantum(normal)])
    # A constant that starts to move has no spread of its own: a twentieth of its largest move
    # stands in, so that it counts as a clear event but not as an infinite one.
    constant = spread == 0.0
    largest = np.where(fault_seen, np.abs(fault - centre), 0.0).max(axis=0, initial=0.0)
    scale = np.where(constant, np.maximum(floor, largest / 20.0), scale)
    with np.errstate(invalid="ignore", divide="ignore"):
        z = np.where(scale > 0.0, (after - centre) / np.where(scale > 0.0, scale, 1.0), 0.0)
    z = np.nan_to_num(z)
    froze, vanished = _stopped(levels, windows)
    return ChangeTable(
        score=np.sign(z) * np.log1p(np.abs(z)),
        before=centre,
        after=after,
        onset_s=_onsets(aligned, windows, centre, scale, z),
        woke=constant & (largest > 0.0),
        froze=froze,
        vanished=vanished,
    )


def _normal_law(normal: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Quartiles and standard deviation per column, NaN rows ignored; NaN where nothing is known."""
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
    return quantile(0.25), quantile(0.5), quantile(0.75), spread


def _quantum(normal: FloatArray) -> FloatArray:
    """Smallest step seen between neighbouring rows of each column, 0 where nothing moved."""
    steps = np.abs(np.diff(normal, axis=0))
    steps[~(steps > 0.0)] = np.inf
    smallest = steps.min(axis=0, initial=np.inf)
    return np.where(np.isfinite(smallest), smallest, 0.0)


def _onsets(
    aligned: Aligned, windows: Windows, centre: FloatArray, scale: FloatArray, z: FloatArray
) -> FloatArray:
    """First of two neighbouring rows outside the band, from a few rows before the onset on."""
    start = max(windows.normal_end - 6, 0)
    rows = aligned.levels[start:]
    with np.errstate(invalid="ignore", divide="ignore"):
        row_z = (rows - centre) / np.where(scale > 0.0, scale, np.inf) * np.sign(z)
    outside = row_z > np.minimum(ONSET_Z, np.maximum(0.5 * np.abs(z), 0.5))
    both = outside[:-1] & outside[1:]
    both = np.vstack([both, outside[-1:]])
    found = both.any(axis=0) & (np.abs(z) > 1.0)
    first = aligned.times_s[start + np.argmax(both, axis=0)]
    return np.where(found, first, np.nan)


def _stopped(levels: FloatArray, windows: Windows) -> tuple[BoolArray, BoolArray]:
    """Which series stand still for longer than they ever did, and which ended."""
    num_rows = len(levels)
    moved = np.zeros(levels.shape, dtype=bool)
    moved[1:] = np.abs(np.diff(levels, axis=0)) > 0.0
    rows = np.arange(num_rows)[:, None]
    still = rows - np.maximum.accumulate(np.where(moved, rows, 0), axis=0)
    # Slowly collected series repeat values: only a stillness beyond their longest counts.
    longest = still[: windows.normal_end].max(axis=0, initial=0)
    share = moved[: windows.normal_end].sum(axis=0) * (longest + 1.0) / max(windows.normal_end, 1)
    busy = share >= 0.5
    froze = busy & (still[-1] > 1.5 * longest + 2.0) & np.isfinite(levels[-3:]).all(axis=0)
    normal = np.isfinite(levels[: windows.normal_end])
    # A fifth of the normal rows may lack, and a series that began halfway still has a past.
    present = normal[-max(windows.normal_end // 4, 1) :].mean(axis=0) >= 0.8
    return froze, present & ~np.isfinite(levels[-2:]).any(axis=0)
