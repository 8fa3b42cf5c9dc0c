"""The newest rows of some series, at four bytes a cell; what is shown is float64 again.

A cell holds the distance from one value that its series had in the ring. So a counter at 1e9
moves in whole requests and a start time keeps its milliseconds, which plain float32 loses. A series
whose values do not fit so (a counter that fell from 1e9 to 0) keeps eight bytes a cell until the
fall has left the ring.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rca.state import FloatArray

IntArray = npt.NDArray[np.int64]

OFF_MAX = 1e-3  # of a request or a second, which is what the watched roles count
_COLUMNS_MORE = 64


class WatchRing:
    """Rows by number (time / step), columns by the order of their coming; NaN is missing.

    Attributes:
        newest: number of the newest row, -1 before the first.
    """

    def __init__(self, rows: int) -> None:
        assert rows > 1, rows
        self.rows, self.newest, self.num_columns = rows, -1, 0
        self._since_packed = 0
        self._cells = np.full((rows, 0), np.nan, dtype=np.float32)
        self._base = np.empty(0)
        self._wide: dict[int, FloatArray] = {}  # column -> its cells as they are

    @property
    def oldest(self) -> int:
        """Number of the oldest row that is kept."""
        return self.newest - self.rows + 1

    @property
    def num_bytes(self) -> int:
        """Bytes of all cells."""
        wide = sum(cells.nbytes for cells in self._wide.values())
        return self._cells.nbytes + self._base.nbytes + wide

    def add_columns(self, number: int) -> None:
        """Make room for that many further series."""
        self.num_columns += number
        lacking = self.num_columns - self._cells.shape[1]
        if lacking > 0:
            more = max(lacking, min(_COLUMNS_MORE, self.num_columns))
            empty = np.full((self.rows, more), np.nan, dtype=np.float32)
            self._cells = np.concatenate((self._cells, empty), axis=1)
            self._base = np.concatenate((self._base, np.full(more, np.nan)))

    def open_until(self, row: int) -> None:
        """Make `row` the newest one; rows in between are empty."""
        if self.newest < 0:
            self.newest = row - 1
        opened = min(row - self.newest, self.rows)
        for number in range(row - opened + 1, row + 1):
            self._cells[number % self.rows] = np.nan
            for cells in self._wide.values():
                cells[number % self.rows] = np.nan
        self._since_packed += max(0, row - self.newest)
        self.newest = max(self.newest, row)

    def write(self, rows: IntArray, columns: IntArray, values: FloatArray) -> None:
        """Put values into cells, all three of shape [M]; rows that are not kept are left out."""
        kept = (rows > self.newest - self.rows) & (rows <= self.newest) & np.isfinite(values)
        if not kept.all():
            rows, columns, values = rows[kept], columns[kept], values[kept]
        rows = rows - rows // self.rows * self.rows  # several times as fast as %
        base = self._base[columns]
        fresh = np.isnan(base)
        if fresh.any():
            self._base[columns[fresh]] = values[fresh]  # of several the last
            base = self._base[columns]
        distance = values - base
        cells = distance.astype(np.float32)
        off = np.abs(cells - distance) > OFF_MAX
        if off.any():
            for column in set(columns[off].tolist()) - set(self._wide):
                self._wide[column] = self._column(column)
        self._cells[rows, columns] = cells
        if self._wide:
            for k in np.flatnonzero(np.isin(columns, list(self._wide))).tolist():
                self._wide[int(columns[k])][rows[k]] = values[k]

    def table(self, *, oldest: int, newest: int) -> FloatArray:
        """Values of these rows in order of time, shape [newest - oldest + 1, num_columns]."""
        places = np.arange(oldest, newest + 1) % self.rows
        used = self.num_columns
        values = self._cells[places, :used].astype(np.float64)
        values += self._base[:used]
        for column, cells in self._wide.items():
            values[:, column] = cells[places]
        return values

    def present(self, rows: IntArray, columns: IntArray) -> npt.NDArray[np.bool_]:
        """Whether these cells are filled, shape [M]; False for rows that are not kept."""
        kept = (rows > self.newest - self.rows) & (rows <= self.newest)
        filled: npt.NDArray[np.bool_] = kept & ~np.isnan(self._cells[rows % self.rows, columns])
        return filled

    def pack(self, *, keep: npt.NDArray[np.bool_]) -> IntArray | None:
        """Once per turn of the ring: measure from newer values, drop columns without any.

        Args:
            keep: columns that stay though they are empty, shape [num_columns].

        Returns:
            The columns that stay, in order, or None where nothing was dropped.
        """
        if self._since_packed < self.rows or not self.num_columns:
            return None
        self._since_packed = 0
        values = self.table(oldest=self.oldest, newest=self.newest)
        kept = np.flatnonzero(np.isfinite(values).any(axis=0) | keep)
        dropped = len(kept) < self.num_columns
        numbers = np.arange(self.oldest, self.newest + 1)
        self._cells = np.full((self.rows, len(kept)), np.nan, dtype=np.float32)
        self._base, self._wide, self.num_columns = np.full(len(kept), np.nan), {}, len(kept)
        row, column = np.nonzero(np.isfinite(values[:, kept]))
        row, column = row[::-1], column[::-1]  # the last, so the oldest, is measured from
        self.write(numbers[row], column.astype(np.int64), values[row, kept[column]])
        return kept.astype(np.int64) if dropped else None

    def _column(self, column: int) -> FloatArray:
        cells: FloatArray = self._cells[:, column].astype(np.float64) + self._base[column]
        return cells
