"""Actions on the simulated fleet: delays, refusals, and the way back of each."""

from __future__ import annotations

import pytest

from ops.replay.actuate import API_DELAY_S, ROUTE_DELAY_S
from ops.replay.pods import Revision
from ops.state import Action, ActionKind
from rca.state import ChangeKind, Entity, EntityKind


def action(kind, target, action_id="a1", **params):
    return Action(action_id=action_id, kind=kind, target=target, params=params)


def undo(action_id="a1"):
    anything = Entity(EntityKind.SERVICE, "north", "x")
    return Action(
        action_id="u", kind=ActionKind.UNDO, target=anything, params={"action_id": action_id}
    )


def pod_entity(pod):
    return Entity(EntityKind.POD, pod.region, pod.name)


STORE = Entity(EntityKind.SERVICE, "north", "store")
LLM = Entity(EntityKind.SERVICE, "north", "llm")
WORKLOAD = Entity(EntityKind.WORKLOAD, "north")


@pytest.fixture
def fleet(sim):
    names = sim.Names(regions=("north", "south"))
    return sim.start(sim.scenario(names=names), rate_rps=0.01)


def test_a_restart_kills_the_process_after_the_apis_delay(sim, fleet):
    pod = sim.pods(fleet, "store")[0]
    assert fleet.apply(action(ActionKind.RESTART_POD, pod_entity(pod))) == ""
    fleet.run_until(API_DELAY_S - 0.1)
    assert pod.up
    fleet.run_until(API_DELAY_S + 0.1)
    assert not pod.up
    fleet.run_until(15.0)
    assert pod.ready
    assert pod.restarts == 1


def test_a_restart_of_a_pod_that_is_gone_is_refused(fleet):
    gone = Entity(EntityKind.POD, "north", "nobody")
    for kind in (ActionKind.RESTART_POD, ActionKind.REPLACE_POD):
        assert "gone" in fleet.apply(action(kind, gone))


def test_a_replaced_pod_drains_while_another_starts(sim, fleet):
    pod = sim.pods(fleet, "llm")[0]
    fleet.apply(action(ActionKind.REPLACE_POD, pod_entity(pod)))
    fleet.run_until(API_DELAY_S + 0.1)
    assert pod.quarantined
    assert len(sim.pods(fleet, "llm")) == 3
    fleet.run_until(60.0)
    assert pod not in sim.pods(fleet, "llm")
    assert sum(p.ready for p in sim.pods(fleet, "llm")) == 2


def test_a_drained_node_is_empty_and_takes_no_pods_until_undone(sim, fleet):
    node = fleet.cluster.nodes[sim.pods(fleet, "store")[0].node]
    entity = Entity(EntityKind.NODE, node.region, node.name)
    fleet.apply(action(ActionKind.CORDON_DRAIN_NODE, entity))
    fleet.run_until(60.0)
    assert not [p for p in fleet.cluster.pods() if p.node == node.name]
    assert all(
        sum(p.ready for p in d.pods) == d.replicas
        for (region, _), d in fleet.cluster.deployments.items() if region == "north"
    )  # fmt: skip
    assert fleet.apply(undo()) == ""
    fleet.run_until(70.0)
    assert not node.unschedulable


def test_draining_a_lost_node_does_not_wait_for_it(sim, fleet):
    node = fleet.cluster.nodes[sim.pods(fleet, "store")[0].node]
    fleet.injector.set_node_up(node, False)
    fleet.apply(action(ActionKind.CORDON_DRAIN_NODE, Entity(EntityKind.NODE, "north", node.name)))
    fleet.run_until(API_DELAY_S + 0.1)
    assert not [p for p in fleet.cluster.pods() if p.node == node.name]


def test_an_unknown_node_is_refused(fleet):
    unknown = Entity(EntityKind.NODE, "north", "nowhere")
    assert "unknown" in fleet.apply(action(ActionKind.CORDON_DRAIN_NODE, unknown))


def test_shifted_traffic_follows_after_its_delay_and_comes_back(fleet):
    shift = action(ActionKind.SHIFT_TRAFFIC, WORKLOAD, to_region="south", share=0.4)
    assert fleet.apply(shift) == ""
    fleet.run_until(ROUTE_DELAY_S - 0.1)
    assert fleet.users.weights["north"] == {"north": 1.0}
    fleet.run_until(ROUTE_DELAY_S + 0.1)
    assert fleet.users.weights["north"] == {"north": 0.6, "south": 0.4}
    assert fleet.users.weights["south"] == {"south": 1.0}
    fleet.apply(undo())
    fleet.run_until(20.0)
    assert fleet.users.weights["north"] == {"north": 1.0}


