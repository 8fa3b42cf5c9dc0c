"""What an express lane runs next: the rules of `ChunkedPrefill` and of admission on numbers."""

from __future__ import annotations

from serving.sim.express_blocks import num_free_beside_decodes, preempt, steps_with_blocks
from serving.sim.express_lane import IDLE, NO_CHUNKS, Chunks, Lane


def begin(lane: Lane, now_s: float, *, admits: bool = True) -> float:
    """Plan and start a segment: its end, or 0 when nothing can run.

    Without `admits` prompts wait, and decodes run for one iteration.
    """
    num, block_tokens = lane.num_decoding, lane.block_tokens
    # Blocks free beside one more for each decode: a lower bound, exact where it is short.
    context = lane.base_sum + lane.step * num
    num_free = lane.num_blocks - lane.prefill_blocks - num
    num_free -= (context + (block_tokens - 1) * num) // block_tokens
    is_scarce = num_free < 0 < num
    if is_scarce:
        num_free = num_free_beside_decodes(lane)
        if num_free < 0:
            return _begin_short(lane, now_s)
    if admits and (lane.waiting or lane.prefilling):
        chunks = _plan_chunks(lane, num_free)
        if chunks:
            return _start_mixed(lane, now_s, chunks)
    if not num:
        lane.order = IDLE
        return 0.0
    steps = lane.ends[0][0] - lane.step if admits else 1
    if is_scarce or num * (steps // block_tokens) > num_free:
        steps = steps_with_blocks(lane, steps)
    times = lane.times
    lane.chunks = NO_CHUNKS
    lane.tail_s = 0.0
    lane.is_full = num >= lane.sequences_max
    lane.steps = steps
    lane.start_s = now_s
    lane.first_s = first_s = times.decode_s[num] + context * times.context_s
    lane.slope_s = slope_s = times.decode_slope_s[num]
    lane.order = next(lane.orders)
    return now_s + steps * first_s + slope_s * (steps * (steps - 1) / 2)


def _plan_chunks(lane: Lane, num_free: int) -> Chunks:
    """Started prompts, then waiting ones in order until one does not fit."""
    num_left = lane.budget - lane.num_decoding
    chunks: Chunks = []
    if num_left <= 0:
        return chunks
    prefilling, waiting = lane.prefilling, lane.waiting
    for prompt in prefilling:
        num = prompt[1] if prompt[1] < num_left else num_left
        chunks.append((prompt, num))
        num_left -= num
        if not num_left:
            return chunks
    if not waiting:
        return chunks
    block_tokens, limit = lane.block_tokens, lane.context_limit
    slots = lane.sequences_max - lane.num_decoding - len(prefilling)
    while waiting and slots > 0 and num_left > 0:
        row = waiting[0]
        total = lane.num_prompt[row]
        if lane.carry and row in lane.carry:
            total += lane.carry[row][0]
        num_start = -(-(total + 1 if total < limit else limit) // block_tokens)
        if num_start > num_free:
            num_free = num_free_beside_decodes(lane)
            if num_start > num_free:
                break
        waiting.popleft()
        num_blocks = -(-total // block_tokens)
        num_free -= num_blocks
        lane.prefill_blocks += num_blocks
        prompt = [row, total, 0]
        prefilling.append(prompt)
        num = total if total < num_left else num_left
        chunks.append((prompt, num))
        num_left -= num
        slots -= 1
    return chunks


def _start_mixed(lane: Lane, now_s: float, chunks: Chunks, *, is_stable: bool = True) -> float:
    """A segment with prefill chunks; one iteration unless the plan is stable."""
    times, num_tokens = lane.times, lane.num_decoding
    half = times.half_tokens
    if len(chunks) == 1:
        prompt, num = chunks[0]
        work = (num + half) * (prompt[2] + num / 2)
        growth = (num + half) * num
        num_tokens += num
        steps = prompt[1] // num if is_stable else 1
    else:
        # Of several prompts all but the last end with this iteration.
        is_stable, steps = False, 1
        work = growth = 0.0
        for prompt, num in chunks:
            work += (num + half) * (prompt[2] + num / 2)
            growth += (num + half) * num
            num_tokens += num
    lane.is_full = num_tokens >= lane.budget
    num_decodes = lane.num_decoding
    first_s = (
        times.tokens_s[num_tokens]
        + times.sequences_s[num_decodes + len(chunks)]
        + work * times.chunk_s
    )
    slope_s = growth * times.chunk_s
    if num_decodes:
        context = lane.base_sum + lane.step * num_decodes
        first_s += times.mixed_s[num_decodes] + context * times.mixed_context_s[num_decodes]
        slope_s += times.mixed_slope_s[num_decodes]
        if steps > 1:
            ahead = lane.ends[0][0] - lane.step
            if ahead < steps:
                steps = ahead
            pad = (lane.block_tokens - 1) * num_decodes
            num_ahead = num_decodes * (steps // lane.block_tokens + 1)
            num_used = (context + pad) // lane.block_tokens + lane.prefill_blocks
            if num_used + num_ahead > lane.num_blocks:
                steps = steps_with_blocks(lane, steps)
    lane.chunks = chunks
    lane.steps = steps
    lane.start_s, lane.first_s, lane.slope_s = now_s, first_s, slope_s
    lane.order = next(lane.orders)
    end_s = now_s + steps * first_s + slope_s * (steps * (steps - 1) / 2)
    lane.tail_s = 0.0
    if is_stable and lane.is_full and not lane.waiting:
        rest = prompt[1] - num * steps
        if 0 < rest <= num and (not num_decodes or has_room(lane, steps + 1)):
            lane.tail_s = _last_chunk_s(lane, rest, prompt[2] + num * steps, steps)
            return end_s + lane.tail_s
    return end_s


def has_room(lane: Lane, steps: int) -> bool:
    """Whether no decode ends before step number `steps` and blocks surely last until then."""
    num = lane.num_decoding
    if lane.ends[0][0] - lane.step < steps:
        return False
    context = lane.base_sum + lane.step * num + (lane.block_tokens - 1) * num
    num_blocks = context // lane.block_tokens + num * (steps // lane.block_tokens + 1)
    return num_blocks + lane.prefill_blocks <= lane.num_blocks


def _last_chunk_s(lane: Lane, num: int, num_cached: int, steps: int) -> float:
    """Duration of the iteration with a prompt's last tokens, `steps` iterations from now."""
    times, num_decodes = lane.times, lane.num_decoding
    seconds = (
        times.tokens_s[num_decodes + num]
        + times.sequences_s[num_decodes + 1]
        + (num + times.half_tokens) * (num_cached + num / 2) * times.chunk_s
    )
    if num_decodes:
        context = lane.base_sum + (lane.step + steps) * num_decodes
        seconds += times.mixed_s[num_decodes] + context * times.mixed_context_s[num_decodes]
    return seconds


def _begin_short(lane: Lane, now_s: float) -> float:
    """Blocks run short: preempt the newest until the others find theirs; one iteration."""
    preempt(lane, now_s)
    num_left = lane.budget - lane.num_decoding
    chunks: Chunks = []
    for prompt in lane.prefilling:
        if num_left <= 0:
            break
        num = min(prompt[1], num_left)
        chunks.append((prompt, num))
        num_left -= num
    if chunks:
        return _start_mixed(lane, now_s, chunks, is_stable=False)
    return begin(lane, now_s, admits=not lane.num_decoding)
