"""What a flat instance runs next: the rules of `ChunkedPrefill` and of admission on numbers."""

from __future__ import annotations

from heapq import heapify

from serving.sim.flat_state import (
    DECODE,
    ENDED,
    NO_CHUNKS,
    PREFILL,
    WAITING,
    Chunks,
    FlatState,
    Job,
)


def plan(flat: FlatState, now_s: float) -> bool:
    """Set up the segment that begins now; False when nothing can run."""
    num, block_tokens = flat.num_decoding, flat.block_tokens
    # Blocks free beside one more for each decode: a lower bound, exact where it is short.
    context = flat.base_sum + flat.step * num
    num_free = flat.num_blocks - flat.num_lost - flat.prefill_blocks - num
    num_free -= (context + (block_tokens - 1) * num) // block_tokens
    is_scarce = num_free < 0
    if is_scarce:
        num_free = flat.num_free_beside_decodes()
        if num_free < 0:
            return _plan_short(flat, now_s)
    if flat.waiting or flat.prefilling:
        chunks = _chunks(flat, num_free, now_s)
        if chunks:
            _start_mixed(flat, now_s, chunks)
            return True
    if not num:
        return False
    steps: int = flat.ends[0][0] - flat.step
    if is_scarce or num * (steps // block_tokens) > num_free:
        steps = _steps_with_blocks(flat, steps)
    _start_decodes(flat, now_s, context, steps)
    return True


def _plan_short(flat: FlatState, now_s: float) -> bool:
    """Blocks run short: drop the newest until the others find theirs; one iteration."""
    _preempt(flat)
    num_left = flat.budget - flat.num_decoding
    chunks: Chunks = []
    for job in flat.prefilling:
        if num_left <= 0:
            break
        num = min(job.num_prefill - job.num_cached, num_left)
        chunks.append((job, num))
        num_left -= num
    if chunks:
        _start_mixed(flat, now_s, chunks, is_stable=False)
        return True
    num = flat.num_decoding
    if not num:
        return plan(flat, now_s)  # what was dropped may be the first that fits again
    _start_decodes(flat, now_s, flat.base_sum + flat.step * num, 1)
    return True


def _chunks(flat: FlatState, num_free: int, now_s: float) -> Chunks:
    """Started prompts, then waiting ones in order until one does not fit."""
    num_left = flat.budget - flat.num_decoding
    chunks: Chunks = []
    if num_left <= 0:
        return chunks
    for job in flat.prefilling:
        num = job.num_prefill - job.num_cached
        if num >= num_left:
            chunks.append((job, num_left))
            return chunks
        chunks.append((job, num))
        num_left -= num
    waiting = flat.waiting
    if not waiting:
        return chunks
    block_tokens, limit = flat.block_tokens, flat.context_limit
    slots = flat.sequences_max - flat.num_decoding - len(flat.prefilling)
    while waiting and slots > 0 and num_left > 0:
        job = waiting[0]
        total = job.num_prefill
        num_start = -(-(total + 1 if total < limit else limit) // block_tokens)
        if num_start > num_free:
            num_free = flat.num_free_beside_decodes()
            if num_start > num_free:
                break
        waiting.popleft()
        num_blocks = -(-total // block_tokens)
        num_free -= num_blocks
        flat.prefill_blocks += num_blocks
        flat.prefilling.append(job)
        job.stage = PREFILL
        if job.scheduled_s < 0.0:
            job.scheduled_s = now_s
        num = total if total < num_left else num_left
        chunks.append((job, num))
        num_left -= num
        slots -= 1
    return chunks


def _start_decodes(flat: FlatState, now_s: float, context: int, steps: int) -> None:
    num, times = flat.num_decoding, flat.times
    flat.chunks = NO_CHUNKS
    flat.chunk_tokens = 0
    flat.chunk_attended = flat.chunk_slope = 0.0
    flat.is_full = num >= flat.sequences_max
    flat.steps, flat.done, flat.context = steps, 0, context
    flat.start_s = now_s
    flat.slope_s = num * times.context_s
    flat.first_s = times.decode_s[num] + context * times.context_s


def _start_mixed(flat: FlatState, now_s: float, chunks: Chunks, *, is_stable: bool = True) -> None:
    """A segment with prefill chunks; one iteration unless the plan is stable."""
    times, num_decodes = flat.times, flat.num_decoding
    half = times.half_tokens
    steps, num_new = 1, 0
    attended = growth = 0.0
    for job, num in chunks:
        num_new += num
        attended += num * (job.num_cached + num / 2)
        growth += num * num
    if len(chunks) == 1:
        job, num = chunks[0]
        work = (num + half) * (job.num_cached + num / 2)
        rise = (num + half) * num
        if is_stable:
            steps = (job.num_prefill - job.num_cached) // num
    else:
        # Of several prompts all but the last end with this iteration.
        work = rise = 0.0
        for job, num in chunks:
            work += (num + half) * (job.num_cached + num / 2)
            rise += (num + half) * num
    num_tokens = num_decodes + num_new
    first_s = (
        times.tokens_s[num_tokens]
        + times.sequences_s[num_decodes + len(chunks)]
        + work * times.chunk_s
    )
    slope_s = rise * times.chunk_s
    context = 0
    if num_decodes:
        context = flat.base_sum + flat.step * num_decodes
        per_token_s = times.mixed_context_s[num_decodes]
        first_s += times.mixed_s[num_decodes] + context * per_token_s
        slope_s += num_decodes * per_token_s
        if steps > 1:
            ahead = flat.ends[0][0] - flat.step
            steps = _steps_with_blocks(flat, ahead if ahead < steps else steps)
    flat.chunks = chunks
    flat.chunk_tokens, flat.chunk_attended, flat.chunk_slope = num_new, attended, growth
    flat.is_full = num_tokens >= flat.budget
    flat.steps, flat.done, flat.context = steps, 0, context
    flat.start_s, flat.first_s, flat.slope_s = now_s, first_s, slope_s


def _steps_with_blocks(flat: FlatState, steps: int) -> int:
    """Of the next `steps` decode steps those that find their blocks; the first one does."""
    num_free = flat.num_blocks - flat.num_lost - flat.num_used()
    num, residues, block_tokens = flat.num_decoding, flat.residues, flat.block_tokens
    if num * (steps // block_tokens + 1) <= num_free:
        return steps
    num_free = max(num_free, 0)
    ahead = num_free // num * block_tokens
    num_free %= num
    while ahead < steps:
        num_free -= residues[-(flat.step + ahead) % block_tokens]
        if num_free < 0:
            break
        ahead += 1
    return max(1, min(ahead, steps))


def _preempt(flat: FlatState) -> None:
    """Drop the newest until the other decodes find their next blocks; see `preemptions`.

    Their prompts and the tokens that they emitted are prefilled again from the head of the queue.
    """
    step, block_tokens = flat.step, flat.block_tokens
    num_free = flat.num_blocks - flat.num_lost - flat.num_used()
    needed = flat.residues[-step % block_tokens]
    running = [*flat.prefilling, *(job for _, _, job in flat.ends)]
    for job in sorted(running, key=lambda job: -job.number):
        if needed <= num_free:
            break
        if job.stage == DECODE:
            context = job.base + step
            needed -= context % block_tokens == 0
            num_free += -(-context // block_tokens)
            job.num_emitted = context - job.request.num_prompt_tokens + 1
            job.last_token_s = flat.last_s
        else:
            num_free += -(-job.num_prefill // block_tokens)
        leave(flat, job)
        job.num_prefill = job.request.num_prompt_tokens + job.num_emitted
        job.num_cached = 0
        job.stage = WAITING
        flat.waiting.appendleft(job)
        flat.num_preemptions += 1


def leave(flat: FlatState, job: Job) -> None:
    """Take a job off the batch before its end, unless it ended; give its blocks back."""
    if job.stage == DECODE:
        flat.num_decoding -= 1
        flat.base_sum -= job.base
        flat.residues[job.base % flat.block_tokens] -= 1
        flat.ends = [ending for ending in flat.ends if ending[2] is not job]
        heapify(flat.ends)
    elif job.stage == PREFILL:
        flat.prefilling.remove(job)
        flat.prefill_blocks -= -(-job.num_prefill // flat.block_tokens)
    job.stage = ENDED
