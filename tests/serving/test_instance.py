from __future__ import annotations

from typing import ClassVar

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from serving.caching import instance_of
from serving.errors import ConfigError
from serving.instance import Instance
from serving.metrics import EngineMeters
from serving.policies import batch_policy
from serving.state import (
    BatchPlan,
    FinishReason,
    InstanceConfig,
    Phase,
    Prefix,
    RejectReason,
    Request,
    SequenceState,
)

TOKEN_BUDGET = 6


def instance(policy: str = "chunked-prefill", **sizes: int) -> Instance:
    config = {"num_blocks": 12, "block_tokens": 4, "sequences_max": 4, "queue_max": 5, **sizes}
    chosen = batch_policy(policy, token_budget=TOKEN_BUDGET)
    return instance_of(InstanceConfig(**config), chosen, EngineMeters())


def admit(engine: Instance, prompt: int, output: int, request_id: int = 0) -> SequenceState:
    admitted = engine.admit(
        Request(
            request_id=request_id,
            arrival_s=0.0,
            num_prompt_tokens=prompt,
            num_output_tokens=output,
        )
    )
    assert isinstance(admitted, SequenceState)
    return admitted


def run(engine: Instance, iterations_max: int = 1000) -> list[SequenceState]:
    """Run one iteration at a time until nothing can run; return what finished, in order."""
    finished: list[SequenceState] = []
    for step in range(iterations_max):
        plan = engine.plan(float(step))
        engine.check_invariants()
        if plan.is_empty:
            return finished
        finished += engine.complete(plan, step + 1.0).finished
        engine.check_invariants()
    raise AssertionError("the instance does not come to rest")


@pytest.mark.parametrize("policy", ["chunked-prefill", "prefill-first"])
def test_every_request_gets_its_tokens_and_all_blocks_come_back(policy: str) -> None:
    engine = instance(policy)
    admitted = [admit(engine, prompt, output) for prompt, output in ((9, 5), (3, 1), (17, 9))]
    finished = run(engine)
    assert sorted(s.seq_id for s in finished) == [s.seq_id for s in admitted]
    for sequence in finished:
        assert engine.num_generated(sequence) == sequence.request.num_output_tokens
        assert sequence.finish_reason is FinishReason.STOP
    assert engine.pool.num_free == 12


@pytest.mark.parametrize("policy", ["chunked-prefill", "prefill-first"])
def test_a_preempted_request_repeats_what_it_had_and_loses_no_token(policy: str) -> None:
    engine = instance(policy, num_blocks=6, sequences_max=3)
    for prompt, output in ((7, 12), (7, 12)):
        admit(engine, prompt, output)
    finished = run(engine)
    assert engine.num_preemptions > 0
    assert [s.seq_id for s in finished] == [0, 1]
    assert all(engine.num_generated(s) == 12 for s in finished)
    assert finished[1].num_prefill_tokens > 7


def test_a_request_ends_with_length_at_the_context_limit() -> None:
    engine = instance(context_tokens_max=10)
    admit(engine, 6, 100)
    (sequence,) = run(engine)
    assert sequence.finish_reason is FinishReason.LENGTH
    # The last token needs no place in the KV: context 10 means 6 + 5 - 1 tokens.
    assert engine.num_generated(sequence) == 5


def test_a_request_preempted_just_below_the_limit_still_ends() -> None:
    engine = instance(num_blocks=4, sequences_max=2)
    admit(engine, 3, 9)
    admit(engine, 3, 100)
    finished = run(engine)
    assert [s.finish_reason for s in finished] == [FinishReason.STOP, FinishReason.LENGTH]
    assert engine.num_preemptions > 0


def test_a_request_whose_repeated_prefill_fills_the_memory_can_start_again() -> None:
    engine = instance(num_blocks=4)
    sequence = admit(engine, 3, 100)
    while engine.num_generated(sequence) < 13:
        engine.complete(engine.plan(0.0), 0.0)
    engine.reserve_blocks(1)
    assert engine.plan(0.0).is_empty
    engine.reserve_blocks(0)
    assert sequence.num_prefill_tokens == engine.context_limit == 16
    assert run(engine) == [sequence]


