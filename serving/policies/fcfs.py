"""Baseline: first come, first served, whole prompts before decodes."""

from __future__ import annotations

from dataclasses import dataclass

from serving.errors import ConfigError
from serving.policies.protocols import InstanceView
from serving.state import BatchPlan, Phase, PrefillChunk, ceil_div

IDLE_PLAN = BatchPlan(stable=True)
DECODE_PLAN = BatchPlan(runs_decodes=True, stable=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefillFirst:
    """Waiting prompts run alone and whole; decodes run when no prompt can start.

    Source: vLLM's original scheduler as described in Sarathi-Serve (OSDI'24), section 3.
    Differs: a prompt longer than the token budget runs alone instead of being refused.
    """

    token_budget: int = 2048

    def __post_init__(self) -> None:
        check_token_budget(self.token_budget)

    def plan(self, view: InstanceView, *, now_s: float) -> BatchPlan:  # noqa: ARG002 - Protocol
        """Prompts up to the budget while slots and blocks allow, else every decode."""
        chunks = self._prompts(view)
        if chunks:
            return BatchPlan(chunks=chunks)
        if view.num_decoding == 0:
            return IDLE_PLAN
        needed = view.num_decode_blocks_needed
        if needed <= view.num_free_blocks:
            return DECODE_PLAN
        preempted = preemptions(view, num_needed=needed)
        return BatchPlan(runs_decodes=len(preempted) < view.num_decoding, preempted=preempted)

    def _prompts(self, view: InstanceView) -> tuple[PrefillChunk, ...]:
        chunks: list[PrefillChunk] = []
        num_left = self.token_budget
        num_free = view.num_free_blocks
        num_slots = view.sequences_max - view.num_running
        for sequence in view.waiting:
            if num_slots <= 0 or view.num_start_blocks(sequence) > num_free:
                break
            num_tokens = sequence.num_prefill_left
            if chunks and num_tokens > num_left:
                break
            chunks.append((sequence.seq_id, num_tokens))
            num_left -= num_tokens
            num_free -= ceil_div(sequence.num_prefill_tokens, view.block_tokens)
            num_slots -= 1
        return tuple(chunks)


def preemptions(view: InstanceView, *, num_needed: int) -> tuple[int, ...]:
    """Running sequences to drop, newest first, until the decodes left find their blocks.

    Args:
        view: the instance.
        num_needed: blocks that one token for every decoding sequence takes.
    """
    num_free = view.num_free_blocks
    dropped: list[int] = []
    for sequence in view.newest_first():
        if num_needed <= num_free:
            break
        dropped.append(sequence.seq_id)
        num_free += view.num_freed_blocks(sequence)
        if sequence.phase is Phase.DECODE and num_needed and view.needs_block(sequence):
            num_needed -= 1
    return tuple(dropped)


def check_token_budget(token_budget: int) -> None:
    """Raise ConfigError unless the budget is positive."""
    if token_budget < 1:
        raise ConfigError(f"token_budget is {token_budget}, expected at least 1")
