"""An express lane under chunked prefill: the rules of `ChunkedPrefill` and of admission."""

from __future__ import annotations

from serving.sim.express_blocks import fits, preempt, steps_with_blocks
from serving.sim.express_lane import Chunks, Lane


class ChunkedLane(Lane):
    """Decodes run in every iteration, prompts fill what the budget leaves."""

    __slots__ = ()

    def begin(self, now_s: float, *, admits: bool = True) -> float:
        """Plan and start a segment: its end, or 0 when nothing can run.

        Without `admits` prompts wait, and decodes run for one iteration.
        """
        num = self.num_decoding
        is_scarce = self.peak_blocks > self.num_blocks
        if is_scarce and num and not fits(self, 0):
            return self._begin_short(now_s)
        if admits and (self.waiting or self.prefilling):
            chunks = self._plan_chunks()
            if chunks:
                return self._start_mixed(now_s, chunks)
        steps = self.ends[0][0] - self.step if num and admits else 1
        if is_scarce and num:
            steps = steps_with_blocks(self, steps)
        return self._start_decodes(now_s, steps)

    def _plan_chunks(self) -> Chunks:
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
        slots = self.sequences_max - self.num_decoding - len(prefilling)
        while waiting and slots > 0 and num_left > 0:
            row = waiting[0]
            total = self.num_prompt[row]
            if self.carry and row in self.carry:
                total += self.carry[row][0]
            peak_blocks = self.peak_blocks + self.row_blocks[row]
            if peak_blocks > self.num_blocks:
                num_start = min(total + 1, self.context_limit)
                if not fits(self, -(-num_start // self.block_tokens)):
                    break
            self.peak_blocks = peak_blocks
            waiting.popleft()
            prompt = [row, total, 0]
            prefilling.append(prompt)
            num = total if total < num_left else num_left
            chunks.append((prompt, num))
            num_left -= num
            slots -= 1
        return chunks

    def _start_mixed(self, now_s: float, chunks: Chunks, *, is_stable: bool = True) -> float:
        """A segment with prefill chunks; one iteration unless the plan is stable."""
        times, num_decodes = self.times, self.num_decoding
        context = self.base_sum + self.step * num_decodes
        self.chunks = chunks
        self.num_running = num_decodes
        self.start_s = now_s
        self.tail_s = 0.0
        first_s = context * times.mixed_context_s[num_decodes]
        if len(chunks) > 1:
            # Of several prompts all but the last end with this iteration.
            num_tokens, work = num_decodes, 0.0
            for (_, _, cached), num in chunks:
                work += (num + times.half_tokens) * (cached + num / 2)
                num_tokens += num
            self.is_full = num_tokens >= self.budget
            first_s += (
                times.tokens_s[num_tokens]
                + times.sequences_s[num_decodes + len(chunks)]
                + times.mixed_s[num_decodes]
                + work * times.chunk_s
            )
            self.steps, self.first_s, self.slope_s = 1, first_s, 0.0
            self.end_s = end_s = now_s + first_s
            return end_s
        prompt, num = chunks[0]
        _, left, cached = prompt
        if num_decodes + num < self.budget:
            self.is_full = False
            first_s += self._chunk_s(num, cached)
            self.steps, self.first_s, self.slope_s = 1, first_s, 0.0
            self.end_s = end_s = now_s + first_s
            return end_s
        self.is_full = True
        first_s += times.full_s[num_decodes]
        if cached:
            first_s += (num + times.half_tokens) * cached * times.chunk_s
        slope_s = times.full_slope_s[num_decodes]
        steps = left // num if is_stable else 1
        until_end = self.ends[0][0] - self.step if num_decodes else steps + 1
        if until_end < steps:
            steps = until_end
        is_scarce = self.peak_blocks > self.num_blocks
        if is_scarce and num_decodes and steps > 1:
            steps = steps_with_blocks(self, steps)
        self.steps, self.first_s, self.slope_s = steps, first_s, slope_s
        end_s = now_s + steps * first_s + slope_s * (steps * (steps - 1) / 2)
        rest = left - num * steps
        if (
            0 < rest <= num
            and until_end > steps
            and is_stable
            and not self.waiting
            and not is_scarce
        ):
            context += steps * num_decodes
            self.tail_s = tail_s = (
                self._chunk_s(rest, cached + num * steps)
                + context * times.mixed_context_s[num_decodes]
            )
            end_s += tail_s
        self.end_s = end_s
        return end_s

    def _chunk_s(self, num: int, cached: int) -> float:
        """Iteration with one chunk beside all decodes, without their contexts."""
        times, num_decodes = self.times, self.num_decoding
        return (
            times.tokens_s[num_decodes + num]
            + times.solo_s[num_decodes]
            + (num + times.half_tokens) * (cached + num / 2) * times.chunk_s
        )

    def _begin_short(self, now_s: float) -> float:
        """Blocks run short: preempt the newest until the others find theirs; one iteration."""
        preempt(self, now_s)
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
        return self.begin(now_s, admits=not self.num_decoding)