def test_no_more_sequences_are_preempted_than_the_others_need() -> None:
    engine = instance(num_blocks=3)
    for _ in range(3):
        admit(engine, 1, 50)
    while engine.num_decode_blocks_needed < 3:
        engine.complete(engine.plan(0.0), 0.0)
    engine.plan(0.0)
    # One that stays needs one block; each that goes frees one and needs one less.
    assert [s.seq_id for s in engine.waiting] == [1, 2]
    assert engine.num_decoding == 1


@pytest.mark.parametrize(
    ("prepare", "prompt", "reason"),
    [
        (lambda engine: engine.drain(), 3, RejectReason.DRAINING),
        (lambda engine: None, 48, RejectReason.TOO_LONG),
        (lambda engine: [admit(engine, 3, 1) for _ in range(5)], 3, RejectReason.QUEUE_FULL),
    ],
)
def test_a_request_is_refused_with_the_reason(prepare, prompt: int, reason: RejectReason) -> None:
    engine = instance()
    prepare(engine)
    request = Request(request_id=9, arrival_s=0.0, num_prompt_tokens=prompt, num_output_tokens=1)
    assert engine.admit(request) is reason


def test_a_drained_instance_finishes_what_it_has() -> None:
    engine = instance()
    admit(engine, 5, 5)
    engine.drain()
    assert len(run(engine)) == 1


def test_a_leak_preempts_the_newest_and_its_end_lets_all_finish() -> None:
    engine = instance(num_blocks=8)
    admit(engine, 9, 8)
    admit(engine, 9, 8)
    for step in range(6):
        engine.complete(engine.plan(float(step)), step + 1.0)
    assert engine.num_decoding == 2
    engine.reserve_blocks(4)
    engine.plan(7.0)
    engine.check_invariants()
    assert [s.seq_id for s in engine.waiting] == [1]
    engine.reserve_blocks(8)
    assert engine.plan(8.0).is_empty
    assert [s.seq_id for s in engine.waiting] == [0, 1]
    engine.reserve_blocks(0)
    assert [s.seq_id for s in run(engine)] == [0, 1]


def test_block_tables_are_disjoint_and_as_long_as_the_context() -> None:
    engine = instance()
    first, second = admit(engine, 5, 9), admit(engine, 2, 9)
    for step in range(5):
        engine.complete(engine.plan(float(step)), step + 1.0)
    tables = engine.block_table(first), engine.block_table(second)
    assert [len(t) for t in tables] == [engine.num_held_blocks(s) for s in (first, second)]
    assert not set(tables[0]) & set(tables[1])
    engine.check_invariants()
    assert len(run(engine)) == 2


@pytest.mark.parametrize("sizes", [{"num_blocks": 0}, {"queue_max": 0}, {"context_tokens_max": 49}])
def test_sizes_outside_their_domain_are_refused(sizes: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=next(iter(sizes))):
        instance(**sizes)


