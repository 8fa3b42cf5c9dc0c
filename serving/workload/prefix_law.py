"""Prefix block ids: which requests continue which, measured from ids and drawn as ids again.

A request that begins with blocks of an earlier one, beyond the head that many share (a system
prompt), continues it. So ids tell sessions where a trace names none, and sessions give ids.

Source: Mooncake (FAST 2025), one id per block of prompt tokens, equal ids for equal prefixes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from serving.workload.laws import SHARES, PrefixLaw
from serving.workload.table import NO_SESSION, RequestTable

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

HEADS_MAX = 16  # groups of requests that begin alike
HEAD_SHARE_MIN = 0.01  # of the requests: rarer first blocks are no head
HEAD_AGREE = 0.5  # of a group's openers: a head goes as far as that many agree


def fit_prefixes(table: RequestTable) -> tuple[Ints, PrefixLaw]:
    """Session of each row, [n], those of the table where it names any; and the law of the ids."""
    heads = _heads(table)
    parent, shared = _parents(table, {first: length for first, _, length in heads})
    named = bool((table.session_index != NO_SESSION).any())
    session = table.session_index if named else _chains(parent)
    counts = np.diff(table.prefix_offsets)
    before = previous_rows(session)
    later = np.flatnonzero(before >= 0)
    if named:
        shared[later] = [_common(table, row, before[row]) for row in later.tolist()]
    lost = np.maximum(counts[before[later]] - shared[later], 0)
    return session, PrefixLaw(
        block_tokens=table.prefix_block_tokens,
        head_shares=tuple(round(share, 4) for _, share, _ in heads),
        head_blocks=tuple(length for _, _, length in heads),
        lost_blocks=tuple(np.round(np.quantile(lost, SHARES), 3).tolist()) if len(lost) else (),
    )


def draw_prefixes(
    law: PrefixLaw, session: Ints, num_prompt_tokens: NDArray[np.int32], rng: np.random.Generator
) -> tuple[Ints, Ints]:
    """Flat ids and offsets, as a `RequestTable` wants them, for rows in order of arrival.

    A session keeps its head; each turn begins with the blocks of the turn before but the last
    few, and new ones follow.
    """
    rows = len(session)
    counts = -(-num_prompt_tokens.astype(np.int64) // law.block_tokens)
    offsets = np.concatenate(([0], np.cumsum(counts)))
    before = previous_rows(session)
    edges = np.cumsum(law.head_shares)
    head = np.searchsorted(edges, rng.random(rows), side="right")  # len(edges) = none
    lost = np.zeros(rows, dtype=np.int64)
    if law.lost_blocks:
        lost = np.rint(np.interp(rng.random(rows), SHARES, law.lost_blocks)).astype(np.int64)
    head_blocks = np.array([*law.head_blocks, 0], dtype=np.int64)
    starts = np.concatenate(([0], np.cumsum(head_blocks)))
    ids = np.arange(offsets[-1]) + starts[-1]  # all new; what is shared is copied over it
    for row, (previous, lose) in enumerate(zip(before.tolist(), lost.tolist(), strict=True)):
        first, size = offsets[row], counts[row]
        if previous >= 0:
            head[row] = head[previous]
        blocks = min(size, head_blocks[head[row]])
        ids[first : first + blocks] = starts[head[row]] + np.arange(blocks)
        if previous >= 0:
            kept = min(size, counts[previous] - lose)
            if kept > blocks:
                ids[first : first + kept] = ids[offsets[previous] : offsets[previous] + kept]
    return ids, offsets


def previous_rows(session: Ints) -> Ints:
    """Row of the turn before, [n]; -1 for openers and rows without a session."""
    before = np.full(len(session), -1, dtype=np.int64)
    members = np.flatnonzero(session != NO_SESSION)
    order = members[np.argsort(session[members], kind="stable")]
    same = session[order[1:]] == session[order[:-1]]
    before[order[1:][same]] = order[:-1][same]
    return before


def _heads(table: RequestTable) -> list[tuple[int, float, int]]:
    """First block, share of the rows, blocks in common, of each large group; largest first."""
    counts = np.diff(table.prefix_offsets)
    rows = np.flatnonzero(counts > 0)
    firsts, at, sizes = np.unique(
        table.prefix_ids[table.prefix_offsets[rows]], return_inverse=True, return_counts=True
    )
    found = []
    for group in np.argsort(-sizes, kind="stable")[:HEADS_MAX].tolist():
        share = float(sizes[group]) / len(table)
        if share < HEAD_SHARE_MIN:
            break
        members = rows[at == group]
        found.append((int(firsts[group]), share, _head_blocks(table, members, counts)))
    return found


def _head_blocks(table: RequestTable, members: Ints, counts: Ints) -> int:
    """Blocks that begin HEAD_AGREE of the members alike."""
    length = 1
    while True:
        long = members[counts[members] > length]
        if not len(long):
            return length
        ids = table.prefix_ids[table.prefix_offsets[long] + length]
        if np.unique(ids, return_counts=True)[1].max() < HEAD_AGREE * len(members):
            return length
        length += 1


def _parents(table: RequestTable, heads: dict[int, int]) -> tuple[Ints, Ints]:
    """Row that each one continues, -1 for none, and the blocks they share, [n] each."""
    parent = np.full(len(table), -1, dtype=np.int64)
    shared = np.zeros(len(table), dtype=np.int64)
    seen: dict[int, int] = {}  # block -> the latest row that held it
    ids, offsets = table.prefix_ids.tolist(), table.prefix_offsets.tolist()
    for row in range(len(table)):
        blocks = ids[offsets[row] : offsets[row + 1]]
        hits = next((k for k, block in enumerate(blocks) if block not in seen), len(blocks))
        shared[row] = hits
        if hits > (heads.get(blocks[0], 0) if blocks else 0):
            parent[row] = seen[blocks[hits - 1]]
        for block in blocks:
            seen[block] = row
    return parent, shared


def _chains(parent: Ints) -> Ints:
    """Sessions: a row joins that of the row it continues, if it is the first to do so."""
    session, continued, num_sessions = np.zeros(len(parent), dtype=np.int64), set(), 0
    for row, before in enumerate(parent.tolist()):
        if before >= 0 and before not in continued:
            continued.add(before)
            session[row] = session[before]
        else:
            session[row] = num_sessions
            num_sessions += 1
    return session


def _common(table: RequestTable, row: int, before: int) -> int:
    a, b = table.prefix_of(row), table.prefix_of(before)
    size = min(len(a), len(b))
    differ = np.flatnonzero(a[:size] != b[:size])
    return int(differ[0]) if len(differ) else size
