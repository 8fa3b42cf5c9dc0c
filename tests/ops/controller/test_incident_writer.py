"""Incidents on a server: first of all written, never twice, never lost, and read back."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from ops.alerts import alert_digest
from ops.controller.incidents import book as incident_book
from ops.controller.incidents import writer as incident_writer
from ops.controller.incidents.book import IncidentBook
from ops.controller.incidents.objects import merge_of
from ops.controller.incidents.restore import restore
from ops.controller.incidents.status import RESTORED
from ops.controller.incidents.writer import IncidentWriter
from ops.controller.resources.fleet_object import FleetObject
from ops.controller.worker_link.wire import RecordedAs, ReportAnswer
from ops.errors import KubeError
from ops.pipeline_state import Case
from ops.ranking import ranking_sha256
from ops.state import (
    Action,
    ActionKind,
    Alert,
    Decision,
    DecisionKind,
    Incident,
    IncidentPhase,
)
from rca.state import (
    CONTRADICTION,
    Entity,
    EntityKind,
    Evidence,
    RankedCause,
    RcaResult,
    ResourceClass,
    Symptom,
)
from tests.ops.controller.fake_server import FakeServer, merged

T0 = 1_795_000_000.25
FLEET = FleetObject(namespace="shop", name="chat", uid="uid-fleet", generation=1, raw={})
POD = Entity(EntityKind.POD, "eu", "llm-2")
RESULT = RcaResult(
    began_at_s=T0,
    causes=(
        RankedCause(
            rank=1, entity=POD, resource_class=ResourceClass.GPU_CLOCK, score=1.25, confidence=0.9,
            evidence=(Evidence(channel="metric", text="clock fell", strength=2.0),),
        ),
    ),
    abstained=False,
    reason="clock fell",
    ruled_out=((Entity(EntityKind.WORKLOAD, "eu"), "as usual"),),
)  # fmt: skip
REPORT = ReportAnswer(
    html_gzip="aGFsbG8=", markdown="# hallo", sha256="5" * 64, headline="llm-2 slowed down.",
    recorded=RecordedAs.NO_VOLUME, recorded_message="no bundleDir",
)  # fmt: skip


def opened(number=1, *, began_s=T0, reason="latency", bad_ratio=0.31):
    symptom = Symptom(
        region="eu", slo_class="chat", began_at_s=began_s, detected_at_s=began_s + 10.125,
        bad_ratio=bad_ratio, reason=reason,
    )  # fmt: skip
    incident = Incident(
        incident_id=f"inc-{number:04d}", phase=IncidentPhase.OPEN, symptom=symptom,
        began_at_s=began_s, detected_at_s=symptom.detected_at_s,
    )  # fmt: skip
    return Case(incident=incident, keys=(("eu", "chat"),))


def named(case):
    incident = replace(
        case.incident, phase=IncidentPhase.DIAGNOSED, diagnosed_at_s=T0 + 30, result=RESULT
    )
    return replace(case, incident=incident)


def ended(case):
    incident = replace(
        case.incident, phase=IncidentPhase.RESOLVED, mitigated_at_s=T0 + 90, resolved_at_s=T0 + 300
    )
    return replace(case, incident=incident)


def said(kind, case, reason="because", action=None):
    return Decision(
        at_s=T0 + 30, kind=kind, incident_id=case.incident.incident_id, reason=reason,
        action=action, incident=case.incident,
    )  # fmt: skip


@pytest.fixture
def server():
    return FakeServer()


@pytest.fixture
def book():
    return IncidentBook(FLEET)


@pytest.fixture
def turn(server, book):
    """One turn of a fleet: take what was decided, write it."""
    writer = IncidentWriter(server, book)

    def run(cases, *decisions, alerts=(), now_s=T0 + 30):
        book.take(cases, decisions, alerts=alerts, now_s=now_s)
        writer.flush(now_s=now_s)

    run.writer = writer
    return run


def test_the_object_is_there_before_anything_else(server, turn):
    case = opened()
    turn([case], said(DecisionKind.OPEN, case))
    verbs = [(verb, path.rpartition("/")[2]) for verb, path in server.calls]
    assert verbs[0] == ("create", "incidents")
    assert verbs[1] == ("patch", "status")
    (stored,) = server.of("incidents")
    assert stored["metadata"]["name"].startswith("chat-20261118-110640-")
    assert stored["metadata"]["labels"] == {"midwatch.dev/fleet": "chat"}
    assert stored["metadata"]["ownerReferences"][0]["uid"] == "uid-fleet"
    assert "finalizers" not in stored["metadata"]
    assert stored["spec"]["source"] == "Detection"
    assert stored["status"]["phase"] == "Open"
    assert [e["reason"] for e in server.of("events")] == ["SLOBurn"]


def test_nothing_is_written_where_nothing_changed(server, turn):
    case = named(opened())
    turn([case], said(DecisionKind.DIAGNOSE, case))
    before = len(server.calls)
    turn([case], now_s=T0 + 60)
    assert len(server.calls) == before


def test_a_status_patch_holds_only_what_changed(server, turn):
    case = opened()
    turn([case])
    server.calls.clear()
    sent = []
    patch = server.patch
    server.patch = lambda path, body: (sent.append(body), patch(path, body))[1]
    turn([named(case)], said(DecisionKind.DIAGNOSE, named(case)))
    (status,) = [body["status"] for body in sent if "status" in body]
    assert "phase" in status
    assert "began" not in status
    assert server.of("incidents")[0]["status"]["rankingSha256"] == ranking_sha256(RESULT)


def test_what_a_server_refuses_stays_wanted_and_is_written_oldest_first(server, book, turn):
    server.fail["all"] = 503
    first, second = opened(1), opened(2, began_s=T0 + 60)
    for cases in ([first], [first, second]):
        with pytest.raises(KubeError):
            turn(cases)
    assert book.pending == 2
    server.fail.clear()
    turn([named(first), second])
    names = [o["metadata"]["name"] for o in server.of("incidents")]
    assert [name[:20] for name in names] == ["chat-20261118-110640", "chat-20261118-110740"]
    assert server.of("incidents")[0]["status"]["cause"] == "pod:eu/llm-2"
    assert book.pending == 0


def test_an_answer_that_was_lost_makes_no_second_object(server, turn):
    server.after_create = KubeError("connection lost", status=0, reason="Timeout")
    with pytest.raises(KubeError):
        turn([opened()])
    turn([opened()])
    (stored,) = server.of("incidents")
    assert stored["status"]["phase"] == "Open"


def test_one_object_that_is_refused_does_not_hold_up_the_others(server, book, turn):
    create = server.create

    def picky(path, body):
        if "110640" in body["metadata"]["name"]:
            raise KubeError("spec.fleet: invalid", status=422, reason="Invalid")
        return create(path, body)

    server.create = picky
    turn([opened(1), opened(2, began_s=T0 + 60)])
    assert len(server.of("incidents")) == 1
    assert "spec.fleet: invalid" in book.trouble
    assert book.pending == 1


def test_an_incident_that_a_person_deletes_is_not_made_again(server, book, turn):
    case = opened()
    turn([case])
    server.objects.clear()
    turn([named(case)])
    turn([ended(case)])
    assert not server.of("incidents")
    assert book.pending == 0


def test_the_report_is_a_config_map_that_goes_with_its_incident(server, book, turn):
    case = named(opened())
    turn([case])
    for sha256 in ("5" * 64, "6" * 64):
        book.put_report("inc-0001", replace(REPORT, sha256=sha256))
        turn([case])
    (stored,) = server.of("configmaps")
    (incident,) = server.of("incidents")
    assert stored["binaryData"]["report.html.gz"] == "aGFsbG8="
    assert stored["metadata"]["ownerReferences"][0]["uid"] == incident["metadata"]["uid"]
    assert incident["status"]["report"] == {
        "configMap": stored["metadata"]["name"], "sha256": "6" * 64, "bundle": "",
    }  # fmt: skip
    assert incident["status"]["summary"] == "llm-2 slowed down."
    recorded = [c for c in incident["status"]["conditions"] if c["type"] == "Recorded"]
    assert recorded[0]["reason"] == "NoVolume"


def test_a_report_that_cannot_be_written_is_not_promised_and_holds_nothing_up(server, book, turn):
    case = named(opened())
    server.fail["create", "configmaps"] = 403
    book_case = [case]
    turn(book_case)
    book.put_report("inc-0001", REPORT)
    turn(book_case)
    assert "report" not in server.of("incidents")[0]["status"]
    assert "403" in turn.writer.trouble
    server.fail.clear()
    turn(book_case)  # a page of hundreds of kilobytes is not sent again at every turn
    assert "report" not in server.of("incidents")[0]["status"]
    assert "403" in turn.writer.trouble
    turn(book_case, now_s=T0 + 95)
    assert "report" in server.of("incidents")[0]["status"]
    assert turn.writer.trouble == ""


@pytest.mark.parametrize("end", ["deleted", "pruned", "forgotten"])
def test_the_trouble_of_a_page_ends_with_its_incident(server, book, turn, monkeypatch, end):
    case = named(opened())
    turn([case])
    server.fail["create", "configmaps"] = 422
    book.put_report("inc-0001", REPORT)
    turn([case])
    assert "422" in turn.writer.trouble
    cases = [ended(case)]
    if end == "deleted":
        server.objects.clear()
    elif end == "pruned":
        turn(cases)
        monkeypatch.setattr(incident_writer, "INCIDENTS_MAX", 0)
    else:
        turn(cases)
        cases = []
    for _ in range(2):
        turn(cases)
    assert turn.writer.trouble == ""


def test_a_page_that_is_refused_holds_up_neither_events_nor_other_pages(server, book, turn):
    first, second = named(opened(1)), named(opened(2, began_s=T0 + 60))
    turn([first, second])
    create = server.create

    def picky(path, body):
        if body["kind"] == "ConfigMap" and "110640" in body["metadata"]["name"]:
            raise KubeError("too large", status=413, reason="RequestEntityTooLarge")
        return create(path, body)

    server.create = picky
    for incident_id in ("inc-0001", "inc-0002"):
        book.put_report(incident_id, REPORT)
    turn([first, second], said(DecisionKind.DIAGNOSE, second))
    assert len(server.of("configmaps")) == 1
    assert server.of("events")


def test_the_same_news_is_one_event_with_a_count(server, turn):
    case = named(opened())
    restart = Action(action_id="", kind=ActionKind.RESTART_POD, target=POD, reason="it is slow")
    turn(
        [case],
        said(DecisionKind.DIAGNOSE, case, "llm-2 gpu-clock, confidence 0.90"),
        said(DecisionKind.REFUSE, case, "dry run", restart),
    )
    turn([case], said(DecisionKind.DIAGNOSE, case, "llm-2 gpu-clock, confidence 0.93"))
    found = {e["reason"]: (e["type"], e["count"]) for e in server.of("events")}
    assert found == {"RootCauseFound": ("Normal", 2), "MitigationProposed": ("Normal", 1)}
    (told,) = [e for e in server.of("events") if e["reason"] == "RootCauseFound"]
    assert told["involvedObject"]["uid"] == server.of("incidents")[0]["metadata"]["uid"]


def test_a_server_that_dropped_an_event_gets_a_new_one(server, turn):
    case = named(opened())
    turn([case], said(DecisionKind.DIAGNOSE, case))
    for path in [p for p in server.objects if "/events/" in p]:
        del server.objects[path]
    turn([case], said(DecisionKind.DIAGNOSE, case))
    assert [e["count"] for e in server.of("events")] == [1]


def test_the_oldest_resolved_incidents_go_and_open_ones_stay(server, book, turn, monkeypatch):
    monkeypatch.setattr(incident_writer, "INCIDENTS_MAX", 3)
    cases = [opened(n, began_s=T0 + 60 * n) for n in range(1, 6)]
    done = [ended(case) for case in cases[:4]]
    turn([cases[0], *done[1:3]])
    turn([cases[0], *done[1:], cases[4]])
    kept = {o["metadata"]["name"][14:20] for o in server.of("incidents")}
    assert kept == {"110740", "111040", "111140"}  # the open ones and the newest resolved one


def test_the_end_of_an_incident_is_written_even_after_the_loop_has_forgotten_it(server, book, turn):
    case = named(opened())
    turn([case])
    server.fail["all"] = 503
    with pytest.raises(KubeError):
        turn([ended(case)])
    with pytest.raises(KubeError):
        turn([])
    server.fail.clear()
    turn([])
    assert server.of("incidents")[0]["status"]["phase"] == "Resolved"
    turn([])
    assert not book.entries
    assert len(book.closed) == 1


def test_what_waits_is_bounded(server, book, turn, monkeypatch):
    monkeypatch.setattr(incident_book, "ENDED_MAX", 2)
    server.fail["all"] = 503
    for n in range(1, 6):
        with pytest.raises(KubeError):
            turn([ended(opened(n, began_s=T0 + 60 * n))])
    assert len(book.entries) == 3  # two that ended, and the one that the loop still knows
    assert book.given_up == 2


def test_after_a_restart_the_cases_go_on_where_they_were(server, turn):
    alert = Alert(group_key="g", fingerprint="f", starts_at_s=T0, firing=True,
                  labels={"alertname": "Slow", "severity": "critical"})  # fmt: skip
    case = replace(named(opened()), firing=frozenset({alert_digest(alert)}))
    case = replace(case, incident=replace(case.incident, alerts=1))
    done = ended(opened(2, began_s=T0 - 9000))
    turn([done, case], said(DecisionKind.ALERT, case), alerts=(alert,))
    restored = restore(server.of("incidents"), fleet=FLEET)
    (back,) = restored.cases
    assert back.incident.symptom == case.incident.symptom  # to the last bit: the name hangs on it
    assert (back.keys, back.firing, back.cause) == (case.keys, case.firing, POD)
    assert back.incident.phase is IncidentPhase.DIAGNOSED
    assert back.incident.alerts == 1
    assert back.incident.result.checked == (RESTORED,)
    assert restored.digests == (alert_digest(alert),)
    assert len(restored.records) == 2
    again = IncidentBook(FLEET)
    again.adopt(restored)
    calls = len(server.calls)
    again.take(restored.cases, (), now_s=T0 + 400)
    IncidentWriter(server, again).flush(now_s=T0 + 400)
    assert len(server.calls) == calls  # nothing to write: nothing was lost
    assert again.name_of("inc-0001") in {o["metadata"]["name"] for o in server.of("incidents")}
    assert len(again.closed) == 1


def test_what_contradicts_a_cause_speaks_against_it_after_a_restart_too(server, turn):
    case = named(opened())
    (cause,) = case.incident.result.causes
    found = (
        Evidence(channel="metric", text="gone", strength=1.0),
        Evidence(channel=CONTRADICTION, text="yet Ready", strength=-0.5),
    )
    result = replace(case.incident.result, causes=(replace(cause, evidence=found),))
    turn([replace(case, incident=replace(case.incident, result=result))])
    (back,) = restore(server.of("incidents"), fleet=FLEET).cases
    kept = back.incident.result.causes[0].evidence
    assert [(item.text, item.strength > 0.0) for item in kept] == [
        ("gone", True), ("yet Ready", False),
    ]  # fmt: skip


def test_what_users_suffer_after_an_alert_is_told_and_read_back(server, book, turn):
    case = opened(reason="alert", bad_ratio=0.0)
    turn([case])
    assert server.of("incidents")[0]["status"]["severity"] == "info"
    name = book.name_of("inc-0001")
    symptom = replace(case.incident.symptom, bad_ratio=1 / 3)
    felt = replace(case, incident=replace(case.incident, symptom=symptom))
    turn([felt])
    status = server.of("incidents")[0]["status"]
    assert (status["severity"], status["badRatio"]) == ("critical", 1 / 3)
    detected = next(c for c in status["conditions"] if c["type"] == "Detected")
    assert status["symptom"] == detected["message"] == "an alert fires in eu/chat: 33% bad"
    (back,) = restore(server.of("incidents"), fleet=FLEET).cases
    assert back.incident.symptom == symptom
    asked = replace(symptom, began_at_s=T0 - 40)  # its onset is corrected where it is diagnosed
    assert book.name_for(asked) == name


def test_an_object_whose_status_was_never_written_is_taken_over(server, turn):
    server.fail["patch", "incidents/status"] = 503
    with pytest.raises(KubeError):
        turn([opened(reason="alert", bad_ratio=math.nan)])
    (back,) = restore(server.of("incidents"), fleet=FLEET).cases
    assert back.incident.phase is IncidentPhase.OPEN
    assert math.isnan(back.incident.symptom.bad_ratio)


def test_incidents_of_a_deleted_fleet_of_the_same_name_are_not_adopted(server, turn):
    """The server collects them: what would be written to them would be lost within seconds."""
    case = opened()
    turn([case])
    assert restore(server.of("incidents"), fleet=FLEET).cases
    anew = replace(FLEET, uid="uid-anew")
    assert restore(server.of("incidents"), fleet=anew).records == ()
    again = IncidentBook(anew)
    again.take([case], (), now_s=T0 + 60)
    IncidentWriter(server, again).flush(now_s=T0 + 60)
    old, new = server.of("incidents")
    assert old["metadata"]["name"] != new["metadata"]["name"]
    assert new["metadata"]["ownerReferences"][0]["uid"] == "uid-anew"


def test_an_incident_that_is_being_deleted_is_neither_adopted_nor_written_to(server, book, turn):
    case = opened()
    turn([case])
    (stored,) = server.of("incidents")
    stored["metadata"]["deletionTimestamp"] = "2026-11-18T11:07:00Z"
    assert restore([stored], fleet=FLEET).records == ()
    turn([named(case)], said(DecisionKind.DIAGNOSE, case))
    server.calls.clear()
    turn([ended(case)], said(DecisionKind.RESOLVE, case))
    assert server.calls == []


def test_an_incident_without_an_owner_is_adopted_by_the_fleet_that_it_names(server, turn):
    turn([opened()])
    (stored,) = server.of("incidents")
    del stored["metadata"]["ownerReferences"]
    assert len(restore([stored], fleet=FLEET).cases) == 1


def test_an_incident_that_was_read_back_keeps_the_name_that_an_older_release_gave_it(server, turn):
    case = opened()
    turn([case])
    (stored,) = server.of("incidents")
    stored["metadata"]["name"] = "chat-older"
    again = IncidentBook(FLEET)
    again.adopt(restore([stored], fleet=FLEET))
    assert again.name_for(case.incident.symptom) == "chat-older"


def test_foreign_and_broken_objects_are_left_alone(caplog):
    good = {"metadata": {"name": "a", "namespace": "shop"}, "spec": {"fleet": "other"}}
    bad = {"metadata": {"name": "b", "namespace": "shop"}, "spec": {"fleet": "chat"},
           "status": {"phase": "Sideways"}}  # fmt: skip
    restored = restore([good, bad], fleet=FLEET)
    assert restored.cases == ()
    assert len(restored.unreadable) == 1
    assert "shop/b" in restored.unreadable[0]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({}, {"a": 1}),
        ({"a": 1, "b": {"c": 1, "d": 2}}, {"b": {"c": 3}}),
        ({"a": [1, {"b": 2}]}, {"a": [1]}),
        ({"a": {"b": 1}}, {"a": 5}),
        ({"a": 5}, {"a": {"b": {"c": 1}}}),
    ],
)
def test_a_merge_patch_makes_the_new_of_the_old(old, new):
    assert merged(old, merge_of(old, new)) == new
    assert merge_of(new, new) == {}
