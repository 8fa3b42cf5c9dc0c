"""From a request to a ranking: read the window, find who calls whom, ask `rca`, remember.

What cannot be read ends in an abstention that says so. Nobody is accused from missing data.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from dataclasses import dataclass, replace

from ops.adapters.prometheus_frame import FrameReading
from ops.clock import moment_text, monotonic_s
from ops.controller.worker.pace import Pace, Timed, warm_up
from ops.controller.worker.question import (
    Question,
    settled_changes,
    settled_events,
    settled_shown,
    settled_symptom,
)
from ops.controller.worker.settings import WorkerSettings
from ops.controller.worker.window import WindowReader, canonical, facts_of, newest_sample_s
from ops.controller.worker_link.wire import DiagnoseAnswer, DiagnoseRequest, FleetPlace, FrameFacts
from ops.encode import FLOAT_DIGITS
from ops.errors import PrometheusError
from ops.ranking import ranking_sha256
from ops.state import PodRecord
from ops.topology import discover
from rca.errors import RcaError
from rca.forecasters import Forecaster, NoForecaster
from rca.granger_choice import choose, resolve
from rca.granger_kind import GrangerChoice
from rca.state import RcaResult
from rca.verdict import LEADS

logger = logging.getLogger(__name__)

STALE_ROWS, STALE_S = 3, 45.0  # the newest sample may be older than the end by the larger of both
QUESTIONS_MAX = 32  # that are kept for the bundles of their incidents
CELLS_MAX = 2**24  # of their frames: 128 MB


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosed:
    """A question with its answer."""

    question: Question
    result: RcaResult
    sha256: str


class WindowDiagnoser:
    """Answers questions, one at a time, and keeps the newest with their answers."""

    def __init__(self, settings: WorkerSettings, window: WindowReader) -> None:
        """Choose the model of what leads what, and use it once: torch is loaded now."""
        self._window = window
        choice, why = resolve(settings.granger)
        logger.info("granger model=%s why=%r", choice, why)
        self.granger = str(choice)
        self._pace = Pace() if settings.granger is GrangerChoice.AUTO else None
        warm_up(forecaster_of(self.granger))
        self._kept: OrderedDict[tuple[str, str, str], Diagnosed] = OrderedDict()

    def diagnose(self, request: DiagnoseRequest) -> DiagnoseAnswer:
        """Answer; never raises for metrics that are missing, stale or nonsense."""
        stages: dict[str, float] = {}
        began_s = monotonic_s()
        try:
            reading = self._read(request)
        except PrometheusError as error:
            logger.warning("window not read incident=%s error=%s", request.incident, error)
            return self._answer(request, _unread(request, str(error)), FrameFacts(), stages)
        finally:
            stages["read"] = monotonic_s() - began_s
        frame = canonical(reading.frame)
        facts = facts_of(frame, reading.notes)
        stale = _stale(request, reading)
        if stale:
            return self._answer(request, _unread(request, stale), facts, stages)
        began_s = monotonic_s()
        granger, why = self._affordable()
        question = Question(
            frame=frame,
            symptom=settled_symptom(request.symptom),
            topology=discover(frame, _of_frame(request.pods)),
            changes=settled_changes(request.changes),
            events=settled_events(request.events),
            now_s=round(request.now_s, FLOAT_DIGITS),
            seed=request.seed,
            granger=granger,
            shown=() if request.cluster_stale else settled_shown(request.pods, request.nodes),
        )
        forecaster = Timed(forecaster_of(granger))
        try:
            result = question.answer(forecaster)
        except RcaError as error:
            logger.exception("diagnosis failed incident=%s", request.incident)
            result = _unread(request, f"the metrics cannot be compared: {error}")
        if self._pace is not None and granger == GrangerChoice.NEURAL:
            self._pace.took(forecaster.seconds)
        if why:
            result = replace(
                result, checked=(*result.checked, f"{LEADS}the linear model, as {why}")
            )
        stages["diagnose"] = monotonic_s() - began_s
        stages["granger"] = forecaster.seconds
        logger.info(
            "diagnosed fleet=%s/%s incident=%s granger=%s %s", request.place.namespace,
            request.place.fleet, request.incident, granger,
            " ".join(f"{name}={seconds:.2f}s" for name, seconds in stages.items()),
        )  # fmt: skip
        answer = self._answer(request, result, facts, stages)
        self._keep(
            request.place,
            Diagnosed(question=question, result=result, sha256=answer.ranking_sha256),
        )
        return answer

    def _affordable(self) -> tuple[str, str]:
        """The model of this diagnosis, and why it is not the usual one."""
        if self._pace is None or self.granger != GrangerChoice.NEURAL:
            return self.granger, ""
        choice, why = self._pace.afford()
        return str(choice), why

    def answered(self, place: FleetPlace, sha256: str) -> Diagnosed | None:
        """The question of a fleet that was answered with this ranking, None where it is gone."""
        return self._kept.get((place.namespace, place.fleet, sha256))

    def _read(self, request: DiagnoseRequest) -> FrameReading:
        return self._window.read(
            request.place,
            request.window,
            region=home_region(request.pods, request.symptom.region),
            pods=request.pods,
            nodes=request.nodes,
        )

    def _answer(
        self,
        request: DiagnoseRequest,
        result: RcaResult,
        facts: FrameFacts,
        stages: dict[str, float],
    ) -> DiagnoseAnswer:
        return DiagnoseAnswer(
            result=result,
            ranking_sha256=ranking_sha256(result),
            incident=request.incident,
            seed=request.seed,
            frame=facts,
            stages_s={name: round(value, 4) for name, value in stages.items()},
        )

    def _keep(self, place: FleetPlace, diagnosed: Diagnosed) -> None:
        # By its ranking, not by its Incident: the first question comes before there is one.
        key = (place.namespace, place.fleet, diagnosed.sha256)
        self._kept.pop(key, None)
        self._kept[key] = diagnosed
        cells = sum(one.question.frame.values.size for one in self._kept.values())
        while len(self._kept) > QUESTIONS_MAX or (cells > CELLS_MAX and len(self._kept) > 1):
            _, gone = self._kept.popitem(last=False)
            cells -= gone.question.frame.values.size


def forecaster_of(name: str) -> Forecaster:
    """The model of that name.

    Raises:
        ModelError: it needs torch, which is not installed.
        ValueError: no such model.
    """
    return choose(GrangerChoice(name)) or NoForecaster()


def home_region(pods: tuple[PodRecord, ...], otherwise: str) -> str:
    """Region of what names none: that of all pods where they share one."""
    regions = {pod.region for pod in pods}
    return regions.pop() if len(regions) == 1 else otherwise


def _of_frame(pods: tuple[PodRecord, ...]) -> tuple[PodRecord, ...]:
    """In an order of their own, so that the order of a watch decides nothing."""
    return tuple(sorted(pods, key=lambda pod: pod.name))


def _stale(request: DiagnoseRequest, reading: FrameReading) -> str:
    """Why the window says nothing of now; empty where it does."""
    newest_s = newest_sample_s(reading.frame)
    if newest_s is None:
        return "no sample was stored in the window"
    limit_s = max(STALE_ROWS * reading.frame.step_s, STALE_S)
    age_s = request.window.end_s - newest_s
    if age_s <= limit_s:
        return ""
    return f"the newest sample is of {moment_text(newest_s)}, {age_s:.0f} s before the end"


def _unread(request: DiagnoseRequest, reason: str) -> RcaResult:
    return RcaResult(
        began_at_s=request.symptom.began_at_s,
        causes=(),
        abstained=True,
        reason=f"the metrics say nothing: {reason}",
        checked=(),
        missing=(f"metrics of endpoint {request.place.endpoint} for namespace "
                 f"{request.place.namespace}",),
    )  # fmt: skip
