"""Prefix reuse: the replay rule on worked cases, and its invariants."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.errors import ConfigError
from serving.workload import RequestTable, generate, replay_reuse
from serving.workload.samples import sample_requests


def table_of(rows: list[list[int]]) -> RequestTable:
    base = sample_requests(np.random.default_rng(0), max(len(rows), 1), block_tokens=4)
    base = base.take(np.arange(len(rows)))
    return replace(
        base,
        num_prompt_tokens=np.array([4 * len(row) for row in rows], dtype=np.int32),
        prefix_ids=np.array([i for row in rows for i in row], dtype=np.int64),
        prefix_offsets=np.cumsum([0] + [len(row) for row in rows]),
    )


def test_only_leading_blocks_hit() -> None:
    reuse = replay_reuse(table_of([[1, 2, 3], [1, 2, 4], [9, 2, 3], [1, 2, 3, 5]]))
    assert (reuse.num_hits, reuse.num_blocks) == (2 + 0 + 3, 13)
    assert reuse.hit_share_p50 == pytest.approx((0 + 2 / 3) / 2)


def test_least_recently_used_leaves_after_the_request() -> None:
    rows = [[1, 2], [3], [1, 2], [4], [1, 2]]
    # Two blocks stay: [1,2] -> [2,3] -> 1 is gone, so nothing leads -> [1,2] -> [2,4] -> nothing.
    assert replay_reuse(table_of(rows), capacity_blocks=2).num_hits == 0
    assert replay_reuse(table_of(rows), capacity_blocks=3).num_hits == 4
    # A request larger than the cache still finds its own blocks when it comes again at once.
    assert replay_reuse(table_of([[1, 2, 3], [2, 3]]), capacity_blocks=2).num_hits == 2


@settings(max_examples=15, deadline=None)
@given(st.lists(st.lists(st.integers(0, 12), max_size=6), max_size=12), st.integers(1, 8))
def test_a_larger_cache_never_hits_less(rows: list[list[int]], capacity: int) -> None:
    table = table_of(rows)
    hits = [replay_reuse(table, capacity_blocks=c).num_hits for c in (capacity, capacity + 1, None)]
    assert hits == sorted(hits)


def test_outputs_do_not_matter_to_an_infinite_cache() -> None:
    table = sample_requests(np.random.default_rng(7), 200, block_tokens=16)
    other = replace(table, num_output_tokens=table.num_output_tokens[::-1].copy())
    assert replay_reuse(table) == replay_reuse(other)
    assert 0.0 < replay_reuse(table).hit_ratio < 1.0


def test_a_trace_without_ids_or_a_cache_without_room_is_refused() -> None:
    with pytest.raises(ConfigError, match="has no prefix ids"):
        replay_reuse(generate(seed=1, duration_s=30.0, rate_rps=1.0))
    with pytest.raises(ConfigError, match="at least 1 or None, got 0"):
        replay_reuse(table_of([[1]]), capacity_blocks=0)
    assert np.isnan(replay_reuse(table_of([])).hit_ratio)


def test_as_an_engine_partial_blocks_and_the_last_token_are_never_found() -> None:
    table = table_of([[1, 2], [1, 2], [1, 2, 3]])
    table.num_prompt_tokens[2] = 11
    assert replay_reuse(table).num_hits == 4
    engine = replay_reuse(table, as_engine=True)
    assert (engine.num_hits, engine.num_hit_tokens, engine.num_tokens) == (3, 12, 27)
    assert engine.token_hit_ratio == pytest.approx(12 / 27)


def test_as_an_engine_the_end_of_a_prompt_leaves_first() -> None:
    table = table_of([[1, 2], [3], [1, 2], [4], [1, 2, 5]])
    assert replay_reuse(table, capacity_blocks=2).num_hits == 0
    assert replay_reuse(table, capacity_blocks=2, as_engine=True).num_hits == 2
