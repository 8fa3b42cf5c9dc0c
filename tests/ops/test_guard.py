"""What the guard refuses, and that it lets the rest pass."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ops.config import GuardConfig
from ops.guard import refusal
from ops.state import Action, ActionKind, ActionRecord, Incident, IncidentPhase, Verdict
from rca.state import Entity, Symptom

NOW_STEPS = 10


def action(kind=ActionKind.RESTART_POD, target="pod:east/east-door-0", **params):
    return Action(action_id="", kind=kind, target=Entity.parse(target), params=params)


def record(ago_s, *, now_s, verdict=Verdict.EFFECTIVE, **what):
    return ActionRecord(action=action(**what), decided_at_s=now_s - ago_s, verdict=verdict)


def incident(stand_down=""):
    symptom = Symptom(
        region="east", slo_class="fast", began_at_s=0.0, detected_at_s=0.0, bad_ratio=0.5,
        reason="latency",
    )  # fmt: skip
    return Incident(
        incident_id="inc-0001", phase=IncidentPhase.DIAGNOSED, symptom=symptom, began_at_s=0.0,
        detected_at_s=0.0, stand_down=stand_down,
    )  # fmt: skip


def ask(fleet, what=None, *, log=(), stand_down="", **config):
    return refusal(
        what or action(),
        incident(stand_down),
        fleet.snapshot(),
        log=log,
        config=GuardConfig(**config),
    )


@pytest.fixture
def ready_fleet(fleet):
    for _ in range(NOW_STEPS):
        fleet.advance()
    return fleet


def test_a_plain_restart_passes(ready_fleet):
    assert ask(ready_fleet) == ""


def test_dry_run_refuses_everything(ready_fleet):
    assert ask(ready_fleet, dry_run=True) == "dry run"
    assert ask(ready_fleet, action(ActionKind.UNDO), dry_run=True) == "dry run"


def test_a_loop_that_stands_down_only_takes_back(ready_fleet):
    assert "stands down" in ask(ready_fleet, stand_down="it got worse")
    assert ask(ready_fleet, action(ActionKind.UNDO), stand_down="it got worse") == ""


def test_nothing_is_done_before_the_first_scrape(fleet):
    assert "no metrics" in ask(fleet)


def test_old_metrics_refuse(ready_fleet):
    ready_fleet.now_s += 60.0
    assert "newest metrics are 60 s old" in ask(ready_fleet)


def test_a_silent_job_of_the_region_refuses_even_to_take_back(ready_fleet):
    ready_fleet.jobs_silent = True
    assert "no good scrape of job mesh in east" in ask(ready_fleet)
    assert "no good scrape" in ask(ready_fleet, action(ActionKind.UNDO))


def test_a_silent_job_elsewhere_does_not_matter(ready_fleet):
    snapshot = replace(
        ready_fleet.snapshot(), scrape_jobs={"west/mesh": 0.0, "east/mesh": ready_fleet.now_s}
    )
    late = refusal(action(), incident(), replace(snapshot, now_s=ready_fleet.now_s + 19), log=(),
                   config=GuardConfig(stale_after_s=30.0))  # fmt: skip
    assert late == ""
    shift = action(ActionKind.SHIFT_TRAFFIC, "workload:east", to_region="west", share=0.5)
    assert "in west" in refusal(shift, incident(), snapshot, log=(), config=GuardConfig())


def test_a_job_whose_time_is_unknown_was_never_collected(ready_fleet):
    snapshot = replace(ready_fleet.snapshot(), scrape_jobs={"east/gpu": float("nan")})
    assert refusal(action(), incident(), snapshot, log=(), config=GuardConfig()) == ""


def test_the_fleet_has_an_hourly_budget(ready_fleet):
    now_s = ready_fleet.now_s
    log = [record(600 + i, now_s=now_s, target=f"pod:east/p{i}") for i in range(3)]
    assert "3 actions in the last hour" in ask(ready_fleet, log=log, actions_max_per_hour=3)
    assert ask(ready_fleet, log=log, actions_max_per_hour=4) == ""


@pytest.mark.parametrize("ago_s", [3601.0, 1e6])
def test_the_budget_forgets_after_an_hour(ready_fleet, ago_s):
    log = [record(ago_s, now_s=ready_fleet.now_s)] * 5
    assert ask(ready_fleet, log=log, actions_max_per_hour=3) == ""


def test_blocked_actions_and_undos_cost_nothing(ready_fleet):
    now_s = ready_fleet.now_s
    log = [
        record(10, now_s=now_s, verdict=Verdict.BLOCKED),
        record(10, now_s=now_s, kind=ActionKind.UNDO),
    ]
    assert ask(ready_fleet, log=log, actions_max_per_hour=1) == ""


def test_one_target_has_its_own_budget_and_cool_down(ready_fleet):
    now_s = ready_fleet.now_s
    log = [record(ago_s, now_s=now_s) for ago_s in (500.0, 1000.0, 2000.0)]
    assert "3 actions on pod:east/east-door-0" in ask(ready_fleet, log=log)
    assert "cool-down 120 s" in ask(ready_fleet, log=[record(60.0, now_s=now_s)])
    assert ask(ready_fleet, log=[record(121.0, now_s=now_s)]) == ""


def test_few_actions_run_at_once(ready_fleet):
    now_s = ready_fleet.now_s
    log = [
        record(200, now_s=now_s, verdict=Verdict.PENDING, target=f"service:west/s{i}",
               kind=ActionKind.SCALE_OUT)
        for i in range(3)
    ]  # fmt: skip
    assert "3 actions are still in effect" in ask(ready_fleet, log=log)


def test_the_last_ready_instance_is_never_taken(ready_fleet):
    other = ready_fleet.pods["east-door-1"]
    ready_fleet.pods["east-door-1"] = replace(other, ready=False)
    assert "last ready instance of door in east" in ask(ready_fleet)


def test_an_instance_on_a_lost_node_does_not_count_as_ready(ready_fleet):
    node = ready_fleet.pods["east-door-1"].node
    ready_fleet.nodes[node] = replace(ready_fleet.nodes[node], ready=False)
    assert "last ready instance" in ask(ready_fleet)
    drain = action(ActionKind.CORDON_DRAIN_NODE, f"node:east/{node}")
    assert ask(ready_fleet, drain) == ""


def test_the_blast_radius_is_bounded(ready_fleet):
    drain = action(ActionKind.CORDON_DRAIN_NODE, "node:east/east-n0")
    assert ask(ready_fleet, drain) == ""
    assert "1 of 2 ready instances" in ask(ready_fleet, drain, blast_ratio_max=0.4)


def test_what_a_pending_action_takes_counts_too(ready_fleet):
    log = [record(10, now_s=ready_fleet.now_s, verdict=Verdict.PENDING,
                  target="pod:east/east-door-1")]  # fmt: skip
    assert "last ready instance" in ask(ready_fleet, log=log)


@pytest.mark.parametrize(
    "harmless",
    [
        action(ActionKind.SCALE_OUT, "service:east/door", add=1.0),
        action(ActionKind.SHIFT_TRAFFIC, "workload:east", to_region="west", share=0.5),
        action(ActionKind.ROLLBACK, "service:east/door", to_revision="r0"),
    ],
    ids=lambda a: a.kind,
)
def test_what_takes_no_instance_away_has_no_blast_radius(ready_fleet, harmless):
    for name, pod in ready_fleet.pods.items():
        ready_fleet.pods[name] = replace(pod, ready=False)
    assert ask(ready_fleet, harmless) == ""


def test_a_frozen_fleet_is_refused_first_whatever_the_action(fleet):
    for kind in ActionKind:
        assert ask(fleet, action(kind), frozen="release night") == "frozen: release night"
