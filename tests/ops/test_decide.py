"""What is proposed against which cause."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ops.capacity import engine_loads, instances_to_add
from ops.config import ActConfig, LoopConfig
from ops.decide import PLANS, propose
from ops.state import ActionKind, ActionRecord, Incident, IncidentPhase, PodPhase
from ops.topology import discover
from rca.state import ChangeEvent, ChangeKind, EntityKind, Evidence, Symptom
from rca.state import ResourceClass as Class

SYMPTOM = Symptom(
    region="east", slo_class="fast", began_at_s=200.0, detected_at_s=210.0, bad_ratio=0.5,
    reason="latency",
)  # fmt: skip
INCIDENT = Incident(
    incident_id="inc-0001", phase=IncidentPhase.DIAGNOSED, symptom=SYMPTOM, began_at_s=200.0,
    detected_at_s=210.0,
)  # fmt: skip
DEPLOY = ChangeEvent(
    at_s=150.0, kind=ChangeKind.DEPLOY, region="east", service="door", revision_from="r0",
    revision_to="r1",
)  # fmt: skip


@pytest.fixture
def ask(fleet, make_cause):
    fleet.engine_share["west"] = 0.4  # room for the other region's users
    for _ in range(60):
        fleet.advance()

    def go(entity, resource, *, incident=INCIDENT, suffering=("east",), **what):
        alternatives = propose(
            make_cause(entity, resource, **what),
            incident,
            fleet.snapshot(),
            regions_suffering=frozenset(suffering),
            config=LoopConfig(),
        )
        return [tuple(action.kind for action in actions) for actions in alternatives]

    go.fleet = fleet
    return go


RESTART, REPLACE = ActionKind.RESTART_POD, ActionKind.REPLACE_POD
DRAIN, SHIFT = ActionKind.CORDON_DRAIN_NODE, ActionKind.SHIFT_TRAFFIC
SCALE, ROLLBACK = ActionKind.SCALE_OUT, ActionKind.ROLLBACK


@pytest.mark.parametrize(
    ("entity", "resource", "expected"),
    [
        ("pod:east/east-door-0", Class.MEMORY, [(RESTART,), (SCALE,)]),
        ("pod:east/east-engine-0", Class.MEMORY, [(SCALE,), (RESTART,)]),
        ("pod:east/east-engine-0", Class.GPU_DEVICE, [(REPLACE,), (DRAIN,), (SCALE,)]),
        ("pod:east/east-engine-0", Class.GPU_CLOCK, [(REPLACE,), (DRAIN,), (SCALE,)]),
        ("pod:east/east-engine-0", Class.GPU_MEMORY, [(RESTART,), (SCALE,)]),
        ("pod:east/east-door-0", Class.LOSS, [(SCALE,)]),
        ("node:east/east-n0", Class.CPU, [(DRAIN,)]),
        ("service:east/door", Class.LOAD, [(SCALE,)]),
        ("workload:east", Class.LOAD, [(SCALE,)]),
    ],
)
def test_the_plan_of_a_region_without_help(ask, entity, resource, expected):
    # Both regions suffer, so that traffic has nowhere to go.
    assert ask(entity, resource, suffering=("east", "west")) == expected


@pytest.mark.parametrize(
    "entity", ["link:east/door->engine", "registry:east", "workload:east", "node:east/east-n0"]
)
def test_a_healthy_region_takes_traffic_over(ask, entity):
    kinds = [kind for kinds in ask(entity, Class.NETWORK) for kind in kinds]
    assert SHIFT in kinds


def test_traffic_never_goes_to_a_region_that_suffers_or_lacks_a_service(ask):
    assert ask("registry:east", Class.START_UP, suffering=("east", "west")) == []
    west = ask.fleet.services["west", "door"]
    ask.fleet.services["west", "door"] = replace(west, ready_replicas=0)
    assert ask("registry:east", Class.START_UP) == []


def test_telemetry_is_never_acted_on(ask):
    assert PLANS[EntityKind.TELEMETRY] == ()
    assert ask("telemetry:east/mesh", Class.TELEMETRY) == []


def test_every_kind_of_entity_has_a_plan():
    assert set(PLANS) == set(EntityKind)


def test_an_unsure_cause_is_not_acted_on(ask):
    assert ask("pod:east/east-door-0", Class.MEMORY, confidence=0.49) == []


def test_a_change_before_the_onset_is_rolled_back(ask):
    ask.fleet.changes = (DEPLOY,)
    assert ask("service:east/door", Class.CODE)[0] == (ROLLBACK,)


@pytest.mark.parametrize(
    "change",
    [
        replace(DEPLOY, at_s=230.0),
        replace(DEPLOY, at_s=-800.0),
        replace(DEPLOY, service="engine"),
        replace(DEPLOY, region="west"),
        replace(DEPLOY, kind=ChangeKind.SCALE),
        replace(DEPLOY, revision_from="r1", revision_to="r2"),
    ],
    ids=["after", "long-before", "other-service", "other-region", "scale", "undone-already"],
)
def test_other_changes_are_left_alone(ask, change):
    ask.fleet.changes = (change,)
    assert (ROLLBACK,) not in ask("service:east/door", Class.CODE)


def test_an_exhausted_resource_needs_the_change_as_evidence(ask):
    ask.fleet.changes = (DEPLOY,)
    assert ask("service:east/door", Class.CPU)[0] != (ROLLBACK,)
    told = (Evidence(channel="change", text="deployed 50 s before", strength=0.4),)
    assert ask("service:east/door", Class.CPU, evidence=told)[0] == (ROLLBACK,)


def test_a_pool_accused_at_its_link_finds_the_callers_change(ask):
    ask.fleet.changes = (DEPLOY,)
    assert ask("link:east/door->engine", Class.POOL)[0] == (ROLLBACK,)


def test_what_kubernetes_restarts_already_is_not_restarted_again(ask):
    pod = ask.fleet.pods["east-door-0"]
    ask.fleet.pods["east-door-0"] = replace(pod, ready=False, restarts=3)
    assert (RESTART,) not in ask("pod:east/east-door-0", Class.MEMORY)
    ask.fleet.pods["east-door-0"] = replace(pod, phase=PodPhase.TERMINATING)
    assert (REPLACE,) not in ask("pod:east/east-door-0", Class.GPU_DEVICE)


@pytest.mark.parametrize("resource", [Class.GPU_CLOCK, Class.MEMORY, Class.GPU_MEMORY])
def test_a_pod_that_nothing_makes_again_is_neither_deleted_nor_drained(ask, resource):
    pod = ask.fleet.pods["east-engine-0"]
    ask.fleet.pods["east-engine-0"] = replace(pod, owner="")
    kinds = {kind for kinds in ask("pod:east/east-engine-0", resource) for kind in kinds}
    assert not kinds & {RESTART, REPLACE, DRAIN}
    assert (DRAIN,) not in ask(f"node:east/{pod.node}", Class.CPU)


def test_a_node_without_a_stand_in_is_not_drained(ask):
    for name in ("east-n1", "east-n2"):
        ask.fleet.nodes[name] = replace(ask.fleet.nodes[name], ready=False)
    assert ask("node:east/east-n0", Class.CPU, suffering=("east", "west")) == []


def test_a_service_at_its_bound_is_not_scaled(ask):
    door = ask.fleet.services["east", "door"]
    ask.fleet.services["east", "door"] = replace(door, replicas_max=2)
    assert (SCALE,) not in ask("service:east/door", Class.LOAD)


def test_what_was_tried_is_not_proposed_again(ask, fleet, make_cause):
    cause = make_cause("pod:east/east-door-0", Class.MEMORY)
    first = propose(cause, INCIDENT, fleet.snapshot(), regions_suffering=frozenset({"east"}),
                    config=LoopConfig())  # fmt: skip
    tried = replace(INCIDENT, actions=(ActionRecord(action=first[0][0], decided_at_s=220.0),))
    assert (RESTART,) not in ask("pod:east/east-door-0", Class.MEMORY, incident=tried)


def test_admission_is_limited_only_when_the_queue_cannot_be_served_in_time(ask):
    limit = (ActionKind.LIMIT_ADMISSION,)
    for _ in range(12):
        ask.fleet.advance(waiting=1.0)
    assert limit not in ask("workload:east", Class.LOAD, suffering=("east", "west"))
    for i in range(12):
        ask.fleet.advance(waiting=20.0 * i)
    assert limit in ask("workload:east", Class.LOAD, suffering=("east", "west"))


def test_every_proposal_can_be_explained_and_undone(ask, fleet, make_cause):
    fleet.changes = (DEPLOY,)
    for entity in (
        "pod:east/east-door-0",
        "node:east/east-n0",
        "service:east/door",
        "workload:east",
    ):
        for actions in propose(
            make_cause(entity, Class.CODE),
            INCIDENT,
            fleet.snapshot(),
            regions_suffering=frozenset({"east"}),
            config=LoopConfig(),
        ):
            for action in actions:
                assert action.reason and action.undo and action.command.startswith("kubectl ")


def test_scale_out_is_sized_by_the_forecast(fleet):
    for _ in range(60):
        snapshot = fleet.advance()
    load = engine_loads(snapshot, ActConfig())[0]
    assert load.served_rps == pytest.approx(4.0)  # 20 requests per 5 s on two instances
    # 2 requests/s at 20 sequences held on average, 40 at most: Little's law.
    assert load.capacity_rps == pytest.approx(2.0 * 40 / 20, rel=0.02)
    assert load.served_rps < load.fits_rps(2) < 2 * load.capacity_rps  # in time, not at the brink
    assert instances_to_add(load, ActConfig()) == 1
    rising = replace(load, arriving_rps=np.linspace(4.0, 9.0, 60))
    assert instances_to_add(rising, ActConfig()) == 2
    assert instances_to_add(replace(rising, instances_max=3), ActConfig()) == 1
    assert instances_to_add(replace(rising, instances_max=2), ActConfig()) == 0
    unknown = replace(load, arriving_rps=np.full(60, np.nan), capacity_rps=float("nan"))
    assert instances_to_add(unknown, ActConfig()) == 1


def test_what_starts_already_is_capacity_on_the_way(fleet):
    for _ in range(60):
        fleet.advance()
    pod = fleet.pods["east-engine-0"]
    fleet.pods["east-engine-0"] = replace(pod, phase=PodPhase.PENDING, ready=False)
    load = engine_loads(fleet.snapshot(), ActConfig())[0]
    assert load.instances_coming == 1
    assert instances_to_add(load, ActConfig()) == 0
    fleet.nodes["east-n0"] = replace(fleet.nodes["east-n0"], ready=False)
    load = engine_loads(fleet.snapshot(), ActConfig())[0]
    assert load.instances_coming == 0  # nothing starts on a lost node
    assert instances_to_add(load, ActConfig()) == 1


def test_demand_is_what_users_asked_for_before_the_trouble(fleet):
    for _ in range(60):
        fleet.advance()
    fleet.engine_share["east"] = 0.1
    for _ in range(12):
        fleet.advance()
    load = engine_loads(fleet.snapshot(), ActConfig(), onset_s=300.0)[0]
    assert load.served_rps == pytest.approx(0.4)
    assert load.demand_rps == pytest.approx(4.0)


def test_room_is_made_first_where_only_all_users_elsewhere_would_help(ask):
    ask.fleet.engine_share["west"] = 0.8
    for _ in range(60):
        ask.fleet.advance()
    kinds = ask("link:east/door->engine", Class.NETWORK)
    assert kinds[0] == (SCALE,)
    # What comes back by itself is back before new instances are.
    assert (SCALE,) not in ask("link:east/door->engine", Class.LOSS)


def test_topology_knows_pods_that_are_gone(fleet):
    snapshot = fleet.advance()
    gone = [p for p in snapshot.pods if p.name != "east-engine-0"]
    topology = discover(snapshot.frame, gone)
    assert topology.pods["east-engine-0"][:2] == ("east", "engine")
    assert topology.pods["east-door-0"] == ("east", "door", "east-n0")
    assert topology.entries == (("east", "door"), ("west", "door"))


def test_a_command_names_the_count_of_the_whole_deployment(fleet, make_cause):
    """One Deployment over two regions: the count of one region would take pods from the other."""
    for key, service in fleet.services.items():
        fleet.services[key] = replace(service, replicas_elsewhere=4)
    for _ in range(60):
        fleet.advance()
    (scale,) = (
        action
        for actions in propose(
            make_cause("service:east/door", Class.LOAD), INCIDENT, fleet.snapshot(),
            regions_suffering=frozenset({"east", "west"}), config=LoopConfig(),
        )
        for action in actions
    )  # fmt: skip
    own = fleet.services["east", "door"].replicas
    assert scale.kind is SCALE
    assert f"--replicas={own + 4 + int(scale.params['add'])}" in scale.command
    assert scale.undo == f"scale door back to {own + 4}"
