"""A page that is made after the operator's restart shows no less than one from before it."""

from __future__ import annotations

from dataclasses import fields, replace

import orjson
import pytest

from ops.catalogue import Catalogue
from ops.controller.incidents.book import IncidentBook
from ops.controller.incidents.causes import series_back
from ops.controller.incidents.journal import journal_of
from ops.controller.incidents.objects import incident_body
from ops.controller.incidents.restore import restore
from ops.controller.incidents.status import RESTORED, incident_status
from ops.controller.resources.fields import to_object
from ops.controller.worker.live_report import Watched, live_report
from ops.encode import to_plain
from ops.reports.sentence import confidence_text
from ops.state import Action, ActionKind, Decision, DecisionKind
from rca.state import Entity, EntityKind, Series
from tests.ops.controller.test_incident_writer import FLEET
from tests.ops.controller.test_live_report import END, frame, request_  # noqa: F401

BACK = Action(
    action_id="", kind=ActionKind.SCALE_OUT, target=Entity(EntityKind.SERVICE, "eu", "llm"),
    params={"add": 2.0}, reason="more load", undo="take them away again",
    command="kubectl --context eu scale deployment/llm --replicas 5",
)  # fmt: skip


def restarted(request):
    """The same question after a restart: everything that is known comes from the object."""
    incident = request.decisions[-1].incident
    status = incident_status(
        incident, keys=(("eu", "chat"),), decisions=request.decisions, now_s=END, namespace="shop"
    )
    body = incident_body(request.incident, incident, FLEET)
    stored = orjson.loads(orjson.dumps({**body, "status": to_object(status)}))
    book = IncidentBook(FLEET)
    book.adopt(restore([stored], fleet=FLEET))
    (entry,) = book.entries.values()
    return replace(request, decisions=tuple(entry.decisions)), entry


def pages(frame, request):  # noqa: F811
    watched, catalogue = Watched(frame=frame), Catalogue.load()
    after, _ = restarted(request)
    for one in (request, after):
        (incident,) = live_report(one, watched, catalogue).incidents
        yield incident


def test_the_page_after_a_restart_is_the_page_from_before(frame, request_):  # noqa: F811
    more = Decision(
        at_s=END - 50.0, kind=DecisionKind.REFUSE, incident_id="inc-0001", action=BACK,
        reason="scaling needs budgets.replicasMax", incident=request_.decisions[-1].incident,
    )  # fmt: skip
    request = replace(request_, decisions=(*request_.decisions, more))
    before, after = pages(frame, request)
    # Two decimals are kept, and shown.
    assert confidence_text(after.cause.confidence) == confidence_text(before.cause.confidence)
    after = replace(after, cause=replace(after.cause, confidence=before.cause.confidence),
                    checked=tuple(text for text in after.checked if text != RESTORED))  # fmt: skip
    for one in fields(before):
        old, new = getattr(before, one.name), getattr(after, one.name)
        assert repr(new) == repr(old), one.name  # a sample that was not taken is NaN


def test_a_restart_alone_changes_nothing_of_the_object_that_screens_and_exports_show(
    request_,  # noqa: F811
):
    _, entry = restarted(request_)
    book = IncidentBook(FLEET)
    book.entries = {"inc-0001": entry}
    book.take([replace(entry.case, firing=frozenset({"moved"}))], (), now_s=END + 60.0)
    assert replace(entry.wanted, firing_digests="") == entry.stored  # else made anew, as it was


def test_what_is_recommended_keeps_what_it_takes_and_the_servers_word(request_):  # noqa: F811
    answered = Decision(
        at_s=END, kind=DecisionKind.REFUSE, incident_id="inc-0001", action=BACK, reason="dry run",
        incident=request_.decisions[-1].incident, details={"dry_run": "accepted", "patch": "{}"},
    )  # fmt: skip
    after, _ = restarted(replace(request_, decisions=(*request_.decisions, answered)))
    said = [d for d in after.decisions if d.action and d.action.kind is ActionKind.SCALE_OUT]
    (told,) = said
    assert told.action.params == BACK.params
    assert (told.reason, told.details) == ("dry run", answered.details)


def test_an_object_of_an_earlier_release_has_no_action_that_a_page_could_not_show(
    request_,  # noqa: F811
):
    after, entry = restarted(request_)
    status = entry.stored
    bare = replace(status.actions[0], kind="scale-out", params="")
    odd = replace(status.actions[0], kind="reboot-universe")
    found = journal_of(entry.case.incident, replace(status, actions=[bare, odd, *status.actions]))
    assert len([d for d in found if d.action]) == len(status.actions)
    assert [d.kind for d in after.decisions][:2] == [DecisionKind.OPEN, DecisionKind.DIAGNOSE]


@pytest.mark.parametrize(
    "series",
    [Series("up"), Series("a:b", (("pod", "x-0"), ("le", "+Inf"))), Series("q", (("a", ""),))],
)
def test_a_series_is_read_back(series):
    assert series_back(str(to_plain(series))) == series


@pytest.mark.parametrize("text", ["", 'cut{pod="x...', "9x", 'q{a="b"c="d"}', 'q{a="b","}'])
def test_a_series_that_cannot_be_told_for_sure_is_none(text):
    assert series_back(text) is None
