"""A run of identical iterations in closed form, and what it adds to the meters.

Iteration j (from 0) takes first_s + slope_s j: contexts grow by the same tokens each time, those of
decodes by one, that of a prompt by its chunk.
"""

from __future__ import annotations

import math

from serving.instance import Instance
from serving.metrics import EngineMeters
from serving.sim.cost_model import CostModel
from serving.state import BatchPlan, Completion, FinishReason, SequenceState


class Segment:
    """Iterations in flight on one instance; `num_done` of `num_steps` are already applied."""

    __slots__ = (
        "chunk_attended",
        "chunk_attended_slope",
        "chunk_tokens",
        "context_sum",
        "first_s",
        "num_decodes",
        "num_done",
        "num_steps",
        "plan",
        "slope_s",
        "start_s",
    )

    def __init__(
        self, plan: BatchPlan, instance: Instance, cost_model: CostModel, start_s: float
    ) -> None:
        self.plan = plan
        self.start_s = start_s
        self.num_steps = 1
        self.num_done = 0
        self.num_decodes = self.context_sum = 0  # the latter in KV tokens at the start
        if plan.runs_decodes:
            self.num_decodes = instance.decodes.num
            self.context_sum = instance.decodes.context_sum
        self.chunk_tokens = 0
        # Pairs of a new token of a chunk and a token it attends to: first iteration, growth.
        self.chunk_attended = self.chunk_attended_slope = 0.0
        if not plan.chunks:
            self.first_s, self.slope_s = cost_model.linear_decode(
                self.num_decodes, self.context_sum
            )
            return
        running = instance.running
        chunks = [(num, running[seq_id].num_prefilled_tokens) for seq_id, num in plan.chunks]
        for num, num_cached in chunks:
            self.chunk_tokens += num
            self.chunk_attended += num * (num_cached + num / 2)
            self.chunk_attended_slope += float(num * num)
        self.slope_s = cost_model.slope_s(chunks=chunks, num_decodes=self.num_decodes)
        self.first_s = cost_model.iteration_s(
            chunks=chunks, num_decodes=self.num_decodes, context_sum=self.context_sum
        )

    def end_of(self, num_steps: int) -> float:
        """Time when the first `num_steps` iterations have ended."""
        return (
            self.start_s
            + num_steps * self.first_s
            + self.slope_s * (num_steps * (num_steps - 1) / 2)
        )

    def num_begun(self, now_s: float) -> int:
        """Iterations begun before `now_s`: the smallest number, beyond those done, ended by then.

        Source: the quadratic j first + slope j (j - 1) / 2 >= elapsed, corrected for rounding.
        """
        elapsed_s = max(now_s - self.start_s, 0.0)
        half_s = self.first_s - self.slope_s / 2
        if self.slope_s > 0.0:
            root = math.sqrt(half_s * half_s + 2 * self.slope_s * elapsed_s)
            num_steps = math.ceil((root - half_s) / self.slope_s)
        else:
            num_steps = math.ceil(elapsed_s / self.first_s)
        least, most = self.num_done + 1, self.num_steps
        num_steps = min(max(num_steps, least), most)
        while num_steps > least and self.end_of(num_steps - 1) >= now_s:
            num_steps -= 1
        while num_steps < most and self.end_of(num_steps) < now_s:
            num_steps += 1
        return num_steps

    def drop_done(self) -> None:
        """Let the segment begin with the first iteration that is not applied yet."""
        done = self.num_done
        self.start_s = self.end_of(done)
        self.first_s += self.slope_s * done
        self.context_sum += self.num_decodes * done
        self.chunk_attended += self.chunk_attended_slope * done
        self.num_steps -= done
        self.num_done = 0

    def count_iterations(
        self, meters: EngineMeters, cost_model: CostModel, num_steps: int, end_s: float
    ) -> None:
        """Count the iterations after `num_done` up to `num_steps`, which ended at `end_s`."""
        done = self.num_done
        num = num_steps - done
        num_decodes, chunk_tokens = self.num_decodes, self.chunk_tokens
        num_tokens = (num_decodes + chunk_tokens) * num
        middle = done + (num - 1) / 2  # mean index of these iterations
        read = num * (self.context_sum + num_decodes * (middle + 1))
        attended = read + num * (self.chunk_attended + self.chunk_attended_slope * middle)
        meters.iterations += num
        meters.busy_s += end_s - (self.end_of(done) if done else self.start_s)
        meters.generation_tokens += num_decodes * num
        meters.iteration_tokens.observe_many(num_decodes + chunk_tokens, num)
        meters.flops += (
            num_tokens * cost_model.flops_per_token + attended * cost_model.flops_per_attended
        )
        meters.moved_bytes += (
            num * cost_model.weights_bytes + (read + num_tokens) * cost_model.kv_bytes_per_token
        )

    def count_gaps(
        self, meters: EngineMeters, num_steps: int, last_s: float, late: list[float] | None
    ) -> None:
        """Count gaps between output tokens in the iterations after `num_done` up to `num_steps`.

        Args:
            meters: where to count.
            num_steps: iterations of the segment that have ended.
            last_s: end of the last decode iteration before this segment.
            late: when some decodes began after `last_s`, the beginning of each decode.
        """
        histogram, done = meters.inter_token_latency, self.num_done
        if done == 0:
            end_s = self.start_s + self.first_s
            if late is None:
                histogram.observe_many(end_s - last_s, self.num_decodes)
            else:
                for begin_s in late:
                    histogram.observe(end_s - max(last_s, begin_s))
            done = 1
        if done < num_steps:
            first_s = self.first_s + self.slope_s * done
            histogram.observe_ramp(first_s, self.slope_s, num_steps - done, self.num_decodes)


def count_first_tokens(meters: EngineMeters, completion: Completion, now_s: float) -> None:
    """Count tokens that ended a prefill."""
    for sequence in completion.resumed:
        meters.generation_tokens += 1
        meters.inter_token_latency.observe(now_s - sequence.last_token_s)
    for sequence in completion.first_tokens:
        meters.generation_tokens += 1
        meters.prompt_tokens += sequence.request.num_prompt_tokens
        meters.ttft.observe(now_s - sequence.request.arrival_s)


def count_finish(meters: EngineMeters, sequence: SequenceState, now_s: float) -> FinishReason:
    """Count a request that ran to its end."""
    reason = sequence.finish_reason
    arrival_s = sequence.request.arrival_s
    meters.success[reason] += 1
    meters.e2e.observe(now_s - arrival_s)
    meters.queue_time.observe(sequence.scheduled_s - arrival_s)
    meters.prefill_time.observe(sequence.first_token_s - sequence.scheduled_s)
    meters.decode_time.observe(now_s - sequence.first_token_s)
    return reason
