"""Pages that wait for an object which never comes do not pile up."""

from __future__ import annotations

from concurrent.futures import Future
from itertools import pairwise
from types import SimpleNamespace

import pytest

from ops.controller.fleet.reporting import (
    FAILURES_MAX,
    SETTLE_S,
    WANTED_MAX,
    WANTED_S_MAX,
    ReportQueue,
)
from ops.controller.fleet.tick import NO_FRAME
from ops.controller.resources.fleet import FleetSpec
from ops.controller.worker_link.wire import FleetPlace, ReportAnswer
from ops.errors import WorkerAwayError, WorkerBusyError, WorkerError
from ops.state import (
    Decision,
    DecisionKind,
    Incident,
    IncidentPhase,
    ServiceRecord,
    Snapshot,
)
from rca.state import Symptom

SYMPTOM = Symptom(
    region="eu", slo_class="chat", began_at_s=0.0, detected_at_s=1.0, bad_ratio=0.3,
    reason="latency",
)  # fmt: skip


SEEN = Snapshot(now_s=2000.0, frame=NO_FRAME, pods=(), nodes=(), services=(), changes=(),
                events=(), slos=())  # fmt: skip


def turned(number):
    name = f"inc-{number:04d}"
    incident = Incident(
        incident_id=name, phase=IncidentPhase.OPEN, symptom=SYMPTOM, began_at_s=0.0,
        detected_at_s=1.0,
    )  # fmt: skip
    return Decision(
        at_s=1.0, kind=DecisionKind.ABSTAIN, incident_id=name, reason="x", incident=incident
    )


def test_pages_of_incidents_without_an_object_are_given_up():
    now = [0.0]
    one = ReportQueue(
        place=None, ask=None, wake=lambda: None, entry_of=lambda _: None, clock=lambda: now[0]
    )
    for number in range(WANTED_MAX + 50):
        now[0] += 1.0
        one.note([turned(number)], ())
    assert len(one._wanted) == WANTED_MAX
    assert "inc-0000" not in one._wanted  # the oldest went
    now[0] += WANTED_S_MAX + SETTLE_S + 1.0
    one.note([turned(9999)], ())
    assert list(one._wanted) == ["inc-9999"]


def test_a_page_is_asked_for_with_what_its_commands_need():
    """Pods and Deployments that are there: nothing else may be offered."""
    asked, now = [], [0.0]
    one = ReportQueue(
        place=lambda spec: FleetPlace(namespace="shop", fleet="chat"),
        ask=lambda request, wake: asked.append(request) or Future(), wake=lambda: None,
        entry_of=lambda _: SimpleNamespace(name="chat-1", decisions=(), wanted=None),
        clock=lambda: now[0],
    )  # fmt: skip
    web = ServiceRecord(region="eu", service="web", replicas=1, ready_replicas=1, revision="3")
    seen = Snapshot(now_s=2000.0, frame=NO_FRAME, pods=(), nodes=(), services=(web,), changes=(),
                    events=(), slos=())  # fmt: skip
    one.note([turned(1)], ())
    now[0] += SETTLE_S
    one.turn(seen, FleetSpec())
    assert asked[0].services == (web,)


def asking(now, futures):
    """A queue whose questions wait for an answer in `futures`."""
    return ReportQueue(
        place=lambda spec: FleetPlace(namespace="shop", fleet="chat"),
        ask=lambda request, wake: futures.append(Future()) or futures[-1], wake=lambda: None,
        entry_of=lambda _: SimpleNamespace(name="chat-1", decisions=(), wanted=None),
        clock=lambda: now[0],
    )  # fmt: skip


def test_a_worker_that_was_away_for_a_moment_is_asked_again_soon_and_later_rarely():
    futures, now, asked_s = [], [0.0], []
    one = asking(now, futures)
    one.note([turned(1)], ())
    while now[0] < 1.5 * 86_400.0:
        now[0] += 10.0 if now[0] < 500.0 else 120.0
        one.turn(SEEN, FleetSpec())
        if futures and not futures[-1].done():
            asked_s.append(now[0])
            futures[-1].set_exception(WorkerAwayError("connection refused"))
            one.turn(SEEN, FleetSpec())
    pauses_s = [later - sooner for sooner, later in pairwise(asked_s)]
    assert pauses_s[:6] == [10.0, 20.0, 40.0, 80.0, 120.0, 120.0]
    assert max(pauses_s) <= 240.0
    one.note([turned(1)], ())  # it has turned: no reason to wait as long as before
    now[0] += SETTLE_S
    one.turn(SEEN, FleetSpec())
    assert not futures[-1].done()


@pytest.mark.parametrize(
    ("error", "kept"),
    [
        (WorkerAwayError("connection refused"), True),
        (WorkerBusyError("503", retry_after_s=5.0), True),
        (WorkerError("500: a fault"), False),
    ],
)
def test_a_page_waits_for_a_worker_that_is_away_and_not_for_one_that_fails(error, kept):
    futures, now = [], [0.0]
    one = asking(now, futures)
    one.note([turned(1)], ())
    for _ in range(3 * FAILURES_MAX):  # an hour of them
        now[0] += 150.0
        one.turn(SEEN, FleetSpec())
        if futures and not futures[-1].done():
            futures[-1].set_exception(error)
        one.turn(SEEN, FleetSpec())
    now[0] += 150.0
    one.turn(SEEN, FleetSpec())
    page = ReportAnswer(html_gzip="", markdown="", sha256="")
    if not futures[-1].done():
        futures[-1].set_result(page)
    assert (one.turn(SEEN, FleetSpec()) == ("inc-0001", page)) is kept
