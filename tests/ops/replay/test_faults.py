"""The fault catalogue: each kind turns one mechanism, knows its truth, and lets go at its end."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path

import pytest

import ops.replay.faults
from ops.catalogue import Catalogue
from ops.errors import ScenarioError
from ops.replay.faults import CATALOGUE, RAMP_STEPS, start_fault
from ops.replay.scenario import CallSpec, FaultSpec
from ops.state import ActionKind
from rca.state import Entity, EntityKind
from serving.sim.kernel import stream


def with_fault(sim, kind, *, until_s=6.0, start_s=5.0, length_s=4.0, **more):
    fault = FaultSpec(kind=kind, start_s=start_s, length_s=length_s, **more)
    fleet = sim.start(sim.scenario(faults=(fault,), duration_s=30.0), rate_rps=4.0)
    fleet.run_until(until_s)
    return fleet


@pytest.mark.parametrize("kind", CATALOGUE)
def test_each_kind_states_its_truth(sim, kind):
    truth = with_fault(sim, kind).faults[0].truth
    assert (truth.kind, truth.began_at_s, truth.ended_at_s) == (kind, 5.0, 9.0)
    assert truth.resource_classes
    assert truth.entity not in truth.alternatives
    assert Entity.parse(str(truth.entity)) == truth.entity
    assert truth.abstain == (kind == "metric-gap")


@pytest.mark.parametrize("kind", CATALOGUE)
def test_each_kind_draws_the_same_target_for_the_same_seed(sim, kind):
    assert with_fault(sim, kind).faults[0].truth == with_fault(sim, kind).faults[0].truth


@pytest.mark.parametrize("kind", CATALOGUE)
def test_direct_roles_are_known_to_the_metric_catalogue(kind, catalogue):
    path = Path(__file__).parents[3] / "ops" / "catalogue"
    text = "".join(p.read_text() for p in sorted(path.rglob("*.toml")))
    assert isinstance(catalogue, Catalogue)
    for role in CATALOGUE[kind].direct_roles:
        assert f'"{role}"' in text, role


@pytest.mark.parametrize("kind", CATALOGUE)
def test_the_oracle_of_each_kind_knows_real_actions(sim, kind):
    assert all(ActionKind(a) for a in with_fault(sim, kind).faults[0].oracle)


def test_faults_and_telemetry_do_not_know_each_other():
    for name in ("faults", "telemetry"):
        other = {"faults": "telemetry", "telemetry": "faults"}[name]
        tree = ast.parse((Path(ops.replay.faults.__file__).parent / f"{name}.py").read_text())
        modules = {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
        assert f"ops.replay.{other}" not in modules


def test_an_unknown_kind_names_the_known_ones(sim):
    fleet = sim.start(rate_rps=1.0)
    spec = FaultSpec(kind="gremlin", start_s=1.0)
    with pytest.raises(ScenarioError, match=r"'gremlin'.*pod-kill"):
        start_fault(fleet.injector, spec, stream(1, "x"))


def test_a_target_that_is_no_entity_is_an_error_that_shows_the_form(sim):
    with pytest.raises(ScenarioError, match="kind:region/name"):
        with_fault(sim, "cpu-hog", target="shelf")


def test_a_named_target_is_taken(sim):
    fleet = with_fault(sim, "slow-link", target="link:north/shelf->store")
    assert fleet.faults[0].truth.entity == Entity(EntityKind.LINK, "north", "shelf->store")
    assert list(fleet.graph.links) == [("north", "shelf", "store")]
    fleet.run_until(10.0)
    assert not fleet.graph.links


def test_a_storm_is_drawn_where_somebody_is_hurt(sim):
    optional = (CallSpec(to="store", timeout_s=0.5, optional=True),)
    fleet = sim.start(sim.with_service(sim.scenario(), "shelf", calls=optional), rate_rps=4.0)
    fleet.run_until(6.0)
    targets = fleet.injector.targets
    for seed in range(6):
        rng = stream(seed, "draw")
        storm = FaultSpec(kind="retry-storm", start_s=5.0)
        deployment, callee, _ = targets.pick_retry_edge(storm, rng)
        assert (deployment.service, callee) == ("door", "shelf")
    named = FaultSpec(kind="retry-storm", start_s=5.0, target="service:north/shelf")
    assert targets.pick_retry_edge(named, stream(0, "draw"))[1] == "store"


def test_a_ramp_rises_in_steps_and_ends_at_once(sim):
    fault = FaultSpec(
        kind="cpu-hog", start_s=5.0, length_s=20.0, ramp_s=12.0, target="pod:north/store"
    )
    fleet = sim.start(sim.scenario(faults=(fault,)), rate_rps=1.0)
    levels = []
    for k in range(1, 21):
        fleet.run_until(5.0 + k)
        levels.append(max(p.hog_cores for p in sim.pods(fleet, "store")))
    assert levels[:RAMP_STEPS] == sorted(levels[:RAMP_STEPS])
    assert levels[0] < levels[5] < levels[11] == levels[15]
    assert levels[-1] == 0.0


def test_severity_zero_turns_nothing(sim):
    fleet = with_fault(sim, "cpu-hog", severity=0.0)
    assert len(fleet.faults) == 1
    assert all(p.hog_cores == 0.0 for p in fleet.cluster.pods())


def test_a_bad_roll_out_is_taken_back_at_its_end(sim):
    fleet = with_fault(sim, "pool-exhaustion", target="service:north/door")
    deployment = fleet.cluster.deployments[("north", "door")]
    bad = deployment.revision
    assert bad.pools
    assert all(size >= 1 for size in bad.pools.values())
    fleet.run_until(10.0)
    assert deployment.revision is not bad
    assert not deployment.revision.pools


def test_a_roll_out_that_somebody_took_back_is_left_alone(sim):
    fleet = with_fault(sim, "retry-storm", target="service:north/shelf")
    deployment = fleet.cluster.deployments[("north", "shelf")]
    fleet.cluster.roll_out(
        deployment, deployment.previous, fleet.cluster.changes[-1].kind, summary="rollback"
    )
    num = len(fleet.cluster.changes)
    fleet.run_until(10.0)
    assert len(fleet.cluster.changes) == num


def test_a_region_at_zero_comes_back_cold(sim):
    fleet = with_fault(sim, "cold-region", until_s=5.5)
    assert sim.pods(fleet, "llm") == []
    fleet.run_until(12.0)
    pods = sim.pods(fleet, "llm")
    assert len(pods) == 2
    assert not any(p.ready for p in pods)
    fleet.run_until(60.0)
    assert all(p.ready for p in pods)
    reasons = [e.reason for e in fleet.cluster.events if e.entity.name == pods[0].name]
    assert reasons == ["Pulling", "Pulled", "Started"]


def test_a_cold_region_is_over_at_its_end(sim):
    fleet = with_fault(sim, "cold-region", severity=3.0, length_s=60.0, until_s=60.0)
    deployment = fleet.cluster.deployments[("north", "llm")]
    assert deployment.start_ratio == 3.0
    fleet.run_until(70.0)
    assert deployment.start_ratio == 1.0


def test_a_slow_registry_delays_the_instance_that_moves(sim):
    fleet = with_fault(sim, "slow-registry", length_s=60.0, until_s=50.0)
    pods = sim.pods(fleet, "llm")
    assert sum(p.ready for p in pods) == 1
    fleet.run_until(120.0)
    assert all(p.ready for p in pods)


def test_a_metric_gap_silences_one_job_and_nothing_else(sim):
    fleet = with_fault(sim, "metric-gap", target="telemetry:north/mesh")
    assert fleet.silenced("north", "mesh")
    assert not fleet.silenced("north", "node")
    plain = sim.start(sim.scenario(duration_s=30.0), rate_rps=4.0)
    plain.run_until(6.0)
    assert plain.users.ledger == fleet.users.ledger
    fleet.run_until(10.0)
    assert not fleet.silenced("north", "mesh")


def test_a_burst_multiplies_one_regions_arrivals(sim):
    fleet = with_fault(sim, "traffic-burst", length_s=10.0, until_s=30.0, severity=1.0)
    assert fleet.users.ledger.arrived == pytest.approx(120 + 1.6 * 4.0 * 10.0, abs=3)


def test_a_leak_is_as_strong_in_a_world_that_nobody_watches(sim, catalogue):
    """What the fault takes must not depend on when meters were last read."""
    strength = []
    for scraped in (None, catalogue):
        fault = FaultSpec(kind="gpu-memory-leak", start_s=8.3, length_s=10.0)
        scenario = sim.scenario(faults=(fault,))
        scenario = replace(scenario, engine=replace(scenario.engine, sequences_max=64))
        traffic = sim.Steady(scenario, prompt=(3000, 4000))
        fleet = sim.start(scenario, rate_rps=9.0, traffic=traffic, catalogue=scraped)
        fleet.run_until(8.5)
        strength.append([p.leak_blocks_max for p in sim.pods(fleet, "llm")])
    assert strength[0] == strength[1]
    blocks = sim.pods(fleet, "llm")[0].engine.cache_config.num_gpu_blocks
    assert 0.0 < max(strength[0]) < blocks - 2304 / 16
