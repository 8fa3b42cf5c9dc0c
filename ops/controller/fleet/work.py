"""What is done for one Fleet, in a thread: from its object to its status."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf

from ops.adapters.kube.api import KubeApi
from ops.catalogue import Catalogue
from ops.clock import monotonic_s, wall_s
from ops.controller.fleet.diagnosing import RemoteDiagnoser
from ops.controller.fleet.record import FleetRecord
from ops.controller.fleet.reporting import ReportQueue
from ops.controller.fleet.status import (
    DataSight,
    FleetSight,
    decision_status,
    fleet_status,
    worth_writing,
)
from ops.controller.fleet.tick import ClusterSight, FleetTick
from ops.controller.incidents.book import IncidentBook
from ops.controller.metrics_watch.clock import WatchedSamples
from ops.controller.metrics_watch.frame import WatchFrame
from ops.controller.metrics_watch.roles import USER_ROLES, WATCHED_ROLES
from ops.controller.operator_metrics import OperatorMetrics
from ops.controller.resources.fields import parse, to_object
from ops.controller.resources.fleet import (
    DecisionStatus,
    FleetSpec,
    FleetStatus,
    parse_fleet,
)
from ops.controller.resources.fleet_object import FleetObject
from ops.controller.settings import Settings
from ops.errors import KubeError, ResourceError
from ops.pipeline_state import LoopState
from ops.state import Alert
from rca.state import Symptom

logger = logging.getLogger(__name__)
WINDOW_S = 900.0  # of metrics that the loop itself keeps
INVALID = "InvalidSpec"
HISTORY_S = 3660.0  # read once, for the baseline and the burn rates


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What all fleets of one operator share.

    Attributes:
        reader: of the endpoint of that name, for the calling thread.
        look: the cluster as a namespace and labels cut it, at a moment.
        diagnoser: makes the diagnoser of one fleet.
        report_queue: makes the queue of one fleet's pages.
        worker_trouble: why the worker does not answer, empty where it does.
    """

    api: KubeApi
    settings: Settings
    catalogue: Catalogue
    metrics: OperatorMetrics
    reader: Callable[[str], WatchedSamples]
    look: Callable[[str, Mapping[str, str], float], ClusterSight]
    report_queue: Callable[[FleetObject, Callable[[], None], IncidentBook], ReportQueue]
    worker_trouble: Callable[[], str]
    diagnoser: Callable[
        [FleetObject, FleetSpec, Callable[[], None], Callable[[Symptom], str]], RemoteDiagnoser
    ]


