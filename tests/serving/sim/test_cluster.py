"""Segments against one event per iteration, in fleets that break: every token at the same time."""

from __future__ import annotations

import numpy as np
import pytest

from serving.metrics import EngineMeters, Histogram
from serving.policies import batch_policy, dispatch_policy
from serving.sim.cluster import Cluster
from serving.sim.cost_model import CostModel
from serving.sim.instance import SimInstance
from serving.sim.kernel import Kernel, stream
from serving.sim.outcomes import Arrivals, CacheCounts, Outcome
from serving.state import InstanceConfig, Prefix

COST_MODEL = CostModel.of(gpu="A100", model="llama-2-7b")
TOLERANCE_S = 1e-9
INSTANCES, NUM_BLOCKS = 3, 200


class Gaps(Histogram):
    """Keeps every gap between two tokens of one instance, in the order of the tokens."""

    def __init__(self) -> None:
        super().__init__((1.0,))
        self.seen: list[tuple[float, int]] = []  # gap, sequences that had it

    def observe(self, value):
        self.observe_many(value, 1)

    def observe_many(self, value, num):
        if num:
            self.seen.append((value, num))

    def observe_ramp(self, first, slope, num_steps, num):
        for step in range(num_steps):
            self.observe_many(first + slope * step, num)


def prefixes(seed: int, num: int) -> list[Prefix]:
    """Conversations and system prompts: a few beginnings, each followed by any of a few ends."""
    rng = stream(seed, "prefixes")
    heads, ends = rng.integers(0, 3, num).tolist(), rng.integers(0, 8, num).tolist()
    return [
        Prefix(24, (*[head] * 8, *[10 * head + end] * 30))
        for head, end in zip(heads, ends, strict=True)
    ]


def fleet(seed: int, *, segments: bool, num_requests: int, caching: bool = False) -> Cluster:
    """Random traffic with aborts, drains, deaths, hangs, slow clocks, leaks and scrapes."""
    rng = stream(seed, "broken fleet")
    kernel = Kernel()
    instances = [
        SimInstance(
            kernel,
            f"i{rank}",
            config=InstanceConfig(
                num_blocks=NUM_BLOCKS, sequences_max=10, queue_max=40, prefix_cache=caching
            ),
            policy=batch_policy(("chunked-prefill", "prefill-first")[seed % 2], token_budget=256),
            cost_model=COST_MODEL,
            meters=EngineMeters(inter_token_latency=Gaps()),
            segments=segments,
        )
        for rank in range(INSTANCES)
    ]
    at_s = np.cumsum(rng.exponential(0.06, num_requests))
    dispatch = ("least-loaded", "round-robin")[seed // 2 % 2]
    if caching and seed % 3:
        dispatch = "prefix-aware"
    made = Cluster(
        kernel,
        instances,
        dispatch=dispatch_policy(dispatch),
        arrivals=Arrivals(
            at_s.tolist(),
            rng.integers(1, 900, num_requests).tolist(),
            np.ceil(rng.exponential(70, num_requests)).astype(int).tolist(),
            prefix_of=prefixes(seed, num_requests).__getitem__,
        ),
    )
    end_s = float(at_s[-1])
    for row in np.flatnonzero(rng.random(num_requests) < 0.15).tolist():
        kernel.at(float(at_s[row] + rng.exponential(2.0)), made.abort, row)
    for instance in instances:
        for _ in range(num_requests // 30):
            when = rng.uniform(0, end_s, 4).tolist()
            kernel.at(when[0], instance.set_clock_ratio, float(rng.choice([1.0, 0.4, 0.8])))
            kernel.at(when[1], instance.reserve_blocks, int(rng.integers(0, 120)))
            kernel.at(when[2], instance.hang)
            kernel.at(when[2] + float(rng.exponential(0.3)), instance.resume)
            kernel.at(when[3], made.totals)
        kernel.at(end_s, instance.reserve_blocks, 0)
    kernel.at(float(rng.uniform(0.3, 1.0)) * end_s, made.drain, 0)
    if rng.random() < 0.5:
        kernel.at(float(rng.uniform(0.3, 1.0)) * end_s, made.kill, 1)
    made.run_until(end_s + 1000.0)
    assert made.is_over
    for instance in instances:
        instance.instance.check_invariants()
        assert instance.instance.pool.num_free == NUM_BLOCKS
    return made


def assert_same_tokens(jumped: Cluster, plain: Cluster) -> None:
    assert jumped.outcomes.outcome == plain.outcomes.outcome
    assert jumped.outcomes.rank == plain.outcomes.rank
    for name in ("first_token_s", "end_s"):
        one, other = (np.frombuffer(getattr(c.outcomes, name)) for c in (jumped, plain))
        assert np.allclose(one, other, rtol=0, atol=TOLERANCE_S, equal_nan=True), name
    for one, other in zip(jumped.instances, plain.instances, strict=True):
        gaps, others = (np.array(i.meters.inter_token_latency.seen) for i in (one, other))
        assert gaps.shape == others.shape
        assert (gaps[:, 1] == others[:, 1]).all()
        assert np.allclose(gaps[:, 0], others[:, 0], rtol=0, atol=TOLERANCE_S)
    one, other = jumped.totals(), plain.totals()
    assert one.num_preemptions == other.num_preemptions
    assert one.num_iterations == other.num_iterations
    assert one.caches == other.caches
    assert one.num_events < other.num_events


def test_tokens_come_at_the_same_times_in_a_fleet_that_breaks() -> None:
    jumped, plain = (fleet(7, segments=s, num_requests=40) for s in (True, False))
    assert_same_tokens(jumped, plain)
    assert Outcome.FAILED in jumped.outcomes.outcome


def test_tokens_come_at_the_same_times_in_a_fleet_that_caches_prompts() -> None:
    jumped, plain = (fleet(4, segments=s, num_requests=40, caching=True) for s in (True, False))
    assert_same_tokens(jumped, plain)
    assert len(jumped.totals().caches) == len(jumped.instances)
    together = CacheCounts.together(jumped.totals().caches)
    assert 0 < together.num_hit_tokens < together.num_queried_tokens
    assert together.num_evicted_tokens > 0


@pytest.mark.slow
def test_tokens_come_at_the_same_times_over_fifty_random_fleets_that_cache() -> None:
    preemptions = 0
    for seed in range(50):
        jumped, plain = (
            fleet(seed, segments=s, num_requests=120, caching=True) for s in (True, False)
        )
        assert_same_tokens(jumped, plain)
        preemptions += jumped.totals().num_preemptions
    assert preemptions > 100


@pytest.mark.slow
def test_tokens_come_at_the_same_times_over_fifty_random_fleets() -> None:
    preemptions, outcomes = 0, set()
    for seed in range(50):
        jumped, plain = (fleet(seed, segments=s, num_requests=120) for s in (True, False))
        assert_same_tokens(jumped, plain)
        preemptions += jumped.totals().num_preemptions
        outcomes |= set(jumped.outcomes.outcome)
    assert preemptions > 200
    assert outcomes >= {Outcome.DONE, Outcome.ABORTED, Outcome.FAILED}