def test_shifts_end_in_any_order_and_leave_the_others_alone(sim):
    regions = ("north", "south", "west")
    fleet = sim.start(sim.scenario(names=sim.Names(regions=regions)), rate_rps=0.01)
    for name, to in (("a1", "south"), ("a2", "west")):
        fleet.apply(action(ActionKind.SHIFT_TRAFFIC, WORKLOAD, name, to_region=to, share=0.5))
    fleet.run_until(10.0)
    assert fleet.users.weights["north"] == {"north": 0.25, "south": 0.5, "west": 0.25}
    fleet.apply(undo("a1"))
    fleet.run_until(20.0)
    assert fleet.users.weights["north"] == {"north": 0.75, "west": 0.25}
    fleet.apply(undo("a2"))
    fleet.run_until(30.0)
    assert fleet.users.weights["north"] == {"north": 1.0}


def test_a_shift_taken_back_before_it_took_effect_never_does(fleet):
    fleet.apply(action(ActionKind.SHIFT_TRAFFIC, WORKLOAD, to_region="south", share=0.4))
    fleet.apply(undo())
    fleet.run_until(20.0)
    assert fleet.users.weights["north"] == {"north": 1.0}


def test_traffic_cannot_go_where_no_region_is(fleet):
    shift = action(ActionKind.SHIFT_TRAFFIC, WORKLOAD, to_region="moon", share=0.4)
    assert "moon" in fleet.apply(shift)


def test_scaling_out_is_bounded_and_undone(sim, fleet):
    assert fleet.apply(action(ActionKind.SCALE_OUT, LLM, add=5)) == ""
    fleet.run_until(60.0)
    assert sum(p.ready for p in sim.pods(fleet, "llm")) == 3  # the owner's maximum
    assert "maximum of 3" in fleet.apply(action(ActionKind.SCALE_OUT, LLM, "a2", add=1))
    fleet.apply(undo())
    fleet.run_until(120.0)
    assert len(sim.pods(fleet, "llm")) == 2


def test_scaling_what_has_no_deployment_is_refused(fleet):
    nobody = Entity(EntityKind.SERVICE, "north", "nobody")
    assert "no deployment" in fleet.apply(action(ActionKind.SCALE_OUT, nobody))


def test_an_admission_limit_holds_until_it_is_undone(fleet):
    fleet.apply(action(ActionKind.LIMIT_ADMISSION, WORKLOAD, ratio=0.5))
    fleet.run_until(API_DELAY_S + 0.1)
    assert fleet.graph.admitted_ratio == {"north": 0.5}
    fleet.apply(undo())
    fleet.run_until(10.0)
    assert fleet.graph.admitted_ratio == {}


def test_a_rollback_restores_the_earlier_revision_and_can_be_undone(sim, fleet):
    deployment = fleet.cluster.deployments[("north", "store")]
    good, bad = deployment.revision, Revision(revision_id="bad")
    assert "no earlier revision" in fleet.apply(action(ActionKind.ROLLBACK, STORE))
    fleet.cluster.roll_out(deployment, bad, ChangeKind.CONFIG, summary="")
    assert fleet.apply(action(ActionKind.ROLLBACK, STORE)) == ""
    fleet.run_until(API_DELAY_S + 0.1)
    assert deployment.revision is good
    assert all(p.revision is good for p in deployment.pods)
    assert fleet.cluster.changes[-1].kind is ChangeKind.CONFIG
    fleet.apply(undo())
    fleet.run_until(10.0)
    assert deployment.revision is bad


def test_a_rollback_that_somebody_was_faster_with_does_nothing(fleet):
    deployment = fleet.cluster.deployments[("north", "store")]
    good, bad = deployment.revision, Revision(revision_id="bad")
    fleet.cluster.roll_out(deployment, bad, ChangeKind.CONFIG, summary="")
    fleet.apply(action(ActionKind.ROLLBACK, STORE))
    fleet.cluster.roll_out(deployment, good, ChangeKind.CONFIG, summary="by hand")
    num = len(fleet.cluster.changes)
    fleet.run_until(10.0)
    assert len(fleet.cluster.changes) == num


def test_an_action_is_undone_once(fleet):
    fleet.apply(action(ActionKind.LIMIT_ADMISSION, WORKLOAD, ratio=0.5))
    assert fleet.apply(undo()) == ""
    assert fleet.apply(undo()) == "nothing to undo"


def test_every_kind_of_action_has_a_handler(fleet):
    assert set(fleet.actuator._handlers) == set(ActionKind)
