"""What one serving engine counts, with vLLM's histogram bounds; how it is exposed lives elsewhere.

Counters are cumulative from the start of the engine and die with it.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from functools import partial

from serving.state import FinishReason, RejectReason

TTFT_BOUNDS_S = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75),
    *(1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0, 160.0, 640.0, 2560.0),
)
INTER_TOKEN_BOUNDS_S = (
    *(0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75),
    *(1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0),
)
REQUEST_BOUNDS_S = (
    *(0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0),
    *(40.0, 50.0, 60.0, 120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0),
)
ITERATION_TOKENS_BOUNDS = (1.0, *(float(2**power) for power in range(3, 15)))


@dataclass(slots=True)
class Histogram:
    """Cumulative histogram; `counts[i]` holds observations in (bounds[i-1], bounds[i]]."""

    bounds: tuple[float, ...]
    counts: list[int] = field(default_factory=list)
    sum: float = 0.0
    count: int = 0

    def __post_init__(self) -> None:
        self.counts = [0] * (len(self.bounds) + 1)

    def observe(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value
        self.count += 1

    def observe_many(self, value: float, num: int) -> None:
        """Count the same value `num` times."""
        self.counts[bisect_left(self.bounds, value)] += num
        self.sum += value * num
        self.count += num

    def observe_ramp(self, first: float, slope: float, num_steps: int, num: int) -> None:
        """Count first, first + slope, ... (`num_steps` values, slope >= 0), each `num` times."""
        if num_steps <= 0 or num <= 0:
            return
        bounds = self.bounds
        bucket = bisect_left(bounds, first)
        last_bucket = bisect_left(bounds, first + slope * (num_steps - 1))
        done = 0
        while bucket < last_bucket:
            # Values up to the bucket's bound: one division may be off by one, hence the check.
            upto = min(int((bounds[bucket] - first) / slope) + 1, num_steps)
            while upto < num_steps and first + slope * upto <= bounds[bucket]:
                upto += 1
            while upto > done and first + slope * (upto - 1) > bounds[bucket]:
                upto -= 1
            self.counts[bucket] += (upto - done) * num
            done = upto
            bucket += 1
        self.counts[last_bucket] += (num_steps - done) * num
        self.sum += num * (num_steps * first + slope * (num_steps * (num_steps - 1) / 2))
        self.count += num * num_steps


@dataclass(frozen=True, slots=True)
class CacheConfig:
    """Labels of vLLM's cache_config_info."""

    num_gpu_blocks: int
    block_size: int


@dataclass(slots=True, kw_only=True, eq=False)
class EngineMeters:
    """Counters, gauges and histograms of one engine."""

    cache_config: CacheConfig = CacheConfig(0, 0)  # set by the engine that counts here
    prompt_tokens: int = 0
    generation_tokens: int = 0
    preemptions: int = 0
    has_prefix_cache: bool = False  # set by the engine that counts here
    prefix_cache_queries: int = 0  # prompt tokens looked up in the prefix cache
    prefix_cache_hits: int = 0  # of these, tokens found
    iterations: int = 0
    success: dict[FinishReason, int] = field(default_factory=lambda: dict.fromkeys(FinishReason, 0))
    rejections: dict[RejectReason, int] = field(
        default_factory=lambda: dict.fromkeys(RejectReason, 0)
    )
    running: int = 0
    waiting: int = 0
    kv_usage_ratio: float = 0.0
    busy_s: float = 0.0  # time spent in iterations
    flops: float = 0.0  # estimated, per GPU
    moved_bytes: float = 0.0  # estimated traffic to GPU memory, per GPU
    ttft: Histogram = field(default_factory=partial(Histogram, TTFT_BOUNDS_S))
    inter_token_latency: Histogram = field(default_factory=partial(Histogram, INTER_TOKEN_BOUNDS_S))
    e2e: Histogram = field(default_factory=partial(Histogram, REQUEST_BOUNDS_S))
    queue_time: Histogram = field(default_factory=partial(Histogram, REQUEST_BOUNDS_S))
    prefill_time: Histogram = field(default_factory=partial(Histogram, REQUEST_BOUNDS_S))
    decode_time: Histogram = field(default_factory=partial(Histogram, REQUEST_BOUNDS_S))
    iteration_tokens: Histogram = field(default_factory=partial(Histogram, ITERATION_TOKENS_BOUNDS))
