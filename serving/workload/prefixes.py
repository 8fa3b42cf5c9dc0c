"""Prefix ids of sessions: each turn begins with the whole prompt of the turn before it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from serving.errors import ConfigError
from serving.workload.table import NO_SESSION, RequestTable

BLOCK_TOKENS = 16  # tokens per id


def with_session_prefixes(table: RequestTable, *, block_tokens: int = BLOCK_TOKENS) -> RequestTable:
    """The same rows with prefix ids made from sessions and lengths.

    A prompt that is at least as long as prompt and output of the turn before repeats that prompt
    and shares the ids of its full blocks. A shorter one was cut: its history no longer begins
    where it began, so nothing is shared. Rows without a session share nothing.

    Raises:
        ConfigError: the table has prefix ids already, or no block size.
    """
    if table.prefix_block_tokens:
        raise ConfigError(f"{table.trace_id}: the rows have prefix ids already; keep those")
    if block_tokens < 1:
        raise ConfigError(f"block_tokens is {block_tokens}, expected at least 1")
    ids: list[int] = []
    offsets = [0]
    before: dict[int, tuple[int, int, list[int]]] = {}  # session -> tokens so far, prompt, ids
    next_id = 0
    for session, prompt, output in zip(
        table.session_index.tolist(),
        table.num_prompt_tokens.tolist(),
        table.num_output_tokens.tolist(),
        strict=True,
    ):
        shared: list[int] = []
        if session in before:
            num_tokens, num_prompt, own = before[session]
            if prompt >= num_tokens:
                shared = own[: num_prompt // block_tokens]
        num_new = -(-prompt // block_tokens) - len(shared)
        own = [*shared, *range(next_id, next_id + num_new)]
        next_id += num_new
        if session != NO_SESSION:
            before[session] = (prompt + output, prompt, own)
        ids += own
        offsets.append(len(ids))
    return replace(
        table,
        prefix_block_tokens=block_tokens,
        prefix_ids=np.array(ids, dtype=np.int64),
        prefix_offsets=np.array(offsets, dtype=np.int64),
    )
