"""What is done for one Fleet, in a thread: from its object to its status."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from ops.clock import monotonic_s, wall_s
from ops.controller.fleet.diagnosing import RemoteDiagnoser
from ops.controller.fleet.frames import class_names, endpoint_fault, history_frame, watch_frame
from ops.controller.fleet.publishing import StatusWriter, stored_status
from ops.controller.fleet.record import FleetRecord
from ops.controller.fleet.shared import Parts
from ops.controller.fleet.status import (
    DataSight,
    FleetSight,
    RecordSight,
    decision_status,
)
from ops.controller.fleet.telling import newest, told
from ops.controller.fleet.tick import FleetTick
from ops.controller.resources.fleet import (
    DecisionStatus,
    FleetSpec,
    parse_fleet,
)
from ops.controller.resources.fleet_object import FleetObject
from ops.errors import KubeError, OpsError, ResourceError
from ops.pipeline_state import LoopState
from ops.state import Alert

logger = logging.getLogger(__name__)
INVALID = "InvalidSpec"
UNLEARNT_S = 30.0  # that rows wait at most for the hour before
NOT_TAKEN_IN = "the last step failed: what was read is not taken in"


@dataclass(slots=True)
class FleetWork:
    """One Fleet. `renew` is called from the main loop, the rest from one thread at a time."""

    fleet: FleetObject
    parts: Parts
    next_read_at_s: float = 0.0
    tick: FleetTick | None = None
    fault: tuple[str, str] = ("", "")  # reason and message where the spec cannot be used
    sight: FleetSight | None = None  # of the last step; what the status is made of
    last_decision: DecisionStatus | None = None
    wake: Callable[[], None] = lambda: None
    record: FleetRecord = field(init=False)
    _restored: LoopState = field(default_factory=LoopState)
    _spec: FleetSpec = field(default_factory=FleetSpec)
    _status: StatusWriter = field(init=False)
    _write_trouble: str = ""
    _step_fault: str = ""  # of ours; over once a step is written
    _wanted: FleetObject | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._wanted = self.fleet
        self._status = StatusWriter(
            api=self.parts.api, metrics=self.parts.metrics, status=stored_status(self.fleet)
        )
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

    def ask(self) -> None:
        """Ask for what is new of the metrics; the next `decide` takes it in. Beside any other."""
        tick = self.tick
        if tick is not None and not self.fault[0]:  # alerts are taken all the same
            tick.ask()

    @property
    def wants_history(self) -> bool:
        """Whether the hour before is still to be learnt."""
        return not self.fault[0] and self.tick is not None and self.tick.history is not None

    def ask_history(self) -> None:
        """Ask for the hour before; the next `decide` takes it in. Beside any other."""
        tick = self.tick
        if tick is not None and not self.fault[0]:
            tick.ask_history()

    @property
    def wants_dry_run(self) -> bool:
        """Whether recommended actions wait for the word of the API server."""
        return self.record.wants_dry_run

    def dry_run(self) -> None:
        """Ask the API server; the next `decide` takes it in. Beside any other."""
        self.record.dry_run()

    def decide(self, alerts: tuple[Alert, ...], *, write: bool = True) -> None:
        """Take in what was read, step, and write what was decided.

        Args:
            alerts: what came since; empty where nothing is written.
            write: whether to write; what is not stays wanted.

        Raises:
            KubeError: not all of it could be written; the rest stays wanted.
            ResourceError: there are alerts, and no spec by which to take them.
            Exception: a fault of ours; the status tells of it until a step is written.
        """
        try:
            self._take_over()
            self._step(alerts)
            if write:
                self.record.flush(now_s=wall_s() if self.tick is None else self.tick.now_s())
            if alerts and self.record.book.trouble:  # 200 means written: the sender keeps them
                raise KubeError(f"alerts are not written: {self.record.book.trouble}")
        except KubeError as error:
            self._write_trouble = str(error)
            raise
        except Exception as error:
            if not isinstance(error, OpsError):
                self._step_fault = f"{type(error).__name__}: {error}"
            raise
        else:
            if write:
                self._write_trouble = self._step_fault = ""
        finally:
            self.sight = self._sight()

    def _step(self, alerts: tuple[Alert, ...]) -> None:
        tick = self.tick
        if alerts and (tick is None or self.fault[0] == INVALID):
            raise ResourceError(f"alerts are not taken: {self.fault[1]}; mend the Fleet")
        if tick is None or self.fault[0]:
            self.next_read_at_s = monotonic_s() + self.parts.settings.scrape_seconds
        if tick is None:
            return
        try:
            decisions = tick.step(alerts)
        except Exception:  # no reading is asked for more often than there are scrapes
            self.next_read_at_s = monotonic_s() + self.parts.settings.scrape_seconds
            raise
        if not self.fault[0]:
            self.next_read_at_s = tick.next_read_at_s
        assert tick.snapshot is not None
        self.record.book.resolved_after_s = tick.config().outcome.resolved_after_s
        self.record.take(
            tick.state.cases, decisions, alerts=alerts, current=tick.current(),
            snapshot=tick.snapshot, spec=self._spec,
        )  # fmt: skip
        self.record.book.tell_silence(self.parts.worker_trouble(), now_s=tick.snapshot.now_s)
        if decisions:
            last = newest(decisions)
            name = self.record.book.name_of(last.incident_id)
            self.last_decision = decision_status(*told(last), incident=name, at_s=last.at_s)

    def _take_over(self) -> None:
        """Use the newest spec; the loop's state stays where only limits changed."""
        with self._lock:
            wanted, self._wanted = self._wanted, None
        if wanted is None:
            return
        try:
            self._use(wanted)
        except Exception:
            with self._lock:  # not half of it: all of it again at the next step
                self._wanted = self._wanted or wanted
            raise

    def _use(self, wanted: FleetObject) -> None:
        self.fleet = wanted
        try:
            spec = parse_fleet(wanted.raw)
        except ResourceError as error:
            self.fault = (INVALID, str(error))
            return
        self.fault = endpoint_fault(spec, self.parts.settings)
        before = self._spec
        self.record.renew(wanted)
        if self.tick is None:
            self.tick = self._make_tick(spec)
        else:
            if _read_by(before) != _read_by(spec):
                self._make_frames(self.tick, spec)
            if before.metrics != spec.metrics:
                self.tick.diagnoser = self._make_diagnoser(spec)
            self.tick.spec = spec
        self._spec = spec

    @property
    def num_open(self) -> int:
        """Incidents that are not resolved."""
        return sum(case.open for case in self.tick.state.cases) if self.tick else 0

    @property
    def num_series(self) -> int:
        """Series in the frame that was looked at last."""
        return self.tick.num_series if self.tick else 0

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
        self._make_frames(tick, spec)
        tick.state = self._restored
        if any(case.open for case in self._restored.cases):
            tick.unlearnt_until_s = monotonic_s() + UNLEARNT_S
        return tick

    def _make_frames(self, tick: FleetTick, spec: FleetSpec) -> None:
        place, parts = self.fleet.namespace, self.parts
        tick.read_through(
            watch_frame(parts, spec, namespace=place, placed=tick.place_of),
            history=history_frame(parts, spec, namespace=place, placed=tick.place_of),
        )

    def _make_diagnoser(self, spec: FleetSpec) -> RemoteDiagnoser:
        return self.parts.diagnoser(
            self.fleet,
            spec,
            lambda: self.wake(),
            self.record.book.name_for,
        )

    @property
    def gone(self) -> bool:
        """Whether the server seems to hold the object no longer."""
        return self._status.gone

    def publish(self) -> None:
        """Write the status as the last `decide` left it. Beside any other.

        Raises:
            KubeError: it could not be written; it stays wanted.
        """
        if self.sight is not None:
            self._status.write(self.fleet, self.sight)

    def _sight(self) -> FleetSight:
        reason, fault = self.fault
        tick, unknown = self.tick, fault or (NOT_TAKEN_IN if self._step_fault else "")
        return FleetSight(
            generation=self.fleet.generation,
            spec=self._spec,
            fault=fault,
            fault_reason=reason or INVALID,
            step_fault=self._step_fault,
            data=tick.data if tick and not unknown else DataSight(detail=unknown),
            pods=tick.sight.pods if tick else (),
            stale=tick.sight.stale if tick else "",
            unmatched=tick.sight.unmatched if tick else "",
            missing_rights=tuple(sorted(map(str, self.parts.api.forbidden))),
            worker_trouble=self.parts.worker_trouble(),
            diagnosis_trouble=tick.diagnoser.trouble if tick else "",
            record=RecordSight(
                refused=self.record.book.trouble or self._write_trouble,
                extras=self.record.extras_trouble,
                given_up=self.record.book.given_up,
            ),
            silent=tick.silent if tick else (),
            unknown=tick.unknown if tick else (),
            meter=tick.state.meter if tick else None,
            open_incidents=self.num_open,
            last_decision=self.last_decision,
        )


def _read_by(spec: FleetSpec) -> tuple[object, ...]:
    """What a spec's frames are made by."""
    return spec.selector, spec.metrics, class_names(spec)
