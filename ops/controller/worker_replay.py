"""Replays: a bundle asked again (open loop), or a scenario simulated anew (closed loop)."""

from __future__ import annotations

import asyncio

from ops.clock import monotonic_s
from ops.controller.incident_bundle import BundleStore, read_recording
from ops.controller.worker_diagnose import forecaster_of
from ops.controller.worker_wire import CheckResult, ReplayAnswer, ReplayCheck, ReplayRequest
from ops.errors import OpsError
from ops.ranking import ranking_sha256
from rca.errors import RcaError
from rca.state import RcaResult


class Replayer:
    """Runs replays one after the other, beside the diagnoses."""

    def __init__(self, bundles: BundleStore | None, *, granger: str, limit_s: float) -> None:
        """Use the bundles of the worker; `limit_s` ends a replay."""
        self._bundles, self._granger, self._limit_s = bundles, granger, limit_s
        self._one = asyncio.Lock()

    async def replay(self, request: ReplayRequest) -> ReplayAnswer:
        """Run it; what cannot be run is an answer that says why."""
        began_s = monotonic_s()
        async with self._one:
            if request.scenario:
                return _failed("replays of scenarios are not available yet")
            answer = await asyncio.to_thread(self._bundle, request)
        took_s = round(monotonic_s() - began_s, 3)
        return answer if answer.failed else _timed(answer, took_s)

    def _bundle(self, request: ReplayRequest) -> ReplayAnswer:
        if self._bundles is None:
            return _failed("the worker has no bundleDir, so no incident was recorded")
        folder = self._bundles.path(request.namespace, request.incident)
        try:
            recording = read_recording(folder)
            result = recording.question.answer(forecaster_of(recording.question.granger))
        except (OpsError, RcaError) as error:
            return _failed(str(error))
        sha256 = ranking_sha256(result)
        wanted = request.ranking_sha256 or recording.ranking_sha256
        checks = tuple(_check(check, result, sha256, wanted) for check in request.checks)
        return ReplayAnswer(verdict=_verdict(result), checks=checks, ranking_sha256=sha256)


def _check(check: ReplayCheck, result: RcaResult, sha256: str, wanted: str) -> CheckResult:
    named = not result.abstained and bool(result.causes)
    match check:
        case ReplayCheck.SAME_RANKING:
            same = sha256 == wanted
            text = f"ranking {sha256[:12]}" + ("" if same else f", expected {wanted[:12]}")
            return CheckResult(check=check, passed=same, message=text)
        case ReplayCheck.CAUSE_NAMED:
            return CheckResult(check=check, passed=named, message=_verdict(result))
        case ReplayCheck.NO_INCIDENT:
            text = "a bundle is a recorded incident: this check is for scenarios"
            return CheckResult(check=check, passed=False, message=text)


def _verdict(result: RcaResult) -> str:
    if result.abstained or not result.causes:
        return f"The cause cannot be told: {result.reason}."
    first = result.causes[0]
    return f"{first.entity}, {first.resource_class}, confidence {first.confidence:.2f}."


def _failed(reason: str) -> ReplayAnswer:
    return ReplayAnswer(verdict=f"Not replayed: {reason}.", failed=reason)


def _timed(answer: ReplayAnswer, took_s: float) -> ReplayAnswer:
    return ReplayAnswer(
        verdict=answer.verdict,
        checks=answer.checks,
        ranking_sha256=answer.ranking_sha256,
        html_gzip=answer.html_gzip,
        sha256=answer.sha256,
        markdown=answer.markdown,
        stages_s={**answer.stages_s, "all": took_s},
    )
