"""A report built from plain data: what is told of causes, abstentions, actions and what is left."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from ops.catalogue import Catalogue
from ops.reports import ClockBase, render_html, render_json, render_markdown, render_terminal
from ops.reports.build import RunFacts, build_report, good_ratio
from ops.reports.build_spread import spread_of
from ops.reports.build_story import done_title
from ops.reports.calibration import CalibrationBin, calibrated
from ops.reports.parts import Lane, MarkKind
from ops.reports.parts_spread import SpreadRole
from ops.state import (
    Action,
    ActionKind,
    ActionRecord,
    Decision,
    DecisionKind,
    Incident,
    IncidentPhase,
    SloTarget,
    Verdict,
)
from rca.state import (
    CausalArc,
    ChangeEvent,
    ChangeKind,
    Entity,
    Evidence,
    MetricFrame,
    RankedCause,
    RcaResult,
    ResourceClass,
    Series,
    Symptom,
)

POD = Entity.parse("pod:west/llm-0")
POOL = Entity.parse("service:west/llm")
DOOR = Entity.parse("service:west/door")
NODE = Entity.parse("node:west/gpu-1")
CLOCK = Series("DCGM_FI_DEV_SM_CLOCK", (("gpu", "0"), ("pod", "llm-0"), ("region", "west")))
ONSET_S, FOUND_S = 600.0, 630.0


def cause(**changes):
    first = RankedCause(
        rank=1,
        entity=POD,
        resource_class=ResourceClass.GPU_CLOCK,
        score=2.0,
        confidence=0.8,
        onset_s=ONSET_S + 5,
        evidence=(
            Evidence(
                channel="topology",
                text="own time per call 5 s -> 9 s; 99 % of what users lost",
                strength=0.9,
                before=5.0,
                after=9.0,
                unit="s",
            ),
            Evidence(channel="event", text="Killing x1, first -1 s from the onset", strength=0.8),
            Evidence(
                channel="resource",
                text="gpu sm clock 1410 -> 700",
                strength=0.4,
                series=CLOCK,
                before=1410.0,
                after=700.0,
            ),
            Evidence(channel="graph", text="walk: 1.00", strength=0.3),
        ),
        path=(str(POD), str(POOL), str(DOOR)),
    )
    return replace(first, **changes)


def result(**changes):
    second = cause(
        rank=2, entity=DOOR, resource_class=ResourceClass.CODE, confidence=0.1, evidence=()
    )
    found = RcaResult(
        began_at_s=ONSET_S,
        causes=(cause(), second),
        abstained=False,
        reason="own time per call 5 s -> 9 s",
        checked=("40 series",),
        would_settle=("pool_size of service:west/door",),
        ruled_out=((Entity.parse("workload:west"), "demand 2 -> 2.1 requests/s"),),
        arcs=(CausalArc(cause=POD, effect=POOL, weight=0.9, text="waits for"),),
    )
    return replace(found, **changes)


def action(kind=ActionKind.CORDON_DRAIN_NODE, target=NODE, action_id="a1", **params):
    return Action(
        action_id=action_id,
        kind=kind,
        target=target,
        params=params,
        undo="kubectl --context west uncordon gpu-1",
        command="kubectl --context west drain gpu-1",
    )


def record(done, verdict=Verdict.EFFECTIVE):
    return ActionRecord(
        action=done,
        decided_at_s=640.0,
        verdict=verdict,
        verdict_reason="bad share 30% before, 1% after",
        checked_at_s=720.0,
    )


def incident(**changes):
    one = Incident(
        incident_id="inc-0001",
        phase=IncidentPhase.RESOLVED,
        symptom=Symptom(
            region="west",
            slo_class="fast",
            began_at_s=ONSET_S,
            detected_at_s=FOUND_S,
            bad_ratio=0.3,
            reason="latency",
        ),
        began_at_s=ONSET_S,
        detected_at_s=FOUND_S,
        diagnosed_at_s=FOUND_S,
        mitigated_at_s=760.0,
        resolved_at_s=900.0,
        result=result(),
        actions=(record(action()),),
    )
    return replace(one, **changes)


def facts(one=None, *, extra=(), **changes):
    one = one or incident()
    decisions = (
        Decision(at_s=FOUND_S, kind=DecisionKind.OPEN, incident_id="inc-0001", reason="r",
                 incident=one),
        Decision(at_s=FOUND_S, kind=DecisionKind.DIAGNOSE, incident_id="inc-0001",
                 reason="pod...", incident=one),
        *extra,
        Decision(at_s=900.0, kind=DecisionKind.RESOLVE, incident_id="inc-0001",
                 reason="users are well", incident=one),
    )  # fmt: skip
    told = RunFacts(
        fleet="test",
        clock=ClockBase(epoch_s=0.0),
        duration_s=1200.0,
        seed=1,
        load=0.5,
        slos=(SloTarget(name="fast", ttft_s=1.0, tpot_s=0.1, target_ratio=0.95),),
        minutes=minutes({10: 30, 11: 20}),
        minutes_without=minutes(dict.fromkeys(range(10, 18), 90)),
        decisions=decisions,
        frames={"inc-0001": frame()},
        changes=(
            ChangeEvent(at_s=570.0, kind=ChangeKind.DEPLOY, region="west", service="door",
                        revision_from="1", revision_to="2"),
        ),
    )  # fmt: skip
    return replace(told, **changes)


def minutes(bad):
    return [("west", "fast", m, 100, bad.get(m, 1)) for m in range(20)]


def frame():
    """The pod's clock at 1410 MHz, 700 from the onset on."""
    times = np.arange(5.0, 901.0, 5.0)
    values = np.where(times < ONSET_S, 1410.0, 700.0)[:, None]
    return MetricFrame(
        times_s=times,
        values=values,
        series=(CLOCK,),
        roles=(Catalogue.load().resolve(CLOCK),),
        step_s=5.0,
    )


