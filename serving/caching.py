"""An instance whose prompts skip what the prefix cache holds; `instance_of` makes the right kind.

Blocks are cached when their KV is computed and found by the chained ids of the request; output
tokens have no ids and are not cached.
"""

from __future__ import annotations

from typing import cast

from serving.instance import Instance
from serving.kvcache import CachingPool, block_keys
from serving.metrics import EngineMeters
from serving.policies.protocols import BatchPolicy, SequenceView
from serving.state import (
    BatchPlan,
    Completion,
    InstanceConfig,
    Phase,
    SequenceState,
    ceil_div,
)


def instance_of(config: InstanceConfig, policy: BatchPolicy, meters: EngineMeters) -> Instance:
    """The instance that a configuration asks for."""
    if config.prefix_cache:
        return CachingInstance(config, policy, meters)
    return Instance(config, policy)


class CachingInstance(Instance):
    """`Instance` over a `CachingPool`.

    Source: vLLM V1: a prompt starts at its first block that is not cached; at least one token is
    computed; queries and hits are counted in tokens, once a request, when it first runs.
    Differs: blocks become visible when computed, not when scheduled, so that two prompts which
    begin in one iteration do not share.
    """

    __slots__ = ("_caching_pool", "_keys", "_meters")

    def __init__(self, config: InstanceConfig, policy: BatchPolicy, meters: EngineMeters) -> None:
        super().__init__(config, policy)
        self.pool = self._caching_pool = CachingPool(config.num_blocks)
        self._meters = meters
        meters.has_prefix_cache = True
        self._keys: dict[
            int, list[int]
        ] = {}  # by seq_id, from the first look to the end of prefill

    def num_start_blocks(self, sequence: SequenceView) -> int:
        """Free KV blocks that a waiting sequence must find beside those that others hold."""
        own = cast("SequenceState", sequence)
        found = self._find(own)
        own.num_prefilled_tokens = len(found) * self.block_tokens
        return super().num_start_blocks(sequence) - self._caching_pool.num_held(found)

    def num_freed_blocks(self, sequence: SequenceView) -> int:
        """KV blocks that become free if a running sequence leaves: those that it alone holds."""
        table, num_refs = cast("SequenceState", sequence).block_table, self.pool.num_refs
        return self.num_held_blocks(sequence) - sum(num_refs(block_id) > 1 for block_id in table)

    def num_steps_ahead(self, plan: BatchPlan) -> int:
        """As without a cache, but chunks one at a time: what they cache may change the plan."""
        return 1 if plan.chunks else super().num_steps_ahead(plan)

    def complete(self, plan: BatchPlan, now_s: float, num_iterations: int = 1) -> Completion:
        """Cache the blocks that the chunks filled, then apply."""
        for seq_id, num_tokens in plan.chunks:
            sequence = self.running[seq_id]
            keys, before = self._keys_of(sequence), sequence.num_prefilled_tokens
            after = before + num_tokens * num_iterations
            part = slice(before // self.block_tokens, after // self.block_tokens)
            keys = keys[part]
            self._caching_pool.remember(sequence.block_table[part][: len(keys)], keys)
            if after == sequence.num_prefill_tokens:
                del self._keys[seq_id]
        return super().complete(plan, now_s, num_iterations)

    def abort(self, sequence: SequenceState) -> None:
        """Drop a sequence wherever it stands; what is computed stays cached."""
        super().abort(sequence)
        self._keys.pop(sequence.seq_id, None)

    def check_invariants(self) -> None:
        """Also: keys are kept only of who may need them."""
        super().check_invariants()
        waiting = {s.seq_id for s in self.waiting}
        assert self._keys.keys() <= waiting | {s.seq_id for s in self.prefilling}

    def _keys_of(self, sequence: SequenceState) -> list[int]:
        keys = self._keys.get(sequence.seq_id)
        if keys is None:
            request = sequence.request
            keys = []
            if request.prefix is not None:
                keys = block_keys(request.prefix, request.num_prompt_tokens, self.block_tokens)
            self._keys[sequence.seq_id] = keys
        return keys

    def _find(self, sequence: SequenceState) -> list[int]:
        # The last token is computed again even if it is cached: somebody must yield the next one.
        num_max = (sequence.num_prefill_tokens - 1) // self.block_tokens
        return self._caching_pool.find(self._keys_of(sequence), num_max)

    def _start_prefill(self, now_s: float) -> None:
        sequence = self.waiting.popleft()
        sequence.phase = Phase.PREFILL
        found = self._find(sequence)
        num_cached = len(found) * self.block_tokens
        # Nothing was evicted since the policy looked: it counted these blocks as taken.
        assert num_cached == sequence.num_prefilled_tokens, "the plan saw another cache"
        if sequence.scheduled_s < 0.0:
            sequence.scheduled_s = now_s
            self._meters.prefix_cache_queries += sequence.request.num_prompt_tokens
            self._meters.prefix_cache_hits += num_cached
        self._caching_pool.hold(found)
        num_blocks = ceil_div(sequence.num_prefill_tokens, self.block_tokens)
        sequence.block_table = found + self.pool.take(num_blocks - len(found))
        self.running[sequence.seq_id] = sequence
        self.prefilling.append(sequence)
