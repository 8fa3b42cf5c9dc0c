"""Pages that wait for an object which never comes do not pile up."""

from __future__ import annotations

from ops.controller.fleet.reporting import SETTLE_S, WANTED_MAX, WANTED_S_MAX, ReportQueue
from ops.state import Decision, DecisionKind, Incident, IncidentPhase
from rca.state import Symptom

SYMPTOM = Symptom(
    region="eu", slo_class="chat", began_at_s=0.0, detected_at_s=1.0, bad_ratio=0.3,
    reason="latency",
)  # fmt: skip


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
