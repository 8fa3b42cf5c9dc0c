"""Block ids tell sessions and are drawn again with the same reuse."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from serving.workload import Kind, Origin, RequestTable, Status, replay_reuse
from serving.workload.fidelity import compare
from serving.workload.fit import fit
from serving.workload.law_file import encode_law, parse_law
from serving.workload.laws import SHARES, PrefixLaw
from serving.workload.prefix_law import draw_prefixes, fit_prefixes, previous_rows
from serving.workload.resample import resample

BLOCK = 512


def conversations(seed=1, *, sessions=1500, head=2) -> RequestTable:
    """Sessions of one to four turns, every prompt the one before and five blocks more."""
    rng = np.random.default_rng(seed)
    at_s, rows, fresh = [], [], head
    for start_s in np.sort(rng.uniform(0, 3000, sessions)):
        blocks = list(range(head))
        for _ in range(rng.integers(1, 5)):
            blocks = [*blocks, *range(fresh, fresh + 5)]
            fresh += 5
            at_s.append(start_s)
            rows.append(blocks)
            start_s += rng.exponential(60.0)
    order = np.argsort(at_s, kind="stable")
    rows = [rows[k] for k in order]
    num = len(rows)
    return RequestTable(
        trace_id="t",
        arrival_s=np.array(at_s)[order],
        num_prompt_tokens=np.array([len(r) * BLOCK for r in rows], dtype=np.int32),
        num_output_tokens=np.full(num, 10, dtype=np.int32),
        kind=np.full(num, Kind.CONVERSATION, dtype=np.uint8),
        model=np.zeros(num, dtype=np.uint8),
        models=("m",),
        status=np.full(num, Status.OK, dtype=np.uint8),
        session_index=np.full(num, -1),
        e2e_s=np.full(num, np.nan, dtype=np.float32),
        prefix_block_tokens=BLOCK,
        prefix_ids=np.concatenate(rows),
        prefix_offsets=np.concatenate(([0], np.cumsum([len(r) for r in rows]))),
        origin=Origin.GENERATED,
    )


SOURCE = conversations()


def test_sessions_are_told_by_their_blocks() -> None:
    session, law = fit_prefixes(SOURCE)
    assert len(np.unique(session)) == 1500
    assert law.head_shares == (1.0,)
    assert law.head_blocks == (2,)
    assert max(law.lost_blocks) == 0.0


@pytest.mark.parametrize("capacity", [None, 500, 3000])
def test_a_cache_hits_as_often(capacity) -> None:
    drawn = resample(fit(SOURCE), seed=1)
    drawn.check()
    hits = [replay_reuse(t, capacity_blocks=capacity).hit_ratio for t in (SOURCE, drawn)]
    assert hits[1] == pytest.approx(hits[0], abs=0.05)
    assert hits[0] > 0.05


def test_a_turn_keeps_the_blocks_before_it_and_adds_its_own() -> None:
    _, law = fit_prefixes(SOURCE)
    session = np.array([0, 1, 0, -1])
    tokens = np.array([5, 5, 9, 3], dtype=np.int32) * BLOCK - 3
    ids, offsets = draw_prefixes(law, session, tokens, np.random.default_rng(1))
    rows = [ids[a:b].tolist() for a, b in itertools.pairwise(offsets)]
    assert rows[2][:5] == rows[0]
    assert not set(rows[2][5:]) & set(rows[1] + rows[0])
    assert set(rows[0]) & set(rows[1]) == set(rows[0][:2])
    assert rows[3][:2] == rows[0][:2]


def test_a_later_turn_lacks_the_last_blocks_of_the_one_before() -> None:
    law = PrefixLaw(
        block_tokens=BLOCK, head_shares=(), head_blocks=(), lost_blocks=(2.0,) * len(SHARES)
    )
    tokens = np.array([5, 9], dtype=np.int32) * BLOCK
    ids, offsets = draw_prefixes(law, np.array([0, 0]), tokens, np.random.default_rng(1))
    first, second = (ids[a:b].tolist() for a, b in itertools.pairwise(offsets))
    assert second[:3] == first[:3]
    assert not set(second[3:]) & set(first)


def test_named_sessions_are_kept() -> None:
    source = conversations(2, sessions=100)
    source.session_index = np.arange(len(source)) % 7
    session, _ = fit_prefixes(source)
    assert np.array_equal(session, source.session_index)


def test_previous_rows() -> None:
    assert previous_rows(np.array([3, -1, 3, 0, 3])).tolist() == [-1, -1, 0, -1, 2]


def test_the_file_keeps_the_law_and_the_comparison_tells_reuse() -> None:
    law = fit(SOURCE)
    assert parse_law(encode_law(law), source="x") == law
    aspects = {a.name: a for a in compare(SOURCE, resample(law, seed=2))}
    assert aspects["prefix hits"].figure < 0.05
