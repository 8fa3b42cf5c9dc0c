"""A restart in the middle of an incident: the baseline is that of before, the case stays open."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import pytest

from ops.adapters.fakes import FakeDiagnoser
from ops.config import LoopConfig
from ops.controller.metrics_watch.history import remembered
from ops.pipeline import step
from ops.pipeline_state import LoopState
from ops.slo import Count, bad_ratios
from ops.state import DecisionKind, IncidentPhase
from tests.ops.conftest import SLO, TinyFleet, cause, result

CONFIG = LoopConfig()
NEVER = FakeDiagnoser([None])


def advance(state, fleet, steps, **what):
    kinds = []
    for _ in range(steps):
        state, decisions = step(state, fleet.advance(**what), diagnoser=NEVER, config=CONFIG)
        kinds += [d.kind for d in decisions]
    return state, kinds


@pytest.fixture
def broken(once):
    """The same fleet and loop, for a test to go on with."""
    fleet, state = once
    return deepcopy(fleet), state


@pytest.fixture(scope="module")
def once():
    """A fleet with some calm and three minutes of trouble, and the loop that saw it."""
    fleet = TinyFleet()
    state, _ = advance(LoopState(), fleet, 120)
    sure = FakeDiagnoser([result(cause("pod:east/east-engine-0"))])
    for _ in range(36):
        state, _ = step(state, fleet.advance(slow={"east": 0.6}), diagnoser=sure, config=CONFIG)
    assert [i.phase for i in state.incidents] == [IncidentPhase.DIAGNOSED]
    return fleet, state


def restarted(fleet, cases):
    state = LoopState(cases=tuple(cases), num_incidents=len(cases))
    return remembered(state, fleet.snapshot().frame, slos=(SLO,), config=CONFIG.detect)


def test_the_trouble_is_not_learnt_as_usual(broken):
    fleet, before = broken
    after = restarted(fleet, before.cases)
    east = after.meter.keys.index(("east", "fast"))
    assert bad_ratios(after.watch.sums)[east] == pytest.approx(0.0, abs=0.01)
    naive = restarted(fleet, ())
    assert bad_ratios(naive.watch.sums)[east] > 0.04  # what would be learnt without the case


def test_an_open_incident_goes_on_and_is_not_opened_twice(broken):
    fleet, before = broken
    state = restarted(fleet, before.cases)
    state, kinds = advance(state, fleet, 24, slow={"east": 0.6})
    assert DecisionKind.OPEN not in kinds
    assert [c.incident.phase for c in state.cases] == [IncidentPhase.DIAGNOSED]


def test_it_resolves_when_users_are_well(broken):
    fleet, before = broken
    state, kinds = advance(restarted(fleet, before.cases), fleet, 60)
    assert [k for k in kinds if k in (DecisionKind.MITIGATED, DecisionKind.RESOLVE)] == [
        DecisionKind.MITIGATED,
        DecisionKind.RESOLVE,
    ]
    assert not state.cases[0].open


def test_a_second_region_is_found_against_its_own_past(broken):
    fleet, before = broken
    state, _ = advance(restarted(fleet, before.cases), fleet, 40, slow={"east": 0.6, "west": 0.6})
    assert any(("west", "fast") in case.keys for case in state.cases)


def test_without_any_history_the_cases_are_kept(broken):
    fleet, before = broken
    empty = replace(
        fleet.snapshot().frame,
        times_s=fleet.snapshot().frame.times_s[:0],
        values=fleet.snapshot().frame.values[:0],
    )
    state = remembered(LoopState(cases=before.cases), empty, slos=(SLO,), config=CONFIG.detect)
    assert state.cases == before.cases
    assert not len(state.meter.times_s)


def test_new_incidents_get_numbers_of_their_own(broken):
    fleet, before = broken
    state = restarted(fleet, before.cases)
    assert state.num_incidents == 1
    assert state.meter.cumulative[-1, 0, Count.FINISHED] > 0