def built(catalogue, *arguments, **changes):
    return build_report(facts(*arguments, **changes), catalogue)


def test_the_accused_resource_is_the_first_number(catalogue):
    first = built(catalogue).incidents[0]
    assert [f.label for f in first.findings] == [
        "GPU SM clock", "own time per call", "Killing x1, first 1 s before users were hurt",
    ]  # fmt: skip
    clock = first.findings[0]
    assert (clock.before, clock.after, clock.unit, clock.own) == (1410.0, 700.0, "MHz", True)
    assert first.findings[1].text == "99 % of what users lost."


def test_an_event_is_told_without_a_figure(catalogue):
    event = Evidence(channel="event", text="Killing x1, at the onset", strength=0.8)
    run = built(catalogue, incident(result=result(causes=(cause(evidence=(event,)),))))
    for text in (render_html(run), render_markdown(run), render_terminal(run, run.incidents[0])):
        assert "Killing x1, as users were hurt" in text
        assert "Killing x1, as users were hurt  no data" not in text
        assert "**no data**" not in text


def test_lanes_count_from_the_onset_on(catalogue):
    run = built(catalogue, minutes=minutes({3: 50, 10: 30, 11: 20}))
    assert run.minutes_with() == 3
    assert run.incidents[0].lanes[0].minutes_with() == 2
    assert run.incidents[0].lanes[0].requests_bad == 50


def test_lost_minutes_compare_the_two_worlds(catalogue):
    lost = built(catalogue).incidents[0].lost
    assert lost is not None
    assert (lost.with_loop, lost.without) == (2.0, 8.0)
    assert built(catalogue, minutes_without=None).incidents[0].lost.without is None


def test_the_page_needs_both_windows(catalogue):
    # 14.4 x 5 % = 72 % of an hour that has 18 minutes so far is not reached; with more it is.
    assert built(catalogue).incidents[0].page_at_s is None
    worse = minutes(dict.fromkeys(range(2, 18), 100))
    assert built(catalogue, minutes_without=worse).incidents[0].page_at_s == 600.0


def test_moments_come_in_order_with_the_verdict_after_its_detection(catalogue):
    kinds = [m.kind for m in built(catalogue).incidents[0].marks]
    assert kinds[:5] == [
        MarkKind.CHANGE, MarkKind.BEGAN, MarkKind.SLO_MISS, MarkKind.DETECTED, MarkKind.DIAGNOSED,
    ]  # fmt: skip


def test_the_series_of_the_evidence_is_shown_with_its_onset(catalogue):
    series = built(catalogue).incidents[0].series[0]
    assert (series.label, series.detail, series.unit) == ("llm-0", "GPU SM clock", "MHz")
    assert series.onset_s == pytest.approx(ONSET_S, abs=5.0)
    assert (series.before, series.after) == (1410.0, 700.0)


def test_the_spread_runs_from_the_cause_to_the_lane(catalogue):
    first = built(catalogue).incidents[0]
    roles = {node.name: node.role for node in first.nodes}
    assert roles == {
        "llm-0": SpreadRole.CAUSE, "llm": SpreadRole.VICTIM, "west fast": SpreadRole.SLO_MISS,
    }  # fmt: skip
    assert [(a.cause, a.effect) for a in first.arcs] == [
        (str(POD), str(POOL)), (str(POOL), "lane/west/fast"),
    ]  # fmt: skip


