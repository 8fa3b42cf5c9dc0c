"""The pages of an incident, small enough for a ConfigMap, and its bundle."""

from __future__ import annotations

import hashlib
import logging
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from ops.catalogue import Catalogue
from ops.clock import monotonic_s
from ops.controller.incidents.status import RESTORED
from ops.controller.worker.diagnose import Diagnosed, WindowDiagnoser, forecaster_of, home_region
from ops.controller.worker.incident_bundle import BundleStore, Origin, read_recording
from ops.controller.worker.live_report import Watched, live_report, newest
from ops.controller.worker.page_size import fitted_page, short_markdown
from ops.controller.worker.window import WindowReader, canonical
from ops.controller.worker_link.wire import (
    RecordedAs,
    ReportAnswer,
    ReportRequest,
)
from ops.errors import BundleError, MetricsTextError, OpsError, PrometheusError
from ops.ranking import ranking_sha256
from ops.reports.sentence import headline
from ops.state import Decision, IncidentPhase
from rca.errors import RcaError
from rca.state import MetricFrame, RcaResult

T = TypeVar("T")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What became of the bundle."""

    reason: RecordedAs
    message: str
    bundle: str = ""
    ranking_sha256: str = ""


class Reporter:
    """Makes reports. Used by one thread."""

    def __init__(
        self,
        *,
        window: WindowReader,
        diagnoser: WindowDiagnoser,
        catalogue: Catalogue,
        bundles: BundleStore | None,
    ) -> None:
        """Use what is given; no bundle is written without a store."""
        self._window, self._diagnoser = window, diagnoser
        self._catalogue, self._bundles = catalogue, bundles

    def report(self, request: ReportRequest) -> ReportAnswer:
        """The page as it stands now. Metrics that cannot be read leave their place empty."""
        stages: dict[str, float] = {}
        recorded = with_time(stages, "record", lambda: self._record(request))
        frame, note = with_time(stages, "read", lambda: self._frame(request))
        watched = Watched(
            frame=frame, bundle=recorded.bundle, ranking_sha256=recorded.ranking_sha256
        )
        whole = with_time(stages, "again", lambda: self._whole(request))
        report = live_report(whole, watched, self._catalogue)
        if note:
            report = replace(report, versions=(*report.versions, ("Metrics missing", note)))
        page, raw, dropped = with_time(stages, "render", lambda: fitted_page(report))
        incident = report.incidents[-1] if report.incidents else None
        return ReportAnswer(
            html_gzip=b64encode(raw).decode("ascii"),
            markdown=short_markdown(report),
            sha256=hashlib.sha256(page).hexdigest(),
            headline=headline(incident) if incident else "",
            dropped=dropped,
            bundle=recorded.bundle,
            recorded=recorded.reason,
            recorded_message=recorded.message,
            stages_s={name: round(value, 4) for name, value in stages.items()},
        )

    def _frame(self, request: ReportRequest) -> tuple[MetricFrame, str]:
        try:
            reading = self._window.read(
                request.place,
                request.window,
                region=home_region(request.pods, _region(request)),
                pods=request.pods,
            )
        except PrometheusError as error:
            logger.warning("report without metrics incident=%s error=%s", request.incident, error)
            kept = self._diagnoser.answered(request.place, request.ranking_sha256)
            empty = MetricFrame(
                times_s=np.empty(0), values=np.empty((0, 0)), series=(), roles=(), step_s=5.0
            )
            return (kept.question.frame if kept else empty), f"not read at the end: {error}"
        return canonical(reading.frame), ""

    def _whole(self, request: ReportRequest) -> ReportRequest:
        """The request with the full ranking where an operator only read its record back.

        An Incident keeps sentences, no series. What was diagnosed is still here or on the volume,
        and gives the same ranking; where it is gone the page shows what the object holds.
        """
        if not any(_read_back(d) for d in request.decisions):
            return request
        result = self._result(request)
        if result is None:
            return request
        decisions = tuple(
            replace(d, incident=replace(d.incident, result=result))
            if d.incident is not None and _read_back(d)
            else d
            for d in request.decisions
        )
        return replace(request, decisions=decisions)

    def _result(self, request: ReportRequest) -> RcaResult | None:
        place, sha256 = request.place, request.ranking_sha256
        kept = self._diagnoser.answered(place, sha256)
        if kept is not None:
            return kept.result
        if (
            self._bundles is None
            or self._bundles.ranking_of(place.namespace, request.incident) != sha256
        ):
            return None
        try:
            recording = read_recording(self._bundles.path(place.namespace, request.incident))
            question = recording.question
            result = question.answer(forecaster_of(question.granger))
        except (OpsError, RcaError) as error:
            logger.warning("bundle not read incident=%s error=%s", request.incident, error)
            return None
        return result if ranking_sha256(result) == sha256 else None

    def _record(self, request: ReportRequest) -> Recorded:
        if self._bundles is None:
            return Recorded(
                reason=RecordedAs.NO_VOLUME,
                message="the worker has no bundleDir: mount a volume and name it in its settings",
            )
        kept = self._diagnoser.answered(request.place, request.ranking_sha256)
        if not request.ranking_sha256:
            return Recorded(reason=RecordedAs.NOT_DIAGNOSED, message="no ranking to record yet")
        if kept is None or self._unchanged(request):
            return self._recorded_before(request)
        return self._write(request, kept)

    def _unchanged(self, request: ReportRequest) -> bool:
        """Whether the bundle holds this ranking, and the journal is not at its end yet."""
        assert self._bundles is not None
        last = newest(request.decisions)
        ended = last is not None and last.phase is IncidentPhase.RESOLVED
        known = self._bundles.ranking_of(request.place.namespace, request.incident)
        return known == request.ranking_sha256 and not ended

    def _write(self, request: ReportRequest, kept: Diagnosed) -> Recorded:
        assert self._bundles is not None
        try:
            path = self._bundles.write(
                _origin(request),
                kept.question,
                ranking_sha256=kept.sha256,
                decisions=request.decisions,
                alerts=request.alerts,
                slos=request.slos,
            )
        except (BundleError, MetricsTextError) as error:
            logger.warning("bundle not written incident=%s error=%s", request.incident, error)
            return Recorded(reason=RecordedAs.FAILED, message=str(error))
        return _written(str(path), kept.sha256)

    def _recorded_before(self, request: ReportRequest) -> Recorded:
        """After a restart of the worker the volume may hold the bundle already."""
        assert self._bundles is not None
        known = self._bundles.ranking_of(request.place.namespace, request.incident)
        if known == request.ranking_sha256:
            path = self._bundles.path(request.place.namespace, request.incident)
            return _written(str(path), known)
        return Recorded(
            reason=RecordedAs.READ_AGAIN,
            message="the worker no longer holds what it diagnosed (it was restarted, or answered "
            "another question since); what it would read now is not what the ranking came from",
        )


def with_time(stages: dict[str, float], name: str, work: Callable[[], T]) -> T:
    """Do `work` and note how long it took."""
    began_s = monotonic_s()
    try:
        return work()
    finally:
        stages[name] = monotonic_s() - began_s


def _read_back(decision: Decision) -> bool:
    """Whether a decision's ranking comes from an Incident object."""
    incident = decision.incident
    return (
        incident is not None
        and incident.result is not None
        and (RESTORED in incident.result.checked)
    )


def _region(request: ReportRequest) -> str:
    found = [d.incident.symptom.region for d in request.decisions if d.incident is not None]
    return found[-1] if found else "default"


def _origin(request: ReportRequest) -> Origin:
    place = request.place
    return Origin(
        namespace=place.namespace,
        fleet=place.fleet,
        incident=request.incident,
        cluster=place.cluster,
        endpoint=place.endpoint,
    )


def _written(path: str, sha256: str) -> Recorded:
    return Recorded(
        reason=RecordedAs.BUNDLE_WRITTEN,
        message=f"{path}; midwatch incident diagnose gives ranking {sha256[:12]} again",
        bundle=path,
        ranking_sha256=sha256,
    )
