"""One serving instance: queue, running list, KV blocks. No clock, no I/O.

A driver calls `plan`, spends the iteration's time, then calls `complete`. In pure decode it may
complete many iterations at once, up to `num_steps_ahead`. Times are only noted, never read.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import cast

from serving.kvcache import BlockPool, DecodeGroup
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
    ceil_div,
)

NOTHING = Completion()  # what most iterations bring; nobody may change it


class Instance:
    """Owner of the state of one engine; the only place where plans are applied.

    FIFO order holds over running and waiting sequences together: a preempted one is the newest of
    those running and goes to the head of the queue.
    """

    __slots__ = (
        "_next_seq_id",
        "_policy",
        "block_tokens",
        "config",
        "context_limit",
        "decodes",
        "is_draining",
        "last_decode_s",
        "num_preemptions",
        "pool",
        "prefilling",
        "running",
        "sequences_max",
        "waiting",
    )

    def __init__(self, config: InstanceConfig, policy: BatchPolicy) -> None:
        self.config = config
        self.block_tokens = config.block_tokens
        self.sequences_max = config.sequences_max
        self.context_limit = config.context_limit
        self.pool = BlockPool(config.num_blocks)
        self.decodes = DecodeGroup(config.block_tokens)
        self.waiting: deque[SequenceState] = deque()
        self.running: dict[int, SequenceState] = {}  # by seq_id, in order of admission
        self.prefilling: list[SequenceState] = []
        self.num_preemptions = 0
        self.is_draining = False
        self.last_decode_s = 0.0  # end of the last iteration that ran decodes
        self._policy = policy
        self._next_seq_id = 0

    @property
    def num_running(self) -> int:
        """Sequences in the running list."""
        return len(self.running)

    @property
    def num_waiting(self) -> int:
        """Sequences in the queue."""
        return len(self.waiting)

    @property
    def num_decoding(self) -> int:
        """Sequences in decode."""
        return self.decodes.num

    @property
    def num_free_blocks(self) -> int:
        """KV blocks free now; negative while a leak overlaps blocks in use."""
        return self.pool.num_free

    @property
    def num_decode_blocks_needed(self) -> int:
        """New KV blocks that the next decode step takes."""
        return self.decodes.num_blocks_needed

    def newest_first(self) -> Iterator[SequenceState]:
        """Running sequences, last admitted first."""
        return reversed(self.running.values())

    def num_start_blocks(self, sequence: SequenceView) -> int:
        """Free KV blocks that a waiting sequence must find to start."""
        num_tokens = min(sequence.num_prefill_tokens + 1, self.context_limit)
        return -(-num_tokens // self.block_tokens)

    def num_held_blocks(self, sequence: SequenceView) -> int:
        """KV blocks that a running sequence holds."""
        own = cast("SequenceState", sequence)
        if own.phase is Phase.DECODE:
            return -(-(own.base + self.decodes.step) // self.block_tokens)
        return len(own.block_table)

    num_freed_blocks = num_held_blocks  # nobody shares

    def needs_block(self, sequence: SequenceView) -> bool:
        """Whether the next token of a decoding sequence takes a new block."""
        return (cast("SequenceState", sequence).base + self.decodes.step) % self.block_tokens == 0

    def num_generated(self, sequence: SequenceState) -> int:
        """Output tokens that a sequence has emitted."""
        if sequence.phase is Phase.DECODE:
            return sequence.base + self.decodes.step - sequence.request.num_prompt_tokens + 1
        return sequence.num_generated_before

    def num_steps_ahead(self, plan: BatchPlan) -> int:
        """Iterations of a stable plan until a sequence changes or before blocks run short."""
        running = self.running
        limits = [running[seq_id].num_prefill_left // num for seq_id, num in plan.chunks]
        if plan.runs_decodes:
            limits.append(self.decodes.num_steps_ahead(self.pool.num_free))
        return min(limits)

    def admit(self, request: Request) -> SequenceState | RejectReason:
        """Queue a request, or say why not. Request ids may repeat; sequence ids do not."""
        if self.is_draining:
            return RejectReason.DRAINING
        if request.num_prompt_tokens + 1 > self.context_limit:
            return RejectReason.TOO_LONG
        if len(self.waiting) >= self.config.queue_max:
            return RejectReason.QUEUE_FULL
        sequence = SequenceState(request, self._next_seq_id, request.num_prompt_tokens)
        self._next_seq_id += 1
        self.waiting.append(sequence)
        return sequence

    def plan(self, now_s: float) -> BatchPlan:
        """Ask the policy for the next iteration and apply what it moves."""
        plan = self._policy.plan(self, now_s=now_s)
        if plan.preempted:
            self._preempt(plan.preempted)
            if plan.is_empty:  # what was dropped may be the first that fits again
                plan = self._policy.plan(self, now_s=now_s)
                assert not plan.preempted, f"nothing runs, yet {plan.preempted} are preempted"
        waiting = self.waiting
        if waiting:
            for seq_id, _ in plan.chunks:
                if waiting and waiting[0].seq_id == seq_id:
                    self._start_prefill(now_s)
        return plan

    def complete(self, plan: BatchPlan, now_s: float, num_iterations: int = 1) -> Completion:
        """Apply 1 (of a stable plan up to `num_steps_ahead`) iterations that ended `now_s`."""
        done = NOTHING
        if plan.runs_decodes:
            self.last_decode_s = now_s
            num_blocks = self.decodes.advance(num_iterations)
            if num_blocks:
                self.pool.owe(num_blocks)
            sequence = self.decodes.next_ended()
            if sequence is not None:
                done = Completion()
            while sequence is not None:
                self._finish(sequence, self.num_generated(sequence), done)
                sequence = self.decodes.next_ended()
        if plan.chunks:
            for seq_id, num_tokens in plan.chunks:
                sequence = self.running[seq_id]
                sequence.num_prefilled_tokens += num_tokens * num_iterations
                if sequence.num_prefilled_tokens == sequence.num_prefill_tokens:
                    done = Completion() if done is NOTHING else done
                    self._end_prefill(sequence, now_s, done)
        return done

    def abort(self, sequence: SequenceState) -> None:
        """Drop a sequence wherever it stands. Call between iterations only."""
        if sequence.phase is Phase.WAITING:
            self.waiting.remove(sequence)
        elif sequence.phase is not Phase.FINISHED:
            self._leave_running(sequence)
        sequence.phase = Phase.FINISHED

    def abort_all(self) -> list[SequenceState]:
        """Drop everything; returns it in FIFO order."""
        sequences = [*self.running.values(), *self.waiting]
        for sequence in sequences:
            self.abort(sequence)
        return sequences

    def drain(self) -> None:
        """Admit nothing from now on."""
        self.is_draining = True

    def reserve_blocks(self, num_blocks: int) -> None:
        """Make `num_blocks` (in total) unusable, as a memory leak does; 0 ends it."""
        self.pool.lose(num_blocks)

    def block_table(self, sequence: SequenceState) -> list[int]:
        """Block ids of a running sequence, complete up to its context."""
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
        assert len(running) <= self.sequences_max, f"{len(running)} sequences run"
        assert all(s.phase is Phase.WAITING for s in self.waiting), "a phase that cannot wait"
        self.decodes.check_invariants(decoding)
        seq_ids = [s.seq_id for s in (*running, *self.waiting)]
        assert seq_ids == sorted(set(seq_ids)), f"FIFO order broken: {seq_ids}"
        held = [self.num_held_blocks(s) for s in running]
        num_used = self.pool.num_used + self.pool.num_extra_refs
        assert sum(held) == num_used, f"{held} held, {num_used} used"
        for sequence, num in zip(running, held, strict=True):
            assert len(sequence.block_table) <= num, "a table longer than its context"
            if sequence.phase is Phase.PREFILL:
                assert 0 <= sequence.num_prefilled_tokens < sequence.num_prefill_tokens
            assert self.num_generated(sequence) < sequence.request.num_output_tokens
        assert all(not s.block_table for s in self.waiting), "a waiting sequence holds blocks"
        self.pool.check_invariants([s.block_table for s in running])

    def _start_prefill(self, now_s: float) -> None:
        sequence = self.waiting.popleft()
        sequence.phase = Phase.PREFILL
        if sequence.scheduled_s < 0.0:
            sequence.scheduled_s = now_s
        num_blocks = ceil_div(sequence.num_prefill_tokens, self.block_tokens)
        sequence.block_table = self.pool.take(num_blocks)
        self.running[sequence.seq_id] = sequence
        self.prefilling.append(sequence)

    def _end_prefill(self, sequence: SequenceState, now_s: float, done: Completion) -> None:
        """The last chunk yields one token; then the sequence decodes or ends."""
        num_context = sequence.num_prefill_tokens
        num_generated = sequence.num_generated_before + 1
        if sequence.first_token_s < 0.0:
            sequence.first_token_s = now_s
            done.first_tokens.append(sequence)
        else:
            done.resumed.append(sequence)
        num_left = sequence.request.num_output_tokens - num_generated
        num_room = self.context_limit - num_context
        sequence.finish_reason = FinishReason.STOP
        if num_left > num_room:
            num_left = num_room
            sequence.finish_reason = FinishReason.LENGTH
        if num_left <= 0:
            self._finish(sequence, num_generated, done)
            return
        self.prefilling.remove(sequence)
        sequence.phase = Phase.DECODE
        sequence.decode_from_s = now_s
        self.decodes.join(sequence, num_context=num_context, num_left=num_left)

    def _finish(self, sequence: SequenceState, num_generated: int, done: Completion) -> None:
        self._leave_running(sequence)
        sequence.num_generated_before = num_generated
        sequence.phase = Phase.FINISHED
        done.finished.append(sequence)

    def _preempt(self, seq_ids: tuple[int, ...]) -> None:
        """Recompute preemption: the KV is dropped, prompt and output so far are prefilled again."""
        for seq_id in seq_ids:
            sequence = self.running[seq_id]
            num_generated = self.num_generated(sequence)
            if sequence.phase is Phase.DECODE:
                sequence.last_token_s = max(self.last_decode_s, sequence.decode_from_s)
            self._leave_running(sequence)
            sequence.num_generated_before = num_generated
            sequence.num_prefill_tokens = sequence.request.num_prompt_tokens + num_generated
            sequence.num_prefilled_tokens = 0
            sequence.phase = Phase.WAITING
            self.num_preemptions += 1
            self.waiting.appendleft(sequence)

    def _leave_running(self, sequence: SequenceState) -> None:
        """Take a sequence off the running list and give its blocks back."""
        del self.running[sequence.seq_id]
        if sequence.phase is Phase.DECODE:
            self.pool.forgive(self.num_held_blocks(sequence) - len(sequence.block_table))
            self.decodes.leave(sequence)
        else:
            self.prefilling.remove(sequence)
        self.pool.give_back(sequence.block_table)
        sequence.block_table = []
