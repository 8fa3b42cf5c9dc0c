"""How much later than usual rows are shown, because samples keep coming after their row."""

from __future__ import annotations

HOLD_ROWS_MAX = 3
LATE_READINGS = 3  # with late samples and none on time between, before rows are shown later
TIMELY_READINGS = 120  # without a late sample, before rows are shown earlier again


class LateRows:
    """Counts late and timely readings.

    What the loop counts once it does not look at again: a series that is always late would not be
    counted at all.

    Attributes:
        rows: by so many rows what is shown lags behind.
    """

    def __init__(self) -> None:
        self.rows = 0
        self._late = self._timely = 0

    def note(self, *, late: bool, progress: bool) -> None:
        """Learn from one reading: had it samples of rows that were shown, was it news at all."""
        if late:
            self._late, self._timely = self._late + 1, 0
        elif progress:
            self._late, self._timely = 0, self._timely + 1
        if self._late >= LATE_READINGS and self.rows < HOLD_ROWS_MAX:
            self.rows, self._late = self.rows + 1, 0
        if self._timely >= TIMELY_READINGS and self.rows:
            self.rows, self._timely = self.rows - 1, 0  # tried again
