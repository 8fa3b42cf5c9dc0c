"""A diagnoser that works elsewhere: None means ask again, and costs no retry."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ops.adapters.fakes import FakeDiagnoser
from ops.config import LoopConfig
from ops.pipeline import LoopState, step
from ops.state import DecisionKind, IncidentPhase


@pytest.fixture
def drive(fleet):
    """Run steps with one diagnoser; the state and all decisions are kept."""

    class Drive:
        state, told = LoopState(), []

        def __call__(self, num_steps, diagnoser, **what):
            for _ in range(num_steps):
                self.state, decisions = step(
                    self.state, fleet.advance(**what), diagnoser=diagnoser, config=LoopConfig()
                )
                self.told = [*self.told, *decisions]
            return [d.kind for d in self.told]

    return Drive()


@pytest.fixture
def sure(make_result, make_cause):
    return make_result(make_cause("pod:east/east-engine-0"))


NEVER = [None]


def test_an_open_incident_waits_for_its_diagnosis_and_takes_it_at_once(drive, sure):
    drive(40, FakeDiagnoser(NEVER))
    late = FakeDiagnoser([None, None, None, sure])
    drive(8, late, slow={"east": 0.6})
    assert len(late.asked) == 4  # at every step until the answer is there
    incident = drive.state.incidents[0]
    assert incident.phase is IncidentPhase.DIAGNOSED
    opened = next(d for d in drive.told if d.kind is DecisionKind.OPEN)
    assert incident.diagnosed_at_s - opened.at_s == 15.0


def test_a_missing_diagnosis_is_said_once_at_the_deadline_and_still_taken_later(drive, sure):
    drive(40, FakeDiagnoser(NEVER))
    kinds = drive(120, FakeDiagnoser(NEVER), slow={"east": 0.6})
    assert kinds.count(DecisionKind.ABSTAIN) == 1
    said = next(d for d in drive.told if d.kind is DecisionKind.ABSTAIN)
    assert "no diagnosis is there" in said.reason
    drive(1, FakeDiagnoser([sure]), slow={"east": 0.6})
    assert drive.state.incidents[0].phase is IncidentPhase.DIAGNOSED


def test_a_second_region_is_not_lost_when_nobody_answers(drive, sure):
    drive(40, FakeDiagnoser(NEVER))
    drive(10, FakeDiagnoser([sure]), slow={"east": 0.6})
    drive(30, FakeDiagnoser([sure]), slow={"east": 0.6})
    before = drive.state.num_incidents
    drive(6, FakeDiagnoser(NEVER), slow={"east": 0.6, "west": 0.6})
    assert drive.state.num_incidents == before  # still waiting
    drive(12, FakeDiagnoser(NEVER), slow={"east": 0.6, "west": 0.6})
    assert any(("west", "fast") in case.keys for case in drive.state.cases)


def test_a_gap_is_told_without_an_answer(drive, fleet):
    drive(40, FakeDiagnoser(NEVER))
    fleet.jobs_silent = True
    kinds = drive(14, FakeDiagnoser(NEVER))
    assert DecisionKind.ABSTAIN in kinds
    assert DecisionKind.OPEN not in kinds


def test_a_cold_loop_with_a_diagnosed_case_takes_a_step(drive, sure):
    """After a restart the cases are there before the first sample is."""
    drive(40, FakeDiagnoser(NEVER))
    drive(8, FakeDiagnoser([sure]), slow={"east": 0.6})
    case = replace(drive.state.cases[0], next_jump_at_s=0.0)
    drive.state = LoopState(cases=(case,), num_incidents=1)
    drive(1, FakeDiagnoser(NEVER))
    assert drive.state.cases[0].open


def test_old_samples_call_nobody_well(drive, fleet, sure):
    """A Prometheus that went away while an incident was open must not resolve it."""
    drive(40, FakeDiagnoser(NEVER))
    drive(8, FakeDiagnoser([sure]), slow={"east": 0.6})
    drive(7, FakeDiagnoser([sure]))  # well again, for a moment
    blind = fleet.snapshot()
    for _ in range(100):
        fleet.now_s += fleet.step_s
        drive.state, decisions = step(
            drive.state,
            replace(blind, now_s=fleet.now_s),
            diagnoser=FakeDiagnoser([sure]),
            config=LoopConfig(),
        )
        assert DecisionKind.RESOLVE not in {d.kind for d in decisions}
    assert drive.state.cases[0].open


def test_an_answer_under_way_at_the_deadline_is_no_silence(drive, make_result):
    """Each question takes a step; the abstention is that of the answer, with its own reason."""
    drive(40, FakeDiagnoser(NEVER))
    slow = FakeDiagnoser([None, make_result(abstained=True)] * 20)
    drive(16, slow, slow={"east": 0.6})
    said = [d.reason for d in drive.told if d.kind is DecisionKind.ABSTAIN]
    assert said == ["the cause cannot be told: told by the test"]
