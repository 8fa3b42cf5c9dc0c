"""One serving instance: queue, running list, KV blocks. No clock, no I/O.

A driver calls `plan`, spends the iteration's time, then calls `complete`. In pure decode it may
complete many iterations at once, up to `num_steps_ahead`. Times are only noted, never read.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator
from typing import cast

from serving.kvcache import BlockPool
from serving.policies.protocols import BatchPolicy, SequenceView
from serving.state import (
    BatchPlan,
    Completion,
    FinishReason,
    InstanceConfig,
    Phase,
    RejectReason,
    Request,
    SequenceState,
)


class Instance:
    """Owner of the state of one engine; the only place where plans are applied.

    No decoding sequence is touched per iteration: the decode step counter advances for all, ends
    stand in a heap, and one counter per residue of `base` modulo the block size tells how many
    sequences need a block at a step. FIFO order holds over running and waiting together.
    """

    __slots__ = (
        "_ends",
        "_next_order",
        "_policy",
        "_residues",
        "base_sum",
        "block_tokens",
        "config",
        "is_draining",
        "last_decode_s",
        "num_decoding",
        "num_preemptions",
        "pool",
        "prefilling",
        "running",
        "sequences_max",
        "step",
        "waiting",
    )

    def __init__(self, config: InstanceConfig, policy: BatchPolicy) -> None:
        self.config = config
        self.block_tokens = config.block_tokens
        self.sequences_max = config.sequences_max
        self.pool = BlockPool(config.num_blocks)
        self.waiting: deque[SequenceState] = deque()
        self.running: dict[int, SequenceState] = {}  # in order of admission
        self.prefilling: list[SequenceState] = []
        self.step = 0  # decode steps so far
        self.num_decoding = 0
        self.base_sum = 0  # sum of `base` over decoding sequences
        self.num_preemptions = 0
        self.is_draining = False
        self.last_decode_s = 0.0  # end of the last iteration that ran decodes
        self._policy = policy
        self._residues = [0] * config.block_tokens
        self._ends: list[tuple[int, int, int]] = []  # (end_step, order, request_id), lazily pruned
        self._next_order = 0

    # What policies and drivers read.

    @property
    def num_running(self) -> int:
        """Sequences in the running list."""
        return len(self.running)

    @property
    def num_waiting(self) -> int:
        """Sequences in the queue."""
        return len(self.waiting)

    @property
    def num_free_blocks(self) -> int:
        """KV blocks free now; negative while a leak overlaps blocks in use."""
        return self.pool.num_free

    @property
    def num_decode_blocks_needed(self) -> int:
        """New KV blocks that the next decode step takes."""
        return self._residues[-self.step % self.block_tokens]

    @property
    def context_sum(self) -> int:
        """Tokens in the KV of all decoding sequences."""
        return self.base_sum + self.step * self.num_decoding

    def newest_first(self) -> Iterator[SequenceState]:
        """Running sequences, last admitted first."""
        return reversed(self.running.values())

    def num_held_blocks(self, sequence: SequenceView) -> int:
        """KV blocks that a running sequence holds."""
        own = cast("SequenceState", sequence)
        if own.phase is Phase.DECODE:
            return -(-(own.base + self.step) // self.block_tokens)
        return len(own.block_table)

    def needs_block(self, sequence: SequenceView) -> bool:
        """Whether the next token of a decoding sequence takes a new block."""
        return (cast("SequenceState", sequence).base + self.step) % self.block_tokens == 0

    def num_generated(self, sequence: SequenceState) -> int:
        """Output tokens that a sequence has emitted."""
        if sequence.phase is Phase.DECODE:
            return sequence.base + self.step - sequence.request.num_prompt_tokens + 1
        return sequence.num_generated_before

    def num_steps_ahead(self) -> int:
        """Decode steps until one ends a sequence, or before blocks run short; at least 1.

        Valid after a plan of decodes only.
        """
        ends, running, step = self._ends, self.running, self.step
        while True:
            end_step, _, request_id = ends[0]
            sequence = running.get(request_id)
            if (
                sequence is not None
                and sequence.phase is Phase.DECODE
                and sequence.end_step == end_step
            ):
                break
            heapq.heappop(ends)
        num_steps = end_step - step
        num_free = self.pool.num_free
        block_tokens = self.block_tokens
        num_decoding = self.num_decoding
        if num_decoding * (num_steps // block_tokens + 1) <= num_free:
            return num_steps
        num_ahead = num_free // num_decoding * block_tokens
        num_free %= num_decoding
        residues = self._residues
        while num_ahead < num_steps:
            num_free -= residues[-(step + num_ahead) % block_tokens]
            if num_free < 0:
                break
            num_ahead += 1
        # The first step was planned with its blocks at hand, whatever was lost since.
        return max(1, min(num_ahead, num_steps))

    # What drivers do.

    def admit(self, request: Request) -> RejectReason | None:
        """Queue a request, or say why not. An id may be used again after its request ended."""
        if self.is_draining:
            return RejectReason.DRAINING
        if request.num_prompt_tokens + 1 > self.config.context_limit:
            return RejectReason.TOO_LONG
        if len(self.waiting) >= self.config.queue_max:
            return RejectReason.QUEUE_FULL
        self.waiting.append(
            SequenceState(
                request=request,
                order=self._next_order,
                request_id=request.request_id,
                num_prefill_tokens=request.num_prompt_tokens,
            )
        )
        self._next_order += 1
        return None

    def plan(self, now_s: float) -> BatchPlan:
        """Ask the policy for the next iteration and apply what it moves."""
        plan = self._policy.plan(self, now_s=now_s)
        if plan.preempted:
            self._preempt(plan.preempted)
            if plan.is_empty:  # what was dropped may be the first that fits again
                plan = self._policy.plan(self, now_s=now_s)
                assert not plan.preempted, f"nothing runs, yet {plan.preempted} are preempted"
        waiting = self.waiting
        for request_id, _ in plan.chunks:
            if waiting and waiting[0].request_id == request_id:
                self._start_prefill(now_s)
        return plan

    def complete(self, plan: BatchPlan, now_s: float, num_iterations: int = 1) -> Completion:
        """Apply the end of `num_iterations` iterations of `plan`, the last one at `now_s`.

        Args:
            plan: what `plan` returned last; with prefill chunks it runs once.
            now_s: end of the last of these iterations.
            num_iterations: at most `num_steps_ahead()`.
        """
        done = Completion()
        if plan.runs_decodes:
            self._advance(num_iterations)
            self.last_decode_s = now_s
            self._finish_decodes(done.finished)
        if plan.chunks:
            assert num_iterations == 1, f"{num_iterations} iterations of a plan with prefill"
            for request_id, num_tokens in plan.chunks:
                sequence = self.running[request_id]
                sequence.num_prefilled_tokens += num_tokens
                if sequence.num_prefill_left == 0:
                    self._end_prefill(sequence, now_s, done)
            self.prefilling = [s for s in self.prefilling if s.phase is Phase.PREFILL]
        return done

    def abort(self, request_id: int) -> SequenceState | None:
        """Drop a request wherever it stands; None when it is not here. Call between iterations."""
        sequence = self.running.get(request_id)
        if sequence is not None:
            self._leave_running(sequence)
        else:
            sequence = self.find_waiting(request_id)
            if sequence is None:
                return None
            self.waiting.remove(sequence)
        sequence.phase = Phase.FINISHED
        return sequence

    def find_waiting(self, request_id: int) -> SequenceState | None:
        """The waiting sequence of a request, if it waits."""
        return next((s for s in self.waiting if s.request_id == request_id), None)

    def abort_all(self) -> list[SequenceState]:
        """Drop everything, in FIFO order."""
        sequences = [*self.running.values(), *self.waiting]
        for sequence in sequences[: len(self.running)]:
            self._leave_running(sequence)
        self.waiting.clear()
        for sequence in sequences:
            sequence.phase = Phase.FINISHED
        return sequences

    def drain(self) -> None:
        """Admit nothing from now on."""
        self.is_draining = True

    def reserve_blocks(self, num_blocks: int) -> None:
        """Make `num_blocks` (in total) unusable, as a memory leak does; 0 ends it."""
        self.pool.lose(num_blocks)

    def finish_reason(self, sequence: SequenceState) -> FinishReason:
        """Why a sequence that ran to its end ended."""
        return FinishReason.LENGTH if sequence.is_cut else FinishReason.STOP

    def block_table(self, request_id: int) -> list[int]:
        """Block ids of a running sequence, complete up to its context."""
        sequence = self.running[request_id]
        num_owed = self.num_held_blocks(sequence) - len(sequence.block_table)
        sequence.block_table.extend(self.pool.take_owed(num_owed))
        return sequence.block_table

    def check_invariants(self) -> None:
        """Assert that every count agrees with the sequences; costs O(running + blocks)."""
        running = list(self.running.values())
        decoding = [s for s in running if s.phase is Phase.DECODE]
        prefilling = [s for s in running if s.phase is Phase.PREFILL]
        assert len(decoding) + len(prefilling) == len(running), "a phase that cannot run"
        assert prefilling == self.prefilling, "the prefill list differs from the phases"
        assert len(decoding) == self.num_decoding, f"{len(decoding)} decode, not the count"
        assert len(running) <= self.sequences_max, f"{len(running)} sequences run"
        assert sum(s.base for s in decoding) == self.base_sum, "sum of bases is off"
        for residue, num in enumerate(self._residues):
            real = sum(s.base % self.block_tokens == residue for s in decoding)
            assert num == real, f"residue {residue}: counted {num}, real {real}"
        orders = [s.order for s in (*running, *self.waiting)]
        assert orders == sorted(set(orders)), f"FIFO order broken: {orders}"
        held = [self.num_held_blocks(s) for s in running]
        assert sum(held) == self.pool.num_used, f"{held} held, {self.pool.num_used} used"
        for sequence, num in zip(running, held, strict=True):
            assert len(sequence.block_table) <= num, "a table longer than its context"
        assert all(s.end_step > self.step for s in decoding), "a sequence ran past its end"
        assert all(not s.block_table for s in self.waiting), "a waiting sequence holds blocks"
        self.pool.check_invariants([s.block_table for s in running])

    # How state changes.

    def _start_prefill(self, now_s: float) -> None:
        sequence = self.waiting.popleft()
        sequence.phase = Phase.PREFILL
        if sequence.scheduled_s < 0.0:
            sequence.scheduled_s = now_s
        num_blocks = -(-sequence.num_prefill_tokens // self.block_tokens)
        sequence.block_table = self.pool.take(num_blocks)
        self.running[sequence.request_id] = sequence
        self.prefilling.append(sequence)

    def _end_prefill(self, sequence: SequenceState, now_s: float, done: Completion) -> None:
        """The last chunk yields one token; then the sequence decodes or ends."""
        request = sequence.request
        num_context = sequence.num_prefill_tokens
        num_generated = sequence.num_generated_before + 1
        if sequence.first_token_s < 0.0:
            sequence.first_token_s = now_s
            done.first_tokens.append(sequence)
        else:
            done.resumed.append(sequence)
        num_left = request.num_output_tokens - num_generated
        if num_left > self.config.context_limit - num_context:
            num_left = self.config.context_limit - num_context
            sequence.is_cut = True
        if num_left <= 0:
            self._leave_running(sequence)
            sequence.num_generated_before = num_generated
            sequence.phase = Phase.FINISHED
            done.finished.append(sequence)
            return
        sequence.phase = Phase.DECODE
        sequence.decode_from_s = now_s
        sequence.base = num_context - self.step
        sequence.end_step = self.step + num_left
        self.num_decoding += 1
        self.base_sum += sequence.base
        self._residues[sequence.base % self.block_tokens] += 1
        heapq.heappush(self._ends, (sequence.end_step, sequence.order, sequence.request_id))

    def _advance(self, num_steps: int) -> None:
        num_cycles, num_rest = divmod(num_steps, self.block_tokens)
        num_blocks = num_cycles * self.num_decoding
        residues, step, block_tokens = self._residues, self.step, self.block_tokens
        for ahead in range(step, step + num_rest):
            num_blocks += residues[-ahead % block_tokens]
        if num_blocks:
            self.pool.owe(num_blocks)
        self.step = step + num_steps

    def _finish_decodes(self, finished: list[SequenceState]) -> None:
        ends, step = self._ends, self.step
        while ends and ends[0][0] <= step:
            end_step, _, request_id = heapq.heappop(ends)
            sequence = self.running.get(request_id)
            if sequence is None or sequence.phase is not Phase.DECODE:
                continue
            if sequence.end_step != end_step:
                continue
            num_generated = self.num_generated(sequence)
            self._leave_running(sequence)
            sequence.num_generated_before = num_generated
            sequence.phase = Phase.FINISHED
            finished.append(sequence)

    def _preempt(self, request_ids: tuple[int, ...]) -> None:
        for request_id in request_ids:
            sequence = self.running[request_id]
            num_generated = self.num_generated(sequence)
            if sequence.phase is Phase.DECODE:
                sequence.last_token_s = max(self.last_decode_s, sequence.decode_from_s)
            self._leave_running(sequence)
            sequence.num_generated_before = num_generated
            sequence.num_prefill_tokens = sequence.request.num_prompt_tokens + num_generated
            sequence.num_prefilled_tokens = 0
            sequence.num_preemptions += 1
            sequence.phase = Phase.WAITING
            self.num_preemptions += 1
            self.waiting.appendleft(sequence)

    def _leave_running(self, sequence: SequenceState) -> None:
        """Take a sequence off the running list and give its blocks back."""
        del self.running[sequence.request_id]
        if sequence.phase is Phase.DECODE:
            num_owed = self.num_held_blocks(sequence) - len(sequence.block_table)
            self.pool.settle(num_owed)
            self.num_decoding -= 1
            self.base_sum -= sequence.base
            self._residues[sequence.base % self.block_tokens] -= 1
        elif sequence.num_prefill_left > 0:
            self.prefilling.remove(sequence)
        self.pool.give_back(sequence.block_table)
        sequence.block_table = []
