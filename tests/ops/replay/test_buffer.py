"""The columnar buffer: any order of writes and renewals shows what was written, and only that."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ops.replay.buffer import FrameBuffer
from rca.state import MetricFrame, Series


def named(number: int) -> Series:
    return Series("m", (("i", str(number)),))


def put(buffer: FrameBuffer, samples: dict[int, float]) -> None:
    columns = np.array([buffer.column(named(i), None) for i in samples], dtype=np.intp)
    buffer.write(columns, list(samples.values()))


def shown(frame: MetricFrame) -> dict[tuple[float, str], float]:
    """Samples that are present, by time and series."""
    frame.check()
    return {
        (float(frame.times_s[t]), frame.series[n].label("i")): float(frame.values[t, n])
        for t, n in zip(*np.nonzero(~np.isnan(frame.values)), strict=True)
    }


@settings(max_examples=25, deadline=None)
@given(
    rows=st.lists(
        st.dictionaries(st.integers(0, 9), st.floats(allow_nan=False), max_size=4), max_size=30
    ),
    rows_min=st.integers(1, 6),
    window=st.integers(1, 6),
)
def test_a_window_shows_exactly_what_was_written(
    rows: list[dict[int, float]], rows_min: int, window: int
) -> None:
    buffer = FrameBuffer(rows_min=rows_min, step_s=5.0, origin_s=100.0)
    for row, samples in enumerate(rows):
        assert buffer.open_row() == row
        put(buffer, samples)
        first = row - min(window, rows_min) + 1
        expected = {
            (100.0 + 5.0 * r, str(i)): value
            for r in range(max(first, 0), row + 1)
            for i, value in rows[r].items()
        }
        assert shown(buffer.frame(max(first, 0), row)) == expected


def test_a_frame_stays_true_after_later_rows_columns_and_renewals() -> None:
    buffer = FrameBuffer(rows_min=4, step_s=1.0)
    buffer.open_row()
    put(buffer, {0: 1.5, 1: 2.5})
    frame = buffer.frame(0, 0)
    before = shown(frame)
    for row in range(1, 40):
        buffer.open_row()
        put(buffer, dict.fromkeys(range(10 * row), float(row)))
    assert shown(frame) == before
    with pytest.raises(ValueError, match="read-only"):
        frame.values[0, 0] = 9.0


def test_values_are_shared_not_copied() -> None:
    buffer = FrameBuffer(rows_min=4, step_s=1.0)
    buffer.open_row()
    put(buffer, {0: 1.0})
    assert np.shares_memory(buffer.frame(0, 0).values, buffer.frame(0, 0).values)


def test_an_older_last_row_hides_series_that_came_later() -> None:
    buffer = FrameBuffer(rows_min=4, step_s=1.0)
    for row in range(3):
        buffer.open_row()
        put(buffer, dict.fromkeys(range(row + 1), 1.0))
    assert [len(buffer.frame(0, last).series) for last in range(3)] == [1, 2, 3]


def test_an_older_last_row_hides_later_series_after_a_renewal_too() -> None:
    buffer = FrameBuffer(rows_min=3, step_s=1.0)
    for row in range(6):
        buffer.open_row()
        # Series 0 ends early and is dropped by the renewal; series `row` begins with its row.
        put(buffer, {0: 1.0, row: 1.0} if row < 2 else {1: 1.0, row: 1.0})
    buffer.open_row()
    assert buffer.epoch == 1
    assert buffer.frame(0, 4).series == (named(1), named(3), named(4))
    assert buffer.frame(0, 5).series == (named(1), named(3), named(4), named(5))


def test_generation_changes_exactly_when_the_series_do() -> None:
    buffer = FrameBuffer(rows_min=3, step_s=1.0)
    seen: dict[int, tuple[Series, ...]] = {}
    for row in range(30):
        buffer.open_row()
        put(buffer, {row // 10: 1.0})
        frame = buffer.frame(row - 2, row)
        assert seen.setdefault(frame.generation, frame.series) == frame.series
    # Three series came one by one, and two were dropped once they were gone for a window.
    assert len(seen) == 5
    assert frame.series == (named(2),)


def test_series_that_are_gone_for_a_window_do_not_pile_up() -> None:
    buffer = FrameBuffer(rows_min=5, step_s=1.0)
    for row in range(1000):
        buffer.open_row()
        put(buffer, {row: 1.0})
    assert buffer.num_columns <= 10
    assert buffer.epoch > 50


def test_a_counter_keeps_its_precision() -> None:
    buffer = FrameBuffer(rows_min=2, step_s=1.0)
    buffer.open_row()
    put(buffer, {0: 2.0**40 + 1.0})
    assert buffer.frame(0, 0).values[0, 0] == 2.0**40 + 1.0


def test_an_empty_window_is_an_empty_frame() -> None:
    buffer = FrameBuffer(rows_min=2, step_s=1.0)
    frame = buffer.frame(0, -1)
    frame.check()
    assert frame.values.shape == (0, 0)
    assert math.isclose(frame.step_s, 1.0)
