"""Prefix ids of sessions: which turns share what."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from serving.errors import ConfigError
from serving.workload import generate, replay_reuse, with_session_prefixes
from serving.workload.table import NO_SESSION


def rows_of(rows: list[tuple[int, int, int]]):
    """(session, prompt, output) each."""
    base = generate(seed=1, duration_s=60.0, rate_rps=5.0).take(np.arange(len(rows)))
    session, prompt, output = (np.array(column) for column in zip(*rows, strict=True))
    return replace(
        base,
        session_index=session.astype(np.int64),
        num_prompt_tokens=prompt.astype(np.int32),
        num_output_tokens=output.astype(np.int32),
        status=np.zeros(len(rows), dtype=np.uint8),
    )


def test_a_turn_begins_with_the_full_blocks_of_the_prompt_before() -> None:
    table = with_session_prefixes(rows_of([(0, 40, 5), (1, 40, 5), (0, 60, 5), (0, 66, 9)]))
    table.check()
    first, other, second, third = (table.prefix_of(row).tolist() for row in range(4))
    assert [len(ids) for ids in (first, second, third)] == [3, 4, 5]
    assert second[:2] == first[:2]
    assert second[2] != first[2], "the last block of the first prompt was not full"
    assert third[:3] == second[:3]
    assert not set(first) & set(other)


def test_a_history_that_was_cut_shares_nothing() -> None:
    table = with_session_prefixes(rows_of([(0, 64, 5), (0, 68, 5), (0, 80, 5)]))
    cut, after = table.prefix_of(1).tolist(), table.prefix_of(2).tolist()
    assert not set(cut) & set(table.prefix_of(0).tolist())
    assert after[:4] == cut[:4]


def test_rows_without_a_session_share_nothing() -> None:
    table = with_session_prefixes(rows_of([(0, 40, 5), (NO_SESSION, 80, 5), (NO_SESSION, 90, 5)]))
    assert replay_reuse(table).num_hits == 0


def test_generated_conversations_are_reused() -> None:
    table = generate(
        seed=3, duration_s=1200.0, rate_rps=2.0, failures=False, conversation_ratio=1.0
    )
    assert 0.05 < replay_reuse(with_session_prefixes(table)).token_hit_ratio < 0.95


def test_tables_that_cannot_or_need_not_be_given_ids_are_refused() -> None:
    table = rows_of([(0, 40, 5), (0, 60, 5)])
    with pytest.raises(ConfigError, match="ids already"):
        with_session_prefixes(with_session_prefixes(table))
    with pytest.raises(ConfigError, match="block_tokens is 0"):
        with_session_prefixes(table, block_tokens=0)
