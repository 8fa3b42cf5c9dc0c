"""Keys of prompt blocks: ids of other block sizes mapped onto KV blocks."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.kvcache import block_keys, chain_keys
from serving.state import Prefix


@pytest.mark.parametrize(("per_id", "block_tokens"), [(512, 16), (16, 16), (16, 32), (24, 16)])
def test_a_prompt_has_a_key_for_each_full_block(per_id: int, block_tokens: int) -> None:
    num_prompt = 3 * per_id + 5
    keys = block_keys(Prefix(per_id, (1, 2, 3, 4)), num_prompt, block_tokens)
    assert len(keys) == num_prompt // block_tokens
    assert len(set(keys)) == len(keys)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(0, 2), min_size=1, max_size=6),
    st.lists(st.integers(0, 2), min_size=1, max_size=6),
    st.sampled_from([(8, 4), (4, 4), (4, 8), (6, 4)]),
)
def test_keys_are_shared_as_far_as_the_ids_are(one, other, sizes) -> None:
    per_id, block_tokens = sizes
    keys, others = (
        block_keys(Prefix(per_id, tuple(ids)), per_id * len(ids), block_tokens)
        for ids in (one, other)
    )
    equal = [a == b for a, b in zip(one, other, strict=False)]
    num_equal = equal.index(False) if False in equal else len(equal)
    shared = [a == b for a, b in zip(keys, others, strict=False)]
    assert shared == [k < num_equal * per_id // block_tokens for k in range(len(shared))]


def test_id_spaces_do_not_meet() -> None:
    assert not set(chain_keys((1, 2), start=16)) & set(chain_keys((1, 2), start=512))


def test_a_prompt_with_too_few_ids_is_known_as_far_as_they_reach() -> None:
    assert len(block_keys(Prefix(8, (1,)), 100, 4)) == 2
