"""The page of a live incident: a real clock, one world, nothing carried out, and small enough."""

from __future__ import annotations

import gzip
import math
import re
from dataclasses import replace

import numpy as np
import pytest

from ops.catalogue import Catalogue
from ops.controller.incidents.status import incident_status
from ops.controller.resources.incident import IncidentSpec
from ops.controller.screens.stored import StoredIncident
from ops.controller.screens.why import why_lines
from ops.controller.worker.live_now import bad_now
from ops.controller.worker.live_report import Watched, live_report, minute_rows, with_classes
from ops.controller.worker.page_size import fitted_page
from ops.controller.worker.report_clock import ReportClock, dated
from ops.controller.worker_link.wire import FleetPlace, ReportRequest, Window
from ops.errors import BundleError
from ops.reports import ClockBase, render_html, render_markdown
from ops.reports.build_evidence import measure, series_of
from ops.state import (
    Action,
    ActionKind,
    Decision,
    DecisionKind,
    Incident,
    IncidentPhase,
    SloTarget,
)
from ops.topology import discover
from rca.pipeline import diagnose
from rca.state import Entity, EntityKind, MetricFrame, Series, Symptom
from tests.ops.controller.live_worker import T0, pods_of, small_fleet

END = T0 + 745.0
SLOS = (SloTarget(name="chat", ttft_s=2.0, tpot_s=0.2),)
POD = Entity(EntityKind.POD, "eu", "llm-2")
SYMPTOM = Symptom(
    region="eu", slo_class="chat", began_at_s=T0 + 600, detected_at_s=T0 + 630, bad_ratio=0.35,
    reason="latency",
)  # fmt: skip


@pytest.fixture(scope="module")
def frame():
    return small_fleet()


@pytest.fixture(scope="module")
def request_(frame):
    pods = pods_of(frame)
    result = diagnose(frame, symptom=SYMPTOM, topology=discover(frame, pods), changes=(), events=(),
                      now_s=END, seed=1)  # fmt: skip
    incident = Incident(
        incident_id="inc-0001", phase=IncidentPhase.DIAGNOSED, symptom=SYMPTOM,
        began_at_s=T0 + 600, detected_at_s=T0 + 630, diagnosed_at_s=T0 + 650, result=result,
    )  # fmt: skip

    def said(kind, reason, at_s, action=None):
        return Decision(at_s=at_s, kind=kind, incident_id="inc-0001", reason=reason,
                        action=action, incident=incident)  # fmt: skip

    def wanted(kind, command):
        return Action(action_id="", kind=kind, target=POD, reason="it alone is slow",
                      undo="none needed: its owner makes another", command=command)  # fmt: skip

    return ReportRequest(
        place=FleetPlace(namespace="shop", fleet="chat", cluster="prod"),
        window=Window(start_s=T0, end_s=END, step_s=5.0),
        incident="chat-20261118-110640-abcde",
        decisions=(
            said(DecisionKind.OPEN, f"requests miss their limits since {T0 + 600:.0f} s", T0 + 630),
            said(DecisionKind.DIAGNOSE, "named", T0 + 650),
            said(DecisionKind.REFUSE, "dry run", T0 + 650,
                 wanted(ActionKind.REPLACE_POD, "kubectl --context eu delete pod llm-2")),
            said(DecisionKind.REFUSE, "dry run", T0 + 650,
                 wanted(ActionKind.RESTART_POD, "kubectl exec llm-2 -- kill 1")),
        ),
        pods=pods,
        slos=SLOS,
        now_s=END,
    )  # fmt: skip


@pytest.fixture(scope="module")
def report(frame, request_):
    return live_report(request_, Watched(frame=frame), Catalogue.load())


def test_the_page_has_the_clock_of_the_cluster_and_no_other_world(report):
    page, text = render_html(report), render_markdown(report)
    for told in (page, text):
        assert "18 Nov 2026" in told
        assert "shop/chat on prod" in told
        for word in ("simulated clock", "without midwatch was not made", "Same traffic"):
            assert word not in told, word
        assert "--context" not in told
        assert not re.search(r"\d{10} s\b", told)
        assert "What they would have been without midwatch cannot be known here." in told
        assert re.search(r"11:1\d:\d\d", told)


