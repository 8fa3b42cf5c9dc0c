"""Questions of tests to a worker: who is to blame in a small fleet, and the page of the answer."""

from __future__ import annotations

from ops.controller.worker.settings import PrometheusAddress, WorkerSettings
from ops.controller.worker_link.wire import DiagnoseRequest, FleetPlace, ReportRequest, Window
from ops.state import Decision, DecisionKind, Incident, IncidentPhase, SloTarget
from rca.granger_kind import GrangerChoice
from rca.state import Symptom
from tests.ops.controller.live_worker import T0, pods_of

END = T0 + 745.0
SYMPTOM = Symptom(
    region="eu", slo_class="chat", began_at_s=T0 + 600, detected_at_s=T0 + 630, bad_ratio=0.35,
    reason="latency",
)  # fmt: skip
SLOS = (SloTarget(name="chat", ttft_s=2.0, tpot_s=0.2),)


def settings_of(fake, **more):
    return WorkerSettings(
        endpoints={"default": PrometheusAddress(url=fake.url)}, granger=GrangerChoice.LINEAR, **more
    )


def question(frame, **more):
    given = {
        "place": FleetPlace(namespace="shop", fleet="chat"),
        "window": Window(start_s=T0, end_s=END, step_s=5.0),
        "symptom": SYMPTOM,
        "incident": "chat-1",
        "pods": pods_of(frame),
        "slos": SLOS,
        "now_s": END,
        "seed": 3,
    }
    return DiagnoseRequest(**(given | more))


def journal(answer):
    incident = Incident(
        incident_id="inc-0001", phase=IncidentPhase.DIAGNOSED, symptom=SYMPTOM,
        began_at_s=SYMPTOM.began_at_s, detected_at_s=SYMPTOM.detected_at_s, diagnosed_at_s=END,
        result=answer.result,
    )  # fmt: skip
    return (
        Decision(at_s=END, kind=DecisionKind.DIAGNOSE, incident_id="inc-0001", reason="x",
                 incident=incident),
    )  # fmt: skip


def report_of(frame, answer, **more):
    given = {
        "place": FleetPlace(namespace="shop", fleet="chat", cluster="prod"),
        "window": Window(start_s=T0, end_s=END, step_s=5.0),
        "incident": "chat-1",
        "decisions": journal(answer),
        "pods": pods_of(frame),
        "slos": SLOS,
        "now_s": END,
        "ranking_sha256": answer.ranking_sha256,
    }
    return ReportRequest(**(given | more))
