"""One instance of the express fleet on plain numbers, segment by segment.

Differs: the rules of `Instance`, written out once more without objects per sequence, plan and
segment, for speed. `SimInstance` is the reference and tests hold the two together; faults and
aborts exist only there. What a batch policy decides stands in subclasses (`begin`).

Whoever drives a lane keeps the time of its next event, which `arrive` and `end` return; it needs
no other clock. Rows are indices into the columns; a driver may append to them between two calls.
"""

from __future__ import annotations

import math
from array import array
from collections import deque
from heapq import heappop, heappush

from serving.sim.outcomes import Arrivals, Outcome, Outcomes
from serving.sim.step_times import StepTimes
from serving.state import InstanceConfig

DONE = int(Outcome.DONE)
REFUSED = -1.0

Ending = tuple[int, int, int]  # (step of the last token, row, context at step 0)
Prompt = list[int]  # [row, tokens left to prefill, tokens in the KV]
Chunks = list[tuple[Prompt, int]]
NO_CHUNKS: Chunks = []  # of all segments without prefill; nobody may change it


class Lane:
    """One instance; a segment is in flight unless `end_s` is infinite."""

    __slots__ = (
        "ahead_s", "base_sum", "block_tokens", "budget", "carry", "chunks", "context_limit",
        "end_column", "end_s", "ends", "first_column", "first_s", "is_full", "joined", "log",
        "num_blocks", "num_decoding", "num_ended", "num_output", "num_preemptions", "num_prompt",
        "num_running", "outcome_column", "pause_s", "paused_from_s", "peak_blocks", "prefilling",
        "queue_max", "residues", "row_blocks", "sequences_max", "slope_s", "start_s", "step",
        "steps", "tail_s", "times", "waiting",
    )  # fmt: skip

    def __init__(
        self,
        *,
        config: InstanceConfig,
        times: StepTimes,
        token_budget: int,
        arrivals: Arrivals,
        row_blocks: array[int],
        outcomes: Outcomes,
        log: list[float],
    ) -> None:
        self.waiting: deque[int] = deque()  # rows
        self.num_ended = 0  # requests that ended with the last segment
        self.num_preemptions = 0
        self.num_blocks = config.num_blocks
        self.block_tokens = config.block_tokens
        self.sequences_max = config.sequences_max
        self.queue_max = config.queue_max
        self.context_limit = config.context_limit
        self.budget = token_budget
        self.times = times
        self.num_prompt = arrivals.num_prompt_tokens
        self.num_output = arrivals.num_output_tokens
        self.row_blocks = row_blocks  # most that each request can hold
        self.first_column = outcomes.first_token_s
        self.end_column = outcomes.end_s
        self.outcome_column = outcomes.outcome
        # Of segments that ended: first iteration, slope, iterations, sequences that decoded; flat.
        # Minus that number: gaps between tokens that are no iteration of their own.
        self.log = log
        self.prefilling: list[Prompt] = []  # in order of admission
        self.peak_blocks = 0  # if all that were admitted ran to their ends together
        self.carry: dict[int, tuple[int, float]] = {}  # preempted: tokens emitted, last one's time
        # Decodes: see `serving.kvcache.decode_group`, whose bookkeeping this is.
        self.num_decoding = 0
        self.step = 0
        self.base_sum = 0
        self.residues = [0] * config.block_tokens
        self.ends: list[Ending] = []
        # Where prompts run alone: since when decodes pause, and who began to decode when meanwhile.
        self.paused_from_s = math.inf
        self.joined: dict[int, float] = {}
        # The segment in flight.
        self.end_s = math.inf
        self.chunks = NO_CHUNKS
        self.start_s = self.first_s = self.slope_s = 0.0
        self.steps = 0
        self.num_running = 0  # decodes that take part
        self.is_full = False  # a new prompt would not change the plan
        self.ahead_s = 0.0  # last decode iteration, where it was applied before its end
        self.tail_s = 0.0  # the prompt's last chunk follows at once and takes this; 0 = it does not
        self.pause_s = 0.0  # how long decodes had paused when it started

    def begin(self, now_s: float) -> float:
        """Plan and start a segment: its end, or 0 when nothing can run."""
        raise NotImplementedError

    def _start_decodes(self, now_s: float, steps: int) -> float:
        """A segment of decodes only; the lane is idle when there are none."""
        num, times = self.num_decoding, self.times
        if not num:
            self.end_s = math.inf
            return 0.0
        self.chunks = NO_CHUNKS
        self.tail_s = 0.0
        self.is_full = num >= self.sequences_max
        self.steps = steps
        self.start_s = now_s
        self.num_running = num
        context = self.base_sum + self.step * num
        self.first_s = first_s = times.decode_s[num] + context * times.context_s
        self.slope_s = slope_s = times.decode_slope_s[num]
        self.end_s = end_s = now_s + steps * first_s + slope_s * (steps * (steps - 1) / 2)
        return end_s

    def arrive(self, row: int, now_s: float) -> float:
        """Queue a request: the new end of the segment in flight if this changes it, else 0.

        REFUSED: the queue is full, or the prompt leaves no room for a token.
        """
        waiting = self.waiting
        num_waiting = len(waiting)
        start_s = self.start_s
        if now_s < start_s:  # who was admitted ahead of time waits still
            num_waiting += len(self.prefilling)
        if num_waiting >= self.queue_max or self.num_prompt[row] >= self.context_limit:
            return REFUSED
        waiting.append(row)
        if self.end_s == math.inf:
            return self.begin(now_s)
        if now_s < start_s:
            return self._begin_again()
        if self.tail_s:
            return self._drop_tail(now_s)
        if num_waiting or self.is_full or self.steps == 1:
            return 0.0
        steps = self.num_begun(now_s)
        if (
            not self.prefilling
            and self.peak_blocks <= self.num_blocks
            and self.ends[0][0] - self.step > steps
        ):
            # Apply these decode iterations although the last of them has not ended: no request ends
            # with them and blocks suffice, so that only another arrival can change what follows.
            # Until then `start_s` lies ahead.
            first_s, slope_s = self.first_s, self.slope_s
            if self.pause_s:
                self._log_after_pause(steps)
            else:
                self.log += (first_s, slope_s, steps, self.num_running)
            self.ahead_s = first_s + slope_s * (steps - 1)
            self.step += steps
            return self.begin(start_s + steps * first_s + slope_s * (steps * (steps - 1) / 2))
        if steps == self.steps:
            return 0.0
        self.steps = steps
        self.end_s = end_s = self.end_of(steps)
        return end_s

    def end(self, now_s: float) -> float:
        """The segment in flight has ended: apply it and begin the next; 0 when none begins."""
        steps, num = self.steps, self.num_running
        self.num_ended = 0
        if self.tail_s:
            self.log += (self.first_s, self.slope_s, steps, num, self.tail_s, 0.0, 1, num)
            steps += 1
        elif self.pause_s:
            self._log_after_pause(steps)
        else:
            self.log += (self.first_s, self.slope_s, steps, num)
        if num:
            step = self.step = self.step + steps
            ends = self.ends
            while ends and ends[0][0] <= step:  # requests whose last token has come leave
                _, row, base = heappop(ends)
                self.num_decoding -= 1
                self.base_sum -= base
                self.residues[base % self.block_tokens] -= 1
                self._leave(row, now_s)
        if self.chunks is not NO_CHUNKS:
            self._end_chunks(now_s)
        return self.begin(now_s)

    def _log_after_pause(self, steps: int) -> None:
        """The first tokens after a pause come later than their iteration takes."""
        first_s, slope_s, num = self.first_s, self.slope_s, self.num_running
        self.log += (first_s, slope_s, 1, 0)
        if steps > 1:
            self.log += (first_s + slope_s, slope_s, steps - 1, num)
        for began_s in self.joined.values():
            self.log += (first_s + self.start_s - began_s, 0.0, 1, -1)
        num -= len(self.joined)
        if num:
            self.log += (first_s + self.pause_s, 0.0, 1, -num)
        self.joined.clear()
        self.pause_s = 0.0

    def _leave(self, row: int, now_s: float) -> None:
        self.peak_blocks -= self.row_blocks[row]
        self.end_column[row] = now_s
        self.outcome_column[row] = DONE
        self.num_ended += 1

    def _begin_again(self) -> float:
        """Plan a segment that has not started yet once more, with one more prompt waiting."""
        for row, _, _ in reversed(self.prefilling):
            self.waiting.appendleft(row)
            self.peak_blocks -= self.row_blocks[row]
        self.prefilling.clear()
        return self.begin(self.start_s)

    def _drop_tail(self, now_s: float) -> float:
        """The prompt that came may share the last chunk's iteration, unless that has begun."""
        end_s = self.end_of(self.steps)
        if now_s > end_s:
            return 0.0
        self.tail_s = 0.0
        self.end_s = end_s
        return end_s

    def _end_chunks(self, now_s: float) -> None:
        """Prompts advance; one that is complete yields a token and decodes or ends."""
        steps, step = self.steps, self.step
        has_tail = self.tail_s > 0.0
        for prompt, num in self.chunks:
            num = prompt[1] if has_tail else num * steps
            prompt[1] -= num
            prompt[2] += num
            if prompt[1]:
                continue
            self.prefilling.remove(prompt)
            row, _, context = prompt
            num_emitted = 1
            if self.carry and row in self.carry:
                num_before, last_s = self.carry.pop(row)
                num_emitted += num_before
                self.log += (now_s - last_s, 0.0, 1, -1)
            else:
                self.first_column[row] = now_s
            num_left = self.num_output[row] - num_emitted
            if num_left > self.context_limit - context:
                num_left = self.context_limit - context
            if num_left <= 0:
                self._leave(row, now_s)
                continue
            base = context - step
            heappush(self.ends, (step + num_left, row, base))
            self.num_decoding += 1
            self.base_sum += base
            self.residues[base % self.block_tokens] += 1

    def ended_by(self, now_s: float) -> tuple[int, float]:
        """Iterations in flight that have ended by `now_s`, and their seconds.

        Negative where one that is applied already has not.
        """
        if now_s < self.start_s:
            return -1, -self.ahead_s
        end_s = self.end_of(self.steps)
        if self.tail_s and now_s > end_s:
            return self.steps, end_s - self.start_s
        num_ended = self.num_begun(now_s) - 1
        return num_ended, self.end_of(num_ended) - self.start_s

    def num_begun(self, now_s: float) -> int:
        """Iterations of the segment begun before `now_s`, see `Segment.num_begun`."""
        first_s, slope_s, steps = self.first_s, self.slope_s, self.steps
        start_s = self.start_s
        elapsed_s = now_s - start_s
        half_s = first_s - slope_s / 2
        if slope_s > 0.0:
            root = math.sqrt(half_s * half_s + 2 * slope_s * elapsed_s)
            num = math.ceil((root - half_s) / slope_s)
        else:
            num = math.ceil(elapsed_s / first_s)
        num = 1 if num < 1 else steps if num > steps else num
        # The ends of iterations num - 1 and num, written as in `end_of`.
        while num > 1:
            before = num - 1
            if start_s + before * first_s + slope_s * (before * (before - 1) / 2) < now_s:
                break
            num = before
        while num < steps and start_s + num * first_s + slope_s * (num * (num - 1) / 2) < now_s:
            num += 1
        return num

    def end_of(self, steps: int) -> float:
        """Time when the first `steps` iterations of the segment have ended."""
        return self.start_s + steps * self.first_s + self.slope_s * (steps * (steps - 1) / 2)
