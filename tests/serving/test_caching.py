"""Prefix cache of an instance: what is skipped, counted, kept and evicted."""

from __future__ import annotations

import pytest

from serving.caching import CachingInstance, instance_of
from serving.instance import Instance
from serving.metrics import EngineMeters
from serving.policies import batch_policy
from serving.state import InstanceConfig, Prefix, Request, SequenceState


def engine_of(
    policy: str = "chunked-prefill", budget: int = 64, **sizes: int
) -> tuple[CachingInstance, EngineMeters]:
    meters = EngineMeters()
    config = {"num_blocks": 24, "block_tokens": 4, "sequences_max": 4, **sizes}
    engine = instance_of(
        InstanceConfig(prefix_cache=True, **config),
        batch_policy(policy, token_budget=budget),
        meters,
    )
    assert isinstance(engine, CachingInstance)
    return engine, meters


def send(engine: Instance, ids: tuple[int, ...] | None, prompt: int, output: int = 2):
    prefix = Prefix(4, ids) if ids is not None else None
    admitted = engine.admit(
        Request(
            request_id=0,
            arrival_s=0.0,
            num_prompt_tokens=prompt,
            num_output_tokens=output,
            prefix=prefix,
        )
    )
    assert isinstance(admitted, SequenceState)
    return admitted


def run(engine: Instance) -> list[int]:
    """Run to the end; prefill tokens of each iteration that had any."""
    computed = []
    for step in range(1000):
        plan = engine.plan(float(step))
        engine.check_invariants()
        if plan.is_empty:
            return computed
        if plan.chunks:
            computed.append(sum(num for _, num in plan.chunks))
        engine.complete(plan, step + 1.0)
        engine.check_invariants()
    raise AssertionError("the instance does not come to rest")


@pytest.mark.parametrize("policy", ["chunked-prefill", "prefill-first"])
def test_the_cached_beginning_of_a_prompt_is_not_computed_again(policy: str) -> None:
    engine, meters = engine_of(policy)
    send(engine, (1, 2, 3, 4), 16)
    assert run(engine) == [16]
    send(engine, (1, 2, 3, 9), 15)
    assert run(engine) == [3]
    assert (meters.prefix_cache_queries, meters.prefix_cache_hits) == (31, 12)
    assert engine.pool.num_free == 24


def test_at_least_one_token_is_computed() -> None:
    engine, meters = engine_of()
    for _ in range(2):
        send(engine, (1, 2, 3), 12)
        run(engine)
    assert meters.prefix_cache_hits == 8


def test_ids_only_match_behind_the_same_beginning_and_unknown_prompts_never() -> None:
    engine, meters = engine_of()
    for ids in ((1, 2, 3), (9, 2, 3), None, None):
        send(engine, ids, 13)
        run(engine)
    assert (meters.prefix_cache_queries, meters.prefix_cache_hits) == (52, 0)


def test_prompts_that_run_together_share_blocks() -> None:
    engine, meters = engine_of(num_blocks=12)
    send(engine, (1, 2, 3, 4, 5, 6), 25, output=8)
    engine.complete(engine.plan(0.0), 1.0)
    assert engine.num_decoding == 1
    other = send(engine, (1, 2, 3, 4, 5, 6, 7), 29, output=8)
    # 8 blocks, of which 6 are there already; without sharing only 4 are free.
    assert engine.pool.num_free < 8
    engine.plan(1.0)
    engine.check_invariants()
    assert engine.num_running == 2
    assert engine.num_freed_blocks(other) == 2
    assert meters.prefix_cache_hits == 24
    run(engine)
    assert engine.pool.num_free == 12


def test_a_preempted_prompt_finds_itself_again_and_is_counted_once() -> None:
    engine, meters = engine_of(num_blocks=8)
    send(engine, (1, 2, 3), 13, output=12)
    send(engine, (5, 6, 7), 13, output=12)
    run(engine)
    assert engine.num_preemptions > 0
    assert (meters.prefix_cache_queries, meters.prefix_cache_hits) == (26, 0)


def test_the_least_recently_used_prompt_gives_way_its_end_first() -> None:
    engine, meters = engine_of(num_blocks=10)
    send(engine, (1, 2, 3), 13, output=1)
    run(engine)
    send(engine, (4, 5, 6), 13, output=1)
    run(engine)
    send(engine, None, 21, output=1)  # 6 blocks: 4 are free, 2 are evicted
    run(engine)
    before = meters.prefix_cache_hits
    send(engine, (4, 5, 6), 13, output=1)
    run(engine)
    assert meters.prefix_cache_hits - before == 12
    send(engine, (1, 2, 3), 13, output=1)
    run(engine)
    assert meters.prefix_cache_hits - before == 12 + 4


def test_a_leak_takes_cached_blocks_before_it_stops_anything() -> None:
    engine, meters = engine_of(num_blocks=10)
    send(engine, (1, 2, 3), 13, output=1)
    run(engine)
    engine.reserve_blocks(9)
    engine.check_invariants()
    engine.reserve_blocks(0)
    send(engine, (1, 2, 3), 13, output=1)
    run(engine)
    assert meters.prefix_cache_hits == 4


def test_an_aborted_prompt_leaves_what_it_computed() -> None:
    engine, meters = engine_of(budget=6)
    sequence = send(engine, (1, 2, 3), 13)
    engine.complete(engine.plan(0.0), 1.0)
    engine.abort(sequence)
    engine.check_invariants()
    send(engine, (1, 2, 3), 13)
    run(engine)
    assert meters.prefix_cache_hits == 4


def test_without_the_option_there_is_no_cache() -> None:
    config = InstanceConfig(num_blocks=4)
    policy = batch_policy("chunked-prefill", token_budget=8)
    assert type(instance_of(config, policy, EngineMeters())) is Instance
