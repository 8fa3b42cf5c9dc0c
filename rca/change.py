"""Change score of every series at once: two-sided, with a floor under the scale.

Blind spots of one-sided or unfloored scores that this one has not: falls count, constant series
count, series that freeze or vanish count, bytes weigh as much as ratios.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rca.align import Aligned, BoolArray, Windows
from rca.law import normal_law, shift_of, stopped
from rca.state import FloatArray

LEVEL_FLOOR_RATIO = 0.02
ONSET_Z = 3.0


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
    law = normal_law(levels[: windows.normal_end])
    scale = np.maximum.reduce([law.upper - law.lower, 0.5 * law.spread, law.quantum])
    shift = shift_of(levels[windows.fault_start :], law, scale, floor_ratio=LEVEL_FLOOR_RATIO)
    z, centre, scale = shift.z, law.centre, shift.scale
    froze, vanished = stopped(levels, windows.normal_end)
    return ChangeTable(
        score=np.sign(z) * np.log1p(np.abs(z)),
        before=centre,
        after=shift.after,
        onset_s=_onsets(aligned, windows, centre, scale, z),
        woke=shift.woke,
        froze=froze,
        vanished=vanished,
    )


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
