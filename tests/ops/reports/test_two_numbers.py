"""The first screen's two numbers, and traffic that midwatch itself sent as the change it is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ops.reports import Finding, Lane, RunReport, render_html, render_terminal, sentence, words
from ops.reports.build_findings import with_users
from ops.reports.build_story import own_changes
from ops.reports.findings import run_rows, run_rows_short
from ops.reports.parts import EvidenceSeries
from ops.state import Action, ActionKind, Decision, DecisionKind, Incident, IncidentPhase
from rca.state import Entity, RankedCause, ResourceClass, Symptom

ERRORS = Finding(label="own errors", before=0.0, after=0.5, unit="ratio")
CHANGE = Finding(label="deploy r1 → r2", before=None, after=None, unit="")
LANE = Lane(
    region="west",
    slo_class="fast",
    traffic_ratio=0.6,
    start_s=0.0,
    bad_with=(0.01, float("nan"), 0.01, 0.4, 0.2),
)


def ttft(**changes):
    one = EvidenceSeries(
        label="door", detail="TTFT", unit="s", times_s=(), values=(), onset_s=5.0,
        before=0.4, after=3.4,
    )  # fmt: skip
    return replace(one, **changes)


def test_a_cause_with_one_number_is_joined_by_what_users_waited():
    first, second, third = with_users((ERRORS, CHANGE), (ttft(own=True), ttft()), (LANE,))
    assert (first, third) == (ERRORS, CHANGE)
    assert (second.label, second.before, second.after) == ("TTFT at door", 0.4, 3.4)


def test_where_no_time_moved_the_worst_minute_is_the_second_number():
    found = with_users((ERRORS, CHANGE), (ttft(onset_s=None),), (LANE,))
    assert found[1].label == "bad requests of west fast"
    assert (found[1].before, found[1].after) == (pytest.approx(0.105), 0.4)


def test_two_numbers_are_enough_and_nothing_is_invented():
    assert with_users((ERRORS, ERRORS), (ttft(),), (LANE,)) == (ERRORS, ERRORS)
    assert with_users((ERRORS,), (), (replace(LANE, bad_with=(0.0, 0.0)),)) == (ERRORS,)


def shift(at_s, to_region):
    action = Action(
        action_id="a1",
        kind=ActionKind.SHIFT_TRAFFIC,
        target=Entity.parse("workload:east"),
        params={"to_region": to_region, "share": 0.5},
    )
    return Decision(at_s=at_s, kind=DecisionKind.ACT, incident_id="i", reason="", action=action)


def own(*decisions, entity="workload:west"):
    cause = RankedCause(
        rank=1,
        entity=Entity.parse(entity),
        resource_class=ResourceClass.LOAD,
        score=1.0,
        confidence=0.9,
    )
    incident = Incident(
        incident_id="inc-0002",
        phase=IncidentPhase.OPEN,
        symptom=Symptom(
            region="west", slo_class="fast", began_at_s=600.0, detected_at_s=630.0,
            bad_ratio=0.3, reason="latency",
        ),
        began_at_s=600.0,
        detected_at_s=630.0,
    )  # fmt: skip
    return own_changes(decisions, incident, cause)


def test_traffic_that_midwatch_sent_is_a_suspect_change():
    (change,) = own(shift(560.0, "west"))
    assert change.suspect
    assert change.title == "midwatch sent 50 % of the users of east to west"
    assert change.why == "40 s before users were hurt"


def test_only_a_recent_shift_to_the_region_of_too_much_traffic_is_one():
    assert own(shift(560.0, "north"), shift(300.0, "west"), shift(610.0, "west")) == ()
    assert own(shift(560.0, "west"), entity="service:west/door") == ()


def test_a_wave_of_users_is_told_with_its_rate(sample_run):
    first = sample_run("named").incidents[0]
    wave = replace(
        first,
        cause=replace(
            first.cause,
            entity=Entity.parse("workload:eu-west"),
            resource_class=ResourceClass.LOAD,
        ),
        changes=(),
        findings=(Finding(label="requests", before=1.9, after=4.0, unit="/s"),),
    )
    assert sentence.headline(wave) == (
        "Traffic in eu-west rose 1.9 → 4 requests/s, above what eu-west can serve."
    )


def test_no_line_ends_within_an_arrow_or_before_a_unit(sample_run):
    kept = words.kept("a → b in 1 min 30 s, 40 % of 12 pods, 2 sets")
    assert kept == "a\u00a0→\u00a0b in 1\u00a0min 30\u00a0s, 40\u00a0% of 12 pods, 2 sets"
    run = sample_run("named")
    for width in range(40, 81):
        lines = render_terminal(run, run.incidents[0], width=width).splitlines()
        assert not [line for line in lines if line.endswith("→") or line.strip().startswith("→")]
    assert "117\u00a0→\u00a0118" in render_html(run)


def test_the_terminals_facts_are_the_pages_in_fewer_lines(sample_run):
    run: RunReport = sample_run("healthy")
    short = run_rows_short(run)
    assert len(short) < len(run_rows(run)) - len(run.versions)
    assert short[-1] == (
        "Run", "Length 1 h 10 min, load 0.7 of the healthy fleet's capacity, seed 7"
    )  # fmt: skip
