"""Simulated instances: callbacks, faults, meters; jumps against one event per iteration."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from serving.metrics import EngineMeters
from serving.policies import batch_policy
from serving.sim.cost_model import CostModel
from serving.sim.flat_instance import FlatInstance
from serving.sim.instance import SimInstance
from serving.sim.kernel import Kernel, stream
from serving.state import FinishReason, InstanceConfig, RejectReason, Request

COST_MODEL = CostModel.of(gpu="A100", model="llama-2-7b")
# Both modes add the same times in another order; a run lasts about 100 s.
TOLERANCE_S = 1e-9


@dataclass
class Client:
    """Submits to one instance and writes down what comes back."""

    instance: SimInstance | FlatInstance
    kernel: Kernel
    first: dict[int, float] = field(default_factory=dict)
    ended: dict[int, tuple[float, FinishReason]] = field(default_factory=dict)
    accepted: list[int] = field(default_factory=list)

    def submit(self, request_id: int, prompt: int = 100, output: int = 20) -> bool:
        request = Request(
            request_id=request_id,
            arrival_s=self.kernel.now_s,
            num_prompt_tokens=prompt,
            num_output_tokens=output,
        )

        def first(at_s: float) -> None:
            assert request_id not in self.first
            self.first[request_id] = at_s

        def ended(at_s: float, reason: FinishReason) -> None:
            assert request_id not in self.ended
            assert at_s == self.kernel.now_s
            self.ended[request_id] = (at_s, reason)

        is_accepted = self.instance.submit(request, first, ended)
        if is_accepted:
            self.accepted.append(request_id)
        return is_accepted


drivers = pytest.mark.parametrize("driver", ["segments", "flat"])


def client(
    driver: str = "segments",
    *,
    policy: str = "chunked-prefill",
    meters: EngineMeters | None = None,
    **sizes: int,
) -> Client:
    """A client of an instance of its own; drivers are segments, iterations and flat."""
    kernel = Kernel()
    config = InstanceConfig(**{"num_blocks": 400, **sizes})
    if driver == "flat":
        assert policy == "chunked-prefill"
        return Client(
            FlatInstance(
                kernel, "a", config=config, token_budget=256, cost_model=COST_MODEL, meters=meters
            ),
            kernel,
        )
    instance = SimInstance(
        kernel,
        "a",
        config=config,
        policy=batch_policy(policy, token_budget=256),
        cost_model=COST_MODEL,
        meters=meters,
        segments=driver == "segments",
    )
    return Client(instance, kernel)


def num_held_blocks(instance: SimInstance | FlatInstance) -> int:
    """KV blocks in use or lost."""
    if isinstance(instance, FlatInstance):
        return instance.num_used() + instance.num_lost
    pool = instance.instance.pool
    return pool.num_blocks - pool.num_free


@drivers
def test_a_lone_request_takes_its_prefill_and_its_decode_steps(driver: str) -> None:
    user = client(driver)
    assert user.submit(1, prompt=100, output=3)
    user.kernel.run_until(1.0)
    prefill_s = COST_MODEL.iteration_s(chunks=[(100, 0)], num_decodes=0, context_sum=0)
    decode_s = sum(
        COST_MODEL.iteration_s(chunks=[], num_decodes=1, context_sum=n) for n in (100, 101)
    )
    assert user.first[1] == pytest.approx(prefill_s)
    assert user.ended[1] == (pytest.approx(prefill_s + decode_s), FinishReason.STOP)


@drivers
def test_meters_count_the_tokens_of_a_lone_request(driver: str) -> None:
    meters = EngineMeters()
    user = client(driver, meters=meters)
    user.submit(1, prompt=300, output=20)
    user.kernel.run_until(1.0)
    user.instance.refresh(1.0)
    assert (meters.prompt_tokens, meters.generation_tokens) == (300, 20)
    assert meters.iterations == 2 + 19  # two chunks, then one token each
    assert meters.inter_token_latency.count == 19
    assert meters.inter_token_latency.sum == pytest.approx(user.ended[1][0] - user.first[1])
    assert meters.ttft.sum == pytest.approx(user.first[1])
    assert meters.busy_s == pytest.approx(user.ended[1][0])
    assert meters.success[FinishReason.STOP] == 1
    assert (meters.running, meters.waiting, meters.kv_usage_ratio) == (0, 0, 0.0)
    assert meters.cache_config.num_gpu_blocks == 400


@drivers
def test_meters_move_while_nothing_changes_in_the_batch(driver: str) -> None:
    meters = EngineMeters()
    user = client(driver, meters=meters)
    user.submit(1, prompt=100, output=500)
    seen = []
    for at_s in (0.5, 1.0, 1.5):
        user.kernel.run_until(at_s)
        user.instance.refresh(at_s)
        seen.append((meters.generation_tokens, meters.busy_s, meters.kv_usage_ratio))
        assert meters.running == 1
        assert at_s - 0.02 < meters.busy_s <= at_s
    assert seen == sorted(seen)
    assert seen[0][0] < seen[1][0] < seen[2][0] < 500


@drivers
def test_a_full_queue_a_drain_and_death_refuse(driver: str) -> None:
    meters = EngineMeters()
    user = client(driver, meters=meters, queue_max=2, sequences_max=1)
    assert [user.submit(i) for i in range(4)] == [True, True, True, False]
    user.instance.drain()
    assert not user.submit(5)
    user.kernel.run_until(10.0)
    assert sorted(user.ended) == [0, 1, 2]
    user.instance.kill()
    assert not user.submit(6)
    assert meters.rejections[RejectReason.QUEUE_FULL] == 1
    assert meters.rejections[RejectReason.DRAINING] == 1
    assert meters.rejections[RejectReason.DEAD] == 1


@drivers
def test_death_ends_running_and_waiting_requests_and_frees_their_blocks(driver: str) -> None:
    meters = EngineMeters()
    user = client(driver, meters=meters, sequences_max=2)
    for i in range(4):
        user.submit(i, output=400)
    user.kernel.run_until(1.0)
    user.instance.kill()
    assert user.ended == dict.fromkeys(range(4), (1.0, FinishReason.ERROR))
    user.kernel.run_until(100.0)
    assert len(user.ended) == 4
    assert meters.success[FinishReason.ERROR] == 4
    assert meters.generation_tokens > 0
    assert user.instance.load == 0
    user.instance.check_invariants()
    assert num_held_blocks(user.instance) == 0


@drivers
def test_an_abort_is_reported_at_once_and_leaves_with_the_iteration_in_flight(driver: str) -> None:
    user = client(driver)
    user.submit(1, output=400)
    user.submit(2, output=5)
    user.kernel.run_until(1.0)
    assert user.instance.abort(1)
    assert not user.instance.abort(1)
    assert user.ended[1] == (1.0, FinishReason.ABORT)
    assert user.instance.num_running == 1
    user.kernel.run_until(1.1)
    assert user.instance.num_running == 0
    assert num_held_blocks(user.instance) == 0


@drivers
def test_an_aborted_head_of_the_queue_lets_the_next_one_start_at_once(driver: str) -> None:
    user = client(driver)
    user.submit(1, prompt=1000, output=900)
    user.submit(2, prompt=6200, output=2)
    user.submit(3, prompt=20, output=2)
    user.kernel.run_until(2.0)
    assert user.instance.num_waiting == 2
    user.instance.abort(2)
    user.kernel.run_until(2.1)
    assert 2.0 < user.first[3] < 2.1


@drivers
def test_an_aborted_request_may_come_back_before_its_sequence_has_left(driver: str) -> None:
    user = client(driver)
    user.submit(1, output=50)
    user.kernel.run_until(0.2)
    user.instance.abort(1)
    del user.ended[1], user.first[1]
    user.submit(1, output=50)
    user.kernel.run_until(10.0)
    assert user.ended[1][1] is FinishReason.STOP
    assert user.ended[1][0] > user.first[1] > 0.2


@drivers
def test_the_first_token_of_an_aborted_request_is_not_given_to_its_successor(driver: str) -> None:
    user = client(driver)
    prefill_s = COST_MODEL.iteration_s(chunks=[(200, 0)], num_decodes=0, context_sum=0)
    user.submit(1, prompt=200)
    user.kernel.run_until(prefill_s / 2)
    user.instance.abort(1)
    del user.ended[1]
    user.submit(1, prompt=200)
    user.kernel.run_until(10.0)
    assert user.first[1] == pytest.approx(2 * prefill_s)


@drivers
def test_a_hang_delays_everything_by_its_length(driver: str) -> None:
    plain, hung = client(driver), client(driver)
    for user in (plain, hung):
        user.submit(1, prompt=600, output=100)
    hung.kernel.at(0.03, hung.instance.hang)
    hung.kernel.run_until(3.0)
    assert not hung.first
    assert hung.submit(2)
    assert hung.instance.num_waiting == 1
    hung.instance.resume()
    for user in (plain, hung):
        user.kernel.run_until(20.0)
    assert hung.first[1] == pytest.approx(plain.first[1] + 2.97, abs=0.05)
    assert hung.ended[2][1] is FinishReason.STOP


@drivers
def test_the_gap_of_a_hang_is_seen_between_tokens(driver: str) -> None:
    meters = EngineMeters()
    user = client(driver, meters=meters)
    user.submit(1, output=50)
    user.kernel.run_until(0.2)
    user.instance.hang()
    user.kernel.run_until(5.2)
    user.instance.refresh(5.2)
    before = meters.generation_tokens
    user.instance.resume()
    user.kernel.run_until(10.0)
    assert before < meters.generation_tokens
    assert meters.inter_token_latency.sum == pytest.approx(user.ended[1][0] - user.first[1])
    assert meters.busy_s == pytest.approx(user.ended[1][0] - 5.0)


@drivers
def test_a_slow_clock_stretches_iterations_until_it_is_healed(driver: str) -> None:
    ends = {}
    for ratio in (1.0, 0.5):
        user = client(driver)
        user.submit(1, output=100)
        user.kernel.run_until(0.3)
        user.instance.set_clock_ratio(ratio)
        assert user.instance.clock_ratio == ratio
        user.kernel.run_until(0.6)
        user.instance.set_clock_ratio(1.0)
        user.kernel.run_until(10.0)
        ends[ratio] = user.ended[1][0]
    assert ends[1.0] + 0.05 < ends[0.5] < ends[1.0] + 0.3


@drivers
def test_a_leak_preempts_and_keeps_the_rest_waiting_until_it_ends(driver: str) -> None:
    meters = EngineMeters()
    user = client(driver, meters=meters)
    for i in range(3):
        user.submit(i, prompt=1000, output=200)
    user.kernel.run_until(1.0)
    user.instance.reserve_blocks(300)
    user.kernel.run_until(1.1)
    user.instance.refresh(1.1)
    assert (meters.running, meters.waiting, meters.preemptions) == (1, 2, 2)
    user.instance.reserve_blocks(10_000)
    user.kernel.run_until(50.0)
    assert user.instance.num_waiting == 3
    user.instance.reserve_blocks(0)
    user.kernel.run_until(100.0)
    assert len(user.ended) == 3


@drivers
def test_callbacks_may_submit_abort_and_kill(driver: str) -> None:
    user = client(driver)
    instance, kernel = user.instance, user.kernel
    ended: list[tuple[int, FinishReason]] = []

    def request(request_id: int) -> Request:
        return Request(
            request_id=request_id,
            arrival_s=kernel.now_s,
            num_prompt_tokens=50,
            num_output_tokens=10,
        )

    def nothing(_: float) -> None:
        return None

    def on_first(_: float) -> None:
        instance.abort(2)
        instance.submit(request(3), nothing, lambda _, why: (ended.append((3, why)), die())[0])

    def die() -> None:
        instance.submit(request(4), nothing, lambda _, why: ended.append((4, why)))
        instance.kill()

    instance.submit(request(1), on_first, lambda _, why: ended.append((1, why)))
    instance.submit(request(2), nothing, lambda _, why: ended.append((2, why)))
    kernel.run_until(10.0)
    assert ended == [
        (2, FinishReason.ABORT),
        (1, FinishReason.STOP),
        (3, FinishReason.STOP),
        (4, FinishReason.ERROR),
    ]
    instance.check_invariants()


def world(
    seed: int, driver: str, num_requests: int, policy: str = "chunked-prefill", **sizes: int
) -> Client:
    """Random requests, aborts, slow clocks, leaks, hangs and scrapes; the same everywhere."""
    sizes = {"num_blocks": 260, "sequences_max": 12, "queue_max": 30, **sizes}
    user = client(driver, policy=policy, **sizes)
    rng = stream(seed, "world")
    kernel, instance = user.kernel, user.instance
    at_s = np.cumsum(rng.exponential(0.12, num_requests))
    prompts = rng.integers(1, 900, num_requests)
    outputs = np.ceil(rng.exponential(80, num_requests)).astype(int)
    for i in range(num_requests):
        kernel.at(float(at_s[i]), user.submit, i, int(prompts[i]), int(outputs[i]))
        if rng.random() < 0.15:
            kernel.at(float(at_s[i] + rng.exponential(2.0)), instance.abort, i)
    end_s = float(at_s[-1])
    for _ in range(num_requests // 10):
        kernel.at(
            float(rng.uniform(0, end_s)), instance.set_clock_ratio, float(rng.choice([1, 0.4]))
        )
        kernel.at(float(rng.uniform(0, end_s)), instance.reserve_blocks, int(rng.integers(0, 120)))
        hang_s = float(rng.uniform(0, end_s))
        kernel.at(hang_s, instance.hang)
        kernel.at(hang_s + float(rng.exponential(0.3)), instance.resume)
        kernel.at(float(rng.uniform(0, end_s)), lambda: instance.refresh(kernel.now_s))
        kernel.at(float(rng.uniform(0, end_s)), instance.check_invariants)
    kernel.at(end_s, instance.reserve_blocks, 0)
    kernel.run_until(end_s + 500.0)
    instance.refresh(kernel.now_s)
    instance.check_invariants()
    assert num_held_blocks(instance) == 0
    assert sorted(user.ended) == sorted(user.accepted)
    return user


def assert_same(jumped: Client, plain: Client) -> None:
    assert jumped.accepted == plain.accepted
    assert jumped.first == pytest.approx(plain.first, abs=TOLERANCE_S)
    assert {i: why for i, (_, why) in jumped.ended.items()} == {
        i: why for i, (_, why) in plain.ended.items()
    }
    for i, (at_s, _) in jumped.ended.items():
        assert at_s == pytest.approx(plain.ended[i][0], abs=TOLERANCE_S)
    one, other = jumped.instance.meters, plain.instance.meters
    for name in ("prompt_tokens", "generation_tokens", "preemptions", "iterations", "success"):
        assert getattr(one, name) == getattr(other, name), name
    for name in ("busy_s", "flops", "moved_bytes"):
        assert getattr(one, name) == pytest.approx(getattr(other, name)), name
    for name in ("ttft", "inter_token_latency", "e2e", "iteration_tokens", "queue_time"):
        assert getattr(one, name).counts == getattr(other, name).counts, name
        assert getattr(one, name).sum == pytest.approx(getattr(other, name).sum), name
    assert jumped.kernel.num_events < plain.kernel.num_events


@pytest.mark.parametrize(
    ("driver", "policy"),
    [("segments", "chunked-prefill"), ("segments", "prefill-first"), ("flat", "chunked-prefill")],
)
def test_jumps_give_the_times_of_single_iterations(driver: str, policy: str) -> None:
    jumped = world(3, driver, 40, policy)
    assert_same(jumped, world(3, "iterations", 40, policy))


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["chunked-prefill", "prefill-first"])
def test_segments_give_the_times_of_single_iterations_over_many_worlds(policy: str) -> None:
    num_preemptions = 0
    for seed in range(15):
        jumped = world(seed, "segments", 150, policy)
        assert_same(jumped, world(seed, "iterations", 150, policy))
        num_preemptions += jumped.instance.meters.preemptions
    assert num_preemptions > 50


@pytest.mark.slow
def test_a_flat_instance_gives_the_times_of_single_iterations_over_many_worlds() -> None:
    num_preemptions = num_long = 0
    for seed in range(100):
        rng = stream(seed, "sizes")
        sizes = {
            "num_blocks": int(rng.choice([160, 260, 1000])),
            "sequences_max": int(rng.choice([1, 4, 12, 64])),
            "queue_max": int(rng.choice([2, 30])),
            "block_tokens": int(rng.choice([8, 16])),
        }
        sizes["context_tokens_max"] = int(rng.choice([0, 600]))
        jumped = world(seed, "flat", 60, **sizes)
        assert_same(jumped, world(seed, "iterations", 60, **sizes))
        num_preemptions += jumped.instance.meters.preemptions
        num_long += jumped.instance.meters.success[FinishReason.LENGTH]
    assert num_preemptions > 200
    assert num_long > 50


@drivers
def test_a_long_prompt_costs_few_events_however_many_chunks_it_has(driver: str) -> None:
    user = client(driver, num_blocks=2000)
    user.submit(1, prompt=200, output=400)
    user.kernel.run_until(1.0)
    before = user.kernel.num_events
    user.submit(2, prompt=20_000, output=2)
    user.kernel.run_until(20.0)
    assert sorted(user.ended) == [1, 2]
    assert user.kernel.num_events - before < 10


def test_both_policies_give_every_request_the_same_tokens() -> None:
    totals = set()
    for policy in ("chunked-prefill", "prefill-first"):
        user = client(policy=policy, num_blocks=120)
        for i in range(12):
            user.submit(i, prompt=90 + 40 * i, output=30 + i)
        user.kernel.run_until(100.0)
        assert all(reason is FinishReason.STOP for _, reason in user.ended.values())
        totals.add((len(user.ended), user.instance.meters.generation_tokens))
    assert totals == {(12, sum(30 + i for i in range(12)))}
