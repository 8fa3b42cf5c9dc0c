"""Samples with times of their own -> rows of a grid. Pure.

Every target is scraped at its own offset within the interval. A sample belongs to the row that
ends its step, never to an earlier one: a row must not show what was not known yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ops.adapters.prometheus_answers import Answer, RawAnswer
from rca.state import FloatArray

IntArray = npt.NDArray[np.int64]

LATE_RATIO = 0.01  # of a step: so much after its row a sample is still on time
JITTER_RATIO = 0.1  # of a step: offsets within it are one offset and its jitter
_DISTANCES_MAX = 100_000  # looked at per answer
_NONE = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class Grid:
    """Rows from `start_ms` to `end_ms`, both unix milliseconds; step 0 = not known yet."""

    start_ms: int
    end_ms: int
    step_ms: int

    @property
    def num_rows(self) -> int:
        """Rows, the first at `start_ms`."""
        return (self.end_ms - self.start_ms) // self.step_ms + 1

    def times_s(self) -> FloatArray:
        """Times of the rows in unix seconds, shape [num_rows]."""
        return (self.start_ms + self.step_ms * np.arange(self.num_rows)) / 1000.0


def interval_ms(answers: Sequence[Answer | RawAnswer]) -> int:
    """Median distance between two samples of a series; 0 where no series has two."""
    found = []
    for answer in answers:
        distances = np.diff(answer.times_s[:_DISTANCES_MAX])
        first = np.cumsum(answer.counts)[:-1] - 1  # between two series
        distances[first[first < len(distances)]] = 0.0
        found.append(distances[distances > 0.0])
    distances = np.concatenate(found) if found else np.empty(0)
    if not len(distances):
        return 0
    median_ms = float(np.median(distances)) * 1000.0
    whole_ms = round(median_ms / 1000.0) * 1000
    # Jitter of a few milliseconds does not make 15.003 s of 15 s.
    return whole_ms if abs(whole_ms - median_ms) < 0.02 * median_ms else round(median_ms)


def fill(
    grid: Grid, answers: Sequence[Answer], columns: Sequence[npt.NDArray[np.intp]], num_columns: int
) -> FloatArray:
    """Put samples into cells; of several in one cell the latest counts.

    Args:
        columns: per answer the column of each of its series, -1 = left out.

    Returns:
        Values [num_rows, num_columns], NaN where nothing was scraped.
    """
    stamps = [_since_start(grid, answer) for answer in answers]
    shift = _shifts(grid, answers, stamps, columns, num_columns)
    values = np.full((grid.num_rows, num_columns), np.nan)
    for answer, since, column in zip(answers, stamps, columns, strict=True):
        per_sample = np.repeat(column, answer.counts)
        row = (since + shift[per_sample]) // grid.step_ms
        kept = np.flatnonzero((row >= 0) & (row < grid.num_rows) & (per_sample >= 0))
        if _unsorted(answer, since):
            kept = kept[np.argsort(since[kept], kind="stable")]
        values[row[kept], per_sample[kept]] = answer.values[kept]
    return values


def _since_start(grid: Grid, answer: Answer) -> IntArray:
    return np.rint(answer.times_s * 1000.0).astype(np.int64) - grid.start_ms


def _shifts(
    grid: Grid,
    answers: Sequence[Answer],
    stamps: Sequence[IntArray],
    columns: Sequence[npt.NDArray[np.intp]],
    num_columns: int,
) -> IntArray:
    """What to add to a time before division by the step, per column, shape [num_columns].

    A target's offset in the step is the middle of what was seen of it, so that jitter never
    moves a sample into the next row and leaves its own one empty. Where no offset is seen, the
    step in which a sample lies decides.
    """
    step, half = grid.step_ms, grid.step_ms // 2
    late = int(step * LATE_RATIO)
    shift = np.full(num_columns + 1, step - 1 - late, dtype=np.int64)  # last: series left out
    decided = np.zeros(num_columns + 1, dtype=bool)
    for turn in (0, half):  # offsets around zero are close together only when turned
        low = np.full(num_columns + 1, _NONE)
        high = np.full(num_columns + 1, -1)
        for answer, since, column in zip(answers, stamps, columns, strict=True):
            if len(column):
                first = np.cumsum(answer.counts) - answer.counts
                offset = (since + turn) % step
                np.minimum.at(low, column, np.minimum.reduceat(offset, first))
                np.maximum.at(high, column, np.maximum.reduceat(offset, first))
        close = (high >= 0) & (high - low <= JITTER_RATIO * step) & ~decided
        middle = (low[close] + high[close]) // 2 - turn
        shift[close] = half - middle + np.where(middle > late, step, 0)
        decided |= close
        if decided[:num_columns].all():
            break
    return shift


def _unsorted(answer: Answer, since: IntArray) -> bool:
    falls = np.flatnonzero(np.diff(since) < 0) + 1
    return not bool(np.isin(falls, np.cumsum(answer.counts)).all())
