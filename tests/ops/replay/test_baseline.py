"""Kubernetes' and the mesh's own reflexes with their default delays."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ops.replay.baseline import (
    EJECT_ERRORS,
    EJECT_S,
    EVICT_S,
    HPA_DOWN_S,
    HPA_TICK_S,
    NODE_GRACE_S,
    NODE_TICK_S,
    WATCHDOG_S,
)
from ops.replay.pods import Revision
from rca.state import EntityKind
from serving.state import Request


def quiet(sim, **changes):
    return sim.start(sim.scenario(duration_s=2000.0, **changes), rate_rps=0.002)


def lost_node(fleet, pod):
    node = fleet.cluster.nodes[pod.node]
    fleet.injector.set_node_up(node, False)
    return node


def node_reasons(fleet):
    return [e.reason for e in fleet.cluster.events if e.entity.kind is EntityKind.NODE]


def test_a_lost_node_stays_in_the_endpoints_until_its_heartbeats_are_missed(sim):
    fleet = quiet(sim)
    pod = sim.pods(fleet, "store")[0]
    node = lost_node(fleet, pod)
    fleet.run_until(NODE_GRACE_S - 1.0)
    assert node.ready
    assert pod in fleet.cluster.endpoints("north", "store")
    fleet.run_until(NODE_GRACE_S + 2 * NODE_TICK_S)
    assert not node.ready
    assert pod not in fleet.cluster.endpoints("north", "store")
    assert node_reasons(fleet) == ["NodeNotReady"]


def test_pods_of_a_lost_node_are_evicted_after_five_minutes(sim):
    fleet = quiet(sim)
    pod = sim.pods(fleet, "store")[0]
    node = lost_node(fleet, pod)
    fleet.run_until(NODE_GRACE_S + EVICT_S - NODE_TICK_S)
    assert pod in sim.pods(fleet, "store")
    fleet.run_until(NODE_GRACE_S + EVICT_S + 30.0)
    assert pod not in sim.pods(fleet, "store")
    assert len(sim.pods(fleet, "store")) == 2
    assert all(p.ready and p.node != node.name for p in sim.pods(fleet, "store"))


def test_a_node_that_returns_in_time_is_never_reported(sim):
    fleet = quiet(sim)
    node = lost_node(fleet, sim.pods(fleet, "store")[0])
    fleet.run_until(30.0)
    fleet.injector.set_node_up(node, True)
    fleet.run_until(100.0)
    assert node_reasons(fleet) == []


def test_a_returned_node_is_ready_again(sim):
    fleet = quiet(sim)
    node = lost_node(fleet, sim.pods(fleet, "store")[0])
    fleet.run_until(100.0)
    fleet.injector.set_node_up(node, True)
    fleet.run_until(120.0)
    assert node.ready
    assert node_reasons(fleet) == ["NodeNotReady", "NodeReady"]


def test_errors_in_a_row_eject_a_pod_for_a_while_and_longer_each_time(sim):
    fleet = quiet(sim)
    pod = sim.pods(fleet, "store")[0]
    for turn in (1, 2):
        for _ in range(EJECT_ERRORS):
            fleet.cluster.call_result(pod, ok=False)
        began_s = fleet.kernel.now_s
        fleet.run_until(began_s + 11.0)
        assert pod not in fleet.cluster.endpoints("north", "store")
        assert pod.ejected_until_s - fleet.kernel.now_s == pytest.approx(turn * EJECT_S, abs=11.0)
        fleet.run_until(pod.ejected_until_s + 11.0)
        assert pod in fleet.cluster.endpoints("north", "store")


def test_one_success_forgives_the_errors_before(sim):
    fleet = quiet(sim)
    pod = sim.pods(fleet, "store")[0]
    for ok in [False] * (EJECT_ERRORS - 1) + [True, False]:
        fleet.cluster.call_result(pod, ok=ok)
    fleet.run_until(25.0)
    assert pod in fleet.cluster.endpoints("north", "store")


def test_at_most_half_of_the_pods_are_ejected(sim):
    fleet = quiet(sim)
    for pod in sim.pods(fleet, "store"):
        for _ in range(EJECT_ERRORS):
            fleet.cluster.call_result(pod, ok=False)
    fleet.run_until(11.0)
    assert len(fleet.cluster.endpoints("north", "store")) == 1


def scaled(sim, **changes):
    scenario = sim.with_service(sim.scenario(duration_s=2000.0), "store", **changes)
    return sim.start(scenario, rate_rps=0.002)


def burn(fleet, pods, cores, until_s):
    """Use CPU on pods, second by second."""
    while fleet.kernel.now_s < until_s:
        for pod in pods:
            pod.container.cpu_s += cores
        fleet.run_until(fleet.kernel.now_s + 1.0)


def test_the_autoscaler_adds_pods_when_cpu_is_short(sim):
    fleet = scaled(sim, hpa_cpu_ratio=0.5, replicas_max=4)
    burn(fleet, sim.pods(fleet, "store"), 0.2, 3 * HPA_TICK_S)  # 80 % of the limit
    assert fleet.cluster.deployments[("north", "store")].replicas == 4


def test_the_autoscaler_keeps_still_within_its_tolerance(sim):
    fleet = scaled(sim, hpa_cpu_ratio=0.5, replicas_max=4)
    burn(fleet, sim.pods(fleet, "store"), 0.25 * 0.54, 4 * HPA_TICK_S)
    assert fleet.cluster.deployments[("north", "store")].replicas == 2


def test_the_autoscaler_goes_down_only_after_five_quiet_minutes(sim):
    fleet = scaled(sim, hpa_cpu_ratio=0.5, replicas_max=4)
    deployment = fleet.cluster.deployments[("north", "store")]
    burn(fleet, sim.pods(fleet, "store"), 0.2, 3 * HPA_TICK_S)
    high_s = fleet.kernel.now_s
    fleet.run_until(high_s + HPA_DOWN_S - HPA_TICK_S)
    assert deployment.replicas == 4
    fleet.run_until(high_s + HPA_DOWN_S + 4 * HPA_TICK_S)
    assert deployment.replicas == 2


def test_a_floor_set_by_an_action_holds_against_the_autoscaler(sim):
    fleet = scaled(sim, hpa_cpu_ratio=0.5, replicas_max=4)
    deployment = fleet.cluster.deployments[("north", "store")]
    deployment.replicas_floor = 3
    fleet.cluster.reconcile(deployment)
    fleet.run_until(HPA_DOWN_S + 5 * HPA_TICK_S)
    assert len([p for p in deployment.pods if p.ready]) == 3


@pytest.mark.slow
def test_a_long_queue_scales_the_engine_pool(sim):
    scenario = sim.scenario(duration_s=60.0)
    scenario = replace(scenario, engine=replace(scenario.engine, hpa_queue=4.0))
    fleet = sim.start(scenario, rate_rps=20.0)
    fleet.run_until(16.0)
    assert fleet.cluster.deployments[("north", "llm")].replicas == 3


def test_a_hung_engine_is_restarted_by_its_watchdog(sim):
    fleet = sim.start(sim.scenario(duration_s=3.0), rate_rps=8.0)
    fleet.run_until(2.0)
    pod = sim.pods(fleet, "llm")[0]
    fleet.injector.set_hang(pod, True)
    # Somebody has to wait: users would give up and leave the engine idle.
    instance = pod.instance
    seen = pod.engine.iterations
    keep_busy(fleet, instance, until_s=WATCHDOG_S - 10.0)
    assert pod.restarts == 0
    assert pod.engine.iterations == seen  # no progress at all
    keep_busy(fleet, instance, until_s=WATCHDOG_S + 30.0)
    assert pod.restarts == 1
    assert pod.instance is not instance


def keep_busy(fleet, instance, *, until_s):
    k = 10**6 + int(fleet.kernel.now_s)
    while fleet.kernel.now_s < until_s:
        k += 1
        if instance.load == 0 and not instance.is_dead:
            instance.submit(
                Request(request_id=k, arrival_s=fleet.kernel.now_s, num_prompt_tokens=10,
                        num_output_tokens=10),
                lambda at_s: None, lambda at_s, reason: None,
            )  # fmt: skip
        fleet.run_until(fleet.kernel.now_s + 5.0)


def test_an_idle_engine_is_no_hung_engine(sim):
    fleet = quiet(sim)
    fleet.run_until(WATCHDOG_S + 100.0)
    assert all(p.restarts == 0 for p in sim.pods(fleet, "llm"))


def test_a_failing_pod_is_ejected_under_traffic(sim):
    fleet = sim.start(sim.scenario(duration_s=60.0), rate_rps=8.0)
    bad = sim.pods(fleet, "store")[0]
    bad.revision = Revision(revision_id="bad", error_ratio=1.0)
    fleet.run_until(15.0)
    assert bad not in fleet.cluster.endpoints("north", "store")
    before = fleet.users.ledger.failed
    fleet.run_until(25.0)
    assert fleet.users.ledger.failed == before
