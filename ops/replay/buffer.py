"""Columnar buffer of scraped samples: one row a tick, one column a series, NaN where missing.

Windows are read-only views. A row that a frame may show never changes and storage that ran full is
replaced, not reused, so a frame stays true after later writes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from rca.state import FloatArray, MetricFrame, MetricRole, Series

IntArray = npt.NDArray[np.intp]
_COLUMNS_FIRST = 256


class FrameBuffer:
    """Keeps at least the last `rows_min` rows; columns come and go.

    Attributes:
        epoch: changes when columns are numbered anew, so that kept column numbers are void.
        num_rows: rows opened so far; the newest one is still written.
    """

    def __init__(self, *, rows_min: int, step_s: float, origin_s: float = 0.0) -> None:
        assert rows_min > 0, rows_min
        assert step_s > 0.0, step_s
        self.epoch = 0
        self.num_rows = 0
        self._rows_min = rows_min
        self._step_s = step_s
        self._origin_s = origin_s
        self._base = 0  # row number of the storage's first row
        # Twice the window: half of the storage is copied once per `rows_min` rows. A row is set
        # to NaN when it is opened, so that rows ahead cost no memory.
        self._values = np.empty((2 * rows_min, _COLUMNS_FIRST))
        self._times_s = self._make_times()
        self._columns_after = np.zeros(2 * rows_min, dtype=np.intp)  # columns known with the row
        self._series: list[Series] = []
        self._roles: list[MetricRole | None] = []
        self._column_of: dict[Series, int] = {}
        self._generation = 0
        self._shown: tuple[int, int] = (-1, -1)  # epoch, columns of the last frame
        self._shown_series: tuple[Series, ...] = ()
        self._shown_roles: tuple[MetricRole | None, ...] = ()

    @property
    def num_columns(self) -> int:
        """Columns known now, shown or not."""
        return len(self._series)

    def row_time_s(self, row: int) -> float:
        """Nominal time of a row."""
        return self._origin_s + row * self._step_s

    def column(self, series: Series, role: MetricRole | None) -> int:
        """Return the column of a series; a new series gets the next one."""
        column = self._column_of.get(series)
        if column is None:
            column = len(self._series)
            self._column_of[series] = column
            self._series.append(series)
            self._roles.append(role)
            if column >= self._values.shape[1]:
                self._widen()
        return column

    def open_row(self) -> int:
        """Begin the next row and return its number; the row before is complete."""
        if self.num_rows > 0:
            self._columns_after[self.num_rows - 1 - self._base] = len(self._series)
        if self.num_rows - self._base == len(self._values):
            self._renew()
        self._values[self.num_rows - self._base] = np.nan
        self.num_rows += 1
        return self.num_rows - 1

    def write(self, columns: IntArray, values: FloatArray | Sequence[float]) -> None:
        """Write samples into the newest row."""
        self._values[self.num_rows - 1 - self._base, columns] = values

    def frame(self, first: int, last: int) -> MetricFrame:
        """Return rows first..last (both included) with the series known by row `last`.

        Rows before the retained ones are left out.
        """
        first = max(first, self._base)
        last = min(last, self.num_rows - 1)
        if last < first:
            columns, low, high = 0, 0, 0
        else:
            low, high = first - self._base, last + 1 - self._base
            newest = last == self.num_rows - 1
            columns = len(self._series) if newest else int(self._columns_after[high - 1])
        if (self.epoch, columns) != self._shown:
            self._generation += 1
            self._shown = (self.epoch, columns)
            self._shown_series = tuple(self._series[:columns])
            self._shown_roles = tuple(self._roles[:columns])
        values = self._values[low:high, :columns]
        times_s = self._times_s[low:high]
        values.flags.writeable = False
        times_s.flags.writeable = False
        return MetricFrame(
            times_s=times_s,
            values=values,
            series=self._shown_series,
            roles=self._shown_roles,
            step_s=self._step_s,
            generation=self._generation,
        )

    def _make_times(self) -> FloatArray:
        rows = np.arange(self._base, self._base + 2 * self._rows_min, dtype=np.float64)
        return self._origin_s + rows * self._step_s

    def _widen(self) -> None:
        used, width = self.num_rows - self._base, self._values.shape[1]
        values = np.empty((len(self._values), 2 * width))
        values[:used, :width] = self._values[:used]
        values[:used, width:] = np.nan
        self._values = values

    def _renew(self) -> None:
        """Move the last `rows_min` rows into new storage, without columns empty in all of them."""
        kept_rows = self._rows_min
        tail = self._values[-kept_rows:, : len(self._series)]
        kept = ~np.isnan(tail).all(axis=0)
        num_kept = int(kept.sum())
        width = max(_COLUMNS_FIRST, num_kept + num_kept // 4)
        values = np.empty((2 * self._rows_min, width))
        values[:kept_rows, :num_kept] = tail[:, kept]
        values[:kept_rows, num_kept:] = np.nan
        columns_after = np.zeros_like(self._columns_after)
        kept_before = np.concatenate([[0], np.cumsum(kept)])
        columns_after[:kept_rows] = kept_before[self._columns_after[-kept_rows:]]
        self._base += len(self._values) - kept_rows
        self._values, self._columns_after = values, columns_after
        self._times_s = self._make_times()
        if num_kept == len(self._series):
            return
        index = np.flatnonzero(kept)
        self._series = [self._series[i] for i in index]
        self._roles = [self._roles[i] for i in index]
        self._column_of = {series: i for i, series in enumerate(self._series)}
        self.epoch += 1
