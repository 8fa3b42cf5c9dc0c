"""One instance of the express fleet: chunked prefill on plain numbers, segment by segment.

Differs: the same rules as `Instance` under `ChunkedPrefill`, written out once more without objects
per sequence, plan and segment, for speed. `SimInstance` is the reference and tests hold the two
together; faults, aborts and other policies exist only there.
"""

from __future__ import annotations

import math
from array import array
from collections import deque
from collections.abc import Iterator
from heapq import heappop, heappush

from serving.sim import express_plan
from serving.sim.express_plan import IDLE, Chunks, Ending, Prompt
from serving.sim.outcomes import Arrivals, Outcome, Outcomes
from serving.sim.step_times import StepTimes
from serving.state import InstanceConfig

DONE = int(Outcome.DONE)
REFUSED = -1.0

RESUMED = -1  # decoding sequences of a log entry that is the gap a preemption made


class Lane:
    """One instance; a segment is in flight unless `order` is IDLE."""

    __slots__ = (
        "ahead_s", "base_sum", "block_tokens", "budget", "carry", "chunks", "context_limit",
        "end_column", "ends", "first_column", "first_s", "is_full", "log", "num_blocks",
        "num_decoding", "num_ended", "num_output", "num_preemptions", "num_prompt", "order",
        "orders", "outcome_column", "prefill_blocks", "prefilling", "queue_max", "rank",
        "residues", "sequences_max", "slope_s", "start_s", "step", "steps", "tail_s", "times",
        "waiting",
    )  # fmt: skip

    def __init__(
        self,
        rank: int,
        *,
        config: InstanceConfig,
        times: StepTimes,
        token_budget: int,
        arrivals: Arrivals,
        outcomes: Outcomes,
        log: array[float],
        orders: Iterator[int],
    ) -> None:
        self.rank = rank
        self.order = IDLE  # number of the segment in flight; a cut gives it a new one
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
        self.first_column = outcomes.first_token_s
        self.end_column = outcomes.end_s
        self.outcome_column = outcomes.outcome
        # Of segments that ended: first iteration, slope, iterations, decoding sequences, flat.
        self.log = log
        self.orders = orders
        self.prefilling: list[Prompt] = []  # in order of admission
        self.prefill_blocks = 0  # theirs; those of decodes follow from the counts below
        self.carry: dict[int, tuple[int, float]] = {}  # preempted: tokens emitted, last one's time
        # Decodes: see `serving.kvcache.decode_group`, whose bookkeeping this is.
        self.num_decoding = 0
        self.step = 0
        self.base_sum = 0
        self.residues = [0] * config.block_tokens
        self.ends: list[Ending] = []
        # The segment in flight.
        self.chunks: Chunks = []
        self.start_s = self.first_s = self.slope_s = 0.0
        self.steps = 0
        self.is_full = False  # a new prompt would not change the plan
        self.ahead_s = 0.0  # last decode iteration applied early, see `_begin_ahead`
        self.tail_s = 0.0  # the prompt's last chunk follows at once and takes this; 0 = it does not

    def arrive(self, row: int, now_s: float) -> float:
        """Queue a request: the new end of the segment in flight if this changes it, else 0.

        REFUSED: the queue is full, or the prompt leaves no room for a token.
        """
        waiting = self.waiting
        num_waiting = len(waiting)
        if num_waiting >= self.queue_max or self.num_prompt[row] >= self.context_limit:
            return REFUSED
        waiting.append(row)
        if self.order == IDLE:
            return express_plan.begin(self, now_s)
        if now_s < self.start_s:
            return self._begin_again()
        if self.tail_s:
            return self._drop_tail(now_s)
        if num_waiting or self.is_full or self.steps == 1:
            return 0.0
        steps = self.num_begun(now_s)
        if not self.chunks and express_plan.has_room(self, steps + 1):
            return self._begin_ahead(steps)
        if steps == self.steps:
            return 0.0
        self.steps = steps
        self.order = next(self.orders)
        return self.end_of(steps)

    def end(self, now_s: float) -> float:
        """The segment in flight has ended: apply it and begin the next; 0 when none begins."""
        steps, num = self.steps, self.num_decoding
        self.log.extend((self.first_s, self.slope_s, steps, num))
        self.num_ended = 0
        if self.tail_s:
            self.log.extend((self.tail_s, 0.0, 1, num))
            steps += 1
        if num:
            self.step += steps
            if self.ends[0][0] <= self.step:
                self._end_decodes(now_s)
        if self.chunks:
            self._end_chunks(now_s)
        return express_plan.begin(self, now_s)

    def _begin_ahead(self, steps: int) -> float:
        """Apply the first `steps` decode iterations before the last of them has ended.

        No request ends with them and blocks suffice, so that only another arrival can change what
        follows; `start_s` lies ahead until then.
        """
        end_s = self.end_of(steps)
        self.log.extend((self.first_s, self.slope_s, steps, self.num_decoding))
        self.ahead_s = self.first_s + self.slope_s * (steps - 1)
        self.step += steps
        return express_plan.begin(self, end_s)

    def _begin_again(self) -> float:
        """Plan a segment that has not started yet once more, with one more prompt waiting."""
        for prompt in reversed(self.prefilling):
            self.waiting.appendleft(prompt[0])
            self.prefill_blocks -= -(-prompt[1] // self.block_tokens)
        self.prefilling.clear()
        return express_plan.begin(self, self.start_s)

    def _drop_tail(self, now_s: float) -> float:
        """The prompt that came may share the last chunk's iteration, unless that has begun."""
        end_s = self.end_of(self.steps)
        if now_s > end_s:
            return 0.0
        self.tail_s = 0.0
        self.order = next(self.orders)
        return end_s

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
        elapsed_s = now_s - self.start_s
        half_s = first_s - slope_s / 2
        if slope_s > 0.0:
            root = math.sqrt(half_s * half_s + 2 * slope_s * elapsed_s)
            num = math.ceil((root - half_s) / slope_s)
        else:
            num = math.ceil(elapsed_s / first_s)
        num = 1 if num < 1 else steps if num > steps else num
        while num > 1 and self.end_of(num - 1) >= now_s:
            num -= 1
        while num < steps and self.end_of(num) < now_s:
            num += 1
        return num

    def end_of(self, steps: int) -> float:
        """Time when the first `steps` iterations of the segment have ended."""
        return self.start_s + steps * self.first_s + self.slope_s * (steps * (steps - 1) / 2)

    def _end_decodes(self, now_s: float) -> None:
        """Requests whose last token has come leave."""
        ends, step = self.ends, self.step
        while ends and ends[0][0] <= step:
            _, row, base = heappop(ends)
            self.num_decoding -= 1
            self.base_sum -= base
            self.residues[base % self.block_tokens] -= 1
            self.end_column[row] = now_s
            self.outcome_column[row] = DONE
            self.num_ended += 1

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
            self.prefill_blocks -= -(-context // self.block_tokens)
            num_emitted = 1
            if self.carry and row in self.carry:
                num_before, last_s = self.carry.pop(row)
                num_emitted += num_before
                self.log.extend((now_s - last_s, 0.0, 1, RESUMED))
            else:
                self.first_column[row] = now_s
            num_left = self.num_output[row] - num_emitted
            if num_left > self.context_limit - context:
                num_left = self.context_limit - context
            if num_left <= 0:
                self.end_column[row] = now_s
                self.outcome_column[row] = DONE
                self.num_ended += 1
                continue
            base = context - step
            heappush(self.ends, (step + num_left, row, base))
            self.num_decoding += 1
            self.base_sum += base
            self.residues[base % self.block_tokens] += 1
