"""What iterations of a flat instance do: tokens, prompts that end, and what meters count."""

from __future__ import annotations

from bisect import bisect_left

from serving.metrics import EngineMeters
from serving.sim.flat_state import ENDED, FlatState, Job
from serving.state import FinishReason


def advance(flat: FlatState, steps: int, end_s: float) -> None:
    """Apply and count the iterations after `done` up to number `steps`, which ended `end_s`."""
    done, first_s, slope_s = flat.done, flat.first_s, flat.slope_s
    num, num_decodes, chunk_tokens = steps - done, flat.num_decoding, flat.chunk_tokens
    begin_s = flat.end_of(done) if done else flat.start_s
    meters, cost_model = flat.meters, flat.cost_model
    middle = done + (num - 1) / 2  # mean index of these iterations
    num_tokens = (num_decodes + chunk_tokens) * num
    read = num * (flat.context + num_decodes * (middle + 1))
    attended = read
    if chunk_tokens:
        attended += num * (flat.chunk_attended + flat.chunk_slope * middle)
        for job, tokens in flat.chunks:
            job.num_cached += tokens * num
    meters.iterations += num
    meters.busy_s += end_s - begin_s
    histogram = meters.iteration_tokens
    histogram.counts[bisect_left(histogram.bounds, num_decodes + chunk_tokens)] += num
    histogram.sum += num_tokens
    histogram.count += num
    meters.flops += (
        num_tokens * cost_model.flops_per_token + attended * cost_model.flops_per_attended
    )
    meters.moved_bytes += (
        num * cost_model.weights_bytes + (read + num_tokens) * cost_model.kv_bytes_per_token
    )
    if num_decodes:
        flat.step += num
        meters.generation_tokens += num_decodes * num
        gaps = meters.inter_token_latency
        gap_s = first_s + slope_s * done
        if flat.last_s != begin_s:  # a hang came between
            gaps.observe_many(begin_s + gap_s - flat.last_s, num_decodes)
            gap_s += slope_s
            num -= 1
        gaps.observe_ramp(gap_s, slope_s, num, num_decodes)
    flat.last_s = end_s
    flat.done = steps


def end_prompts(flat: FlatState, now_s: float, ended: list[Job]) -> None:
    """A prompt that is complete yields a token and decodes or ends."""
    meters = flat.meters
    firsts = []
    for job, _ in flat.chunks:
        if job.num_cached < job.num_prefill:
            continue
        flat.prefilling.remove(job)
        flat.prefill_blocks -= -(-job.num_prefill // flat.block_tokens)
        meters.generation_tokens += 1
        if job.first_token_s < 0.0:
            job.first_token_s = now_s
            firsts.append(job)
        else:
            meters.inter_token_latency.observe(now_s - job.last_token_s)
        num_left = job.request.num_output_tokens - job.num_emitted - 1
        num_room = flat.context_limit - job.num_prefill
        if num_left > num_room:
            num_left, job.reason = num_room, FinishReason.LENGTH
        if num_left > 0:
            flat.join(job, num_left)
        else:
            job.stage = ENDED
            ended.append(job)
    for job in firsts:
        request = job.request
        meters.prompt_tokens += request.num_prompt_tokens
        meters.ttft.observe(now_s - request.arrival_s)
    for job in firsts:
        if not job.is_gone:
            job.on_first_token(now_s)


def count_end(meters: EngineMeters, job: Job, now_s: float) -> None:
    """Count a request that ran to its end; see `count_finish`."""
    arrival_s = job.request.arrival_s
    meters.success[job.reason] += 1
    meters.e2e.observe(now_s - arrival_s)
    meters.queue_time.observe(job.scheduled_s - arrival_s)
    meters.prefill_time.observe(job.first_token_s - job.scheduled_s)
    meters.decode_time.observe(now_s - job.first_token_s)