def test_a_change_is_a_suspect_only_where_the_diagnosis_says_so(catalogue):
    assert not built(catalogue).incidents[0].changes[0].suspect
    told = Evidence(channel="change", text="deploy 1 -> 2", strength=0.5, onset_s=570.0)
    suspected = cause(entity=DOOR, resource_class=ResourceClass.CODE, evidence=(told,))
    one = incident(result=result(causes=(suspected,)))
    change = built(catalogue, one).incidents[0].changes[0]
    assert change.suspect
    assert change.title == "deploy door 1 → 2"
    assert change.why == "35 s before the cause began, 30 s before users were hurt"


def test_what_is_ruled_out_is_told_with_its_reason(catalogue):
    candidates = built(catalogue).incidents[0].candidates
    assert [str(c.entity) for c in candidates] == [str(DOOR), "workload:west"]
    assert candidates[1].ruled_out == "Demand 2 → 2.1 requests/s: no rise that explains this"
    assert candidates[1].resource_class is ResourceClass.LOAD


def test_a_cause_that_its_remedy_confirmed_is_not_displaced_by_a_later_guess(catalogue):
    later = result(causes=(cause(entity=DOOR, resource_class=ResourceClass.CODE),))
    one = incident(result=later)
    first = facts().decisions[:2]
    told = facts(one, extra=())
    run = build_report(replace(told, decisions=(*first, *told.decisions[2:])), catalogue)
    assert run.incidents[0].cause.entity == POD
    helpless = replace(one, actions=(record(action(), Verdict.NO_EFFECT),))
    told = facts(helpless)
    run = build_report(replace(told, decisions=(*first, *told.decisions[2:])), catalogue)
    assert run.incidents[0].cause.entity == DOOR


def test_an_abstention_names_nobody_and_says_what_would_settle_it(catalogue):
    one = incident(
        diagnosed_at_s=None,
        result=result(abstained=True, reason="two candidates are alike"),
        actions=(),
    )
    first = built(catalogue, one).incidents[0]
    assert first.cause is None
    assert first.abstained == "Two candidates are alike."
    assert first.candidates[0].entity == POD
    assert first.next_step is not None
    assert first.next_step.title == "Nothing."
    assert first.morning.title == "Look at llm-0 in west first; it is likeliest."
    assert "pool_size" in first.morning.detail
    hurt = replace(one, phase=IncidentPhase.OPEN, mitigated_at_s=None, resolved_at_s=None)
    step = built(catalogue, hurt).incidents[0].next_step
    assert step.title == "Check llm-0 in west first; it is likeliest."
    assert "pool_size" in step.detail


@pytest.mark.parametrize(
    ("actions", "says"),
    [
        ((record(action()),), "Look at llm-0 in west."),
        ((record(action(), Verdict.PENDING),), "Wait for the check"),
        ((record(action(), Verdict.NO_EFFECT),), "Look at llm-0 in west."),
        ((), "Look at llm-0 in west."),
    ],
)
def test_the_next_step_follows_from_what_was_done(catalogue, actions, says):
    one = incident(actions=actions, phase=IncidentPhase.DIAGNOSED)
    step = built(catalogue, one).incidents[0].next_step
    assert step is not None
    assert step.title.startswith(says)
    assert step.commands


def test_a_refused_action_is_left_to_a_person_with_its_command(catalogue):
    refused = Decision(
        at_s=650.0, kind=DecisionKind.REFUSE, incident_id="inc-0001",
        reason="the budget is spent", action=action(),
    )  # fmt: skip
    one = incident(actions=(), phase=IncidentPhase.DIAGNOSED)
    step = built(catalogue, one, extra=(refused,)).incidents[0].next_step
    assert step is not None
    assert "by hand" in step.title
    assert [c.text for c in step.commands] == [refused.action.command, refused.action.undo]


def test_an_action_that_was_taken_back_needs_no_undo(catalogue):
    moved = action(
        ActionKind.SHIFT_TRAFFIC, Entity.parse("workload:west"), to_region="east", share=0.4
    )
    undo = replace(moved, action_id="a2", kind=ActionKind.UNDO, params={"action_id": "a1"})
    back = Decision(
        at_s=890.0, kind=DecisionKind.ACT, incident_id="inc-0001", reason="over", action=undo
    )
    one = incident(actions=(record(moved), record(undo)))
    first = built(catalogue, one, extra=(back,)).incidents[0]
    assert len(first.done) == 1
    assert first.done[0].title == "sent 40 % of the users of west to east"
    assert first.done[0].taken_back_s == 890.0
    assert "Taken back 00:14:50." in render_markdown(built(catalogue, one, extra=(back,)))
    assert first.done[0].undo == first.done[0].undo_command == ""
    assert first.next_step.title == "Nothing."
    assert "nothing to undo" in first.next_step.detail
    assert first.morning.title.startswith("Find out why llm-0")


