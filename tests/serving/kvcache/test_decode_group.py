from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from serving.kvcache import DecodeGroup
from serving.state import Request, SequenceState

BLOCK_TOKENS = 4
members = st.lists(st.tuples(st.integers(1, 30), st.integers(1, 25)), min_size=1, max_size=6)


def sequence(seq_id: int) -> SequenceState:
    request = Request(request_id=seq_id, arrival_s=0.0, num_prompt_tokens=1, num_output_tokens=1000)
    return SequenceState(request, seq_id, 1)


def group_of(contexts_and_ends: list[tuple[int, int]], start: int) -> DecodeGroup:
    group = DecodeGroup(BLOCK_TOKENS)
    group.advance(start)
    for seq_id, (num_context, num_left) in enumerate(contexts_and_ends):
        group.join(sequence(seq_id), num_context=num_context, num_left=num_left)
    return group


def blocks_one_by_one(contexts: list[int], num_steps: int) -> list[int]:
    """Blocks that each of the next steps takes, by looking at every sequence."""
    return [
        sum((context + step) % BLOCK_TOKENS == 0 for context in contexts)
        for step in range(num_steps)
    ]


@settings(max_examples=20, deadline=None)
@given(members, st.integers(0, 9), st.integers(0, 20))
def test_blocks_ahead_equal_a_count_over_every_sequence(
    contexts_and_ends: list[tuple[int, int]], start: int, num_steps: int
) -> None:
    group = group_of(contexts_and_ends, start)
    by_step = blocks_one_by_one([context for context, _ in contexts_and_ends], num_steps + 1)
    assert group.num_blocks_ahead(num_steps) == sum(by_step[:num_steps])
    assert group.num_blocks_needed == by_step[0]
    assert group.context_sum == sum(context for context, _ in contexts_and_ends)


@settings(max_examples=20, deadline=None)
@given(members, st.integers(0, 9), st.integers(0, 12))
def test_steps_ahead_stop_at_the_first_end_or_before_blocks_run_short(
    contexts_and_ends: list[tuple[int, int]], start: int, num_free: int
) -> None:
    group = group_of(contexts_and_ends, start)
    first_end = min(num_left for _, num_left in contexts_and_ends)
    by_step = blocks_one_by_one([context for context, _ in contexts_and_ends], first_end)
    fitting = [n for n in range(first_end + 1) if sum(by_step[:n]) <= num_free]
    assert group.num_steps_ahead(num_free) == max(1, max(fitting))


def test_a_sequence_that_left_does_not_end() -> None:
    group = DecodeGroup(BLOCK_TOKENS)
    gone, stays = sequence(0), sequence(1)
    group.join(gone, num_context=5, num_left=2)
    group.join(stays, num_context=5, num_left=3)
    group.leave(gone)
    assert group.num_steps_ahead(100) == 3
    group.advance(3)
    assert group.next_ended() is stays
    group.leave(stays)
    assert group.next_ended() is None


def test_a_sequence_that_came_back_ends_once_at_its_new_end() -> None:
    group = DecodeGroup(BLOCK_TOKENS)
    back = sequence(0)
    group.join(back, num_context=5, num_left=2)
    group.leave(back)
    group.join(back, num_context=5, num_left=2)
    group.advance(2)
    assert group.next_ended() is back
    group.leave(back)
    assert group.next_ended() is None
