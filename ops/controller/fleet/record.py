"""What one fleet leaves on the server and in the metrics: Incidents, pages, recommendations."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ops.adapters.kube.api import KubeApi
from ops.controller.fleet.recommend import Recommender
from ops.controller.fleet.reporting import ReportQueue
from ops.controller.fleet.telling import told
from ops.controller.incidents.book import NONE_MEASURED, IncidentBook
from ops.controller.incidents.objects import FLEET_LABEL
from ops.controller.incidents.restore import Restored, restore
from ops.controller.incidents.writer import IncidentWriter
from ops.controller.listing import list_objects
from ops.controller.operator_metrics import OperatorMetrics
from ops.controller.resources.fleet import FleetSpec
from ops.controller.resources.fleet_object import FleetObject
from ops.controller.resources.incident import CurrentStatus
from ops.pipeline_state import Case
from ops.proposals import is_allowed, is_proposal, is_unjudged
from ops.state import Alert, Decision, DecisionKind, Snapshot

logger = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class FleetRecord:
    """The record of one fleet. Called from one thread at a time, but for `dry_run`."""

    api: KubeApi
    fleet: FleetObject
    metrics: OperatorMetrics
    report_queue: ReportQueue = field(init=False)
    book: IncidentBook = field(init=False)
    _writer: IncidentWriter = field(init=False)
    _recommender: Recommender = field(init=False)
    _snapshot: Snapshot | None = None

    def __post_init__(self) -> None:
        self.book = IncidentBook(self.fleet)
        self._writer = IncidentWriter(self.api, self.book)
        self._recommender = Recommender(self.api, namespace=self.fleet.namespace)

    @property
    def extras_trouble(self) -> str:
        """Why reports or Events are not written; empty where they are."""
        return self._writer.trouble

    def renew(self, fleet: FleetObject) -> None:
        """Take over a changed Fleet object."""
        self.fleet = self.book.fleet = fleet

    def read_back(self) -> Restored:
        """What the server holds of earlier processes, taken over.

        Raises:
            KubeError: it could not be read.
        """
        objects = list_objects(
            self.api,
            "incidents",
            namespace=self.fleet.namespace,
            labels=f"{FLEET_LABEL}={self.fleet.name}",
        )
        restored = restore(objects, fleet=self.fleet)
        self.book.adopt(restored)
        return restored

    def take(
        self,
        cases: Sequence[Case],
        decisions: Sequence[Decision],
        *,
        alerts: tuple[Alert, ...],
        current: Mapping[str, CurrentStatus] = NONE_MEASURED,
        snapshot: Snapshot,
        spec: FleetSpec,
    ) -> None:
        """Note what was decided, and what the server said to recommendations; `flush` writes it."""
        for decision in decisions:
            self._count(decision, spec)
        self._snapshot = snapshot
        self._recommender.note(decisions, spec)
        self.book.take(cases, decisions, alerts=alerts, current=current, now_s=snapshot.now_s)
        self.book.put_answers(self._recommender.take())
        self.report_queue.note(decisions, alerts)
        self.report_queue.forget(case.incident.incident_id for case in cases)
        page = self.report_queue.turn(snapshot, spec)
        if page is not None:
            self.book.put_report(*page)

    def flush(self, *, now_s: float) -> None:
        """Write what is wanted.

        Raises:
            KubeError, NotLeadingError: it stays wanted.
        """
        with self.metrics.stage("write"):
            self._writer.flush(now_s=now_s)
        # Only now: what is asked for a dry run stands in an Incident that the server holds.
        if self._snapshot is not None:
            self._recommender.offer(self._snapshot, ready=self.book.is_written)

    @property
    def wants_dry_run(self) -> bool:
        """Whether `dry_run` has something to ask."""
        return self._recommender.offered

    def dry_run(self) -> None:
        """Ask the server what it says to recommended actions, for the next `take`.

        Beside any other call: it may take long.
        """
        with self.metrics.stage("dry-run"):
            self._recommender.ask()

    def _count(self, decision: Decision, spec: FleetSpec) -> None:
        incident, metrics = decision.incident, self.metrics
        kind, reason = told(decision)
        logger.info(
            "fleet=%s/%s decision=%s incident=%s reason=%r",
            self.fleet.namespace, self.fleet.name, kind, decision.incident_id, reason,
        )  # fmt: skip
        if is_proposal(decision) and decision.action is not None:
            no = "unjudged" if is_unjudged(decision.reason) else "refused"
            result = "allowed" if is_allowed(decision) else no
            metrics.actions.labels(action=decision.action.kind, mode=spec.mode, result=result).inc()
        if incident is None:
            return
        match decision.kind:
            case DecisionKind.OPEN:
                metrics.detect_s.observe(max(0.0, incident.detected_at_s - incident.began_at_s))
            case DecisionKind.DIAGNOSE if incident.result is not None and incident.result.causes:
                cause = incident.result.causes[0]
                metrics.cause_s.observe(max(0.0, decision.at_s - incident.began_at_s))
                metrics.incidents.labels(fault_class=cause.resource_class).inc()
            case DecisionKind.ABSTAIN:
                metrics.incidents.labels(fault_class="unknown").inc()
            case DecisionKind.MITIGATED:
                metrics.mitigate_s.observe(max(0.0, decision.at_s - incident.began_at_s))