class InstanceMachine(RuleBasedStateMachine):
    """Admissions, iterations, jumps, aborts and leaks in any order; a shadow counts tokens."""

    policy = "chunked-prefill"
    config: ClassVar[dict[str, bool]] = {}

    def __init__(self) -> None:
        super().__init__()
        self.engine = instance(self.policy, **self.config)
        self.live: list[SequenceState] = []
        self.emitted: dict[int, int] = {}
        self.started: set[int] = set()
        self.now_s = 0.0

    @rule(prompt=st.integers(1, 30), output=st.integers(1, 12), path=st.integers(0, 26))
    def admit(self, prompt: int, output: int, path: int) -> None:
        request = Request(
            request_id=0,
            arrival_s=self.now_s,
            num_prompt_tokens=prompt,
            num_output_tokens=output,
            # A path in a tree with two or three branches at each block: many share a beginning.
            prefix=Prefix(5, (path % 2, path % 3, *(path % 9 for _ in range(3)))),
        )
        admitted = self.engine.admit(request)
        if isinstance(admitted, SequenceState):
            self.live.append(admitted)
            self.emitted[admitted.seq_id] = 0
        else:
            assert admitted is RejectReason.QUEUE_FULL
            assert self.engine.num_waiting >= 5

    @rule(jump=st.booleans(), share=st.floats(0.0, 1.0))
    def iterate(self, jump: bool, share: float) -> None:
        engine = self.engine
        plan = engine.plan(self.now_s)
        engine.check_invariants()
        if plan.is_empty:
            assert engine.num_decoding == 0
            return
        self.check_plan(plan)
        decoding = [s for s in engine.running.values() if s.phase is Phase.DECODE]
        num = 1
        if jump and plan.stable:
            num = 1 + int(share * (engine.num_steps_ahead(plan) - 1))
        self.now_s += num
        done = engine.complete(plan, self.now_s, num)
        for sequence in decoding if plan.runs_decodes else ():
            self.emitted[sequence.seq_id] += num
        for sequence in (*done.first_tokens, *done.resumed):
            self.emitted[sequence.seq_id] += 1
        for sequence in done.finished:
            assert self.emitted[sequence.seq_id] == sequence.request.num_output_tokens
            self.live.remove(sequence)

    def check_plan(self, plan: BatchPlan) -> None:
        """Section by section: budget, no stall, chunks in order, first come first started."""
        engine = self.engine
        num_decodes = engine.num_decoding if plan.runs_decodes else 0
        num_prefill = sum(num for _, num in plan.chunks)
        if self.policy == "chunked-prefill":
            assert num_prefill <= max(0, TOKEN_BUDGET - num_decodes)
            assert plan.runs_decodes == (engine.num_decoding > 0)
        else:
            assert not (plan.runs_decodes and plan.chunks)
        assert all(num > 0 for _, num in plan.chunks)
        seq_ids = [seq_id for seq_id, _ in plan.chunks]
        assert seq_ids == sorted(set(seq_ids))
        for seq_id, num in plan.chunks:
            assert num <= engine.running[seq_id].num_prefill_left
        for seq_id in seq_ids:
            if seq_id not in self.started:
                assert seq_id > max(self.started, default=-1), "a later arrival started first"
                self.started.add(seq_id)

    @rule(i=st.integers(0, 50))
    def abort(self, i: int) -> None:
        if self.live:
            sequence = self.live.pop(i % len(self.live))
            self.engine.abort(sequence)

    @rule(num_blocks=st.sampled_from([0, 0, 3, 9, 12]))
    def leak(self, num_blocks: int) -> None:
        self.engine.reserve_blocks(num_blocks)

    @invariant()
    def state_is_sound(self) -> None:
        self.engine.check_invariants()
        for sequence in self.live:
            assert self.engine.num_generated(sequence) == self.emitted[sequence.seq_id]

    def teardown(self) -> None:
        self.engine.reserve_blocks(0)
        run(self.engine)
        assert self.engine.pool.num_free == 12
        assert self.engine.num_running == self.engine.num_waiting == 0


class PrefillFirstMachine(InstanceMachine):
    policy = "prefill-first"


class CachingMachine(InstanceMachine):
    config: ClassVar[dict[str, bool]] = {"prefix_cache": True}


class PrefillFirstCachingMachine(CachingMachine):
    policy = "prefill-first"


TestChunkedInstance = InstanceMachine.TestCase
TestChunkedInstance.settings = settings(max_examples=4, stateful_step_count=20, deadline=None)
TestPrefillFirstInstance = PrefillFirstMachine.TestCase
TestPrefillFirstInstance.settings = TestChunkedInstance.settings
TestCachingInstance = CachingMachine.TestCase
TestCachingInstance.settings = TestChunkedInstance.settings
TestPrefillFirstCaching = PrefillFirstCachingMachine.TestCase
TestPrefillFirstCaching.settings = TestChunkedInstance.settings


@pytest.mark.slow
class TestChunkedInstanceLong(InstanceMachine.TestCase):
    settings = settings(max_examples=60, stateful_step_count=60, deadline=None)


@pytest.mark.slow
class TestPrefillFirstInstanceLong(PrefillFirstMachine.TestCase):
    settings = TestChunkedInstanceLong.settings


@pytest.mark.slow
class TestCachingInstanceLong(CachingMachine.TestCase):
    settings = settings(max_examples=200, stateful_step_count=60, deadline=None)


@pytest.mark.slow
class TestPrefillFirstCachingLong(PrefillFirstCachingMachine.TestCase):
    settings = TestCachingInstanceLong.settings
