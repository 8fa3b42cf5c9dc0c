"""Time of one kernel class from sizes and efficiencies; the same formulas run and are fitted.

Arguments named `num_*`, `depth` and `context_sum` may be numbers or float arrays of one shape.

Source: roofline with a blended corner (a p-norm of compute and memory time) and a fixed overhead.
Differs: arithmetic also has a time to fill its pipelines, which memory traffic can hide; the
small kernels blend their launch and their traffic in the same way.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

from serving.sim.profiles import ALLREDUCE_SMALL_BYTES, GpuProfile

ELEMENTWISE_KERNELS = 6  # per layer: norms, rotary embedding, activation, residual adds
ELEMENT_BYTES = 2
KV_HEADS_UNIT = 8  # `decode_sequence_s` is per sequence and so many KV heads

Amount = Any  # float or float array; numpy and float have no common type that arithmetic keeps


def gemm_s(
    num_rows: Amount,
    num_columns: Amount,
    depth: Amount,
    *,
    flops_per_s: float,
    bytes_per_s: float,
    overhead_s: float,
    fill_s: float,
    power: float,
) -> Amount:
    """Time of [num_rows, depth] x [depth, num_columns] at the rates that it reaches."""
    compute_s = fill_s + 2 * num_rows * num_columns * depth / flops_per_s
    num_elements = num_rows * (num_columns + depth) + num_columns * depth
    memory_s = 2 * num_elements / bytes_per_s
    return overhead_s + (compute_s**power + memory_s**power) ** (1 / power)


def decode_attention_s(
    num_decodes: Amount,
    context_sum: Amount,
    kv_heads: Amount,
    *,
    head_size: int,
    bytes_per_s: float,
    overhead_s: float,
    sequence_s: float,
) -> Amount:
    """Decode attention of one layer; `context_sum` counts the new tokens too."""
    read_bytes = 2 * ELEMENT_BYTES * head_size * kv_heads * context_sum
    return (
        overhead_s + sequence_s * num_decodes * kv_heads / KV_HEADS_UNIT + read_bytes / bytes_per_s
    )


def prefill_attention_s(
    num_new: Amount,
    num_cached: Amount,
    q_heads: Amount,
    *,
    head_size: int,
    flops_per_s: float,
    half_tokens: float,
    overhead_s: float,
) -> Amount:
    """Prefill attention of one layer and one chunk; half of the rate at `half_tokens`."""
    attended = (num_new + half_tokens) * (num_cached + num_new / 2)  # c (p + c/2) x (c + c1) / c
    return overhead_s + 4 * q_heads * head_size * attended / flops_per_s


def elementwise_s(
    num_tokens: Amount, hidden: Amount, *, overhead_s: float, bytes_per_s: float, power: float
) -> Amount:
    """All small kernels of one layer."""
    memory_s = 4 * num_tokens * hidden / bytes_per_s
    return ELEMENTWISE_KERNELS * (overhead_s**power + memory_s**power) ** (1 / power)


def allreduce_s(num_bytes: int, num_gpus: int, gpu: GpuProfile) -> float:
    """Latency plus 2 (t - 1) / t of the bytes at bus bandwidth; two regimes by size."""
    if num_gpus == 1:
        return 0.0
    bus_bytes_per_s = interpolate(gpu.allreduce_bytes_per_s, num_gpus)
    latency_s = gpu.allreduce_large_s
    if num_bytes < ALLREDUCE_SMALL_BYTES:
        bus_bytes_per_s *= gpu.allreduce_small_ratio
        latency_s = gpu.allreduce_small_s
    return latency_s + 2 * (num_gpus - 1) / num_gpus * num_bytes / bus_bytes_per_s


def interpolate(points: Sequence[tuple[int, float]], at: float) -> float:
    """Piecewise linear through `points` (ascending), constant beyond them."""
    index = bisect_left([x for x, _ in points], at)
    if index == 0:
        return points[0][1]
    if index == len(points):
        return points[-1][1]
    (x0, y0), (x1, y1) = points[index - 1], points[index]
    return y0 + (y1 - y0) * (at - x0) / (x1 - x0)
