"""One step after the other: detect, diagnose, decide, guard, act, judge, close."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ops.adapters.fakes import FakeDiagnoser, MemoryJournal
from ops.config import GuardConfig, LoopConfig
from ops.pipeline import LoopState, report_blocked, step
from ops.slo import bads
from ops.state import ActionKind, DecisionKind, IncidentPhase, Verdict
from rca.state import Entity, EntityKind, ResourceClass

HEALTHY_STEPS = 40
POD = "pod:east/east-door-0"


@pytest.fixture
def memory_leak(make_cause, make_result):
    return make_result(make_cause(POD, ResourceClass.MEMORY))


class Loop:
    """Runs the loop over a fleet and obeys it in the simplest way."""

    def __init__(self, fleet, *results, config=None):
        self.fleet, self.state = fleet, LoopState()
        self.diagnoser = FakeDiagnoser(results)
        self.config = config or LoopConfig()
        self.decisions = []

    def run(self, num_steps, **what):
        for _ in range(num_steps):
            snapshot = self.fleet.advance(**what)
            self.state, decisions = step(
                self.state, snapshot, diagnoser=self.diagnoser, config=self.config
            )
            self.decisions += decisions
        return self

    def kinds(self):
        return [decision.kind for decision in self.decisions]

    def of(self, kind):
        return [decision for decision in self.decisions if decision.kind is kind]


def test_a_healthy_fleet_decides_nothing(fleet, make_result):
    loop = Loop(fleet, make_result()).run(120)
    assert loop.decisions == []
    assert loop.diagnoser.asked == []


def test_an_incident_runs_from_symptom_to_resolution(fleet, memory_leak):
    loop = Loop(fleet, memory_leak).run(HEALTHY_STEPS)
    loop.run(8, slow={"east": 0.6})
    assert loop.kinds() == [DecisionKind.OPEN, DecisionKind.DIAGNOSE, DecisionKind.ACT]
    act = loop.of(DecisionKind.ACT)[0]
    assert (act.action.kind, str(act.action.target)) == (ActionKind.RESTART_POD, POD)
    assert act.action.undo and act.action.command and act.action.reason
    fleet.restart("east-door-0")
    loop.run(48)
    assert loop.kinds()[3:] == [
        DecisionKind.OUTCOME,
        DecisionKind.MITIGATED,
        DecisionKind.RESOLVE,
    ]
    assert loop.state.incidents[0].actions[0].verdict is Verdict.EFFECTIVE


def test_detection_needs_few_steps_and_finds_the_onset(fleet, memory_leak):
    loop = Loop(fleet, memory_leak).run(HEALTHY_STEPS)
    onset_s = fleet.now_s
    loop.run(6, slow={"east": 0.6})
    incident = loop.state.incidents[0]
    assert incident.detected_at_s - onset_s <= 20.0
    assert abs(incident.began_at_s - onset_s) <= 5.0
    assert incident.symptom.reason == "latency"
    assert incident.symptom.region == "east"


def test_the_same_input_gives_the_same_output_and_stays_unchanged(fleet, memory_leak):
    loop = Loop(fleet, memory_leak).run(HEALTHY_STEPS).run(3, slow={"east": 0.6})
    snapshot = fleet.advance(slow={"east": 0.6})
    values, cases = snapshot.frame.values.copy(), loop.state.cases
    meter = loop.state.meter.cumulative.copy()
    first = step(loop.state, snapshot, diagnoser=FakeDiagnoser([memory_leak]), config=loop.config)
    second = step(loop.state, snapshot, diagnoser=FakeDiagnoser([memory_leak]), config=loop.config)
    assert first[1] == second[1]
    assert first[0].cases == second[0].cases
    np.testing.assert_array_equal(first[0].meter.cumulative, second[0].meter.cumulative)
    np.testing.assert_array_equal(snapshot.frame.values, values)
    np.testing.assert_array_equal(loop.state.meter.cumulative, meter)
    assert loop.state.cases == cases


def test_both_regions_suffering_at_once_are_one_incident(fleet, memory_leak):
    loop = Loop(fleet, memory_leak).run(HEALTHY_STEPS).run(6, slow={"east": 0.6, "west": 0.5})
    assert len(loop.of(DecisionKind.OPEN)) == 1
    assert len(loop.state.cases[0].keys) == 2


def test_a_second_cause_in_another_region_opens_its_own_incident(
    fleet, memory_leak, make_cause, make_result
):
    other = make_result(make_cause("pod:west/west-engine-0", ResourceClass.GPU_CLOCK))
    loop = Loop(fleet, memory_leak).run(HEALTHY_STEPS)
    loop.run(25, slow={"east": 0.6})
    loop.diagnoser = FakeDiagnoser([other])
    loop.run(10, slow={"east": 0.6, "west": 0.7})
    opened = loop.of(DecisionKind.OPEN)
    assert [d.incident.symptom.region for d in opened] == ["east", "west"]


def test_a_second_cause_in_the_same_region_is_seen_in_the_jump(
    fleet, memory_leak, make_cause, make_result
):
    other = make_result(make_cause("pod:east/east-engine-0", ResourceClass.GPU_CLOCK))
    loop = Loop(fleet, memory_leak).run(HEALTHY_STEPS)
    loop.run(30, slow={"east": 0.3})
    loop.diagnoser = FakeDiagnoser([other])
    loop.run(10, slow={"east": 0.95})
    assert len(loop.of(DecisionKind.OPEN)) == 2


def test_an_unsure_diagnosis_is_repeated_and_ends_in_an_abstention(fleet, make_cause, make_result):
    unsure = make_result(make_cause(POD, confidence=0.2))
    loop = Loop(fleet, unsure).run(HEALTHY_STEPS).run(16, slow={"east": 0.6})
    assert loop.kinds() == [DecisionKind.OPEN, DecisionKind.ABSTAIN]
    assert len(loop.diagnoser.asked) >= 4
    waited_s = loop.decisions[1].at_s - loop.decisions[0].at_s
    assert 45.0 <= waited_s <= 60.0


def test_stale_scrapes_forbid_the_action(fleet, memory_leak):
    loop = Loop(fleet, memory_leak).run(HEALTHY_STEPS)
    fleet.jobs_silent = True
    loop.run(8, slow={"east": 0.6})
    assert DecisionKind.ACT not in loop.kinds()
    assert "no good scrape of job mesh in east" in loop.of(DecisionKind.REFUSE)[0].reason


def test_a_dry_run_says_what_it_would_do(fleet, memory_leak):
    config = LoopConfig(guard=GuardConfig(dry_run=True))
    loop = Loop(fleet, memory_leak, config=config).run(HEALTHY_STEPS).run(20, slow={"east": 0.6})
    assert DecisionKind.ACT not in loop.kinds()
    refusals = loop.of(DecisionKind.REFUSE)
    assert refusals[0].action.kind is ActionKind.RESTART_POD
    assert {d.reason for d in refusals} == {"dry run"}
    assert len(refusals) == len({d.action.kind for d in refusals}), "each is said once"


def test_a_dry_run_is_told_anew_after_an_outage_of_the_data(fleet, memory_leak):
    """Else the last word on an action would be that nobody could judge it."""
    config = LoopConfig(guard=GuardConfig(dry_run=True))
    loop = Loop(fleet, memory_leak, config=config).run(HEALTHY_STEPS).run(8, slow={"east": 0.6})
    fleet.jobs_silent = True
    loop.run(20, slow={"east": 0.6})
    fleet.jobs_silent = False
    loop.run(20, slow={"east": 0.6})
    said = [
        decision.reason.partition(":")[0]
        for decision in loop.of(DecisionKind.REFUSE)
        if decision.action.kind is ActionKind.RESTART_POD
    ]
    assert said == ["dry run", "no fresh data", "dry run"]


def test_an_incident_from_before_a_restart_waits_for_metrics(fleet, memory_leak):
    config = LoopConfig(guard=GuardConfig(dry_run=True))
    loop = Loop(fleet, memory_leak, config=config).run(HEALTHY_STEPS).run(8, slow={"east": 0.6})
    known = replace(loop.state.cases[0], next_action_at_s=0.0, refused=())
    snapshot = fleet.advance(slow={"east": 0.6})
    frame = replace(snapshot.frame, times_s=np.empty(0), values=snapshot.frame.values[:0])
    _, decisions = step(
        LoopState(cases=(known,)), replace(snapshot, frame=frame), diagnoser=loop.diagnoser,
        config=config,
    )  # fmt: skip
    assert {d.reason for d in decisions} == {"no fresh data: no metrics were scraped yet"}


def test_where_nothing_makes_a_new_pod_the_person_who_must_look_is_told(
    fleet, make_cause, make_result
):
    engine = make_result(make_cause("pod:east/east-engine-0", ResourceClass.NETWORK))
    fleet.pods = {name: replace(pod, owner="") for name, pod in fleet.pods.items()}
    loop = Loop(fleet, engine).run(HEALTHY_STEPS).run(8, slow={"east": 0.6, "west": 0.6})
    assert {d.reason for d in loop.of(DecisionKind.REFUSE)} == {
        "no action fits this cause: east-engine-0 has no controller, deleted it would be lost for "
        "good; a person must look"
    }


def test_an_action_without_effect_leads_to_the_next_one(fleet, memory_leak):
    loop = Loop(fleet, memory_leak).run(HEALTHY_STEPS).run(6, slow={"east": 0.6})
    fleet.restart("east-door-0")
    loop.run(20, slow={"east": 0.6})
    outcome = loop.of(DecisionKind.OUTCOME)[0]
    assert outcome.details["verdict"] is Verdict.NO_EFFECT
    kinds = [d.action.kind for d in loop.of(DecisionKind.ACT)]
    assert kinds[:2] == [ActionKind.RESTART_POD, ActionKind.SCALE_OUT]


def test_what_made_it_worse_is_undone_and_the_loop_stands_down(fleet, make_cause, make_result):
    node = make_result(make_cause("node:east/east-n0", ResourceClass.CPU))
    loop = Loop(fleet, node).run(HEALTHY_STEPS).run(6, slow={"east": 0.4})
    assert loop.of(DecisionKind.ACT)[0].action.kind is ActionKind.CORDON_DRAIN_NODE
    fleet.nodes["east-n0"] = replace(fleet.nodes["east-n0"], unschedulable=True)
    loop.run(30, slow={"east": 0.95})
    assert loop.of(DecisionKind.OUTCOME)[0].details["verdict"] is Verdict.WORSE
    actions = [d.action for d in loop.of(DecisionKind.ACT)]
    assert [a.kind for a in actions] == [ActionKind.CORDON_DRAIN_NODE, ActionKind.UNDO]
    assert actions[1].params["action_id"] == actions[0].action_id
    assert loop.state.incidents[0].stand_down


def test_a_refusal_of_the_world_blocks_the_action(fleet, memory_leak):
    loop = Loop(fleet, memory_leak).run(HEALTHY_STEPS).run(6, slow={"east": 0.6})
    action_id = loop.of(DecisionKind.ACT)[0].action.action_id
    state, decisions = report_blocked(
        loop.state, action_id=action_id, reason="quota", now_s=fleet.now_s
    )
    assert state.incidents[0].actions[0].verdict is Verdict.BLOCKED
    assert decisions[0].reason == "Blocked: quota"
    with pytest.raises(ValueError, match="no incident"):
        report_blocked(state, action_id="nope", reason="", now_s=0.0)


def test_a_metric_gap_is_one_abstention_and_nobody_is_accused(fleet, make_result):
    loop = Loop(fleet, make_result(abstained=True)).run(HEALTHY_STEPS)
    fleet.jobs_silent = True
    loop.run(30)
    assert loop.kinds() == [DecisionKind.ABSTAIN, DecisionKind.ABSTAIN]
    assert loop.state.incidents == ()
    assert {d.details["entity"] for d in loop.decisions} == {
        Entity(EntityKind.TELEMETRY, region, "mesh") for region in fleet.regions
    }
    assert all(d.details["result"].abstained for d in loop.decisions)


def test_failures_are_told_from_slowness(fleet, memory_leak):
    loop = Loop(fleet, memory_leak).run(HEALTHY_STEPS).run(3, failed={"west": 0.8})
    assert loop.state.incidents[0].symptom.reason == "errors"
    assert loop.decisions[0].at_s - HEALTHY_STEPS * 5.0 <= 10.0


def test_silence_of_a_scraped_entry_is_a_symptom(fleet, memory_leak):
    loop = Loop(fleet, memory_leak).run(HEALTHY_STEPS)
    fleet.in_flight = 80.0
    loop.run(14, silent=("east",))
    assert loop.state.incidents[0].symptom.reason == "missing"


def test_an_incident_that_comes_back_is_the_same_one(fleet, memory_leak):
    loop = Loop(fleet, memory_leak).run(HEALTHY_STEPS).run(8, slow={"east": 0.6})
    fleet.restart("east-door-0")
    loop.run(25)
    assert loop.state.incidents[0].phase is IncidentPhase.MITIGATED
    loop.run(8, slow={"east": 0.6})
    assert len(loop.state.incidents) == 1
    assert loop.state.incidents[0].phase is IncidentPhase.DIAGNOSED


def test_the_journal_is_the_same_byte_for_byte(fleet, memory_leak):
    def journal():
        loop = Loop(type(fleet)(), memory_leak).run(HEALTHY_STEPS).run(12, slow={"east": 0.6})
        memory = MemoryJournal()
        for decision in loop.decisions:
            memory.append(decision)
        return memory.to_bytes()

    assert journal() == journal() != b""


def test_both_regions_are_one_incident_even_before_a_cause_is_named(fleet, make_cause, make_result):
    unsure = make_result(make_cause(POD, confidence=0.2))
    loop = Loop(fleet, unsure).run(HEALTHY_STEPS).run(8, slow={"east": 0.6, "west": 0.6})
    assert len(loop.of(DecisionKind.OPEN)) == 1
    assert len(loop.state.cases[0].keys) == 2


def test_another_cause_after_the_mitigation_is_another_incident(
    fleet, memory_leak, make_cause, make_result
):
    loop = Loop(fleet, memory_leak).run(HEALTHY_STEPS).run(8, slow={"east": 0.6})
    fleet.restart("east-door-0")
    loop.run(25)
    loop.diagnoser = FakeDiagnoser(
        [make_result(make_cause("node:east/east-n2", ResourceClass.CPU))]
    )
    loop.run(6, slow={"east": 0.6})
    assert len(loop.state.incidents) == 2


def test_users_who_were_sent_elsewhere_are_no_silence(fleet, memory_leak):
    loop = Loop(fleet, memory_leak).run(HEALTHY_STEPS)
    fleet.in_flight = 0.0
    loop.run(20, silent=("east",))
    assert loop.decisions == []


def test_a_long_incident_does_not_become_usual(fleet, make_result):
    loop = Loop(fleet, make_result(abstained=True)).run(HEALTHY_STEPS)
    loop.run(100, slow={"east": 0.6})
    assert bads(loop.state.watch.sums).tolist() == [0.0, 0.0]
    assert loop.state.incidents[0].phase is IncidentPhase.OPEN


def test_a_short_burst_is_no_symptom(fleet, memory_leak):
    loop = Loop(fleet, memory_leak).run(HEALTHY_STEPS)
    loop.run(2, slow={"east": 0.4}).run(20)
    assert loop.decisions == []


def test_after_an_effective_action_the_loop_waits(fleet, memory_leak):
    loop = Loop(fleet, memory_leak).run(HEALTHY_STEPS).run(8, slow={"east": 0.9})
    fleet.restart("east-door-0")
    loop.run(16, slow={"east": 0.15})
    assert loop.of(DecisionKind.OUTCOME)[0].details["verdict"] is Verdict.EFFECTIVE
    assert len(loop.of(DecisionKind.ACT)) == 1


def test_users_are_sent_to_new_room_once_all_of_it_is_ready(fleet, make_cause, make_result):
    link = make_result(make_cause("link:east/door->engine", ResourceClass.NETWORK))
    loop = Loop(fleet, link).run(HEALTHY_STEPS)
    loop.run(8, slow={"east": 0.6})
    (room,) = loop.of(DecisionKind.ACT)
    assert room.action.target == Entity(EntityKind.SERVICE, "west", "engine")
    west, add = fleet.services["west", "engine"], int(room.action.params["add"])
    assert add >= 2
    fleet.services["west", "engine"] = replace(west, replicas=2 + add, ready_replicas=1 + add)
    loop.run(8, slow={"east": 0.6})
    assert len(loop.of(DecisionKind.ACT)) == 1
    fleet.services["west", "engine"] = replace(west, replicas=2 + add, ready_replicas=2 + add)
    loop.run(2, slow={"east": 0.6})
    _, shift = loop.of(DecisionKind.ACT)
    assert shift.action.params == {"to_region": "west", "share": 1.0}
    assert loop.of(DecisionKind.OUTCOME) == []  # the room is judged by its users
    fleet.weights = {"east": {"east": 0.0, "west": 1.0}}
    loop.run(20)
    verdicts = {d.action.kind: d.details["verdict"] for d in loop.of(DecisionKind.OUTCOME)}
    assert verdicts == {
        ActionKind.SHIFT_TRAFFIC: Verdict.EFFECTIVE, ActionKind.SCALE_OUT: Verdict.EFFECTIVE,
    }  # fmt: skip


@pytest.fixture
def lost_region(make_cause, make_result):
    return make_result(make_cause("service:east/engine", ResourceClass.LOSS))


def shifted(fleet, result):
    """A loop that has moved traffic from east to west because east's engines are gone."""
    fleet.engine_share["west"] = 0.4  # room for the other region's users
    loop = Loop(fleet, result).run(HEALTHY_STEPS)
    east = fleet.services["east", "engine"]
    fleet.services["east", "engine"] = replace(east, ready_replicas=1)
    loop.run(8, slow={"east": 0.6})
    assert ActionKind.SHIFT_TRAFFIC in {d.action.kind for d in loop.of(DecisionKind.ACT)}
    return loop, east


