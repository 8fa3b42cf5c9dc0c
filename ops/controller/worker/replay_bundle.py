"""A Replay of an incident's bundle: the same question, so the same ranking, and a page of it."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from pathlib import Path

from ops.bundle import MANIFEST
from ops.catalogue import Catalogue
from ops.controller.worker.diagnose import forecaster_of
from ops.controller.worker.incident_bundle import Recording, read_recording
from ops.controller.worker.live_report import Watched, live_report
from ops.controller.worker.page_size import fitted_page, short_markdown
from ops.controller.worker_link.wire import (
    CheckResult,
    FleetPlace,
    ReplayAnswer,
    ReplayCheck,
    ReplayRequest,
    ReportRequest,
    Window,
)
from ops.errors import BundleError
from ops.ranking import ranking_sha256
from ops.reports import RunReport
from ops.reports.sentence import headline
from ops.state import Decision, DecisionKind, Incident, IncidentPhase
from rca.state import RcaResult

NAMED_MAX = 5  # other bundles that a message tells of


def replay_bundle(request: ReplayRequest, root: Path) -> ReplayAnswer:
    """Ask the question of an incident's bundle once more.

    Args:
        root: folder of the worker's bundles.

    Raises:
        BundleError, MetricsTextError: there is no bundle that can be read.
        RcaError: its metrics cannot be compared, or its model is not installed.
    """
    folder = root / request.namespace / request.incident
    if not (folder / MANIFEST).is_file():
        raise BundleError(
            f"no bundle of Incident {request.namespace}/{request.incident} is on the worker's "
            f"volume ({folder}): see condition Recorded of that Incident; there are bundles of "
            f"{_kept(folder.parent)}"
        )
    recording = read_recording(folder)
    question = recording.question
    result = question.answer(forecaster_of(question.granger))
    sha256 = ranking_sha256(result)
    wanted = request.ranking_sha256 or recording.ranking_sha256
    report = _report(recording, result, request, folder)
    page, raw, _ = fitted_page(report)
    first = report.incidents[0] if report.incidents else None
    return ReplayAnswer(
        verdict=headline(first) if first is not None else _told(result),
        checks=tuple(_check(check, result, sha256, wanted) for check in request.checks),
        ranking_sha256=sha256,
        confidence=result.causes[0].confidence if result.causes else None,
        html_gzip=b64encode(raw).decode("ascii"),
        sha256=hashlib.sha256(page).hexdigest(),
        markdown=short_markdown(report),
    )


def _kept(folder: Path) -> str:
    """Incidents that could be named instead, newest last as their names tell the time."""
    names = sorted(path.parent.name for path in folder.glob(f"[!.]*/{MANIFEST}"))
    return ", ".join(names[-NAMED_MAX:]) or "no incident of this namespace"


def _report(
    recording: Recording, result: RcaResult, request: ReplayRequest, folder: Path
) -> RunReport:
    """The page as it could be made at the moment of the diagnosis."""
    question, origin = recording.question, recording.origin
    named = not result.abstained and bool(result.causes)
    incident = Incident(
        incident_id=request.incident,
        phase=IncidentPhase.DIAGNOSED if named else IncidentPhase.OPEN,
        symptom=question.symptom,
        began_at_s=question.symptom.began_at_s,
        detected_at_s=question.symptom.detected_at_s,
        diagnosed_at_s=question.now_s if named else None,
        result=result,
    )
    decision = Decision(
        at_s=question.now_s,
        kind=DecisionKind.DIAGNOSE if named else DecisionKind.ABSTAIN,
        incident_id=request.incident,
        reason=result.reason,
        incident=incident,
    )
    asked = ReportRequest(
        place=FleetPlace(
            namespace=origin.namespace,
            fleet=origin.fleet,
            endpoint=origin.endpoint or "default",
            cluster=origin.cluster,
        ),
        window=Window(
            start_s=float(question.frame.times_s[0]), end_s=float(question.frame.times_s[-1])
        ),
        incident=request.incident,
        decisions=(decision,),
        changes=question.changes,
        events=question.events,
        slos=recording.slos,
        now_s=question.now_s,
        seed=question.seed,
    )
    watched = Watched(
        frame=question.frame, bundle=str(folder), ranking_sha256=ranking_sha256(result)
    )
    return live_report(asked, watched, Catalogue.load())


def _check(check: ReplayCheck, result: RcaResult, sha256: str, wanted: str) -> CheckResult:
    match check:
        case ReplayCheck.SAME_RANKING:
            same = sha256 == wanted
            text = f"ranking {sha256[:12]}" + ("" if same else f", expected {wanted[:12]}")
            return CheckResult(check=check, passed=same, message=text)
        case ReplayCheck.CAUSE_NAMED:
            named = not result.abstained and bool(result.causes)
            return CheckResult(check=check, passed=named, message=_told(result))
        case ReplayCheck.NO_INCIDENT:
            text = "a bundle is a recorded incident: this check is for scenarios"
            return CheckResult(check=check, passed=False, message=text)


def _told(result: RcaResult) -> str:
    if result.abstained or not result.causes:
        return f"The cause cannot be told: {result.reason}."
    first = result.causes[0]
    return f"{first.entity}, {first.resource_class}, confidence {first.confidence:.2f}."
