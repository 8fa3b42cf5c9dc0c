"""simulate(): conservation, repeatability, limits, early stop; faults in a cluster."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from serving.errors import ConfigError
from serving.policies import batch_policy, dispatch_policy
from serving.sim.cluster import Cluster
from serving.sim.instance import SimInstance
from serving.sim.kernel import Kernel
from serving.sim.outcomes import Arrivals, Outcome
from serving.sim.run import playable, simulate
from serving.sim.world import FleetConfig, Mode, Policies
from serving.state import InstanceConfig, Slo
from serving.workload import generate, with_session_prefixes

SLO = Slo(ttft_s=1.0, tpot_s=0.05)
FLEET = FleetConfig(num_instances=2, gpu="A100", model="llama-2-7b")


def requests(rate_rps: float = 6.0, duration_s: float = 20.0, seed: int = 1):
    return playable(
        generate(seed=seed, duration_s=duration_s, rate_rps=rate_rps, failures=False),
        tokens_max=4096,
    )


def test_every_request_ends_once_and_in_order() -> None:
    table = requests()
    report = simulate(table, FLEET, Policies(), 1, slo=SLO)
    assert report.complete
    assert (report.outcome == Outcome.DONE).all()
    assert len(report.outcome) == len(table)
    assert (report.ttft_s > 0).all()
    assert (report.e2e_s >= report.ttft_s).all()
    assert np.isnan(report.tpot_s[table.num_output_tokens == 1]).all()
    assert report.tbt.count == int((table.num_output_tokens - 1).sum())
    assert set(report.rank.tolist()) == {0, 1}
    assert 0.0 < report.busy_ratio <= 1.0
    assert (report.timeline.kv_ratio_max >= report.timeline.kv_ratio_mean).all()


def test_the_same_run_twice_gives_the_same_report() -> None:
    one, other = (simulate(requests(), FLEET, Policies(), 1, slo=SLO) for _ in range(2))
    assert one.figures() == other.figures()
    assert one.ttft_s.tobytes() == other.ttft_s.tobytes()


@pytest.mark.parametrize("mode", [Mode.EXPRESS, Mode.SEGMENTS])
def test_all_modes_give_the_same_times(mode) -> None:
    table = requests(duration_s=8.0)
    fast = simulate(table, FLEET, Policies(), 1, slo=SLO, mode=mode)
    plain = simulate(table, FLEET, Policies(), 1, slo=SLO, mode=Mode.ITERATIONS)
    assert np.allclose(fast.ttft_s, plain.ttft_s, rtol=0, atol=1e-9)
    assert np.allclose(fast.e2e_s, plain.e2e_s, rtol=0, atol=1e-9)
    assert (fast.rank == plain.rank).all()
    assert fast.tbt.counts == plain.tbt.counts
    assert fast.tbt.sum == pytest.approx(plain.tbt.sum)
    assert fast.iterations == plain.iterations
    assert fast.busy_ratio == pytest.approx(plain.busy_ratio)
    assert fast.events < plain.events


def test_good_means_done_within_both_limits() -> None:
    table = requests(rate_rps=12.0)
    report = simulate(table, FLEET, Policies(), 1, slo=Slo(ttft_s=0.1, tpot_s=0.02))
    good = [
        ttft <= 0.1 and not tpot > 0.02
        for ttft, tpot in zip(report.ttft_s, report.tpot_s, strict=True)
    ]
    assert 0.0 < report.attainment_ratio == np.mean(good) < 1.0


def test_what_a_cache_found_is_not_prefilled() -> None:
    table = with_session_prefixes(
        playable(generate(seed=1, duration_s=60.0, rate_rps=4.0, conversation_ratio=1.0))
    )
    plain = simulate(table, FLEET, Policies(), 1, slo=SLO)
    cached = simulate(table, replace(FLEET, prefix_cache=True), Policies(), 1, slo=SLO)
    sent = [table.num_prompt_tokens[cached.rank == rank].sum() for rank in (0, 1)]
    hits = [cache.num_hit_tokens for cache in cached.caches]
    assert min(hits) > 0
    assert cached.prefilled_tokens.tolist() == [a - b for a, b in zip(sent, hits, strict=True)]
    assert plain.prefilled_tokens.sum() == table.num_prompt_tokens.sum()
    busiest = max(cached.prefilled_tokens) / np.mean(cached.prefilled_tokens)
    assert cached.figures()["prefill_imbalance_ratio"] == pytest.approx(busiest)


def test_a_queue_that_is_full_rejects_and_counts_as_missed() -> None:
    fleet = FleetConfig(
        num_instances=1, gpu="A100", model="llama-2-7b", sequences_max=1, queue_max=1
    )
    report = simulate(requests(), fleet, Policies(), 1, slo=Slo(ttft_s=1e6, tpot_s=1e6))
    rejected = int((report.outcome == Outcome.REJECTED).sum())
    assert 0 < rejected < len(report.outcome)
    assert report.attainment_ratio == pytest.approx(1.0 - rejected / len(report.outcome))
    assert np.isnan(report.e2e_s[report.outcome == Outcome.REJECTED]).all()


def test_an_interrupt_leaves_a_report_of_what_was_simulated() -> None:
    def stop(share: float) -> None:
        if share > 0.5:
            raise KeyboardInterrupt

    table = requests()
    report = simulate(table, FLEET, Policies(), 1, slo=SLO, progress=stop)
    assert not report.complete
    assert len(table) / 2 < len(report.outcome) < len(table)
    assert report.attainment_ratio == 1.0
    assert report.figures()["complete"] is False


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"num_instances": 0}, "num_instances is 0"),
        ({"gpu": "abacus"}, "abacus"),
        ({"model": "gpt-0"}, "gpt-0"),
        ({"model": "llama-2-70b"}, "raise tp_degree"),
    ],
)
def test_a_fleet_that_cannot_be_is_refused(change, says) -> None:
    values = {"num_instances": 1, "gpu": "A100", "model": "llama-2-7b", **change}
    with pytest.raises(ConfigError, match=says):
        simulate(requests(), FleetConfig(**values), Policies(), 1, slo=SLO)


def test_rows_without_tokens_are_left_out_or_refused() -> None:
    table = generate(seed=1, duration_s=300.0, rate_rps=10.0)
    assert 0 < len(playable(table)) < len(table)
    with pytest.raises(ConfigError, match="rows without prompt or output tokens"):
        simulate(table, FLEET, Policies(), 1, slo=SLO)
    with pytest.raises(ConfigError, match="no request"):
        simulate(table.take(np.zeros(0, dtype=int)), FLEET, Policies(), 1, slo=SLO)


def cluster(num: int = 3, dispatch: str = "least-loaded") -> tuple[Kernel, Cluster]:
    kernel = Kernel()
    cost_model = FLEET.cost_model()
    instances = [
        SimInstance(
            kernel,
            f"i{rank}",
            config=InstanceConfig(num_blocks=400),
            policy=batch_policy("chunked-prefill", token_budget=256),
            cost_model=cost_model,
        )
        for rank in range(num)
    ]
    arrivals = Arrivals([0.1 * i for i in range(40)], [300] * 40, [60] * 40)
    return kernel, Cluster(kernel, instances, dispatch=dispatch_policy(dispatch), arrivals=arrivals)


@pytest.mark.parametrize("dispatch", ["least-loaded", "round-robin"])
def test_a_drained_instance_ends_what_it_has_and_gets_nothing_more(dispatch) -> None:
    kernel, fleet = cluster(dispatch=dispatch)
    kernel.at(1.05, fleet.drain, 1)
    kernel.run_until(100.0)
    assert fleet.is_over
    assert 1 in fleet.outcomes.rank[:11]
    assert 1 not in fleet.outcomes.rank[11:]
    assert set(fleet.outcomes.outcome) == {Outcome.DONE}


def test_a_death_fails_what_is_there_and_an_abort_ends_one() -> None:
    kernel, fleet = cluster()
    kernel.at(1.05, fleet.kill, 0)
    kernel.at(2.05, fleet.abort, 20)
    kernel.run_until(100.0)
    assert fleet.is_over
    assert fleet.outcomes.outcome[20] == Outcome.ABORTED
    assert not fleet.abort(20)
    failed = [
        row for row, outcome in enumerate(fleet.outcomes.outcome) if outcome == Outcome.FAILED
    ]
    assert failed
    assert all(
        fleet.outcomes.rank[row] == 0 and fleet.outcomes.end_s[row] == 1.05 for row in failed
    )


def test_a_fleet_without_any_instance_left_rejects() -> None:
    kernel, fleet = cluster(num=2)
    for rank in range(2):
        kernel.at(2.05, fleet.drain, rank)
    kernel.run_until(100.0)
    assert set(fleet.outcomes.outcome[21:]) == {Outcome.REJECTED}
    assert all(math.isnan(at_s) for at_s in fleet.outcomes.first_token_s[21:])
    assert fleet.is_over