def test_the_best_recommendation_is_shown_as_not_carried_out(report):
    (incident,) = report.incidents
    assert incident.incident_id == "chat-20261118-110640-abcde"
    assert incident.next_step.title.startswith("Decide by hand: midwatch would have replaced llm-2")
    assert "it has changed nothing" in incident.next_step.detail
    (command,) = incident.next_step.commands
    assert command.text.endswith(" --raw /api/v1/namespaces/shop/pods/llm-2/eviction -f -")
    assert "Undo: none needed" in incident.next_step.detail
    (query,) = [c.text for c in incident.morning.commands if c.label == "Query"]
    assert 'namespace="shop"' in query
    assert "region" not in query
    assert [str(m.kind) for m in incident.marks].count("recommended") == 2
    assert not incident.done


def test_the_page_says_how_bad_it_is_now_and_not_only_at_first(report, frame, request_):
    (incident,) = report.incidents
    assert re.search(r"From 11:18 to 11:19, \d+ % of \d+ requests of eu/chat were bad\.$",
                     incident.now), incident.now  # fmt: skip
    blind = live_report(
        replace(request_, now_s=END + 300.0), Watched(frame=frame), Catalogue.load()
    )
    assert blind.incidents[0].now.endswith("How many requests are bad now is not known.")


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([("eu", "a", 4, 40, 4), ("eu", "b", 4, 40, 10), ("us", "a", 4, 40, 40)], "25 % of 40"),
        ([("eu", "a", 4, 40, 4), ("eu", "b", 4, 1, 1)], "10 % of 40"),
        ([("eu", "a", 4, 3, 0), ("eu", "a", 3, 40, 40)], "none of 3"),
    ],
)
def test_the_worst_class_with_requests_enough_is_told(rows, told):
    text = bad_now(rows, SYMPTOM, until_s=301.0, clock=ClockBase(epoch_s=0.0))
    assert text.startswith(f"From 00:04 to 00:05, {told} requests of eu/")


@pytest.mark.parametrize(
    ("requests", "told"), [(1, "1 request of eu/a was"), (9, "9 requests of eu/a were")]
)
def test_of_what_is_not_answered_no_share_is_told(requests, told):
    """The few that come through may all be good: that is no "none were bad" of an outage."""
    symptom = replace(SYMPTOM, reason="missing")
    rows = [("eu", "a", 4, requests, 0)]
    text = bad_now(rows, symptom, until_s=301.0, clock=ClockBase(epoch_s=0.0))
    assert text == f"From 00:04 to 00:05, {told} answered."


def test_page_and_screen_name_the_same_next_action(report, request_):
    status = incident_status(
        request_.decisions[-1].incident, keys=(), decisions=request_.decisions, now_s=END,
        namespace="shop",
    )  # fmt: skip
    stored = StoredIncident(
        namespace="shop", name=request_.incident, spec=IncidentSpec(fleet="chat"), status=status,
        seen=True, created_s=T0,
    )  # fmt: skip
    rows = [line.text for line in why_lines(stored, now_s=END, width=100_000)]
    (following,) = [row for row in rows if row.startswith("next ")]
    assert following.startswith("next      Replace llm-2 in eu.")
    (command,) = report.incidents[0].next_step.commands
    assert f"  run     {command.text}" in rows


def test_evidence_is_told_with_its_unit(report):
    (incident,) = report.incidents
    assert incident.cause.entity == POD
    assert any("GHz" in figure for figure in re.findall(r"[\d.,→ ]+ GHz", render_markdown(report)))


def test_minutes_without_a_sample_are_unknown_not_good(frame):
    clock = ReportClock(T0)
    moved = clock.frame(frame)
    slos = with_classes(SLOS, moved)
    whole = minute_rows(moved, slos, until_s=745.0)
    assert [row[2] for row in whole] == list(range(13))
    assert all(bad / total > 0.3 for _, _, minute, total, bad in whole if 10 < minute < 12)
    assert all(bad / total < 0.02 for _, _, minute, total, bad in whole if minute < 9)
    values = np.array(moved.values)
    values[24:60] = np.nan
    gap = minute_rows(replace(moved, values=values), slos, until_s=745.0)
    assert not {2, 3} & {row[2] for row in gap}


@pytest.mark.parametrize("phase", [IncidentPhase.OPEN, IncidentPhase.DIAGNOSED])
def test_without_any_metrics_the_page_still_says_what_is_known(request_, phase):
    """Prometheus is away while the page is made; nothing is invented in its place."""
    none = MetricFrame(times_s=np.empty(0), values=np.empty((0, 0)), series=(), roles=(), step_s=5)
    (*_, last) = request_.decisions
    incident = last.incident
    if phase is IncidentPhase.OPEN:
        symptom = replace(SYMPTOM, bad_ratio=math.nan, reason="alert", slo_class="")
        incident = replace(incident, phase=phase, diagnosed_at_s=None, result=None, symptom=symptom)
    decisions = tuple(replace(d, incident=incident) for d in request_.decisions)
    report = live_report(
        replace(request_, decisions=decisions), Watched(frame=none), Catalogue.load()
    )
    text = render_markdown(report)
    assert render_html(report)
    assert ("llm-2" in text.splitlines()[0]) == (phase is IncidentPhase.DIAGNOSED)
    assert "nan" not in text.lower()
    assert report.minutes_with() == 0
    if phase is IncidentPhase.OPEN:
        assert "an alert fires in eu" in text
        assert ": first bad minute" not in text
        assert "no longer end" not in text
        assert "after it began" in text


