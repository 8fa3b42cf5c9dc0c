"""Stall-free batches: every decode runs in every iteration, prompts fill what the budget leaves."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

from serving.policies.fcfs import DECODE_PLAN, IDLE_PLAN, check_token_budget, preemptions
from serving.policies.protocols import InstanceView
from serving.state import BatchPlan, Phase, PrefillChunk, ceil_div


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkedPrefill:
    """All decodes, then the rest of started prompts, then new prompts, in at most `token_budget`.

    Source: Sarathi-Serve (OSDI'24), Algorithm 3.
    Differs: nothing is admitted in an iteration that preempts (as in vLLM V1), and admission asks
    for room for one output token beyond the prompt, so that a preempted sequence does not come
    back only to be preempted again.
    """

    token_budget: int = 512

    def __post_init__(self) -> None:
        check_token_budget(self.token_budget)

    def plan(self, view: InstanceView, *, now_s: float) -> BatchPlan:  # noqa: ARG002 - Protocol
        """Plan of the next iteration."""
        num_decodes = view.num_decoding
        num_needed = view.num_decode_blocks_needed if num_decodes else 0
        num_free = view.num_free_blocks - num_needed
        if num_free < 0:
            return self._plan_short(view, num_needed)
        num_left = self.token_budget - num_decodes
        chunks: list[PrefillChunk] = []
        if num_left > 0:
            if view.prefilling:
                num_left = _continue_prompts(view, chunks, num_left, ())
            if view.waiting and num_left > 0:
                _admit_prompts(view, chunks, num_left, num_free)
        if chunks:
            # Stable: only the last prompt may have more left than its chunk, and then it took
            # all of the budget, as it will again.
            return BatchPlan(runs_decodes=num_decodes > 0, chunks=tuple(chunks), stable=True)
        return DECODE_PLAN if num_decodes else IDLE_PLAN

    def _plan_short(self, view: InstanceView, num_needed: int) -> BatchPlan:
        preempted = preemptions(view, num_needed=num_needed)
        dropped = frozenset(preempted)
        num_decodes = view.num_decoding - sum(
            sequence.phase is Phase.DECODE
            for sequence in view.newest_first()
            if sequence.seq_id in dropped
        )
        chunks: list[PrefillChunk] = []
        _continue_prompts(view, chunks, self.token_budget - num_decodes, dropped)
        return BatchPlan(runs_decodes=num_decodes > 0, chunks=tuple(chunks), preempted=preempted)


def _continue_prompts(
    view: InstanceView,
    chunks: list[PrefillChunk],
    num_left: int,
    dropped: Container[int],
) -> int:
    """Give started prompts their next chunk; return what is left of the budget."""
    for sequence in view.prefilling:
        if num_left <= 0:
            break
        if sequence.seq_id in dropped:
            continue
        num_tokens = min(sequence.num_prefill_left, num_left)
        chunks.append((sequence.seq_id, num_tokens))
        num_left -= num_tokens
    return num_left


def _admit_prompts(
    view: InstanceView, chunks: list[PrefillChunk], num_left: int, num_free: int
) -> None:
    """Start waiting prompts in order until one does not fit."""
    num_slots = view.sequences_max - view.num_running
    block_tokens = view.block_tokens
    for sequence in view.waiting:
        if num_slots <= 0 or num_left <= 0 or view.num_start_blocks(sequence) > num_free:
            return
        num_tokens = min(sequence.num_prefill_left, num_left)
        chunks.append((sequence.seq_id, num_tokens))
        num_left -= num_tokens
        num_free -= ceil_div(sequence.num_prefill_tokens, block_tokens)
        num_slots -= 1
