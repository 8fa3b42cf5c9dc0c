"""Alerts from outside: counted once each, on one incident."""

from __future__ import annotations

import pytest

from ops.adapters.fakes import FakeDiagnoser
from ops.config import LoopConfig
from ops.pipeline import LoopState, step
from ops.state import Alert, DecisionKind


def alerts(num, *, region="east", firing=True):
    return tuple(
        Alert(
            group_key="g",
            fingerprint=f"f{i}",
            starts_at_s=100.0,
            firing=firing,
            labels={"region": region, "alertname": "SloBurn"},
        )
        for i in range(num)
    )


@pytest.fixture
def run(fleet, make_result):
    state, told = LoopState(), []

    def go(num_steps, **what):
        nonlocal state
        for _ in range(num_steps):
            state, decisions = step(
                state,
                fleet.advance(**what),
                diagnoser=FakeDiagnoser([make_result(abstained=True)]),
                config=LoopConfig(),
            )
            told.extend(decisions)
        return state, told

    return go


def test_fifty_alerts_are_one_incident(fleet, run):
    run(30)
    fleet.alerts = alerts(50)
    state, told = run(3, slow={"east": 0.6})
    assert len(state.incidents) == 1
    assert state.incidents[0].alerts == 50
    assert [d.kind for d in told].count(DecisionKind.ALERT) == 1
    assert [d.kind for d in told].count(DecisionKind.OPEN) == 1


def test_a_repeated_notification_counts_once(fleet, run):
    run(30)
    fleet.alerts = alerts(5)
    run(2)
    fleet.alerts = alerts(7)
    state, _ = run(2)
    assert state.incidents[0].alerts == 7


def test_alerts_join_the_incident_of_their_region(fleet, run):
    run(40)
    run(6, slow={"east": 0.6})
    fleet.alerts = alerts(3)
    state, _ = run(1, slow={"east": 0.6})
    assert [i.alerts for i in state.incidents] == [3]


def test_an_alert_opens_an_incident_where_users_suffer_most(fleet, run):
    run(30)
    fleet.alerts = alerts(1, region="nowhere")
    state, told = run(1, slow={"west": 0.3})
    assert state.incidents[0].symptom.region == "west"
    assert state.incidents[0].symptom.reason == "alert"
    assert told[0].kind is DecisionKind.OPEN


def test_a_resolved_alert_opens_nothing(fleet, run):
    run(30)
    fleet.alerts = alerts(2, firing=False)
    state, told = run(2)
    assert state.incidents == ()
    assert told == []