def test_a_class_without_limits_counts_failures_alone(frame):
    slos = with_classes((), frame)
    assert [slo.name for slo in slos] == ["chat"]
    rows = minute_rows(ReportClock(T0).frame(frame), slos, until_s=745.0)
    assert sum(bad for *_, bad in rows) == 0


def test_a_page_that_is_too_large_loses_charts_and_says_so(report):
    whole, raw, dropped = fitted_page(report)
    assert dropped == ()
    assert gzip.decompress(raw) == whole
    page, small, told = fitted_page(report, bytes_max=len(raw) - 200)
    assert len(small) <= len(raw) - 200
    assert "charts" in told[0]
    assert "Left out" in page.decode()
    with pytest.raises(BundleError, match="without any chart"):
        fitted_page(report, bytes_max=100)


def test_unix_seconds_in_a_reason_become_a_moment():
    assert dated("since 1795000000 s, 42 s ago") == "since 2026-11-18T11:06:40Z, 42 s ago"


def test_a_page_made_within_seconds_shows_the_evidence_from_the_onset_that_was_found(
    frame, request_
):
    """Users were noticed to suffer at the last row; the diagnosis dates the cause before it."""
    late = replace(SYMPTOM, began_at_s=END, detected_at_s=END)
    decisions = tuple(
        replace(
            d, at_s=END,
            incident=replace(d.incident, symptom=late, began_at_s=END, detected_at_s=END),
        )
        for d in request_.decisions
    )  # fmt: skip
    report = live_report(
        replace(request_, decisions=decisions), Watched(frame=frame), Catalogue.load()
    )
    assert any("llm-2" in one.label or one.own for one in report.incidents[0].series)


def test_what_two_pods_of_a_service_measure_of_it_is_one_row(request_, frame):
    catalogue = Catalogue.load()
    doubled = [k for k, one in enumerate(frame.series) if "time_to_first_token" in one.name]
    more = tuple(
        Series(one.name, tuple(sorted((*one.labels, ("instance", "10.0.0.2:8000")))))
        for one in (frame.series[k] for k in doubled)
    )
    late = np.where(frame.times_s >= SYMPTOM.began_at_s, 1.3, 1.0)[:, None]  # worse of the two
    worse = np.cumsum(np.diff(frame.values[:, doubled], axis=0, prepend=0.0) * late, axis=0)
    both = replace(
        frame,
        values=np.column_stack((frame.values, worse)),
        series=frame.series + more,
        roles=frame.roles + tuple(catalogue.resolve(one) for one in more),
    )
    report = live_report(request_, Watched(frame=both), catalogue)
    told = [(one.label, one.detail) for one in report.incidents[0].series]
    assert len(told) == len(set(told))
    assert ("front", "frontend TTFT, chat, mean") in told


def looks(request, frame, **more):
    """Commands of a page on which no action is recommended."""
    plain = replace(request, decisions=request.decisions[:2], **more)
    found = live_report(plain, Watched(frame=frame), Catalogue.load()).incidents[0]
    steps = [step for step in (found.next_step, found.morning) if step]
    return [one.text for step in steps for one in step.commands if one.label == "Look"]


def test_commands_name_pods_and_labels_that_the_cluster_has_and_none_of_them_twice(request_, frame):
    named = looks(request_, frame)
    assert any("describe pods llm-" in text for text in named)
    pods = tuple(replace(pod, label=f"part={pod.service}") for pod in request_.pods)
    labelled = looks(request_, frame, pods=pods)
    assert any("describe pods -l part=llm" in text for text in labelled)
    assert not any("app=" in text for text in named + labelled)
    assert len(set(labelled)) == len(labelled)


def test_a_series_that_changed_without_an_onset_is_said_to_have_changed(request_, frame):
    incident = request_.decisions[-1].incident
    measured = measure(frame, incident)
    measured.onset_s[:] = np.nan
    found = {one.detail: one for one in series_of(measured, incident, Catalogue.load())}
    assert found["frontend TTFT, chat, mean"].undated
    assert not found["frontend requests, chat"].undated