def test_every_kind_of_action_has_its_past_tense(catalogue):
    params = {"to_region": "e", "share": 0.5, "add": 2.0, "ratio": 0.7, "to_revision": "7",
              "action_id": "a1"}  # fmt: skip
    titles = {done_title(replace(action(kind, DOOR), params=params)) for kind in ActionKind}
    assert len(titles) == len(ActionKind)


def test_confidence_is_told_by_the_bin_that_holds_it():
    bins = (
        CalibrationBin(low=0.2, high=0.5, cases=10, hits=4),
        CalibrationBin(low=0.6, high=0.9, cases=20, hits=18),
    )
    assert calibrated(0.7, bins, "sweep").hits == 18
    assert calibrated(0.52, bins, "sweep").hits == 4
    assert calibrated(0.95, bins, "sweep").hits == 18
    assert calibrated(0.7, (), "") is None


def test_a_run_without_the_loop_has_no_comparison(catalogue):
    run = built(catalogue, minutes=None, decisions=())
    assert run.loop is False
    assert run.minutes_with() == 8
    assert run.minutes_without() is None
    assert "Without midwatch: 8 bad minutes" in render_markdown(run)


def test_an_incident_without_frame_or_diagnosis_still_has_a_report(catalogue):
    one = incident(result=None, diagnosed_at_s=None, actions=(), mitigated_at_s=None,
                   resolved_at_s=None, phase=IncidentPhase.OPEN)  # fmt: skip
    run = built(catalogue, one, frames={})
    assert run.incidents[0].abstained == "No diagnosis was made yet."
    for text in (render_html(run), render_markdown(run), render_json(run),
                 render_terminal(run, run.incidents[0])):  # fmt: skip
        assert "inc-0001" in text


def test_good_ratio_counts_from_a_moment_on():
    rows = minutes({0: 100, 5: 50})
    assert good_ratio(rows, from_s=360.0) == pytest.approx(0.99)
    assert good_ratio(rows, from_s=300.0) == pytest.approx(1.0 - (50 + 14) / 1500)
    assert math.isnan(good_ratio(rows, from_s=9e9))


def test_candidates_of_another_region_come_last(catalogue):
    far = cause(entity=Entity.parse("service:east/door"), rank=2, confidence=0.2)
    near = cause(entity=DOOR, rank=3, confidence=0.1)
    one = incident(result=result(causes=(cause(), far, near)))
    found = built(catalogue, one).incidents[0].candidates
    assert [c.entity.region for c in found] == ["west", "west", "east"]
    assert found[0].entity == DOOR


def test_a_service_whose_change_was_rolled_back_is_no_other_explanation(catalogue):
    back = action(ActionKind.ROLLBACK, DOOR, to_revision="1")
    first = built(catalogue, incident(actions=(record(back),))).incidents[0]
    assert [c.suspect for c in first.changes] == [True]
    told_of = {str(c.entity): c.ruled_out for c in first.candidates}
    assert told_of[str(DOOR)].startswith("the same story")


def test_a_lane_hangs_at_what_serves_it_not_at_what_moved_last():
    found = RankedCause(rank=1, entity=POD, resource_class=ResourceClass.GPU_CLOCK, score=1.0,
                        confidence=0.9, path=(str(POD), str(POOL)))  # fmt: skip
    aside = Entity.parse("link:west/a->b")
    arcs = (
        CausalArc(cause=POD, effect=POOL, weight=0.9),
        CausalArc(cause=POD, effect=aside, weight=0.1),
    )
    one = incident()
    one = replace(one, result=replace(one.result, causes=(found,), arcs=arcs))
    lane = Lane(region="west", slo_class="fast", traffic_ratio=1.0, start_s=0.0,
                bad_with=(1.0,) * 60)  # fmt: skip
    _, drawn = spread_of(one, found, (), (lane,), None, first_miss_s=one.began_at_s)
    (last,) = [arc for arc in drawn if arc.effect == "lane/west/fast"]
    assert (last.cause, last.text) == (str(POOL), "Served through llm.")
