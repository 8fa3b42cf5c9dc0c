"""KV blocks of an express lane when they are scarce: exact counts, and who is preempted."""

from __future__ import annotations

from functools import cache
from heapq import heapify
from operator import mul

from serving.sim.express_lane import Lane


def num_used(lane: Lane) -> int:
    """KV blocks in use."""
    context = lane.base_sum + lane.step * lane.num_decoding
    pads = _pads(lane.block_tokens)[lane.step % lane.block_tokens]
    pad: int = sum(map(mul, lane.residues, pads))
    return num_prefill_blocks(lane) + (context + pad) // lane.block_tokens


def num_prefill_blocks(lane: Lane) -> int:
    """KV blocks of admitted prompts."""
    num, block_tokens = 0, lane.block_tokens
    for _, num_left, num_cached in lane.prefilling:
        num += -(-(num_left + num_cached) // block_tokens)
    return num


def fits(lane: Lane, num_blocks: int) -> bool:
    """Whether so many blocks are free beside the next token of every decode."""
    num, block_tokens = lane.num_decoding, lane.block_tokens
    num_bound = lane.base_sum + lane.step * num + (block_tokens - 1) * num
    num_free = lane.num_blocks - num_prefill_blocks(lane) - num_blocks - num
    if num_bound // block_tokens <= num_free:  # surely
        return True
    needed = lane.residues[-lane.step % block_tokens]
    return num_used(lane) + needed + num_blocks <= lane.num_blocks


def steps_with_blocks(lane: Lane, steps: int) -> int:
    """Of the next `steps` decode steps those that find their blocks; the first one does."""
    num_free = lane.num_blocks - num_used(lane)
    num_decoding, residues, block_tokens = lane.num_decoding, lane.residues, lane.block_tokens
    if num_decoding * (steps // block_tokens + 1) <= num_free:
        return steps
    num = num_free // num_decoding * block_tokens
    num_free %= num_decoding
    while num < steps:
        num_free -= residues[-(lane.step + num) % block_tokens]
        if num_free < 0:
            break
        num += 1
    return max(1, min(num, steps))


def preempt(lane: Lane, last_s: float) -> None:
    """Drop the newest sequences until the other decodes find their next blocks.

    Their prompts and the tokens that they emitted are prefilled again from the head of the queue.
    The last decode iteration ended at `last_s`.
    """
    step, block_tokens = lane.step, lane.block_tokens
    num_free = lane.num_blocks - num_used(lane)
    needed = lane.residues[-step % block_tokens]
    decoding = {row: base for _, row, base in lane.ends}
    prompts = {prompt[0]: prompt for prompt in lane.prefilling}
    for row in sorted((*decoding, *prompts), reverse=True):
        if needed <= num_free:
            break
        if row in decoding:
            base = decoding.pop(row)
            needed -= (base + step) % block_tokens == 0
            num_free += -(-(base + step) // block_tokens)
            lane.num_decoding -= 1
            lane.base_sum -= base
            lane.residues[base % block_tokens] -= 1
            num_emitted = base + step - lane.num_prompt[row] + 1
            lane.carry[row] = (num_emitted, lane.joined.pop(row, last_s))
        else:
            prompt = prompts[row]
            lane.prefilling.remove(prompt)
            num_free += -(-(prompt[1] + prompt[2]) // block_tokens)
        lane.peak_blocks -= lane.row_blocks[row]
        lane.waiting.appendleft(row)
        lane.num_preemptions += 1
    lane.ends = [ending for ending in lane.ends if ending[1] in decoding]
    heapify(lane.ends)


@cache
def _pads(block_tokens: int) -> list[list[int]]:
    """By step and residue, both modulo the block size: free tokens of a sequence's last block."""
    tokens = range(block_tokens)
    return [[-(residue + step) % block_tokens for residue in tokens] for step in tokens]
