"""What a Granger model takes and says, so that the linear and the neural one are interchangeable.

No model lives here, and no torch: `rca.pipeline` knows forecasters by these types alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from rca.state import FloatArray

# Normal rows. With 100 the worst planted graph of curved effects falls below an AUROC of .85
# (bench_granger, normal_rows_needed).
ROWS_MIN = 120
STEP_S_MAX = 15.0  # between rows; what leads by less is one moment in coarser ones
MOVING_MIN = 0.05  # of the normal rows: a series that is off its median in fewer has no past
STILL = "fewer than two of the series move in the normal rows"
FAULT_Z_MAX = 50.0  # a level further out tells no more, and a forecast from it nothing at all
SCALE_MIN = 0.05  # of a residual, in sd of its series: what is forecast perfectly has no spread


@dataclass(frozen=True, slots=True, kw_only=True)
class GrangerResult:
    """What a Granger model says of K series.

    Attributes:
        granger: strength above the null, granger[i, j] = effect of column j on row i, 0 where
            not beyond chance, shape [K, K], diagonal 0.
        ratio: the same over the null and not cut: arcs are where it exceeds 1, shape [K, K].
        innovation: mean residual of the fault rows that a series' own history leaves, in units
            of its normal law, signed, shape [K].
        exogenous: the same after what its causes explain is taken off as well: what came from
            outside. The cause score; both signs count. Shape [K].
        model: which one was fitted, "neural" or "linear"; empty when none was.
        why: this model and no other, where there was a choice.
        skipped: why nothing was fitted; empty when it was.
    """

    granger: FloatArray
    ratio: FloatArray
    innovation: FloatArray
    exogenous: FloatArray
    model: str = ""
    why: str = ""
    skipped: str = ""


class Forecaster(Protocol):
    """Fits normal rows and reads the fault rows. Holds its settings, no state of a fit."""

    @property
    def num_series_max(self) -> int:
        """Most series that one fit may take; the caller screens."""

    def fit(
        self,
        levels: FloatArray,
        *,
        normal_end: int,
        fault_start: int,
        step_s: float,
        rng: np.random.Generator,
    ) -> GrangerResult:
        """Arcs and residuals of `levels` [T, K]: rows before `normal_end` are normal.

        Args:
            levels: comparable series; NaN is missing.
            fault_start: first row that the residuals are read from.
            step_s: time between rows.
            rng: the only source of chance.
        """


def skip(num_series: int, reason: str) -> GrangerResult:
    """A result without arcs."""
    return GrangerResult(
        granger=np.zeros((num_series, num_series)),
        ratio=np.zeros((num_series, num_series)),
        innovation=np.zeros(num_series),
        exogenous=np.zeros(num_series),
        skipped=reason,
    )


class NoForecaster:
    """Fits nothing, on request: for callers in whom None means their own default."""

    num_series_max = 0

    def fit(
        self,
        levels: FloatArray,
        *,
        normal_end: int,
        fault_start: int,
        step_s: float,
        rng: np.random.Generator,
    ) -> GrangerResult:
        """See `Forecaster`."""
        del normal_end, fault_start, step_s, rng
        return skip(levels.shape[1], "switched off")


def unfit(
    num_series: int,
    *,
    normal_end: int,
    step_s: float,
    rows_min: int = ROWS_MIN,
    step_s_max: float = STEP_S_MAX,
) -> str:
    """Why these rows cannot be fitted; empty when they can."""
    if num_series < 2:
        return "fewer than two series changed"
    if normal_end < rows_min:
        return f"{normal_end} normal rows, {rows_min} are needed"
    if step_s > step_s_max:
        return f"one sample per {step_s:.0f} s, {step_s_max:.0f} s at most"
    return ""


def standardised(levels: FloatArray, *, normal_end: int, clip_z: float) -> FloatArray:
    """Series in sd of their normal rows around their median, gaps filled with the last value.

    Normal rows are clipped to `clip_z`, fault rows to FAULT_Z_MAX. Shape [T, K] as given.
    """
    filled = _forward_filled(levels, normal_end)
    normal = filled[:normal_end]
    centre = np.median(normal, axis=0)
    spread = normal.std(axis=0)
    spread = np.where(spread > 1e-12, spread, np.maximum(np.abs(centre), 1.0))
    x: FloatArray = (filled - centre) / spread
    x[:normal_end] = np.clip(x[:normal_end], -clip_z, clip_z)
    return np.clip(x, -FAULT_Z_MAX, FAULT_Z_MAX)


def moving(x: FloatArray, *, normal_end: int) -> npt.NDArray[np.bool_]:
    """Standardised series that leave their median often enough to be led or to lead, shape [K].

    Numerical dust on a constant correlates with anything once it is scaled up.
    """
    off = np.abs(x[:normal_end]) > 1e-9
    return np.asarray(off.mean(axis=0) >= MOVING_MIN)


def among_still(
    result: GrangerResult,
    x: FloatArray,
    moved: npt.NDArray[np.bool_],
    *,
    normal_end: int,
    fault_start: int,
) -> GrangerResult:
    """A result of the series that move, in the places of all: the still ones have no arcs.

    What a still series does in the fault rows came from outside.
    """  # fmt: skip
    own = against_law(x, normal=slice(0, normal_end), fault_start=fault_start)
    places = np.flatnonzero(moved)

    def square(values: FloatArray) -> FloatArray:
        out = np.zeros((len(moved), len(moved)))
        out[np.ix_(places, places)] = values
        return out

    def line(values: FloatArray) -> FloatArray:
        out = own.copy()
        out[places] = values
        return out

    return replace(
        result,
        granger=square(result.granger),
        ratio=square(result.ratio),
        innovation=line(result.innovation),
        exogenous=line(result.exogenous),
    )


def against_law(residual: FloatArray, *, normal: slice, fault_start: int) -> FloatArray:
    """Mean of the fault rows in units of the normal rows' law, shape [K] from [T, K]."""
    law = residual[normal]
    scale = np.maximum(law.std(axis=0), SCALE_MIN)
    return np.asarray((residual[fault_start:].mean(axis=0) - law.mean(axis=0)) / scale)


def _forward_filled(levels: FloatArray, normal_end: int) -> FloatArray:
    """Gaps take the last value seen; before the first one, the median of the normal rows.

    A series without a normal value is 0 throughout: there is nothing to compare it with.
    """
    seen = np.isfinite(levels)
    rows = np.where(seen, np.arange(len(levels))[:, None], 0)
    filled = np.take_along_axis(levels, np.maximum.accumulate(rows, axis=0), axis=0)
    known = seen[:normal_end].any(axis=0)
    first = np.zeros(levels.shape[1])
    first[known] = np.nanmedian(levels[:normal_end, known], axis=0)
    return np.where(np.isfinite(filled) & known, filled, first)
