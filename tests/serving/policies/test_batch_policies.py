"""Chunked prefill and prefill-first on an instance, one iteration at a time."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.errors import ConfigError
from serving.instance import Instance
from serving.policies import batch_policy
from serving.state import (
    InstanceConfig,
    Phase,
    Request,
    SequenceState,
    ceil_div,
)

BLOCK_TOKENS = 4


def instance(policy: str, token_budget: int, num_blocks: int = 100, slots: int = 8) -> Instance:
    config = InstanceConfig(
        num_blocks=num_blocks, block_tokens=BLOCK_TOKENS, sequences_max=slots, queue_max=100
    )
    return Instance(config, batch_policy(policy, token_budget=token_budget))


def admit(engine: Instance, prompt: int, output: int) -> SequenceState:
    admitted = engine.admit(
        Request(request_id=0, arrival_s=0.0, num_prompt_tokens=prompt, num_output_tokens=output)
    )
    assert isinstance(admitted, SequenceState)
    return admitted


def step(engine: Instance, times: int = 1) -> None:
    for _ in range(times):
        engine.complete(engine.plan(0.0), 0.0)


def test_a_long_prompt_never_delays_a_decode_under_chunked_prefill() -> None:
    engine = instance("chunked-prefill", token_budget=8)
    decoding = admit(engine, 4, 50)
    step(engine)
    admit(engine, 100, 5)
    for expected in range(2, 12):
        plan = engine.plan(0.0)
        assert plan.chunks == ((1, 7),)
        engine.complete(plan, 0.0)
        assert engine.num_generated(decoding) == expected


def test_a_prompt_stalls_decodes_under_prefill_first() -> None:
    engine = instance("prefill-first", token_budget=8)
    decoding = admit(engine, 4, 50)
    step(engine)
    admit(engine, 100, 5)
    plan = engine.plan(0.0)
    assert (plan.chunks, plan.runs_decodes) == (((1, 100),), False)
    engine.complete(plan, 0.0)
    assert engine.num_generated(decoding) == 1


def test_decodes_that_fill_the_budget_all_run_and_no_prompt_does() -> None:
    engine = instance("chunked-prefill", token_budget=3)
    for _ in range(4):
        admit(engine, 1, 50)
    step(engine, 2)
    assert (engine.num_decoding, engine.num_waiting) == (3, 1)
    plan = engine.plan(0.0)
    assert (plan.runs_decodes, plan.chunks, plan.stable) == (True, (), True)


def test_the_last_chunk_yields_the_first_token() -> None:
    engine = instance("chunked-prefill", token_budget=4)
    admit(engine, 9, 3)
    for num_tokens in (4, 4):
        plan = engine.plan(0.0)
        assert plan.chunks == ((0, num_tokens),)
        assert not engine.complete(plan, 0.0).first_tokens
    assert len(engine.complete(engine.plan(0.0), 0.0).first_tokens) == 1


def test_a_head_of_line_that_does_not_fit_holds_back_smaller_requests() -> None:
    for policy in ("chunked-prefill", "prefill-first"):
        engine = instance(policy, token_budget=64, num_blocks=8)
        admit(engine, 18, 30)
        step(engine)
        admit(engine, 13, 2)
        admit(engine, 1, 1)
        assert engine.plan(0.0).chunks == ()


@pytest.mark.parametrize("policy", ["chunked-prefill", "prefill-first"])
def test_a_plan_does_not_depend_on_output_lengths(policy: str) -> None:
    plans = []
    for output in (5, 500):
        engine = instance(policy, token_budget=8)
        admit(engine, 6, output)
        admit(engine, 11, output)
        seen = []
        for _ in range(4):
            plan = engine.plan(0.0)
            seen.append(plan)
            engine.complete(plan, 0.0)
        plans.append(seen)
    assert plans[0] == plans[1]


@pytest.mark.parametrize("policy", ["chunked-prefill", "prefill-first"])
def test_a_stable_plan_is_what_planning_each_iteration_gives(policy: str) -> None:
    engine = instance(policy, token_budget=8, num_blocks=14, slots=3)
    for prompt, output in ((6, 30), (9, 25), (4, 40), (35, 9), (5, 9)):
        admit(engine, prompt, output)
    num_checked = 0
    for _ in range(200):
        plan = engine.plan(0.0)
        if plan.is_empty:
            break
        if plan.stable:
            for _ in range(engine.num_steps_ahead(plan) - 1):
                engine.complete(plan, 0.0)
                assert engine.plan(0.0) == plan
                num_checked += 1
        engine.complete(plan, 0.0)
    assert num_checked > 10
    assert engine.num_running == 0


def test_bad_budgets_and_names_are_refused() -> None:
    with pytest.raises(ConfigError, match="token_budget is 0"):
        batch_policy("chunked-prefill", token_budget=0)
    with pytest.raises(ConfigError, match="'fifo' is unknown"):
        batch_policy("fifo", token_budget=8)


def plain_chunked_prefill(
    arrivals: list[tuple[int, int, int]], *, token_budget: int, num_blocks: int, slots: int
) -> list[tuple[int, int]]:
    """The algorithm sequence by sequence and token by token: (iteration, arrival) of each token.

    Arrivals are (iteration, prompt, output).
    """
    tokens: list[tuple[int, int]] = []
    done = [0] * len(arrivals)  # tokens in the KV
    target = [prompt for _, prompt, _ in arrivals]  # tokens to prefill
    emitted = [0] * len(arrivals)
    held = [0] * len(arrivals)
    waiting: list[int] = []
    running: list[int] = []
    for iteration in range(10_000):
        waiting += [i for i, (at, _, _) in enumerate(arrivals) if at == iteration]
        free = num_blocks - sum(held)
        preempted = False
        for i in list(running):
            if i not in running or done[i] < target[i] or emitted[i] == 0:
                continue
            if done[i] % BLOCK_TOKENS == 0:
                while free == 0 and i in running:
                    victim = running.pop()
                    free += held[victim]
                    held[victim] = done[victim] = 0
                    target[victim] = arrivals[victim][1] + emitted[victim]
                    waiting.insert(0, victim)
                    preempted = True
                if i not in running:
                    break
                held[i] += 1
                free -= 1
        decodes = [i for i in running if done[i] >= target[i]]
        left = token_budget - len(decodes)
        chunks = []
        for i in [i for i in running if done[i] < target[i]]:
            num = min(target[i] - done[i], left)
            if num > 0:
                chunks.append((i, num))
                left -= num
        while waiting and left > 0 and len(running) < slots and not preempted:
            i = waiting[0]
            if ceil_div(min(target[i] + 1, num_blocks * BLOCK_TOKENS), BLOCK_TOKENS) > free:
                break
            running.append(waiting.pop(0))
            held[i] = ceil_div(target[i], BLOCK_TOKENS)
            free -= held[i]
            chunks.append((i, min(target[i], left)))
            left -= chunks[-1][1]
        for i, num in [*((i, 1) for i in decodes), *chunks]:
            done[i] += num
            if done[i] >= target[i]:
                emitted[i] += 1
                tokens.append((iteration, i))
        for i in list(running):
            if emitted[i] == arrivals[i][2]:
                running.remove(i)
                held[i] = 0
        if not running and not waiting and all(at <= iteration for at, _, _ in arrivals):
            return sorted(tokens)
    raise AssertionError("does not come to rest")


def tokens_of_instance(
    arrivals: list[tuple[int, int, int]], engine: Instance
) -> list[tuple[int, int]]:
    tokens: list[tuple[int, int]] = []
    for iteration in range(10_000):
        for at, prompt, output in arrivals:
            if at == iteration:
                admit(engine, prompt, output)
        plan = engine.plan(0.0)
        if plan.is_empty:
            if all(at <= iteration for at, _, _ in arrivals):
                return sorted(tokens)
            continue
        decoding = [s.seq_id for s in engine.running.values() if s.phase is Phase.DECODE]
        done = engine.complete(plan, 0.0)
        tokens += [(iteration, i) for i in decoding]
        tokens += [(iteration, s.seq_id) for s in (*done.first_tokens, *done.resumed)]
    raise AssertionError("does not come to rest")


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 12), st.integers(1, 20), st.integers(1, 16)),
        min_size=1,
        max_size=8,
    ),
    st.integers(3, 12),
    st.integers(10, 16),
)
def test_chunked_prefill_equals_the_algorithm_token_by_token(
    arrivals: list[tuple[int, int, int]], token_budget: int, num_blocks: int
) -> None:
    arrivals = sorted(arrivals)
    sizes = {"token_budget": token_budget, "num_blocks": num_blocks, "slots": 4}
    expected = plain_chunked_prefill(arrivals, **sizes)
    engine = instance("chunked-prefill", **sizes)
    assert tokens_of_instance(arrivals, engine) == expected
