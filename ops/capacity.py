"""How much each region's engine service serves, could serve and waits for, read from a frame.

Called when an action is being sized, never in a quiet step.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, isnan

import numpy as np

from coldstart.demand import cold_start_quantile_s, demand_quantile
from coldstart.state import ColdStart
from ops.config import ActConfig
from ops.state import ServiceRecord, Snapshot
from rca.state import EntityKind, FloatArray, MetricFrame

COLD_START_S_MAX = 900.0  # a later readiness is a return from trouble, not a start
UNSEEN_CREDIT = 1.25
QUEUED_MIN = 4.0  # requests that wait at once somewhere: the engines were at their limit
RATE_ROWS = 12  # rows over which a served rate is averaged


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineLoad:
    """One engine service of one region. NaN where the frame does not say."""

    region: str
    service: str
    instances_ready: int
    instances_total: int
    instances_max: int
    served_rps: float
    capacity_rps: float  # per instance, a cautious estimate
    arriving_rps: FloatArray  # per row, served plus what the queue grew, shape [T - 1]
    waiting: float  # requests in queues now
    cold_start_s: float
    step_s: float  # of `arriving_rps`

    def headroom_rps(self, *, utilisation_max: float) -> float:
        """What the ready instances could serve on top; 0 where the frame does not say."""
        full_rps = self.capacity_rps * self.instances_ready * utilisation_max
        return max(0.0, float(np.nan_to_num(full_rps - self.served_rps)))

    @property
    def drain_s(self) -> float:
        """Time that the waiting requests need at the full rate."""
        full_rps = self.capacity_rps * max(self.instances_ready, 1)
        return self.waiting / full_rps if full_rps > 0 else float("nan")


def engine_loads(snapshot: Snapshot, config: ActConfig) -> tuple[EngineLoad, ...]:
    """Load of every engine service, by (region, service)."""
    engines = sorted(
        (s for s in snapshot.services if s.engine), key=lambda s: (s.region, s.service)
    )
    rates = {(s.region, s.service): _served(snapshot.frame, s) for s in engines}
    # The busiest instance anywhere shows what one can do. While nothing ever queued its limit is
    # higher than what it showed; by how much nobody knows, so only a little is taken on credit.
    peaks = [peak for _, _, peak in rates.values() if not isnan(peak)]
    queued = max((_longest_queue(waiting) for _, waiting, _ in rates.values()), default=0.0)
    credit = 1.0 if queued >= QUEUED_MIN else UNSEEN_CREDIT
    capacity_rps = credit * max(peaks, default=float("nan"))
    starts = _starts(snapshot)
    return tuple(
        EngineLoad(
            region=s.region,
            service=s.service,
            instances_ready=s.ready_replicas,
            instances_total=s.replicas,
            instances_max=s.replicas_max,
            served_rps=_recent(rates[s.region, s.service][0]),
            capacity_rps=capacity_rps,
            arriving_rps=_arriving(snapshot.frame, *rates[s.region, s.service][:2]),
            waiting=_last(rates[s.region, s.service][1]),
            cold_start_s=cold_start_quantile_s(
                [start for start in starts if start.service == s.service],
                quantile=config.cold_start_quantile,
                default_s=config.cold_start_s_default,
            ),
            step_s=snapshot.frame.step_s,
        )
        for s in engines
    )


def instances_to_add(load: EngineLoad, config: ActConfig) -> int:
    """Instances to start now so that the demand at the end of a cold start is served.

    At least one: whoever asks has found the service too small. Bounded by the owner's limit.
    """
    room = max(0, load.instances_max - load.instances_total)
    demand_rps = demand_quantile(
        load.arriving_rps,
        step_s=load.step_s,
        horizon_s=load.cold_start_s,
        quantile=config.demand_quantile,
    )
    wanted = 1
    if not isnan(demand_rps) and load.capacity_rps > 0:
        usable_rps = load.capacity_rps * config.utilisation_max
        wanted = ceil(demand_rps / usable_rps) - load.instances_total
    return max(0, min(room, max(1, wanted), config.scale_add_max))


def _served(frame: MetricFrame, engine: ServiceRecord) -> tuple[FloatArray, FloatArray, float]:
    """Finished requests/s per row, queue per row, and the peak rate of one instance."""
    num_rows = len(frame.times_s)
    served = np.full(max(num_rows - 1, 0), np.nan)
    waiting = np.full(num_rows, np.nan)
    by_pod: dict[str, list[int]] = {}
    queues: list[int] = []
    for column, (role, series) in enumerate(zip(frame.roles, frame.series, strict=True)):
        if role is None or role.entity.kind is not EntityKind.POD:
            continue
        if role.entity.region != engine.region or series.label("service") != engine.service:
            continue
        if role.role == "engine_success":
            by_pod.setdefault(role.entity.name, []).append(column)
        elif role.role == "engine_waiting":
            queues.append(column)
    peak = float("nan")
    for columns in by_pod.values():
        rate = _increase(frame.values[:, columns].astype(np.float64)) / np.diff(frame.times_s)
        served = np.where(np.isnan(served), rate, served + np.nan_to_num(rate))
        width = min(RATE_ROWS, len(rate))
        if width and not np.isnan(rate).all():
            means = np.convolve(np.nan_to_num(rate), np.ones(width) / width, mode="valid")
            peak = float(np.fmax(peak, means.max()))
    if queues:
        block = frame.values[:, queues].astype(np.float64)
        waiting = np.where(np.isnan(block).all(axis=1), np.nan, np.nansum(block, axis=1))
    return served, waiting, peak


def _increase(samples: FloatArray) -> FloatArray:
    """Rise of the summed counters per row; a reset counts from zero, shape [T - 1]."""
    rise = np.diff(samples, axis=0)
    rise = np.where(rise < 0, samples[1:], rise)
    total: FloatArray = np.where(np.isnan(rise).all(axis=1), np.nan, np.nansum(rise, axis=1))
    return total


def _arriving(frame: MetricFrame, served: FloatArray, waiting: FloatArray) -> FloatArray:
    growth = np.nan_to_num(np.diff(waiting)) / np.diff(frame.times_s)
    arriving: FloatArray = np.maximum(served + growth, 0.0)
    return arriving


def _recent(series: FloatArray) -> float:
    known = series[-RATE_ROWS:][~np.isnan(series[-RATE_ROWS:])]
    return float(known.mean()) if len(known) else float("nan")


def _longest_queue(waiting: FloatArray) -> float:
    return float(np.nan_to_num(waiting).max()) if len(waiting) else 0.0


def _last(series: FloatArray) -> float:
    known = series[~np.isnan(series)]
    return float(known[-1]) if len(known) else float("nan")


def _starts(snapshot: Snapshot) -> list[ColdStart]:
    """Cold starts that kube-state's pod times tell of."""
    created: dict[str, float] = {}
    ready: dict[str, tuple[float, str, str]] = {}
    frame = snapshot.frame
    for column, (role, series) in enumerate(zip(frame.roles, frame.series, strict=True)):
        if role is None or role.role not in ("pod_created_time", "pod_ready_time"):
            continue
        value = _last(frame.values[:, column].astype(np.float64))
        if isnan(value):
            continue
        if role.role == "pod_created_time":
            created[role.entity.name] = value
        else:
            ready[role.entity.name] = (value, role.entity.region, series.label("service"))
    return [
        ColdStart(region=region, service=service, created_at_s=created[pod], ready_at_s=at_s)
        for pod, (at_s, region, service) in sorted(ready.items())
        if pod in created and at_s - created[pod] <= COLD_START_S_MAX
    ]
