"""The express fleet against the reference: token times, gaps, preemptions, refusals."""

from __future__ import annotations

import numpy as np
import pytest

from serving.metrics import EngineMeters, Histogram
from serving.policies import batch_policy, dispatch_policy
from serving.policies.dispatch_index import dispatch_index
from serving.sim.cluster import Cluster
from serving.sim.cost_model import CostModel
from serving.sim.express import ExpressFleet
from serving.sim.instance import SimInstance
from serving.sim.kernel import Kernel, stream
from serving.sim.outcomes import Arrivals, Outcome
from serving.sim.run import TBT_BOUNDS_S
from serving.sim.step_times import StepTimes
from serving.sim.world import LANES
from serving.state import InstanceConfig

COST_MODEL = CostModel.of(gpu="A100", model="llama-2-7b")
TOLERANCE_S = 1e-9
SEEDS = [*range(8), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(8, 50))]


def arrivals(seed: int, num: int, gap_s: float, tokens: int) -> Arrivals:
    """Random requests, some at the same moment, some too long, some of one token."""
    rng = stream(seed, "express")
    gaps = rng.exponential(gap_s, num) * (rng.random(num) > 0.1)
    prompts = np.ceil(rng.exponential(tokens, num)).astype(int)
    outputs = np.ceil(rng.exponential(tokens / 3, num)).astype(int)
    return Arrivals(np.cumsum(gaps).tolist(), prompts.tolist(), outputs.tolist())


def fleets(
    sent: Arrivals,
    *,
    num: int,
    budget: int,
    dispatch: str,
    segments: bool,
    batch: str = "chunked-prefill",
    **sizes: int,
):
    """An express fleet and the reference, each with its gaps between tokens, at time 0."""
    config = InstanceConfig(**{"num_blocks": 300, "sequences_max": 12, **sizes})
    policy = dispatch_policy(dispatch)
    rules = batch_policy(batch, token_budget=budget)
    fast_tbt, tbt = Histogram(TBT_BOUNDS_S), Histogram(TBT_BOUNDS_S)
    fast = ExpressFleet(
        num,
        LANES[type(rules)],
        config=config,
        times=StepTimes(COST_MODEL, token_budget=budget, sequences_max=config.sequences_max),
        token_budget=budget,
        index=dispatch_index(policy, num),
        arrivals=sent,
        tbt=fast_tbt,
    )
    kernel = Kernel()
    instances = [
        SimInstance(
            kernel,
            f"i{rank}",
            config=config,
            policy=rules,
            cost_model=COST_MODEL,
            meters=EngineMeters(inter_token_latency=tbt),
            segments=segments,
        )
        for rank in range(num)
    ]
    return fast, Cluster(kernel, instances, dispatch=policy, arrivals=sent), fast_tbt, tbt


def both(sent: Arrivals, **how):
    """The same requests through an express fleet and through the reference."""
    fast, plain, fast_tbt, tbt = fleets(sent, **how)
    for share in (0.2, 0.4, 0.6, 0.8, 1.0):
        one, other = (_counts(fleet, until_s=share * sent.at_s[-1]) for fleet in (fast, plain))
        assert one == other
    for fleet in (fast, plain):
        fleet.run_until(sent.at_s[-1] + 2000.0)
        assert fleet.is_over
    return fast, plain, fast_tbt, tbt


def _counts(fleet, *, until_s: float):
    """What a fleet tells at one moment that does not depend on how it works events off."""
    fleet.run_until(until_s)
    look, totals = fleet.look(), fleet.totals()
    return (
        look.num_running,
        look.num_waiting,
        totals.num_iterations,
        totals.num_preemptions,
        pytest.approx(totals.busy_s),
    )


def assert_same(fast, plain, fast_tbt, tbt) -> None:
    for name in ("first_token_s", "end_s"):
        one, other = (np.frombuffer(getattr(f.outcomes, name)) for f in (fast, plain))
        assert np.allclose(one, other, rtol=0, atol=TOLERANCE_S, equal_nan=True), name
    assert fast.outcomes.outcome == plain.outcomes.outcome
    assert fast.outcomes.rank == plain.outcomes.rank
    one, other = fast.totals(), plain.totals()
    assert one.num_preemptions == other.num_preemptions
    assert one.num_iterations == other.num_iterations
    assert one.busy_s == pytest.approx(other.busy_s)
    assert fast_tbt.count == tbt.count
    # A gap on a bound may fall on either side of it.
    assert np.abs(np.array(fast_tbt.counts) - tbt.counts).sum() <= 2
    assert fast_tbt.sum == pytest.approx(tbt.sum)
    assert fast.look().kv_ratios == [0.0] * len(fast.lanes)
    assert all(lane.peak_blocks == 0 for lane in fast.lanes)
    assert not any(lane.carry or lane.joined for lane in fast.lanes)


