"""The record of incidents on a real server, with the rights of the shipped ServiceAccount."""

from __future__ import annotations

import gzip
from base64 import b64decode, b64encode

import pytest

from ops.adapters.kube.api import KubeApi
from ops.controller.incidents import writer as incident_writer
from ops.controller.incidents.book import IncidentBook
from ops.controller.incidents.restore import restore
from ops.controller.incidents.size import STATUS_BYTES_MAX, status_bytes
from ops.controller.incidents.writer import IncidentWriter
from ops.controller.listing import list_objects
from ops.controller.resources.fleet_object import FleetObject
from ops.controller.worker_link.wire import REPORT_GZIP_BYTES_MAX, RecordedAs, ReportAnswer
from ops.state import Action, ActionKind, DecisionKind
from rca.state import Entity, EntityKind
from tests.cluster.api import ApiError
from tests.cluster.installing import SYSTEM, body, path_of
from tests.cluster.processes import eventually
from tests.ops.controller.hostile import hostile_incident, hostile_refusals
from tests.ops.controller.test_incident_writer import ended, named, opened, said

pytestmark = pytest.mark.cluster
T0 = 1_795_000_000.25


@pytest.fixture
def fleet(installed, namespace):
    made = installed.admin.create(path_of("fleets", namespace), body("Fleet", "chat", {}))
    return FleetObject.of(made)


@pytest.fixture
def api(installed):
    config = installed.kubeconfig("operator", installed.token(SYSTEM, "midwatch-operator"))
    return KubeApi.connect(kubeconfig=config, timeout_s=30.0)


@pytest.fixture
def book(fleet):
    return IncidentBook(fleet)


@pytest.fixture
def turn(api, book):
    writer = IncidentWriter(api, book)

    def run(cases, *decisions, alerts=()):
        book.take(cases, decisions, alerts=alerts, now_s=T0 + 30)
        writer.flush(now_s=T0 + 30)
        assert writer.trouble == ""
        assert book.trouble == ""

    return run


def incidents(plane, namespace):
    return plane.admin.get(path_of("incidents", namespace))["items"]


def test_an_incident_from_its_first_symptom_to_its_report_and_back(
    installed, namespace, api, book, turn
):
    case = opened()
    turn([case], said(DecisionKind.OPEN, case))
    restart = Action(action_id="", kind=ActionKind.RESTART_POD, reason="it alone is slow",
                     target=Entity(EntityKind.POD, "eu", "llm-2"), undo="none needed")  # fmt: skip
    case = named(case)
    turn(
        [case],
        said(DecisionKind.DIAGNOSE, case),
        said(DecisionKind.REFUSE, case, "dry run", restart),
    )
    page = gzip.compress(b"<html>")
    large = b64encode(page + bytes(REPORT_GZIP_BYTES_MAX - len(page))).decode()
    for html in (large, b64encode(page).decode()):  # the largest one fits, a new one replaces it
        book.put_report(
            "inc-0001",
            ReportAnswer(html_gzip=html, markdown="# m", sha256="5" * 64, headline="llm-2 is slow.",
                         recorded=RecordedAs.NO_VOLUME, recorded_message="no bundleDir"),
        )  # fmt: skip
        turn([case])
    (stored,) = incidents(installed, namespace)
    status = stored["status"]
    assert (status["phase"], status["cause"], status["summary"]) == (
        "Diagnosed", "pod:eu/llm-2", "llm-2 is slow.",
    )  # fmt: skip
    assert status["actions"][0]["allowed"] is True
    maps = f"/api/v1/namespaces/{namespace}/configmaps/{status['report']['configMap']}"
    report = installed.admin.get(maps)
    assert gzip.decompress(b64decode(report["binaryData"]["report.html.gz"])) == b"<html>"
    name = stored["metadata"]["name"]
    shown = installed.kubectl("-n", namespace, "get", "inc").stdout.splitlines()
    assert max(map(len, shown)) <= 80, shown
    assert "pod:eu/llm-2" in shown[1]
    described = installed.kubectl("-n", namespace, "describe", "inc", name).stdout
    assert "RootCauseFound" in described
    assert "MitigationProposed" in described
    restored = restore(list_objects(api, "incidents", namespace=namespace), fleet=book.fleet)
    (back,) = restored.cases
    assert back.incident.symptom == case.incident.symptom  # a float survives the server exactly
    assert back.incident.phase is case.incident.phase
    again = IncidentBook(book.fleet)
    again.adopt(restored)
    again.take(restored.cases, (), now_s=T0 + 60)
    assert again.pending == 0
    turn([ended(case)], said(DecisionKind.RESOLVE, ended(case)))
    installed.admin.delete(path_of("incidents", namespace, stored["metadata"]["name"]))
    eventually(lambda: gone(installed, maps), what="the report goes, too")


def gone(plane, path):
    try:
        plane.admin.get(path)
    except ApiError as error:
        return error.status == 404
    return False


@pytest.mark.parametrize("text", ["x" * 9000, "\u2603" * 9000, "\"\\'<&" * 2000])
def test_the_server_takes_a_status_full_of_hostile_names(installed, namespace, turn, book, text):
    case = hostile_incident(text)
    turn([case], *hostile_refusals(case, text))
    (stored,) = incidents(installed, namespace)
    assert stored["status"]["causes"]
    assert status_bytes(book.entries["inc-0001"].wanted) <= STATUS_BYTES_MAX


def test_a_fleet_that_is_applied_again_after_its_deletion_has_a_record_of_its_own(
    installed, namespace, api, fleet, turn
):
    """The server collects the Incidents of the deleted one, a moment after the new one is there."""
    case, fleets = opened(), path_of("fleets", namespace)
    turn([case])
    installed.admin.delete(f"{fleets}/{fleet.name}")
    anew = FleetObject.of(installed.admin.create(fleets, body("Fleet", fleet.name, {})))
    restored = restore(list_objects(api, "incidents", namespace=namespace), fleet=anew)
    assert restored.records == ()
    book = IncidentBook(anew)
    book.adopt(restored)
    book.take([case], (), now_s=T0 + 40)
    IncidentWriter(api, book).flush(now_s=T0 + 40)

    def owners():
        found = incidents(installed, namespace)
        return [one["metadata"]["ownerReferences"][0]["uid"] for one in found]

    eventually(lambda: owners() == [anew.uid], what="the old ones are collected")
    (stored,) = incidents(installed, namespace)
    assert stored["metadata"]["name"] == book.name_of("inc-0001")
    assert stored["status"]["phase"] == "Open"


def test_the_oldest_resolved_ones_go_when_there_are_too_many(
    installed, namespace, turn, monkeypatch
):
    monkeypatch.setattr(incident_writer, "INCIDENTS_MAX", 3)
    cases = [opened(n, began_s=T0 + 60 * n) for n in range(1, 7)]
    turn(cases)
    assert len(incidents(installed, namespace)) == 6  # open ones always stay
    turn([*map(ended, cases[:4]), *cases[4:]])
    turn([*map(ended, cases[:4]), *cases[4:]])
    assert len(incidents(installed, namespace)) == 3


def test_an_object_of_another_process_is_taken_over_not_doubled(
    installed, namespace, turn, fleet, api
):
    turn([opened()])
    other = IncidentBook(fleet)
    other.take([named(opened())], (), now_s=T0 + 40)
    IncidentWriter(api, other).flush(now_s=T0 + 40)
    (stored,) = incidents(installed, namespace)
    assert stored["status"]["phase"] == "Diagnosed"
