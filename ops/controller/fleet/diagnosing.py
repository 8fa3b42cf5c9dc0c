"""The diagnoser of one fleet's loop: asks the worker, says "not yet" until the answer is there.

The loop asks again at every step, which costs nothing while a question is under way. A worker that
does not answer is asked again after a pause, for as long as the loop wants to know: the loop itself
says at its deadline that no diagnosis is there, and no retry is used up by an outage.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Protocol

from ops.clock import monotonic_s
from ops.controller.operator_metrics import OperatorMetrics
from ops.controller.worker_link.wire import DiagnoseAnswer, DiagnoseRequest, FleetPlace, Window
from ops.errors import OpsError, WorkerBusyError
from ops.state import Snapshot
from rca.state import (
    ChangeEvent,
    ClusterEvent,
    MetricFrame,
    RcaResult,
    Symptom,
    Topology,
)

logger = logging.getLogger(__name__)
BEFORE_S = 1200.0  # of metrics before the trouble began: what is usual
WINDOW_S_MAX = 2 * 3600.0
SAME_S = 30.0  # an onset may move so far before a question counts as another one
USABLE_S = 60.0  # after it came an answer is too old to be used
PAUSE_S, PAUSE_S_MAX = 2.0, 30.0  # before a worker that failed is asked again
QUESTIONS_MAX = 8  # of one fleet under way or not taken yet


class Ask(Protocol):
    """Sends a question without waiting; `wake` is called when the answer is there."""

    def __call__(
        self, request: DiagnoseRequest, *, wake: Callable[[], None]
    ) -> Future[DiagnoseAnswer]:
        """The answer, or a WorkerError in it."""
        ...


@dataclass(slots=True, kw_only=True)
class _Question:
    symptom: Symptom
    asked_at_s: float
    future: Future[DiagnoseAnswer] | None = None
    answered_at_s: float | None = None
    failures: int = 0
    ask_again_at_s: float = 0.0

    def fits(self, symptom: Symptom) -> bool:
        same = (self.symptom.region, self.symptom.slo_class, self.symptom.reason)
        near = abs(self.symptom.began_at_s - symptom.began_at_s) <= SAME_S
        # Asked before users were seen to suffer, it accuses nobody.
        felt = (self.symptom.bad_ratio > 0.0) == (symptom.bad_ratio > 0.0)
        return near and felt and same == (symptom.region, symptom.slo_class, symptom.reason)


@dataclass(slots=True, kw_only=True)
class RemoteDiagnoser:
    """An `ops.ports.Diagnoser`. Called from one thread at a time.

    Attributes:
        name_of: the name of the Incident that a symptom belongs to, empty where there is none.
        snapshot: what the loop sees now; set by the owner before each step.
        cluster_stale: what of it the cluster tells is out of date; set with it.
        trouble: why the worker gave no answer last time, empty where it did.
    """

    place: FleetPlace
    ask: Ask
    wake: Callable[[], None]
    metrics: OperatorMetrics
    name_of: Callable[[Symptom], str] = lambda _: ""
    clock: Callable[[], float] = monotonic_s
    snapshot: Snapshot | None = None
    cluster_stale: bool = False
    trouble: str = ""
    _questions: list[_Question] = field(default_factory=list)

    def __call__(
        self,
        frame: MetricFrame,
        *,
        symptom: Symptom,
        topology: Topology,
        changes: Sequence[ChangeEvent],
        events: Sequence[ClusterEvent],
        now_s: float,
        seed: int,
    ) -> RcaResult | None:
        """The worker's ranking, None while there is none. It reads its own, wider frame."""
        del frame, topology
        if symptom.reason == "missing" and not symptom.slo_class:
            return None  # a telemetry gap: nobody is accused, so nobody needs to be asked
        question = next((q for q in self._questions if q.fits(symptom)), None)
        if question is None:
            question = self._new(symptom)
        result = self._answer(question)
        idle = result is None and question.future is None
        if idle and self.clock() >= question.ask_again_at_s:
            request = self._request(symptom, changes, events, now_s=now_s, seed=seed)
            question.asked_at_s = self.clock()
            question.future = self.ask(request, wake=self.wake)
        return result

    def _new(self, symptom: Symptom) -> _Question:
        question = _Question(symptom=symptom, asked_at_s=self.clock())
        self._questions.append(question)
        while len(self._questions) > QUESTIONS_MAX:
            dropped = self._questions.pop(0)
            if dropped.future is not None:
                dropped.future.cancel()
        return question

    def _answer(self, question: _Question) -> RcaResult | None:
        """Take an answer that came; a failure sets when to ask again."""
        future, now_s = question.future, self.clock()
        if future is None or not future.done():
            return None
        question.future = None
        took_s = now_s - question.asked_at_s
        error = None if future.cancelled() else future.exception()
        if future.cancelled() or error is not None:
            self._failed(question, error)
            return None
        answer = future.result()
        self.trouble = ""
        self.metrics.diagnose_s.observe(answer.stages_s.get("total", took_s))
        if took_s > USABLE_S:
            return None  # asked anew
        self._questions.remove(question)
        result = answer.result
        self.metrics.diagnoses.labels(result="abstained" if result.abstained else "named").inc()
        if result.causes:
            self.metrics.confidence.observe(result.causes[0].confidence)
        return result

    def _failed(self, question: _Question, error: BaseException | None) -> None:
        busy = isinstance(error, WorkerBusyError)
        question.failures += not busy
        pause_s = min(PAUSE_S * 2.0 ** min(question.failures, 5), PAUSE_S_MAX)
        if isinstance(error, WorkerBusyError):
            pause_s = error.retry_after_s
        question.ask_again_at_s = self.clock() + pause_s
        self.metrics.diagnoses.labels(result="busy" if busy else "failed").inc()
        text = str(error or "the question was dropped")
        if text != self.trouble:
            expected = error is None or isinstance(error, OpsError)
            logger.warning(
                "no diagnosis fleet=%s/%s: %s", self.place.namespace, self.place.fleet, text,
                exc_info=None if expected else error,
            )  # fmt: skip
        self.trouble = text

    def _request(
        self,
        symptom: Symptom,
        changes: Sequence[ChangeEvent],
        events: Sequence[ClusterEvent],
        *,
        now_s: float,
        seed: int,
    ) -> DiagnoseRequest:
        snapshot = self.snapshot
        start_s = max(symptom.began_at_s - BEFORE_S, now_s - WINDOW_S_MAX)
        return DiagnoseRequest(
            place=self.place,
            window=Window(start_s=min(start_s, now_s - 60.0), end_s=now_s),
            symptom=symptom,
            incident=self.name_of(symptom),
            pods=snapshot.pods if snapshot else (),
            services=snapshot.services if snapshot else (),
            nodes=snapshot.nodes if snapshot else (),
            cluster_stale=self.cluster_stale,
            changes=tuple(changes),
            events=tuple(events),
            slos=snapshot.slos if snapshot else (),
            now_s=now_s,
            seed=seed,
        )
