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

from serving.sim import express_blocks
from serving.sim.outcomes import Arrivals, Outcome, Outcomes
from serving.sim.step_times import StepTimes
from serving.state import InstanceConfig

DONE = int(Outcome.DONE)
IDLE = 0  # no segment in flight
REFUSED = -1.0

Ending = tuple[int, int, int]  # (step of the last token, row, context at step 0)
Prompt = list[int]  # [row, tokens left to prefill, tokens in the KV]
Chunks = list[tuple[Prompt, int]]
RESUMED = -1  # decoding sequences of a log entry that is the gap a preemption made


class Lane:
    """One instance; a segment is in flight unless `order` is IDLE."""

    __slots__ = (
        "base_sum", "block_tokens", "budget", "carry", "chunks", "context_limit", "end_column",
        "ends", "first_column", "first_s", "is_full", "log", "num_blocks", "num_decoding",
        "num_ended", "num_output", "num_preemptions", "num_prompt", "order", "orders",
        "outcome_column", "prefill_blocks", "prefilling", "queue_max", "rank", "residues",
        "sequences_max", "slope_s", "start_s", "step", "steps", "tail_s", "times", "waiting",
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
            return self._begin(now_s)
        if self.tail_s:
            return self._drop_tail(now_s)
        if num_waiting or self.is_full or self.steps == 1:
            return 0.0
        steps = self.num_begun(now_s)
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
        return self._begin(now_s)

    def _drop_tail(self, now_s: float) -> float:
        """The prompt that came may share the last chunk's iteration, unless that has begun."""
        end_s = self.end_of(self.steps)
        if now_s > end_s:
            return 0.0
        self.tail_s = 0.0
        self.order = next(self.orders)
        return end_s

    def ended_by(self, now_s: float) -> tuple[int, float]:
        """Iterations in flight that have ended by `now_s`, and their seconds."""
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

    def _begin(self, now_s: float) -> float:
        """Plan and start a segment: its end, or 0 when nothing can run."""
        num, block_tokens = self.num_decoding, self.block_tokens
        # Blocks free beside one more for each decode: a lower bound, exact where it is short.
        context = self.base_sum + self.step * num
        num_free = self.num_blocks - self.prefill_blocks - num
        num_free -= (context + (block_tokens - 1) * num) // block_tokens
        is_scarce = num_free < 0 < num
        if is_scarce:
            num_free = express_blocks.num_free_beside_decodes(self)
            if num_free < 0:
                return self._begin_short(now_s)
        if self.prefilling or self.waiting:
            chunks = self._plan_chunks(num_free)
            if chunks:
                return self._start_mixed(now_s, chunks)
        if not num:
            self.order = IDLE
            return 0.0
        steps = self.ends[0][0] - self.step
        if is_scarce or num * (steps // block_tokens) > num_free:
            steps = express_blocks.steps_with_blocks(self, steps)
        return self._start_decodes(now_s, steps)

    def _start_decodes(self, now_s: float, steps: int) -> float:
        times, num = self.times, self.num_decoding
        self.chunks = []
        self.tail_s = 0.0
        self.is_full = num >= self.sequences_max
        self.steps = steps
        self.start_s = now_s
        context = self.base_sum + self.step * num
        self.first_s = first_s = times.decode_s[num] + context * times.context_s
        self.slope_s = slope_s = times.decode_slope_s[num]
        self.order = next(self.orders)
        return now_s + steps * first_s + slope_s * (steps * (steps - 1) / 2)

    def _plan_chunks(self, num_free: int) -> Chunks:
        """Started prompts, then waiting ones in order until one does not fit."""
        num_left = self.budget - self.num_decoding
        chunks: Chunks = []
        if num_left <= 0:
            return chunks
        prefilling, waiting = self.prefilling, self.waiting
        for prompt in prefilling:
            num = prompt[1] if prompt[1] < num_left else num_left
            chunks.append((prompt, num))
            num_left -= num
            if not num_left:
                return chunks
        if not waiting:
            return chunks
        block_tokens, limit = self.block_tokens, self.context_limit
        slots = self.sequences_max - self.num_decoding - len(prefilling)
        while waiting and slots > 0 and num_left > 0:
            row = waiting[0]
            total = self.num_prompt[row]
            if self.carry and row in self.carry:
                total += self.carry[row][0]
            num_start = -(-(total + 1 if total < limit else limit) // block_tokens)
            if num_start > num_free:
                num_free = express_blocks.num_free_beside_decodes(self)
                if num_start > num_free:
                    break
            waiting.popleft()
            num_blocks = -(-total // block_tokens)
            num_free -= num_blocks
            self.prefill_blocks += num_blocks
            prompt = [row, total, 0]
            prefilling.append(prompt)
            num = total if total < num_left else num_left
            chunks.append((prompt, num))
            num_left -= num
            slots -= 1
        return chunks

    def _start_mixed(self, now_s: float, chunks: Chunks, *, is_stable: bool = True) -> float:
        """A segment with prefill chunks; one iteration unless the plan is stable."""
        times, num_tokens = self.times, self.num_decoding
        half = times.half_tokens
        work = growth = 0.0
        for prompt, num in chunks:
            work += (num + half) * (prompt[2] + num / 2)
            growth += (num + half) * num
            num_tokens += num
        # Of several prompts all but the last end with this iteration.
        is_stable = is_stable and len(chunks) == 1
        steps = prompt[1] // num if is_stable else 1
        self.is_full = num_tokens >= self.budget
        num_decodes = self.num_decoding
        first_s = (
            times.tokens_s[num_tokens]
            + times.sequences_s[num_decodes + len(chunks)]
            + work * times.chunk_s
        )
        slope_s = growth * times.chunk_s
        if num_decodes:
            context = self.base_sum + self.step * num_decodes
            first_s += times.mixed_s[num_decodes] + context * times.mixed_context_s[num_decodes]
            slope_s += times.mixed_slope_s[num_decodes]
            if steps > 1:
                ahead = self.ends[0][0] - self.step
                if ahead < steps:
                    steps = ahead
                pad = (self.block_tokens - 1) * num_decodes
                num_ahead = num_decodes * (steps // self.block_tokens + 1)
                num_used = (context + pad) // self.block_tokens + self.prefill_blocks
                if num_used + num_ahead > self.num_blocks:
                    steps = express_blocks.steps_with_blocks(self, steps)
        self.chunks = chunks
        self.steps = steps
        self.start_s, self.first_s, self.slope_s = now_s, first_s, slope_s
        self.order = next(self.orders)
        end_s = now_s + steps * first_s + slope_s * (steps * (steps - 1) / 2)
        self.tail_s = 0.0
        if is_stable and self.is_full and not self.waiting:
            rest = prompt[1] - num * steps
            if 0 < rest <= num and (not num_decodes or self._has_room(steps + 1)):
                self.tail_s = self._last_chunk_s(rest, prompt[2] + num * steps, steps)
                return end_s + self.tail_s
        return end_s

    def _has_room(self, steps: int) -> bool:
        """Whether no decode ends before step number `steps` and blocks surely last until then."""
        num = self.num_decoding
        if self.ends[0][0] - self.step < steps:
            return False
        context = self.base_sum + self.step * num + (self.block_tokens - 1) * num
        num_blocks = context // self.block_tokens + num * (steps // self.block_tokens + 1)
        return num_blocks + self.prefill_blocks <= self.num_blocks

    def _last_chunk_s(self, num: int, num_cached: int, steps: int) -> float:
        """Duration of the iteration with a prompt's last tokens, `steps` iterations from now."""
        times, num_decodes = self.times, self.num_decoding
        seconds = (
            times.tokens_s[num_decodes + num]
            + times.sequences_s[num_decodes + 1]
            + (num + times.half_tokens) * (num_cached + num / 2) * times.chunk_s
        )
        if num_decodes:
            context = self.base_sum + (self.step + steps) * num_decodes
            seconds += times.mixed_s[num_decodes] + context * times.mixed_context_s[num_decodes]
        return seconds

    def _begin_short(self, now_s: float) -> float:
        """Blocks run short: preempt the newest until the others find theirs; one iteration."""
        express_blocks.preempt(self, now_s)
        num_left = self.budget - self.num_decoding
        chunks: Chunks = []
        for prompt in self.prefilling:
            if num_left <= 0:
                break
            num = min(prompt[1], num_left)
            chunks.append((prompt, num))
            num_left -= num
        if chunks:
            return self._start_mixed(now_s, chunks, is_stable=False)
        return self._start_decodes(now_s, 1) if self.num_decoding else self._begin(now_s)

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
