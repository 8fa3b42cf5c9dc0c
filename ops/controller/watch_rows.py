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
        self._offset = np.empty(0, dtype=np.int32)

    def add_columns(self, number: int) -> None:
        """Make room for that many further series."""
        more = np.full(number, _UNKNOWN, dtype=np.int32)
        self._offset = np.concatenate((self._offset, more))

    def keep(self, kept: IntArray) -> None:
        """Forget all columns but these."""
        self._offset = self._offset[kept]

    def rows(self, times_ms: IntArray, columns: IntArray) -> IntArray:
        """Row numbers (time / step) of samples, shape [M]; a series' samples rise in time."""
        if not len(times_ms):
            return np.empty(0, dtype=np.int64)
        self._learn(times_ms, columns)
        offset = self._offset[columns]
        late = int(self.step_ms * LATE_RATIO)  # so much after its row a sample is still on time
        found: IntArray = (times_ms - offset + self.step_ms // 2) // self.step_ms
        return found + (offset > late)

    def _learn(self, times_ms: IntArray, columns: IntArray) -> None:
        step, half = self.step_ms, self.step_ms // 2
        offset = self._offset[columns]
        away = np.abs((times_ms - offset + half) % step - half)
        off = (away > JITTER_RATIO * step) & (offset != _UNKNOWN)
        size = len(self._offset)
        num_off = np.bincount(columns[off], minlength=size)
        num_all = np.bincount(columns, minlength=size)
        moved = (num_off >= 2) & (num_off == num_all)
        anew = np.flatnonzero((offset == _UNKNOWN) | moved[columns])
        self._offset[columns[anew]] = times_ms[anew] % step  # of several the newest
