"""How often prompt blocks are found in a cache: replay of a trace's prefix ids."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import numpy as np

from serving.errors import ConfigError
from serving.workload.table import RequestTable


@dataclass(frozen=True, slots=True, kw_only=True)
class Reuse:
    """What a cache of one size gave to the requests of one trace."""

    capacity_blocks: int | None  # None = infinite
    num_blocks: int
    num_hits: int
    hit_share_p50: float  # median over the requests with a block; NaN without one
    num_tokens: int
    num_hit_tokens: int  # of the blocks that hit; a partial last block has fewer

    @property
    def hit_ratio(self) -> float:
        """Hits over blocks; NaN without a block."""
        return self.num_hits / self.num_blocks if self.num_blocks else float("nan")

    @property
    def token_hit_ratio(self) -> float:
        """The same in tokens, as engines count; NaN without a token."""
        return self.num_hit_tokens / self.num_tokens if self.num_tokens else float("nan")


def replay_reuse(
    table: RequestTable, *, capacity_blocks: int | None = None, as_engine: bool = False
) -> Reuse:
    """Replay the requests in file order against one cache of blocks, least recently used out.

    A request hits as many blocks as lead its list and are present. Then all of its ids are
    touched or inserted in order, the last most recent, and the oldest leave down to capacity.

    With `as_engine` by the rules of an engine's cache instead: only full blocks are kept and
    found, the last token of a prompt is always computed, and of one prompt the end leaves first.

    Raises:
        ConfigError: the table has no prefix ids, or the capacity is below one block.

    Source: Mooncake (FAST 2025), prefix caching by block hash.
    Differs: one cache for all instances; a partial last block counts as a block, unless
    `as_engine`.
    """
    if not table.prefix_block_tokens:
        raise ConfigError(
            f"{table.trace_id}: the trace has no prefix ids (prefix_block_tokens is 0); "
            "give one that has, such as a mooncake or bailian file"
        )
    if capacity_blocks is not None and capacity_blocks < 1:
        raise ConfigError(f"capacity_blocks must be at least 1 or None, got {capacity_blocks}")
    cache: OrderedDict[int, None] = OrderedDict()
    touch, num_hits, num_hit_tokens = cache.move_to_end, 0, 0
    shares = []
    prompts, block_tokens = table.num_prompt_tokens.tolist(), table.prefix_block_tokens
    ids, offsets = table.prefix_ids.tolist(), table.prefix_offsets.tolist()
    for row in range(len(table)):
        blocks = ids[offsets[row] : offsets[row + 1]]
        kept, num_max = blocks, len(blocks)
        if as_engine:
            kept = blocks[: prompts[row] // block_tokens][::-1]
            num_max = (prompts[row] - 1) // block_tokens
        hits = next((k for k, block in enumerate(blocks) if block not in cache), len(blocks))
        hits = min(hits, num_max)
        for block in kept:
            cache[block] = None
            touch(block)
        if capacity_blocks is not None:
            while len(cache) > capacity_blocks:
                cache.popitem(last=False)
        num_hits += hits
        num_hit_tokens += min(hits * block_tokens, prompts[row])
        if blocks:
            shares.append(hits / len(blocks))
    return Reuse(
        capacity_blocks=capacity_blocks,
        num_blocks=len(ids),
        num_hits=num_hits,
        num_tokens=sum(prompts),
        num_hit_tokens=num_hit_tokens,
        hit_share_p50=float(np.median(shares)) if shares else float("nan"),
    )
