"""Control plane: restarts with back-off, start-up phases, roll-outs, the registry, endpoints."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ops.replay.pods import Revision
from ops.state import PodPhase
from rca.state import ChangeKind


def quiet(sim, scenario=None):
    """A fleet without users, so that only the control plane moves."""
    return sim.start(scenario, rate_rps=0.01)


def reasons(fleet, pod):
    return [e.reason for e in fleet.cluster.events if e.entity.name == pod.name]


def down_s(fleet, pod, *, limit_s=120.0):
    """Seconds until the process of a dead pod starts again."""
    began_s = fleet.kernel.now_s
    started = len([r for r in reasons(fleet, pod) if r == "Started"])
    while len([r for r in reasons(fleet, pod) if r == "Started"]) == started:
        fleet.run_until(fleet.kernel.now_s + 0.25)
        assert fleet.kernel.now_s - began_s < limit_s
    return fleet.kernel.now_s - began_s


def until_ready(fleet, pod):
    while not pod.ready:
        fleet.run_until(fleet.kernel.now_s + 0.25)


def test_the_fleet_starts_warm_and_as_large_as_asked(sim):
    fleet = quiet(sim)
    for (_, service), deployment in fleet.cluster.deployments.items():
        assert len(deployment.pods) == deployment.replicas, service
        assert all(p.ready and p.up for p in deployment.pods)
    assert len({p.name for p in fleet.cluster.pods()}) == len(fleet.cluster.pods())


def test_a_killed_process_restarts_with_growing_back_off(sim):
    fleet = quiet(sim)
    pod = sim.pods(fleet, "store")[0]
    waits = []
    for _ in range(4):
        fleet.cluster.kill_pod(pod, reason="Killing")
        waits.append(down_s(fleet, pod))
        until_ready(fleet, pod)
    # One second to make the container, then 0, 10, 20, 40 s.
    assert waits == pytest.approx([1.0, 11.0, 21.0, 41.0], abs=0.3)
    assert pod.restarts == 4
    assert reasons(fleet, pod).count("BackOff") == 3


def test_a_process_that_lived_long_restarts_at_once(sim):
    fleet = quiet(sim)
    pod = sim.pods(fleet, "store")[0]
    for _ in range(2):
        fleet.cluster.kill_pod(pod, reason="Killing")
        until_ready(fleet, pod)
    fleet.run_until(fleet.kernel.now_s + 650.0)
    fleet.cluster.kill_pod(pod, reason="Killing")
    assert down_s(fleet, pod) == pytest.approx(1.0, abs=0.3)


def test_a_dead_pod_is_out_of_the_endpoints_until_it_is_ready(sim):
    fleet = quiet(sim)
    one, other = sim.pods(fleet, "store")
    fleet.cluster.kill_pod(one, reason="Killing")
    assert fleet.cluster.endpoints("north", "store") == [other]
    assert one.phase is PodPhase.PENDING
    until_ready(fleet, one)
    assert set(fleet.cluster.endpoints("north", "store")) == {one, other}


def test_a_retired_pod_finishes_its_calls_before_it_goes(sim):
    fleet = sim.start(rate_rps=8.0)
    fleet.run_until(5.0)
    pod = sim.pods(fleet, "llm")[0]
    fleet.cluster.retire_pod(pod)
    assert pod not in fleet.cluster.endpoints("north", "llm")
    assert pod.instance.load > 0
    fleet.run_until(30.0)
    assert pod.instance.load == 0
    assert fleet.users.ledger.failed == fleet.users.ledger.retries == 0
    fleet.run_until(36.0)
    assert pod not in sim.pods(fleet, "llm")


def test_start_up_phases_are_drawn_per_pod_not_per_moment(sim):
    spent = []
    for wait_s in (1.0, 50.0):
        fleet = quiet(sim)
        fleet.run_until(wait_s)
        deployment = fleet.cluster.deployments[("north", "llm")]
        fleet.cluster.scale(deployment, 3)
        pod = deployment.pods[-1]
        until_ready(fleet, pod)
        spent.append(fleet.kernel.now_s - wait_s)
    assert spent[0] == pytest.approx(spent[1], abs=0.3)


def test_a_cold_start_pays_every_phase(sim):
    fleet = quiet(sim)
    engine = fleet.scenario.engine
    deployment = fleet.cluster.deployments[("north", "llm")]
    for node in fleet.cluster.nodes.values():
        node.images.clear()
    fleet.cluster.scale(deployment, 3)
    pod = deployment.pods[-1]
    until_ready(fleet, pod)
    pull_s = engine.image_mib / 120.0
    rest_s = engine.schedule_s + engine.load_weights_s + engine.boot_s + engine.warmup_s
    assert fleet.kernel.now_s == pytest.approx(pull_s + rest_s, rel=0.25)
    assert pod.scheduled_at_s < pod.started_at_s < pod.ready_at_s
    assert reasons(fleet, pod) == ["Pulling", "Pulled", "Started"]


def test_a_node_with_the_image_pulls_nothing(sim):
    fleet = quiet(sim)
    deployment = fleet.cluster.deployments[("north", "store")]
    for node in fleet.cluster.nodes.values():
        node.images.update(("store", "store@r100"))
    fleet.cluster.scale(deployment, 3)
    pod = deployment.pods[-1]
    until_ready(fleet, pod)
    assert "Pulling" not in reasons(fleet, pod)
    assert fleet.cluster.registries["north"].pull_count == 0


def test_a_slower_registry_stretches_pulls_in_progress(sim):
    ready_s = []
    for ratio in (1.0, 0.1):
        fleet = quiet(sim)
        for node in fleet.cluster.nodes.values():
            node.images.clear()
        deployment = fleet.cluster.deployments[("north", "llm")]
        fleet.cluster.scale(deployment, 3)
        fleet.run_until(6.0)  # in the middle of the pull
        assert fleet.cluster.registries["north"].pulls
        fleet.cluster.set_registry("north", ratio)
        until_ready(fleet, deployment.pods[-1])
        registry = fleet.cluster.registries["north"]
        assert registry.pull_count == 1
        ready_s.append(registry.pull_s_sum)
    plain_s, slow_s = ready_s
    done_s = 6.0 - 2.0  # what was fetched before, up to the draw of the scheduling time
    assert slow_s == pytest.approx(done_s + 10.0 * (plain_s - done_s), rel=0.25)


def test_a_pull_goes_on_at_full_speed_when_the_registry_recovers(sim):
    fleet = quiet(sim)
    for node in fleet.cluster.nodes.values():
        node.images.clear()
    fleet.cluster.set_registry("north", 0.01)
    deployment = fleet.cluster.deployments[("north", "llm")]
    fleet.cluster.scale(deployment, 3)
    fleet.run_until(20.0)
    fleet.cluster.set_registry("north", 1.0)
    until_ready(fleet, deployment.pods[-1])
    assert fleet.kernel.now_s < 20.0 + 45.0


def test_a_pod_without_room_waits_and_is_tried_again(sim):
    fleet = quiet(sim)
    for node in fleet.cluster.nodes.values():
        node.unschedulable = True
    deployment = fleet.cluster.deployments[("north", "store")]
    fleet.cluster.scale(deployment, 3)
    pod = deployment.pods[-1]
    fleet.run_until(15.0)
    assert pod.waiting_reason == "Unschedulable"
    assert "FailedScheduling" in reasons(fleet, pod)
    for node in fleet.cluster.nodes.values():
        node.unschedulable = False
    until_ready(fleet, pod)


def test_gpus_and_cores_of_a_deleted_pod_are_free_again(sim):
    fleet = quiet(sim)
    before = {n.name: (n.gpus_used, n.cores_used) for n in fleet.cluster.nodes.values()}
    deployment = fleet.cluster.deployments[("north", "llm")]
    fleet.cluster.scale(deployment, 3)
    fleet.run_until(60.0)
    fleet.cluster.scale(deployment, 2)
    fleet.run_until(120.0)
    after = {n.name: (n.gpus_used, n.cores_used) for n in fleet.cluster.nodes.values()}
    assert after == before  # limits are quarters of a core: exact in binary
    used = [(p.node, g) for p in fleet.cluster.pods() for g in p.gpu_indices]
    assert len(used) == len(set(used))


def test_a_code_roll_out_surges_one_pod_at_a_time(sim):
    fleet = quiet(sim)
    deployment = fleet.cluster.deployments[("north", "store")]
    fresh = Revision(revision_id="r101")
    fleet.cluster.roll_out(deployment, fresh, ChangeKind.DEPLOY, summary="new image")
    for _ in range(400):
        fleet.run_until(fleet.kernel.now_s + 0.25)
        alive = [p for p in deployment.pods if not p.quarantined]
        assert len(alive) <= deployment.replicas + 1
        assert len(fleet.cluster.endpoints("north", "store")) >= deployment.replicas
    assert [p.revision for p in deployment.pods] == [fresh, fresh]
    change = fleet.cluster.changes[-1]
    assert (change.revision_from, change.revision_to) == ("r100", "r101")


def test_a_settings_roll_out_reloads_in_place(sim):
    fleet = quiet(sim)
    deployment = fleet.cluster.deployments[("north", "store")]
    pods = list(deployment.pods)
    fresh = Revision(revision_id="r101")
    fleet.cluster.roll_out(deployment, fresh, ChangeKind.CONFIG, summary="settings")
    assert deployment.pods == pods
    assert all(p.revision is fresh for p in pods)


def test_a_roll_back_in_the_middle_restores_revision_and_number(sim):
    fleet = quiet(sim)
    deployment = fleet.cluster.deployments[("north", "store")]
    good = deployment.revision
    fleet.cluster.roll_out(deployment, Revision(revision_id="bad"), ChangeKind.DEPLOY, summary="")
    fleet.run_until(5.0)  # one surge pod is starting
    fleet.cluster.roll_out(deployment, good, ChangeKind.DEPLOY, summary="back")
    fleet.run_until(200.0)
    assert len(deployment.pods) == deployment.replicas
    assert all(p.revision is good and p.ready for p in deployment.pods)


def test_the_reboot_of_a_node_starts_every_process_anew(sim):
    fleet = quiet(sim)
    node = fleet.cluster.nodes[sim.pods(fleet, "llm")[0].node]
    pods = [p for p in fleet.cluster.pods() if p.node == node.name]
    fleet.injector.set_node_up(node, False)
    assert not any(p.up for p in pods)
    fleet.run_until(20.0)
    fleet.injector.set_node_up(node, True)
    assert not any(p.ready for p in pods)
    fleet.run_until(80.0)
    assert all(p.up and p.ready and p.restarts == 1 for p in pods)
    assert all(not p.instance.is_dead for p in pods if p.instance)


def test_round_robin_takes_instances_in_turn(sim):
    scenario = sim.scenario()
    scenario = replace(scenario, engine=replace(scenario.engine, dispatch="round-robin"))
    fleet = quiet(sim, scenario)
    taken = [fleet.cluster.engine_pod("north").serial for _ in range(4)]
    assert taken[0] != taken[1]
    assert taken[:2] == taken[2:]


def test_the_least_loaded_instance_is_taken_oldest_first(sim):
    fleet = quiet(sim)
    assert fleet.cluster.engine_pod("north") is sim.pods(fleet, "llm")[0]