def test_traffic_goes_back_once_the_region_is_whole(fleet, lost_region):
    loop, east = shifted(fleet, lost_region)
    loop.run(24)
    assert ActionKind.UNDO not in {d.action.kind for d in loop.of(DecisionKind.ACT)}
    fleet.services["east", "engine"] = east
    loop.run(6)
    undone = [d for d in loop.of(DecisionKind.ACT) if d.action.kind is ActionKind.UNDO]
    assert [d.reason for d in undone] == ["east is whole again"]


def test_a_shift_that_hurts_where_it_goes_is_taken_back(fleet, lost_region):
    loop, _ = shifted(fleet, lost_region)
    loop.run(12)
    loop.run(8, slow={"west": 0.7})
    undone = [d for d in loop.of(DecisionKind.ACT) if d.action.kind is ActionKind.UNDO]
    assert len(undone) == 1 and "west" in undone[0].reason
    assert len(loop.state.incidents) == 1


@pytest.mark.parametrize(("calm_steps", "num_asked"), [(0, 1), (40, 2)])
def test_what_a_shift_left_behind_is_its_price_for_a_while(
    fleet, lost_region, make_cause, make_result, calm_steps, num_asked
):
    loop, east = shifted(fleet, lost_region)
    loop.run(24)
    fleet.services["east", "engine"] = east
    loop.run(6)  # east is whole: its users go home
    assert ActionKind.UNDO in {d.action.kind for d in loop.of(DecisionKind.ACT)}
    loop.run(calm_steps)
    west = make_result(make_cause("pod:west/west-engine-0", ResourceClass.GPU_CLOCK))
    loop.diagnoser = FakeDiagnoser([west])
    loop.run(8, slow={"west": 0.7})
    assert len(loop.of(DecisionKind.OPEN)) == num_asked