@pytest.mark.parametrize("batch", ["chunked-prefill", "prefill-first"])
@pytest.mark.parametrize("dispatch", ["least-loaded", "round-robin"])
def test_an_express_fleet_gives_the_times_of_the_reference(dispatch, batch) -> None:
    sent = arrivals(1, 60, gap_s=0.02, tokens=400)
    found = both(sent, num=2, budget=256, dispatch=dispatch, batch=batch, segments=False)
    assert_same(*found)
    assert found[0].totals().num_preemptions > 0


def test_a_prompt_in_line_for_the_next_iteration_holds_no_kv_yet() -> None:
    sent = Arrivals([0.0, 0.1], [10, 1600], [100, 5])
    (fast, plain, _, _) = fleets(sent, num=1, budget=2048, dispatch="round-robin", segments=False)
    looks = []
    for fleet in (fast, plain):
        fleet.run_until(0.1)
        looks.append(fleet.look())
    assert [(look.num_running, look.num_waiting) for look in looks] == [(1, 1)] * 2
    assert looks[0].kv_ratios == pytest.approx(looks[1].kv_ratios, abs=2 / 300)


def test_a_decode_may_end_with_any_iteration_of_a_prompt() -> None:
    # On each lane one sequence decodes, one iteration longer than on the lane before, when a prompt
    # of two full chunks and a rest arrives.
    num = 28
    sent = Arrivals(
        [0.0] * num + [0.1] * num, [10] * num + [150] * num, [*range(1, num + 1), *[3] * num]
    )
    found = both(sent, num=num, budget=64, dispatch="round-robin", segments=False)
    assert_same(*found)
    assert set(found[0].outcomes.outcome) == {Outcome.DONE}


def test_a_short_queue_refuses_the_same_requests() -> None:
    sent = arrivals(2, 80, gap_s=0.005, tokens=300)
    found = both(
        sent, num=2, budget=512, dispatch="least-loaded", segments=True, queue_max=2,
        context_tokens_max=900,
    )  # fmt: skip
    assert_same(*found)
    assert len(set(found[0].outcomes.outcome)) > 1


@pytest.mark.slow
@pytest.mark.parametrize("batch", ["chunked-prefill", "prefill-first"])
@pytest.mark.parametrize("seed", SEEDS)
def test_random_fleets_agree_with_one_event_per_iteration(seed, batch) -> None:
    rng = stream(seed, "sizes")
    tokens = int(rng.choice([60, 300, 900]))
    sent = arrivals(seed, 150, gap_s=float(rng.choice([0.01, 0.05, 0.3])), tokens=tokens)
    found = both(
        sent,
        num=int(rng.integers(1, 4)),
        budget=int(rng.choice([4, 16, 64, 256, 512, 2048])),
        dispatch=str(rng.choice(["least-loaded", "round-robin"])),
        batch=batch,
        segments=False,
        num_blocks=int(rng.choice([120, 300, 3000])),
        sequences_max=int(rng.choice([1, 4, 12, 64])),
        block_tokens=int(rng.choice([1, 8, 16])),
        queue_max=int(rng.choice([1, 5, 1000])),
    )
    assert_same(*found)
    assert found[0].num_arrived == len(sent) == 150


def test_step_times_are_those_of_the_cost_model() -> None:
    times = StepTimes(COST_MODEL, token_budget=300, sequences_max=40)
    half = times.half_tokens
    for num_decodes, context, chunks in (
        (0, 0, [(256, 512)]),
        (7, 3000, [(200, 0), (50, 128)]),
        (39, 90_000, [(1, 4000)]),
    ):
        work = sum((num + half) * (cached + num / 2) for num, cached in chunks)
        num_tokens = num_decodes + sum(num for num, _ in chunks)
        assert (
            times.tokens_s[num_tokens]
            + times.sequences_s[num_decodes + len(chunks)]
            + times.chunk_s * work
            + times.mixed_s[num_decodes]
            + times.mixed_context_s[num_decodes] * context
        ) == pytest.approx(
            COST_MODEL.iteration_s(chunks=chunks, num_decodes=num_decodes, context_sum=context),
            rel=1e-12,
        )
