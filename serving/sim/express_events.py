"""What happens to an express lane: a request arrives, a segment ends."""

from __future__ import annotations

from heapq import heappop, heappush

from serving.sim.express_lane import IDLE, Lane
from serving.sim.express_plan import begin, has_room
from serving.sim.outcomes import Outcome

DONE = int(Outcome.DONE)
REFUSED = -1.0
RESUMED = -1  # decoding sequences of a log entry that is the gap a preemption made


def arrive(lane: Lane, row: int, now_s: float) -> float:
    """Queue a request: the new end of the segment in flight if this changes it, else 0.

    REFUSED: the queue is full, or the prompt leaves no room for a token.
    """
    waiting = lane.waiting
    num_waiting = len(waiting)
    if now_s < lane.start_s:  # who was admitted ahead of time waits still
        num_waiting += len(lane.prefilling)
    if num_waiting >= lane.queue_max or lane.num_prompt[row] >= lane.context_limit:
        return REFUSED
    waiting.append(row)
    if lane.order == IDLE:
        return begin(lane, now_s)
    if now_s < lane.start_s:
        return _begin_again(lane)
    if lane.tail_s:
        return _drop_tail(lane, now_s)
    if num_waiting or lane.is_full or lane.steps == 1:
        return 0.0
    steps = lane.num_begun(now_s)
    if not lane.prefilling and has_room(lane, steps + 1):
        # Apply these decode iterations although the last of them has not ended: no request ends
        # with them and blocks suffice, so that only another arrival can change what follows. Until
        # then `start_s` lies ahead.
        first_s, slope_s = lane.first_s, lane.slope_s
        lane.log.extend((first_s, slope_s, steps, lane.num_decoding))
        lane.ahead_s = first_s + slope_s * (steps - 1)
        lane.step += steps
        return begin(lane, lane.start_s + steps * first_s + slope_s * (steps * (steps - 1) / 2))
    if steps == lane.steps:
        return 0.0
    lane.steps = steps
    lane.order = next(lane.orders)
    return lane.end_of(steps)


def end(lane: Lane, now_s: float) -> float:
    """The segment in flight has ended: apply it and begin the next; 0 when none begins."""
    steps, num = lane.steps, lane.num_decoding
    lane.num_ended = 0
    if lane.tail_s:
        lane.log.extend((lane.first_s, lane.slope_s, steps, num, lane.tail_s, 0.0, 1, num))
        steps += 1
    else:
        lane.log.extend((lane.first_s, lane.slope_s, steps, num))
    if num:
        step = lane.step = lane.step + steps
        ends = lane.ends
        while ends and ends[0][0] <= step:  # requests whose last token has come leave
            _, row, base = heappop(ends)
            lane.num_decoding -= 1
            lane.base_sum -= base
            lane.residues[base % lane.block_tokens] -= 1
            lane.end_column[row] = now_s
            lane.outcome_column[row] = DONE
            lane.num_ended += 1
    if lane.chunks:
        _end_chunks(lane, now_s)
    return begin(lane, now_s)


def _begin_again(lane: Lane) -> float:
    """Plan a segment that has not started yet once more, with one more prompt waiting."""
    for prompt in reversed(lane.prefilling):
        lane.waiting.appendleft(prompt[0])
        lane.prefill_blocks -= -(-prompt[1] // lane.block_tokens)
    lane.prefilling.clear()
    return begin(lane, lane.start_s)


def _drop_tail(lane: Lane, now_s: float) -> float:
    """The prompt that came may share the last chunk's iteration, unless that has begun."""
    end_s = lane.end_of(lane.steps)
    if now_s > end_s:
        return 0.0
    lane.tail_s = 0.0
    lane.order = next(lane.orders)
    return end_s


def _end_chunks(lane: Lane, now_s: float) -> None:
    """Prompts advance; one that is complete yields a token and decodes or ends."""
    steps, step = lane.steps, lane.step
    has_tail = lane.tail_s > 0.0
    for prompt, num in lane.chunks:
        num = prompt[1] if has_tail else num * steps
        prompt[1] -= num
        prompt[2] += num
        if prompt[1]:
            continue
        lane.prefilling.remove(prompt)
        row, _, context = prompt
        lane.prefill_blocks -= -(-context // lane.block_tokens)
        num_emitted = 1
        if lane.carry and row in lane.carry:
            num_before, last_s = lane.carry.pop(row)
            num_emitted += num_before
            lane.log.extend((now_s - last_s, 0.0, 1, RESUMED))
        else:
            lane.first_column[row] = now_s
        num_left = lane.num_output[row] - num_emitted
        if num_left > lane.context_limit - context:
            num_left = lane.context_limit - context
        if num_left <= 0:
            lane.end_column[row] = now_s
            lane.outcome_column[row] = DONE
            lane.num_ended += 1
            continue
        base = context - step
        heappush(lane.ends, (step + num_left, row, base))
        lane.num_decoding += 1
        lane.base_sum += base
        lane.residues[base % lane.block_tokens] += 1
