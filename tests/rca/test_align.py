"""Counters become rates, rows are cleaned, windows are cut."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rca.align import align, block_sums, clean_rows, cut_windows, increases
from rca.state import (
    Direction,
    Entity,
    EntityKind,
    MetricFrame,
    MetricKind,
    MetricRole,
    ResourceClass,
    Series,
)


def test_a_fall_of_a_counter_is_a_restart_not_negative_work():
    growth, rate = increases(np.array([0.0, 5.0, 10.0]), np.array([[10.0], [20.0], [4.0]]))
    assert growth[1:, 0].tolist() == [10.0, 4.0]
    assert rate[1:, 0].tolist() == [2.0, 0.8]


def test_the_first_sample_and_missing_ones_stay_missing():
    growth, _ = increases(np.arange(4) * 5.0, np.array([[np.nan], [7.0], [np.nan], [9.0]]))
    assert np.isnan(growth[:3, 0]).all()
    assert growth[3, 0] == 2.0


def test_growth_over_a_gap_is_spread_over_its_length():
    _, rate = increases(np.array([0.0, 5.0, 10.0]), np.array([[0.0], [np.nan], [20.0]]))
    assert rate[2, 0] == 2.0


@settings(max_examples=25, deadline=None)
@given(st.lists(st.one_of(st.floats(0, 100), st.just(np.nan)), min_size=1, max_size=30))
def test_growth_is_never_negative_and_sums_to_the_counter(steps):
    values = np.nancumsum(steps)
    values[np.isnan(steps)] = np.nan
    growth, _ = increases(np.arange(len(steps)) * 5.0, values[:, None])
    assert not (growth < 0).any()
    seen = values[np.isfinite(values)]
    if len(seen) > 1:
        assert np.nansum(growth) == pytest.approx(seen[-1] - seen[0])


def test_rows_are_sorted_cut_at_now_and_merged_by_stamp():
    times = np.array([5.0, 0.0, 5.0, 99.0])
    values = np.array([[1.0, np.nan], [0.0, 0.0], [np.nan, 2.0], [9.0, 9.0]])
    clean_times, clean = clean_rows(times, values, now_s=50.0)
    assert clean_times.tolist() == [0.0, 5.0]
    assert clean.tolist() == [[0.0, 0.0], [1.0, 2.0]]


def test_blocks_have_the_length_of_the_fault_window_and_keep_off_the_guard_rows():
    times = np.arange(100) * 5.0
    windows = cut_windows(times, 450.0)
    assert windows is not None
    assert (windows.normal_end, windows.fault_start) == (88, 90)
    marked = np.zeros((100, 1))
    marked[88:90] = 1e6  # guard rows
    sums, counts = block_sums(marked, windows)
    assert sums.max() == 0.0
    assert set(counts[:, 0]) == {10.0}


def test_missing_everywhere_is_missing_in_the_sum():
    windows = cut_windows(np.arange(40) * 5.0, 180.0)
    assert windows is not None
    sums, _ = block_sums(np.full((40, 1), np.nan), windows)
    assert np.isnan(sums).all()


def test_too_few_rows_give_no_windows():
    times = np.arange(20) * 5.0
    assert cut_windows(times, 95.0) is None
    assert cut_windows(times, 30.0) is None


def test_a_counter_that_a_running_pod_shows_first_now_grew_from_zero():
    def series(pod, code):
        return Series("calls_total", (("code", code), ("pod", pod)))

    link = Entity(EntityKind.LINK, "r", "a->b")
    role = MetricRole(role="edge_errors", entity=link, kind=MetricKind.ERRORS,
                      resource=ResourceClass.CODE, bad=Direction.UP, counter=True)  # fmt: skip
    nan = np.nan
    values = np.array([[5.0, nan, nan], [6.0, nan, nan], [7.0, 4.0, 9.0], [8.0, 6.0, 9.0]])
    frame = MetricFrame(
        times_s=np.arange(4) * 5.0, values=values.copy(), step_s=5.0, roles=(role,) * 3,
        series=(series("p", "200"), series("p", "503"), series("new", "503")),
    )  # fmt: skip
    aligned = align(frame, now_s=15.0)
    assert aligned.increases[2:, 1].tolist() == [4.0, 2.0]
    assert np.isnan(aligned.increases[2, 2])  # a pod that nobody saw before has no past
    assert np.array_equal(frame.values, values, equal_nan=True)
