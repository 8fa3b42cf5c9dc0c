"""Alerts from outside: counted once each, on one incident."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ops.adapters.fakes import FakeDiagnoser
from ops.alerts import alert_digest
from ops.config import LoopConfig
from ops.pipeline import LoopState, step
from ops.state import Alert, DecisionKind, IncidentPhase
from rca.state import MetricFrame


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


@pytest.fixture
def blind(fleet, make_result):
    """The same fleet without a single metric: alerts are all that is known."""
    state, told = LoopState(), []

    def go(num_steps, *alerts):
        nonlocal state
        for _ in range(num_steps):
            snapshot = fleet.advance()
            frame = MetricFrame(
                times_s=np.empty(0), values=np.empty((0, 0)), series=(), roles=(), step_s=5.0
            )
            state, decisions = step(
                state,
                replace(snapshot, frame=frame, alerts=alerts),
                diagnoser=FakeDiagnoser([make_result(abstained=True)]),
                config=LoopConfig(),
            )
            told.extend(decisions)
        return state, told

    return go


def test_an_alert_opens_an_incident_where_no_slo_is_measured(blind):
    state, told = blind(1, *alerts(1))
    assert [d.kind for d in told[:2]] == [DecisionKind.OPEN, DecisionKind.ALERT]
    assert state.cases[0].keys == ()
    assert state.incidents[0].symptom.region == "east"
    assert "nan" not in told[0].reason


def test_the_region_of_an_alert_without_one_is_that_of_its_pod(blind):
    labels = {"alertname": "Slow", "pod": "west-door-1"}
    state, _ = blind(1, replace(alerts(1)[0], labels=labels))
    assert state.incidents[0].symptom.region == "west"


def test_a_storm_is_one_incident_and_is_over_when_its_last_alert_ends(blind):
    storm = alerts(10_000)
    state, _ = blind(1, *storm)
    assert [i.alerts for i in state.incidents] == [10_000]
    blind(60)  # nothing new: it still fires
    ended = tuple(replace(a, firing=False, ends_at_s=300.0) for a in storm)
    state, _ = blind(1, *ended[1:])
    state, _ = blind(60)
    assert state.incidents[0].phase is IncidentPhase.OPEN  # the first still fires
    state, told = blind(1, ended[0])
    state, told = blind(40)
    assert state.incidents[0].phase is IncidentPhase.RESOLVED
    assert told[-1].reason == "no alert fires for 180 s"


def test_an_end_is_known_by_the_digest_of_its_start():
    start = alerts(1)[0]
    assert alert_digest(start) == alert_digest(replace(start, firing=False, ends_at_s=9.0))
    assert alert_digest(start) != alert_digest(replace(start, starts_at_s=101.0))


def test_an_alert_that_came_before_its_scrapes_is_diagnosed_once_users_are_seen_to_suffer(
    fleet, make_result
):
    state, asker = LoopState(), FakeDiagnoser([make_result(abstained=True)])

    def go(num_steps, **what):
        nonlocal state
        for _ in range(num_steps):
            snapshot = fleet.advance(**what)
            state, _ = step(state, snapshot, diagnoser=asker, config=LoopConfig())
        return state.incidents

    go(30)
    fleet.alerts = tuple(replace(a, starts_at_s=fleet.now_s) for a in alerts(1))
    (early,) = go(1)
    assert asker.asked[-1].bad_ratio == 0.0  # nobody is accused yet
    (incident,) = go(6, slow={"east": 0.6})
    assert asker.asked[-1].bad_ratio > 0.4
    assert incident.symptom == replace(early.symptom, bad_ratio=asker.asked[-1].bad_ratio)


def test_a_finding_dates_an_alert_that_came_after_the_trouble(fleet, make_result):
    state, asker = LoopState(), FakeDiagnoser([make_result(abstained=True)])
    for number in range(40):
        if number == 31:
            fleet.alerts = tuple(replace(a, starts_at_s=fleet.now_s) for a in alerts(1))
        snapshot = fleet.advance(slow={"east": 0.6} if number >= 30 else None)
        state, _ = step(state, snapshot, diagnoser=asker, config=LoopConfig())
    (incident,) = state.incidents
    assert incident.symptom.reason == "alert"
    assert incident.symptom.began_at_s == 155.0
    assert incident.began_at_s == asker.asked[-1].began_at_s == 150.0
