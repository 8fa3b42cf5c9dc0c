"""Capacity: bisection over a monotone answer, its cache, a torn cache entry."""

from __future__ import annotations

from dataclasses import replace

import pytest

import ops.replay.capacity
from ops.errors import ScenarioError
from ops.replay.capacity import PRECISION, capacity_rps, measure_capacity
from ops.replay.scenario import FaultSpec
from ops.replay.traffic import Traffic
from serving.sim.cost_model import CostModel


class Limit:
    """A fleet that is good up to a rate; counts how often it is asked."""

    def __init__(self, limit_rps, ratio=1.0):
        self.limit_rps, self.ratio, self.asked, self.scenarios = limit_rps, ratio, 0, []

    def __call__(self, scenario, traffic, rate_rps):
        self.asked += 1
        self.scenarios.append(scenario)
        return self.ratio if rate_rps <= self.limit_rps else 0.0


@pytest.fixture
def limit(monkeypatch):
    found = Limit(7.3)
    monkeypatch.setattr(ops.replay.capacity, "_good_ratio", found)
    return found


@pytest.fixture
def scenario(sim):
    return sim.scenario()


def measure(scenario, folder):
    return capacity_rps(scenario, Traffic.open(scenario, seed=1), cache=folder)


def test_the_answer_is_good_and_close_to_the_limit(limit, scenario, tmp_path):
    found = measure(scenario, tmp_path)
    assert found <= 7.3 < found * (1.0 + PRECISION) * 1.001


def test_a_small_capacity_is_found_too(monkeypatch, scenario, tmp_path):
    monkeypatch.setattr(ops.replay.capacity, "_good_ratio", Limit(0.8))
    assert measure(scenario, tmp_path) == pytest.approx(0.8, rel=PRECISION)


def test_what_even_an_idle_fleet_misses_is_not_held_against_it(monkeypatch, scenario, tmp_path):
    monkeypatch.setattr(ops.replay.capacity, "_good_ratio", Limit(3.0, ratio=0.9))
    found = measure_capacity(scenario, Traffic.open(scenario, seed=1), cache=tmp_path)
    assert found.rps == pytest.approx(3.0, rel=PRECISION)
    assert found.idle_good_ratio == 0.9


def test_a_fleet_that_serves_nobody_well_has_no_capacity(monkeypatch, scenario, tmp_path):
    monkeypatch.setattr(ops.replay.capacity, "_good_ratio", Limit(0.0))
    with pytest.raises(ScenarioError, match="loosen"):
        measure(scenario, tmp_path)


def test_the_second_question_is_answered_from_the_cache(limit, scenario, tmp_path):
    first, asked = measure(scenario, tmp_path), limit.asked
    assert measure(scenario, tmp_path) == first
    assert limit.asked == asked


@pytest.mark.parametrize(
    "torn", [b"", b'{"capacity_r', b"[]", b"{}", b'{"capacity_rps": 3}', b'{"capacity_rps": "x"}']
)
def test_a_torn_cache_entry_is_measured_again(limit, scenario, tmp_path, torn):
    first = measure(scenario, tmp_path)
    (path,) = tmp_path.iterdir()
    path.write_bytes(torn)
    assert measure(scenario, tmp_path) == first
    assert measure(scenario, tmp_path) == first
    assert [p.suffix for p in tmp_path.iterdir()] == [".json"]


def test_faults_changes_and_load_are_not_part_of_the_question(limit, scenario, tmp_path):
    measure(scenario, tmp_path)
    asked = limit.asked
    other = replace(
        scenario,
        faults=(FaultSpec(kind="pod-kill", start_s=1.0),),
        duration_s=77.0,
        traffic=replace(scenario.traffic, load=0.3, step_at_s=5.0, diurnal=0.4),
    )
    measure(other, tmp_path)
    assert limit.asked == asked
    assert not limit.scenarios[0].faults


def test_another_fleet_is_another_question(limit, scenario, tmp_path):
    measure(scenario, tmp_path)
    asked = limit.asked
    measure(replace(scenario, engine=replace(scenario.engine, instances=3)), tmp_path)
    assert limit.asked > asked


def test_new_coefficients_under_the_same_name_are_another_question(
    limit, scenario, tmp_path, monkeypatch
):
    measure(scenario, tmp_path)
    asked = limit.asked
    slow = CostModel.of(gpu="A100", model="llama-2-7b").at_clock(0.5)
    monkeypatch.setattr(CostModel, "of", lambda **names: slow)
    measure(scenario, tmp_path)
    assert limit.asked > asked


def test_the_pools_keep_their_size_while_capacity_is_measured(limit, sim, tmp_path):
    scenario = sim.with_service(sim.scenario(), "store", hpa_cpu_ratio=0.5)
    measure(replace(scenario, engine=replace(scenario.engine, hpa_queue=4.0)), tmp_path)
    assert limit.scenarios[0].engine.hpa_queue == 0.0
    assert all(s.hpa_cpu_ratio == 0.0 for s in limit.scenarios[0].services)


@pytest.mark.slow
def test_the_tiny_fleet_has_a_capacity_between_its_bounds(scenario, tmp_path):
    assert 1.0 < measure(scenario, tmp_path) < 20.0
