"""An express lane under first come, first served: the rules of `PrefillFirst`."""

from __future__ import annotations

import math

from serving.sim.express_blocks import fits, num_used, preempt, steps_with_blocks
from serving.sim.express_lane import DONE, Chunks, Lane


class PrefillFirstLane(Lane):
    """Prompts run alone and whole; decodes pause meanwhile."""

    __slots__ = ()

    def begin(self, now_s: float) -> float:
        """Plan and start a segment: its end, or 0 when nothing can run."""
        if self.waiting:
            chunks = self._prompts()
            if chunks:
                if self.paused_from_s == math.inf:
                    self.paused_from_s = now_s
                return self._start_prefill(now_s, chunks)
        steps = self.ends[0][0] - self.step if self.num_decoding else 0
        if steps and self.peak_blocks > self.num_blocks:
            if fits(self, 0):
                steps = steps_with_blocks(self, steps)
            else:
                preempt(self, min(now_s, self.paused_from_s))
                if not self.num_decoding:  # what was dropped may be the first that fits again
                    return self.begin(now_s)
                steps = 1
        if self.paused_from_s != math.inf:
            self.pause_s = now_s - self.paused_from_s
            self.paused_from_s = math.inf
        return self._start_decodes(now_s, steps)

    def _prompts(self) -> Chunks:
        """Waiting prompts up to the budget, in order, until one does not fit."""
        num_left, slots = self.budget, self.sequences_max - self.num_decoding
        waiting = self.waiting
        chunks: Chunks = []
        while waiting and slots > 0:
            row = waiting[0]
            total = self.num_prompt[row]
            if self.carry and row in self.carry:
                total += self.carry[row][0]
            if chunks and total > num_left:
                break
            peak_blocks = self.peak_blocks + self.row_blocks[row]
            if peak_blocks > self.num_blocks:
                num_start = -(-min(total + 1, self.context_limit) // self.block_tokens)
                if num_used(self) + num_start > self.num_blocks:
                    break
            self.peak_blocks = peak_blocks
            waiting.popleft()
            prompt = [row, total, 0]
            self.prefilling.append(prompt)
            chunks.append((prompt, total))
            num_left -= total
            slots -= 1
        return chunks

    def _start_prefill(self, now_s: float, chunks: Chunks) -> float:
        """An iteration with nothing but whole prompts."""
        times, num_tokens, work = self.times, 0, 0.0
        for _, num in chunks:
            num_tokens += num
            work += (num + times.half_tokens) * num / 2
        self.chunks = chunks
        self.num_running = 0
        self.is_full = True
        self.start_s = now_s
        self.steps, self.slope_s = 1, 0.0
        self.first_s = first_s = (
            times.tokens_s[num_tokens] + times.sequences_s[len(chunks)] + work * times.chunk_s
        )
        self.end_s = end_s = now_s + first_s
        return end_s

    def _end_chunks(self, now_s: float) -> None:
        """Note who decodes from now on: the next gap of these is shorter than of the others."""
        super()._end_chunks(now_s)
        for (row, _, _), _ in self.chunks:
            if self.outcome_column[row] != DONE:
                self.joined[row] = now_s
