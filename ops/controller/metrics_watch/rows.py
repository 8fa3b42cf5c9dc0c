"""Which row of the scrape grid a sample belongs to, the same in every answer that holds it.

A target is scraped at its own offset within the step. A row holds what was scraped in the step
that it ends. The offset of a series is learnt once, so that jitter never moves a sample into the
next row and leaves its own one empty; it is learnt anew when two samples in a row disagree.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ops.adapters.prometheus_grid import JITTER_RATIO, LATE_RATIO

IntArray = npt.NDArray[np.int64]

_UNKNOWN = -1


class RowOffsets:
    """Offset of each column within the step, in milliseconds."""

    def __init__(self, step_ms: int) -> None:
        self.step_ms = step_ms
        self._offset = np.empty(0, dtype=np.int64)

    def add_columns(self, number: int) -> None:
        """Make room for that many further series."""
        more = np.full(number, _UNKNOWN, dtype=np.int64)
        self._offset = np.concatenate((self._offset, more))

    def keep(self, kept: IntArray) -> None:
        """Forget all columns but these."""
        self._offset = self._offset[kept]

    def rows(self, times_ms: IntArray, columns: IntArray) -> IntArray:
        """Row numbers (time / step) of samples, shape [M]; a series' samples rise in time."""
        if not len(times_ms):
            return np.empty(0, dtype=np.int64)
        unknown = self._offset == _UNKNOWN
        if unknown.any():
            self._take(times_ms, columns, unknown)
        row, away = self._placed(times_ms, columns)
        off = away > JITTER_RATIO * self.step_ms
        if off.any():
            num_off = np.bincount(columns[off], minlength=len(self._offset))
            num_all = np.bincount(columns, minlength=len(self._offset))
            moved = (num_off >= 2) & (num_off == num_all)
            if moved.any():
                self._take(times_ms, columns, moved)
                row, _ = self._placed(times_ms, columns)
        late = int(self.step_ms * LATE_RATIO)  # so much after its row a sample is still on time
        row += (self._offset > late)[columns]
        return row

    def _placed(self, times_ms: IntArray, columns: IntArray) -> tuple[IntArray, IntArray]:
        """Nearest multiple of the step on each column's offset, and how far a sample is from it."""
        since = times_ms - self._offset[columns] + self.step_ms // 2
        row = since // self.step_ms
        return row, np.abs(since - row * self.step_ms - self.step_ms // 2)

    def _take(self, times_ms: IntArray, columns: IntArray, chosen: npt.NDArray[np.bool_]) -> None:
        """Take the newest sample's offset for the chosen columns."""
        newest = np.full(len(chosen), _UNKNOWN, dtype=np.int64)
        newest[columns] = times_ms  # of several the last
        taken = chosen & (newest != _UNKNOWN)
        self._offset[taken] = newest[taken] % self.step_ms
