"""The capacity search brackets its answer."""

from __future__ import annotations

import pytest

from serving.sim.capacity import find_capacity, saturated_rps
from serving.sim.run import playable, simulate
from serving.sim.world import FleetConfig, Policies
from serving.state import Slo
from serving.workload import generate, to_rate

FLEET = FleetConfig(num_instances=1, gpu="A100", model="llama-2-7b")


def requests():
    return playable(
        generate(seed=2, duration_s=30.0, rate_rps=5.0, failures=False), tokens_max=2048
    )


def test_a_saturated_fleet_answers_in_proportion_to_its_size() -> None:
    one = saturated_rps(requests(), FLEET, Policies(), 1)
    four = saturated_rps(
        requests(), FleetConfig(num_instances=4, gpu="A100", model="llama-2-7b"), Policies(), 1
    )
    assert four == pytest.approx(4 * one)
    assert 2.0 < one < 30.0


@pytest.mark.slow
def test_the_answer_meets_the_slo_and_the_next_trial_does_not() -> None:
    slo = Slo(ttft_s=0.5, tpot_s=0.03, target_ratio=0.9)
    table = requests()
    seen = []
    found = find_capacity(table, FLEET, Policies(), 1, slo=slo, progress=seen.append)
    assert tuple(seen) == found.trials
    assert found.rate_rps < found.rate_rps_failed <= found.rate_rps / 0.98 + 1e-9
    for rate_rps, meets in ((found.rate_rps, True), (found.rate_rps_failed, False)):
        report = simulate(to_rate(table, rate_rps), FLEET, Policies(), 1, slo=slo)
        assert (report.attainment_ratio >= 0.9) is meets
    relaxed = Slo(ttft_s=1.0, tpot_s=0.06, target_ratio=0.9)
    assert find_capacity(table, FLEET, Policies(), 1, slo=relaxed).rate_rps >= found.rate_rps
    assert found.goodput_rps_per_gpu == found.rate_rps


def test_a_limit_that_an_idle_fleet_misses_ends_after_four_trials() -> None:
    found = find_capacity(requests(), FLEET, Policies(), 1, slo=Slo(ttft_s=1e-6, tpot_s=1.0))
    assert found.rate_rps == found.goodput_rps_per_gpu == 0.0
    assert len(found.trials) == 4
    assert found.rate_rps_failed == found.trials[-1].rate_rps < found.trials[0].rate_rps / 1000


def test_a_limit_that_only_a_slow_rate_keeps_is_found_after_the_idle_trial() -> None:
    table = requests()
    alone_s = simulate(to_rate(table, 0.01), FLEET, Policies(), 1, slo=Slo(ttft_s=1.0, tpot_s=1.0))
    tight = Slo(ttft_s=1.0, tpot_s=1.05 * float(alone_s.figures()["tpot_s"]["p99"]))
    found = find_capacity(table, FLEET, Policies(), 1, slo=tight)
    slowest = min(trial.rate_rps for trial in found.trials)
    assert slowest < found.rate_rps < found.trials[0].rate_rps / 4
    assert found.rate_rps_failed <= found.rate_rps / 0.98 + 1e-9
