"""The ring against plain float64 cells: whatever is written, a request or second is never lost."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ops.controller.metrics_watch.ring import OFF_MAX, WatchRing
from ops.controller.metrics_watch.rows import RowOffsets

ROWS = 8
values = st.one_of(
    st.integers(0, 50).map(float),
    st.sampled_from([0.0, 1e9, 1e9 + 1, 2.0**40, 2.0**53 - 1, 1_700_000_123.25, -5.0, np.nan]),
    st.floats(0, 1e6, allow_nan=False),
)
cells = st.lists(st.tuples(st.integers(0, ROWS + 1), st.integers(0, 5), values), max_size=12)
turns = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3), cells), max_size=10)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(turns)
def test_what_was_written_comes_back(turns):
    ring, plain, newest, columns = WatchRing(ROWS), {}, -1, []
    for opened, added, written in turns:
        ring.add_columns(added)
        columns += range(len(columns), len(columns) + added)
        newest = max(newest, 100) + opened
        ring.open_until(newest)
        for back, column, value in written:
            if column < ring.num_columns:
                row = newest - back
                ring.write(np.array([row]), np.array([column]), np.array([value]))
                if back < ROWS and np.isfinite(value):
                    plain[row, columns[column]] = value
        kept = ring.pack(keep=np.zeros(ring.num_columns, dtype=bool))
        if kept is not None:
            columns = [columns[int(c)] for c in kept]
            names = {old: new for new, old in enumerate(columns)}
            plain = {(r, names[c]): v for (r, c), v in plain.items() if c in names}
            columns = list(range(len(columns)))
    if newest < 0:
        return
    seen = ring.table(oldest=ring.oldest, newest=newest)
    expected = np.full((ROWS, ring.num_columns), np.nan)
    for (row, column), value in plain.items():
        if row >= ring.oldest:
            expected[row - ring.oldest, column] = value
    np.testing.assert_array_equal(np.isnan(seen), np.isnan(expected))
    assert np.nanmax(np.abs(seen - expected), initial=0.0) <= OFF_MAX


@settings(max_examples=30, deadline=None)
@given(
    offset_ms=st.integers(0, 4999),
    jitter=st.lists(st.integers(-400, 400), min_size=20, max_size=20),
    cuts=st.sets(st.integers(1, 19), max_size=6),
)
def test_a_target_with_jitter_has_one_sample_in_every_row(offset_ms, jitter, cuts):
    times = np.array([1_700_000_000_000 + 5000 * k + offset_ms + j for k, j in enumerate(jitter)])
    offsets, rows = RowOffsets(5000), []
    offsets.add_columns(1)
    for part in np.split(times, sorted(cuts)):
        rows += offsets.rows(part, np.zeros(len(part), dtype=np.int64)).tolist()
    steps = np.diff(rows)
    # Where the first sample is far from the middle, the offset is learnt anew once.
    assert (steps == 1).sum() >= 18
    assert np.abs(steps - 1).max() <= 1
