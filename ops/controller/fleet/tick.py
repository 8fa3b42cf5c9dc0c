"""One fleet's loop: take in what was read, look, step. Called from one thread at a time.

Only `ask` and `ask_history`, which wait for a Prometheus, run beside it: they leave their answer
for the next step, which takes it in. So nothing that is decided waits for a server, and nothing is
locked. Holds the state of `ops.pipeline.step` and everything that turns a cluster and a Prometheus
into its snapshots. When it is called is the affair of `ops.controller.fleet.loop`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ops.clock import Deadline, monotonic_s, wall_s
from ops.config import LoopConfig
from ops.controller.fleet.diagnosing import RemoteDiagnoser
from ops.controller.fleet.limits import bounded, loop_config, slo_targets
from ops.controller.fleet.status import DataSight
from ops.controller.fleet.unknown_pods import UnknownPods
from ops.controller.incidents.current import current_of
from ops.controller.metrics_watch.clock import WatchedSamples
from ops.controller.metrics_watch.frame import STEP_S, WatchFrame
from ops.controller.metrics_watch.history import remembered
from ops.controller.metrics_watch.reading import Answered, WatchReading
from ops.controller.metrics_watch.silence import silent_pods
from ops.controller.metrics_watch.state import DataState
from ops.controller.operator_metrics import OperatorMetrics
from ops.controller.resources.fleet import FleetSpec
from ops.controller.resources.incident import CurrentStatus
from ops.pipeline import step
from ops.pipeline_state import LoopState
from ops.state import (
    Alert,
    Decision,
    NodeRecord,
    PodPhase,
    PodRecord,
    ServiceRecord,
    Snapshot,
)
from rca.state import ChangeEvent, ClusterEvent, MetricFrame

logger = logging.getLogger(__name__)
HISTORY_READ_S, HISTORY_READS_MAX = 20.0, 60
READ_S = 4.0  # of one reading; the next is due soon after
SILENT_SCRAPES = 12  # that a young pod may take until its first sample
NOT_USED = "what was read last could not be used, by a fault of the operator; its log says more"
NO_FRAME = MetricFrame(
    times_s=np.empty(0), values=np.empty((0, 0)), series=(), roles=(), step_s=5.0
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSight:
    """What the cluster's caches show of one fleet.

    Attributes:
        stale: in words, what of it is out of date or was never listed; empty where all is well.
        unmatched: in words, why the selector takes no pod; empty where it takes some.
        absent: which of these pods the namespace neither has nor had a moment ago.
    """

    pods: tuple[PodRecord, ...] = ()
    nodes: tuple[NodeRecord, ...] = ()
    services: tuple[ServiceRecord, ...] = ()
    changes: tuple[ChangeEvent, ...] = ()
    events: tuple[ClusterEvent, ...] = ()
    stale: str = ""
    unmatched: str = ""
    absent: Callable[[Collection[str]], frozenset[str]] = field(
        default=lambda _: frozenset(), compare=False
    )


@dataclass(slots=True, kw_only=True)
class FleetTick:
    """State of one fleet's loop; its frames are made by the owner, who hands them `place_of`.

    Attributes:
        look: the cluster as the fleet's selector cuts it, at a moment of our clock.
        state: of the loop; restored by the owner before the first step.
        data: how far the newest reading is to be trusted.
        unlearnt_until_s: until then rows wait for the hour before: an incident was open when this
            process began, and its rows would else be learnt as usual.
    """

    spec: FleetSpec
    scrape_s: float
    reader: Callable[[], WatchedSamples]
    look: Callable[[float], ClusterSight]
    diagnoser: RemoteDiagnoser
    metrics: OperatorMetrics
    watch: WatchFrame = field(init=False)
    history: WatchFrame | None = None  # until it is learnt, or given up
    state: LoopState = field(default_factory=LoopState)
    data: DataSight = field(default_factory=DataSight)
    snapshot: Snapshot | None = None
    sight: ClusterSight = field(default_factory=ClusterSight)
    next_read_at_s: float = 0.0  # of our monotonic clock
    unlearnt_until_s: float = 0.0  # of the same
    num_series: int = 0  # in the frame that was looked at last
    silent: tuple[str, ...] = ()  # pods that give no metrics though their like do
    unknown: tuple[str, ...] = ()  # pods that metrics name and the cluster does not have
    _answered: tuple[WatchFrame, Answered] | None = None
    _history_answered: tuple[WatchFrame, Answered] | None = None
    _history_reads: int = 0
    _history_useless: int = 0  # of them, answered and not learnt from
    _learnt: bool = False
    _newest: WatchReading | None = None
    _unknown: UnknownPods = field(default_factory=UnknownPods)
    _places: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    _ahead_s: float | None = None  # of the server's clock before our monotonic one

    def read_through(self, watch: WatchFrame, *, history: WatchFrame) -> None:
        """Use these frames from now on; an hour that was learnt is not learnt again."""
        self.watch, self.next_read_at_s = watch, 0.0
        if not self._learnt:
            self.history, self._history_reads, self._history_useless = history, 0, 0

    def ask(self) -> None:
        """Ask for what is new of the metrics, for the next step. Beside any other call."""
        watch = self.watch
        with self.metrics.stage("read"):
            answered = watch.ask(self.reader(), deadline=Deadline.after(READ_S))
        self._answered = (watch, answered)

    def ask_history(self) -> None:
        """Ask for an hour of stored samples, for the next step. Beside any other call."""
        history = self.history
        if history is not None and self._history_answered is None:
            with self.metrics.stage("history"):
                answered = history.ask(self.reader(), deadline=Deadline.after(HISTORY_READ_S))
            self._history_answered = (history, answered)

    def _take_in(self) -> None:
        """Take in what was answered since the last step; an outage is a state of the data.

        What was asked under an older spec is thrown away.
        """
        past, self._history_answered = self._history_answered, None
        if past is not None and past[0] is self.history:
            self._remember(*past)
        new, self._answered = self._answered, None
        if new is not None and new[0] is self.watch:
            self.data = DataSight(detail=NOT_USED)  # should the rest fail
            self._take(self.watch.take(new[1]))

    def _remember(self, history: WatchFrame, answered: Answered) -> None:
        """Learn from an hour of stored samples, once they can be read."""
        self._history_reads += 1
        # Of faults, too, but not of outages: what is stored is there when the endpoint is back.
        self._history_useless += not answered.error
        if self._history_useless >= HISTORY_READS_MAX:
            self.history = None
        reading = history.take(answered)
        if reading.state is DataState.FRESH:
            self.state = remembered(
                self.state,
                reading.frame,
                slos=slo_targets(self.spec),
                config=self.config().detect,
            )
            self.history, self._learnt = None, True

    @property
    def _unlearnt(self) -> bool:
        """Whether what is usual must be learnt from the past first: trouble is going on."""
        waits = monotonic_s() < self.unlearnt_until_s
        return waits and self.history is not None and not self._history_reads

    def _take(self, reading: WatchReading) -> None:
        now_s = monotonic_s()
        if reading.state is not DataState.CONTRADICTORY:  # else what was known goes on
            self._ahead_s = reading.server_now_s - now_s
        self.next_read_at_s = now_s + max(0.2, reading.next_at_s - reading.server_now_s)
        self.metrics.samples.inc(reading.num_samples)
        self.metrics.readings.labels(state=reading.state.value).inc()
        self.data = DataSight(
            reason=str(reading.state), detail=reading.detail, spelling=reading.spelling
        )
        self._newest = replace(reading, frame=NO_FRAME)
        if reading.state is DataState.FRESH and not self.sight.stale:
            absent = self.sight.absent(reading.unplaced) if reading.unplaced else frozenset()
            self._unknown.take(absent, now_s=now_s)
        if reading.state is DataState.FRESH and len(reading.frame.times_s):
            age_s = reading.server_now_s - float(reading.frame.times_s[-1])
            self.metrics.lag_s.observe(max(0.0, age_s))

    def place_of(self, pod: str) -> Mapping[str, str] | None:
        """Labels of a pod of this fleet; None for a pod that the cluster does not show."""
        return self._places.get(pod)

    def _see(self) -> ClusterSight:
        with self.metrics.stage("view"):
            sight = self.look(wall_s())
        if sight.pods is not self.sight.pods:
            self._places = {
                pod.name: {"region": pod.region, "service": pod.service, "node": pod.node}
                for pod in sight.pods
            }
        self.sight = sight
        return sight

    def config(self) -> LoopConfig:
        """Thresholds of the loop, as the Fleet's spec has them now."""
        return loop_config(self.spec, scrape_s=self.scrape_s)

    def now_s(self) -> float:
        """The moment on the clock that stamps the samples, ours before the first reading."""
        return wall_s() if self._ahead_s is None else monotonic_s() + self._ahead_s

    def step(self, alerts: Sequence[Alert]) -> tuple[Decision, ...]:
        """Advance the loop to now."""
        sight = self._see()
        self._take_in()
        now_s, newest = self.now_s(), self._newest
        self.snapshot = Snapshot(
            now_s=now_s,
            # What is not fresh is not fed: the rows before it stay, and grow old.
            frame=NO_FRAME if self._unlearnt else self.watch.trusted(),
            pods=sight.pods,
            nodes=sight.nodes,
            services=bounded(sight.services, self.spec.budgets.replicas_max),
            changes=sight.changes,
            events=sight.events,
            slos=slo_targets(self.spec),
            scrape_jobs=newest.scrape_jobs if newest else {},
            scraped_at_s=newest.scraped_at_s if newest else None,
            alerts=tuple(alerts),
        )
        self.diagnoser.snapshot, self.diagnoser.cluster_stale = self.snapshot, bool(sight.stale)
        with self.metrics.stage("step"):
            self.state, decisions = step(
                self.state, self.snapshot, diagnoser=self.diagnoser, config=self.config()
            )
        self.num_series = len(self.snapshot.frame.series)
        self.silent = self._silent(sight)
        self.unknown = self._unknown.lasting(now_s=monotonic_s(), for_s=self._grace_s)
        # A frame is a megabyte; the watch makes the next one from a third of that.
        self.snapshot = self.diagnoser.snapshot = replace(self.snapshot, frame=NO_FRAME)
        return decisions

    def current(self) -> dict[str, CurrentStatus]:
        """How bad it is now for each open incident, by its id; those that nobody measures lack."""
        if self.data.reason != DataState.FRESH:
            return {}
        stale_s = self.config().guard.frame_stale_after_s
        found = {
            case.incident.incident_id: current_of(
                case, self.state.meter, now_s=self.now_s(), stale_after_s=stale_s
            )
            for case in self.state.cases
            if case.open
        }
        return {key: one for key, one in found.items() if one is not None}

    def _silent(self, sight: ClusterSight) -> tuple[str, ...]:
        """Pods without metrics, as the newest reading shows them; none where it is not fresh."""
        newest = self._newest
        if newest is None or newest.state is not DataState.FRESH:
            return ()  # nobody gives any: that is another condition
        pods = (
            (pod.name, f"{pod.region}/{pod.service}", pod.created_at_s)
            for pod in sight.pods
            if pod.phase is PodPhase.RUNNING
        )
        now_s = newest.server_now_s
        return silent_pods(
            pods, newest.heard_s, since_s=now_s - newest.old_s, now_s=now_s, grace_s=self._grace_s
        )

    @property
    def _grace_s(self) -> float:
        return SILENT_SCRAPES * max(self.scrape_s, STEP_S)
