"""Keys of prompt blocks: equal keys mean equal tokens from the first one up to the block's end.

Keys are Python's 64-bit hashes of tuples of integers: the same in every process.
"""

from __future__ import annotations

from collections.abc import Iterable

from serving.state import Prefix


def chain_keys(ids: Iterable[int], *, start: int) -> list[int]:
    """One key per id, each a hash of the id and the key before it; `start` separates id spaces."""
    keys, key = [], hash((start,))
    for block_id in ids:
        key = hash((key, block_id))
        keys.append(key)
    return keys


def block_keys(prefix: Prefix, num_prompt_tokens: int, block_tokens: int) -> list[int]:
    """Keys of the full KV blocks of `block_tokens` tokens that a prompt fills.

    Source: vLLM V1, automatic prefix caching: hash of (parent's hash, the block's tokens).
    Differs: a trace's id stands for the tokens. An id of several KV blocks gives consecutive
    keys, a KV block that touches several ids is hashed with all of them, and a KV block is full
    where the prompt fills it, even if the id's own block is not.
    """
    per_id = prefix.block_tokens
    num_tokens = min(num_prompt_tokens, len(prefix.ids) * per_id)
    num_blocks = num_tokens // block_tokens
    if per_id % block_tokens == 0:
        num_per_id = per_id // block_tokens
        keys: list[int] = []
        for key in chain_keys(prefix.ids, start=per_id):
            keys.extend(range(key, key + num_per_id))
        del keys[num_blocks:]
        return keys
    ids = prefix.ids
    spans = (
        ids[at // per_id : -(-(at + block_tokens) // per_id)]
        for at in range(0, num_blocks * block_tokens, block_tokens)
    )
    return chain_keys(map(hash, spans), start=per_id)