@dataclass(slots=True)
class FleetWork:
    """One Fleet. `renew` is called from the main loop, the rest from one thread at a time."""

    fleet: FleetObject
    parts: Parts
    next_read_at_s: float = 0.0
    tick: FleetTick | None = None
    fault: tuple[str, str] = ("", "")  # reason and message where the spec cannot be used
    status: FleetStatus = field(default_factory=FleetStatus)
    last_decision: DecisionStatus | None = None
    wake: Callable[[], None] = lambda: None
    record: FleetRecord = field(init=False)
    _restored: LoopState = field(default_factory=LoopState)
    _spec: FleetSpec = field(default_factory=FleetSpec)
    _written_at_s: float = -inf
    _wanted: FleetObject | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._wanted = self.fleet
        self.status = _stored_status(self.fleet)
        self.record = FleetRecord(api=self.parts.api, fleet=self.fleet, metrics=self.parts.metrics)
        self.record.report_queue = self.parts.report_queue(
            self.fleet, lambda: self.wake(), self.record.book
        )

    def renew(self, fleet: FleetObject) -> None:
        """Take over a changed spec at the next turn."""
        with self._lock:
            self._wanted = fleet

    def begin(self) -> tuple[str, ...]:
        """Read back what earlier processes left; names of the alerts that were counted.

        Raises:
            KubeError: it could not be read; nothing else may be called before it could.
        """
        restored = self.record.read_back()
        self._restored = LoopState(cases=restored.cases, num_incidents=len(restored.records))
        if restored.cases:
            logger.info(
                "fleet=%s/%s goes on with open=%d incidents",
                self.fleet.namespace, self.fleet.name, len(restored.cases),
            )  # fmt: skip
        self._take_over()
        return restored.digests

    def read(self) -> None:
        """Read the metrics."""
        self._take_over()
        if self.tick is None or self.fault[0]:  # alerts are taken all the same
            self.next_read_at_s = monotonic_s() + self.parts.settings.scrape_seconds
            return
        self.tick.read()
        self.next_read_at_s = self.tick.next_read_at_s

    def decide(self, alerts: tuple[Alert, ...]) -> None:
        """Step, and write what was decided.

        Raises:
            KubeError: not all of it could be written; the rest is tried again at the next turn.
        """
        self._take_over()
        tick = self.tick
        if alerts and (tick is None or self.fault[0] == INVALID):
            raise ResourceError(f"alerts are not taken: {self.fault[1]}; mend the Fleet")
        if tick is not None:
            decisions = tick.step(alerts)
            assert tick.snapshot is not None
            self.record.book.resolved_after_s = tick.config().outcome.resolved_after_s
            self.record.take(
                tick.state.cases, decisions, alerts=alerts, snapshot=tick.snapshot, spec=self._spec
            )
            self.record.book.tell_silence(self.parts.worker_trouble(), now_s=tick.snapshot.now_s)
            for decision in decisions:
                self.last_decision = decision_status(
                    decision.kind,
                    decision.reason,
                    incident=self.record.book.name_of(decision.incident_id),
                    at_s=decision.at_s,
                )
        self.record.flush(now_s=wall_s() if tick is None else tick.now_s())
        if alerts and self.record.book.trouble:  # 200 means written: the sender keeps them
            raise KubeError(f"alerts are not written: {self.record.book.trouble}")

    def _take_over(self) -> None:
        """Use the newest spec; the loop's state stays where only limits changed."""
        with self._lock:
            wanted, self._wanted = self._wanted, None
        if wanted is None:
            return
        self.fleet = wanted
        try:
            spec = parse_fleet(wanted.raw)
        except ResourceError as error:
            self.fault = (INVALID, str(error))
            return
        self.fault = _endpoint_fault(spec, self.parts.settings)
        before, self._spec = self._spec, spec
        self.record.renew(wanted)
        if self.tick is None:
            self.tick = self._make_tick(spec)
        else:
            same = (before.selector, before.metrics) == (spec.selector, spec.metrics)
            if not same:
                self.tick.watch = self._make_watch(self.tick, spec)
            if before.metrics != spec.metrics:
                self.tick.diagnoser = self._make_diagnoser(spec)
            self.tick.spec = spec

    @property
    def num_open(self) -> int:
        """Incidents that are not resolved."""
        return sum(case.open for case in self.tick.state.cases) if self.tick else 0

    @property
    def num_series(self) -> int:
        """Series in the frame that was looked at last."""
        snapshot = self.tick.snapshot if self.tick else None
        return len(snapshot.frame.series) if snapshot else 0

    def _make_tick(self, spec: FleetSpec) -> FleetTick:
        parts = self.parts
        tick = FleetTick(
            spec=spec,
            scrape_s=self.parts.settings.scrape_seconds,
            reader=lambda: parts.reader(self._spec.metrics.endpoint),
            look=lambda now_s: parts.look(
                self.fleet.namespace, self._spec.selector.match_labels, now_s
            ),
            diagnoser=self._make_diagnoser(spec),
            metrics=parts.metrics,
        )
        tick.watch = self._make_watch(tick, spec)
        tick.history = self._make_watch(tick, spec, window_s=HISTORY_S, roles=USER_ROLES)
        tick.state = self._restored
        return tick

    def _make_diagnoser(self, spec: FleetSpec) -> RemoteDiagnoser:
        return self.parts.diagnoser(
            self.fleet,
            spec,
            lambda: self.wake(),
            self.record.book.name_for,
        )

    def _make_watch(
        self,
        tick: FleetTick,
        spec: FleetSpec,
        *,
        window_s: float = WINDOW_S,
        roles: frozenset[str] = WATCHED_ROLES,
    ) -> WatchFrame:
        return WatchFrame(
            self.parts.catalogue,
            namespace=self.fleet.namespace,
            match_labels=spec.metrics.match_labels,
            window_s=window_s,
            step_s=self.parts.settings.scrape_seconds,
            placed=tick.place_of,
            roles=roles,
        )

    def publish(self) -> None:
        """Write the Fleet's status where it has changed, small changes now and then.

        Raises:
            KubeError: it could not be written; the next turn tries again.
        """
        age_s = monotonic_s() - self._written_at_s
        new = fleet_status(self._sight(), self.status, now_s=wall_s())
        if not worth_writing(new, self.status, age_s=age_s):
            return
        with self.parts.metrics.stage("status"):
            try:
                self.parts.api.patch(f"{self.fleet.path}/status", {"status": to_object(new)})
            except KubeError as error:
                if error.status == 404:  # deleted in between
                    return
                raise
        self.status, self._written_at_s = new, monotonic_s()

    def _sight(self) -> FleetSight:
        reason, fault = self.fault
        tick = self.tick
        return FleetSight(
            generation=self.fleet.generation,
            spec=self._spec,
            fault=fault,
            fault_reason=reason or INVALID,
            data=tick.data if tick and not fault else DataSight(detail=fault),
            pods=tick.sight.pods if tick else (),
            stale=tick.sight.stale if tick else "",
            unmatched=tick.sight.unmatched if tick else "",
            missing_rights=tuple(sorted(map(str, self.parts.api.forbidden))),
            worker_trouble=self.parts.worker_trouble(),
            meter=tick.state.meter if tick else None,
            open_incidents=self.num_open,
            last_decision=self.last_decision,
        )


def _endpoint_fault(spec: FleetSpec, settings: Settings) -> tuple[str, str]:
    """Why the names that a Fleet gives cannot be used; empty where they can."""
    for what, name, known in (
        ("metrics", spec.metrics.endpoint, settings.metrics_endpoints),
        ("engine", spec.engine.endpoint, settings.engine_endpoints),
    ):
        if name not in known and not (what == "engine" and not name):
            allowed = ", ".join(sorted(known)) or "none"
            return (
                "UnknownEndpoint",
                f"spec.{what}.endpoint {name!r} is not in the operator's configuration, which "
                f"allows: {allowed}",
            )
    return "", ""


def _stored_status(fleet: FleetObject) -> FleetStatus:
    """What the server stores; one that does not fit is made anew."""
    try:
        return parse(FleetStatus, fleet.raw.get("status"), path=fleet.path)
    except ResourceError:
        return FleetStatus()
