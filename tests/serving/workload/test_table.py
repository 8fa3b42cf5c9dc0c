"""The requests table: selection, scaling, invariants."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.errors import TraceFormatError
from serving.workload import Kind, RequestTable, Status


def table_of(stamps: list[float], prefix: list[list[int]] | None = None) -> RequestTable:
    rows = len(stamps)
    ids = [i for row in prefix or [] for i in row]
    ends = np.cumsum([0] + [len(row) for row in prefix or []])
    return RequestTable(
        trace_id="t",
        arrival_s=np.array(stamps, dtype=np.float64),
        num_prompt_tokens=np.array(
            [4 * len(row) for row in prefix] if prefix else range(rows), dtype=np.int32
        ),
        num_output_tokens=np.arange(rows, dtype=np.int32),
        kind=np.full(rows, Kind.API, dtype=np.uint8),
        model=np.zeros(rows, dtype=np.uint8),
        models=("m",),
        status=np.full(rows, Status.OK, dtype=np.uint8),
        session_index=np.full(rows, -1, dtype=np.int64),
        e2e_s=np.full(rows, np.nan, dtype=np.float32),
        prefix_block_tokens=4 if prefix else 0,
        prefix_ids=np.array(ids, dtype=np.int64),
        prefix_offsets=ends.astype(np.int64) if prefix else np.zeros(0, dtype=np.int64),
    )


def test_window_holds_its_start_and_not_its_end() -> None:
    table = table_of([0.0, 1.0, 1.0, 2.0, 3.0])
    assert table.window(1.0, 3.0).num_output_tokens.tolist() == [1, 2, 3]
    assert len(table.window(5.0, 9.0)) == len(table.window(2.0, 1.0)) == 0


def test_window_carries_the_prefix_ids_of_its_rows() -> None:
    prefix = [[1], [2, 3], [], [4, 5, 6]]
    part = table_of([0.0, 1.0, 2.0, 3.0], prefix).window(1.0, 9.0)
    part.check()
    assert [part.prefix_of(row).tolist() for row in range(3)] == prefix[1:]


def test_take_accepts_a_mask_and_an_order() -> None:
    table = table_of([0.0, 1.0, 2.0], [[1], [2, 3], [4]])
    assert table.take(np.array([True, False, True])).prefix_ids.tolist() == [1, 4]
    assert table.take(np.array([2, 1])).prefix_ids.tolist() == [4, 2, 3]


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.floats(0, 1e6), max_size=30).map(sorted),
    st.floats(1e-3, 1e3),
)
def test_scaling_divides_stamps_and_touches_nothing_else(stamps: list[float], ratio: float) -> None:
    table = table_of(stamps)
    scaled = table.scaled(ratio)
    scaled.check()
    np.testing.assert_array_equal(scaled.arrival_s, table.arrival_s / ratio)
    assert scaled.num_prompt_tokens is table.num_prompt_tokens
    assert len(scaled) == len(table)


@pytest.mark.parametrize("ratio", [0.0, -1.0, float("nan"), float("inf")])
def test_scaling_by_no_rate_is_refused(ratio: float) -> None:
    with pytest.raises(ValueError, match="rate_ratio"):
        table_of([0.0]).scaled(ratio)


def cell(column: str, value: float):
    def change(table: RequestTable) -> RequestTable:
        cells = getattr(table, column).copy()
        cells[1] = value
        return replace(table, **{column: cells})

    return change


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (cell("arrival_s", float("nan")), "row 1: 'arrival_s' is nan"),
        (cell("arrival_s", 9.0), "row 2: 'arrival_s' is 2.0, expected sorted"),
        (cell("arrival_s", -1.0), "row 1: 'arrival_s' is -1.0"),
        (cell("num_prompt_tokens", -1), "row 1: 'num_prompt_tokens' is -1"),
        (cell("num_output_tokens", -1), "row 1: 'num_output_tokens' is -1"),
        (cell("kind", 5), "'kind' is 5"),
        (cell("status", 4), "'status' is 4"),
        (cell("status", Status.FAILED), "expected 0 where the request failed"),
        (cell("model", 1), "'model' is 1"),
        (cell("session_index", -2), "'session_index' is -2"),
        (cell("e2e_s", -1.0), "'e2e_s' is -1.0"),
        (cell("num_prompt_tokens", 9), "as many blocks as the row has prefix ids"),
        (lambda t: replace(t, prefix_offsets=t.prefix_offsets[:-1]), "prefix offsets"),
        (lambda t: replace(t, prefix_block_tokens=0), "prefix offsets"),
        (lambda t: replace(t, model=t.model[:2]), "'model' has shape (2,)"),
    ],
)
def test_broken_invariant_is_named(change, says: str) -> None:
    table = table_of([0.0, 1.0, 2.0], [[1], [2, 3], [4]])
    table.check()
    with pytest.raises(TraceFormatError) as caught:
        change(table).check()
    assert says in str(caught.value)


def test_empty_table_is_whole() -> None:
    table = table_of([])
    table.check()
    assert len(table.scaled(2.0).window(0.0, 1.0)) == 0
