"""Decoding sequences that advance in lockstep: contexts, block needs and ends in closed form.

Nothing here touches a sequence per step. Which sequences may run is the instance's business.
"""

from __future__ import annotations

import heapq

from serving.state import SequenceState


class DecodeGroup:
    """Sequences in decode, one token each per step.

    A step counter advances for all. A sequence's context is its `base` plus the counter, so that
    it needs a block at the steps where base + step is a multiple of the block size: one counter
    per residue of `base` tells how many do. Ends stand in a heap, stale entries are skipped.
    """

    __slots__ = ("_ends", "_residues", "_turn", "base_sum", "block_tokens", "num", "step")

    def __init__(self, block_tokens: int) -> None:
        self.block_tokens = block_tokens
        self.num = 0
        self.step = 0  # decode steps so far
        self.base_sum = 0
        self._residues = [0] * block_tokens
        self._turn = 0
        self._ends: list[tuple[int, int, SequenceState]] = []  # (end step, turn, sequence)

    @property
    def context_sum(self) -> int:
        """Tokens in the KV of all sequences."""
        return self.base_sum + self.step * self.num

    @property
    def num_blocks_needed(self) -> int:
        """New blocks that the next step takes."""
        return self._residues[-self.step % self.block_tokens]

    def num_blocks_ahead(self, num_steps: int) -> int:
        """New blocks that the next `num_steps` steps take."""
        if num_steps == 1:
            return self._residues[-self.step % self.block_tokens]
        num_cycles, num_rest = divmod(num_steps, self.block_tokens)
        num_blocks = num_cycles * self.num
        if num_rest:
            # Residues wrap around at zero; negative indices of the list do the wrapping.
            at = -self.step % self.block_tokens
            residues = self._residues
            num_blocks += (
                sum(residues[at - num_rest + 1 : at + 1])
                if at >= num_rest - 1
                else sum(residues[: at + 1]) + sum(residues[at - num_rest + 1 :])
            )
        return num_blocks

    def num_steps_ahead(self, num_free: int) -> int:
        """Steps until one ends a sequence, or before they take more than `num_free` blocks.

        At least 1: the next step was planned with its blocks at hand. The group is not empty.
        """
        ends = self._ends
        while ends[0][1] != ends[0][2].turn:
            heapq.heappop(ends)
        num_steps = ends[0][0] - self.step
        if self.num * (num_steps // self.block_tokens + 1) <= num_free:
            return num_steps
        num_free = max(num_free, 0)
        num_ahead = num_free // self.num * self.block_tokens
        num_free %= self.num
        while num_ahead < num_steps:
            num_free -= self._residues[-(self.step + num_ahead) % self.block_tokens]
            if num_free < 0:
                break
            num_ahead += 1
        return max(1, min(num_ahead, num_steps))

    def join(self, sequence: SequenceState, *, num_context: int, num_left: int) -> None:
        """Let a sequence with `num_context` tokens in the KV take part for `num_left` steps."""
        base = num_context - self.step
        end_step = self.step + num_left
        self._turn += 1
        sequence.base, sequence.end_step, sequence.turn = base, end_step, self._turn
        self.num += 1
        self.base_sum += base
        self._residues[base % self.block_tokens] += 1
        heapq.heappush(self._ends, (end_step, self._turn, sequence))

    def leave(self, sequence: SequenceState) -> None:
        """Take a sequence out."""
        self.num -= 1
        self.base_sum -= sequence.base
        self._residues[sequence.base % self.block_tokens] -= 1
        sequence.turn = 0

    def advance(self, num_steps: int) -> int:
        """Run `num_steps` steps; return the new blocks they took."""
        num_blocks = self.num_blocks_ahead(num_steps)
        self.step += num_steps
        return num_blocks

    def next_ended(self) -> SequenceState | None:
        """A sequence whose end has come, in the order of joining; call `leave` before the next."""
        ends, step = self._ends, self.step
        while ends and ends[0][0] <= step:
            _, turn, sequence = heapq.heappop(ends)
            if turn == sequence.turn:
                return sequence
        return None

    def check_invariants(self, sequences: list[SequenceState]) -> None:
        """Assert that the counts agree with `sequences`, which are all in decode."""
        assert len(sequences) == self.num, f"{len(sequences)} sequences, {self.num} counted"
        assert sum(s.base for s in sequences) == self.base_sum, "sum of bases is off"
        for residue, num in enumerate(self._residues):
            real = sum(s.base % self.block_tokens == residue for s in sequences)
            assert num == real, f"residue {residue}: counted {num}, real {real}"
        late = [s.seq_id for s in sequences if s.end_step <= self.step]
        assert not late, f"sequences {late} ran past their end"
        turns = {turn for _, turn, _ in self._ends}
        assert {s.turn for s in sequences} <= turns, "a sequence without an end"
