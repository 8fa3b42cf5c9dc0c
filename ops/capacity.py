"""How much each region's engine service serves, could serve and waits for, read from a frame.

Called when an action is being sized, never in a quiet step.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, inf, isnan

import numpy as np

from coldstart.demand import cold_start_quantile_s, demand_quantile
from coldstart.state import ColdStart
from ops.config import ActConfig
from ops.state import PodPhase, ServiceRecord, Snapshot
from rca.state import EntityKind, FloatArray, MetricFrame

COLD_START_S_MAX = 900.0  # a later readiness is a return from trouble, not a start
BURST_RATIO = 0.8
WAIT_SHARE = 0.5  # of the time to first token: the rest is spent in services and the prefill
BUSY_QUANTILE = 0.99  # of the sequences that one instance ran at once: what it can hold
USUAL_S = 300.0  # before the trouble, over which the usual rate is averaged
RATE_ROWS = 12  # rows over which a served rate is averaged


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineLoad:
    """One engine service of one region. NaN where the frame does not say."""

    region: str
    service: str
    instances_ready: int
    instances_total: int
    instances_max: int
    instances_coming: int = 0  # of `instances_total`, those that start on a node that is well
    served_rps: float
    demand_rps: float  # of its users: the usual rate before the trouble, or the present one
    capacity_rps: float  # per instance with every slot taken; queues are endless there
    slots: float  # sequences that one instance runs at once
    wait_s: float  # longest queueing that the SLO leaves room for
    wait_ratio: float  # share of requests that may wait longer
    arriving_rps: FloatArray  # per row, served plus what the queue grew, shape [T - 1]
    waiting: float  # requests in queues now
    cold_start_s: float
    step_s: float  # of `arriving_rps`

    def fits_rps(self, instances: int) -> float:
        """Highest rate at which few enough requests wait too long; NaN where nothing is known.

        Source: Erlang C with the instances' slots as servers, P(wait > t) = C exp(-(c mu - l) t).
        Differs: arrivals here come in bursts; `BURST_RATIO` keeps a distance for them.
        """
        if instances < 1 or isnan(self.late_ratio(instances, 0.0)):
            return float("nan")
        low, high = 0.0, instances * self.capacity_rps
        for _ in range(30):
            middle = (low + high) / 2.0
            fits = self.late_ratio(instances, middle) <= self.wait_ratio
            low, high = (middle, high) if fits else (low, middle)
        return low

    def late_ratio(self, instances: int, demand_rps: float) -> float:
        """Share of requests that wait too long at a rate; NaN where nothing is known."""
        if instances < 1:
            return 1.0
        servers = round(self.slots * instances) if not isnan(self.slots) else 0
        if servers < 1 or isnan(self.capacity_rps) or isnan(demand_rps):
            return float("nan")
        rate_rps, demand_rps = self.capacity_rps / self.slots, demand_rps / BURST_RATIO
        late = _erlang_c(servers, demand_rps / rate_rps)
        return late * exp(-max(0.0, servers * rate_rps - demand_rps) * self.wait_s)

    def headroom_rps(self) -> float:
        """What the ready instances could serve in time on top; 0 where the frame does not say."""
        fits_rps = self.fits_rps(self.instances_ready)
        return max(0.0, float(np.nan_to_num(fits_rps - self.served_rps)))

    @property
    def drain_s(self) -> float:
        """Time that the waiting requests need at the full rate."""
        full_rps = self.capacity_rps * max(self.instances_ready, 1)
        return self.waiting / full_rps if full_rps > 0 else float("nan")


def engine_loads(
    snapshot: Snapshot, config: ActConfig, *, onset_s: float = inf
) -> tuple[EngineLoad, ...]:
    """Load of every engine service, by (region, service).

    Args:
        onset_s: when the trouble began; before it, what was served is what users asked for.
    """
    engines = sorted(
        (s for s in snapshot.services if s.engine), key=lambda s: (s.region, s.service)
    )
    rates = {(s.region, s.service): _served(snapshot.frame, s) for s in engines}
    # Little's law: an instance that runs as many sequences as the busiest one ever did finishes
    # that many per mean stay. Rates alone would mistake a lucky minute for a capacity.
    fastest = [rate for _, _, rate, _ in rates.values() if not isnan(rate)]
    fullest = [held for _, _, _, held in rates.values() if not isnan(held)]
    capacity_rps = float(np.median(fastest)) * max(fullest) if fastest and fullest else float("nan")
    starts = _starts(snapshot)
    return tuple(
        EngineLoad(
            region=s.region,
            service=s.service,
            instances_ready=s.ready_replicas,
            instances_total=s.replicas,
            instances_max=s.replicas_max,
            instances_coming=_coming(snapshot, s),
            served_rps=_recent(rates[s.region, s.service][0]),
            demand_rps=_demand(snapshot.frame, *rates[s.region, s.service][:2], onset_s=onset_s),
            capacity_rps=capacity_rps,
            slots=max(fullest, default=float("nan")),
            wait_s=WAIT_SHARE * min((slo.ttft_s for slo in snapshot.slos), default=1.0),
            wait_ratio=min((1.0 - slo.target_ratio for slo in snapshot.slos), default=0.01),
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

    At least one, unless instances are starting already: whoever asks has found the service too
    small. Bounded by the owner's limit.
    """
    room = max(0, load.instances_max - load.instances_total)
    # What starts already comes sooner than anything that is ordered now: it need only be enough.
    coming = load.instances_coming > 0
    demand_rps = load.demand_rps
    if not coming:
        demand_rps = demand_quantile(
            load.arriving_rps,
            step_s=load.step_s,
            horizon_s=load.cold_start_s,
            quantile=config.demand_quantile,
        )
    most = max(0, min(room, config.scale_add_max))
    for add in range(0 if coming else 1, most):
        # Not `>=`: an unknown rate is NaN, and then one instance is what can be justified.
        if not load.fits_rps(load.instances_total + add) < demand_rps:
            return add
    return most


def _served(
    frame: MetricFrame, engine: ServiceRecord
) -> tuple[FloatArray, FloatArray, float, float]:
    """Finished requests/s and queue per row, then of one instance: 1 / mean stay, most held.

    The stay is the median over instances, so that one that hangs or crawls does not set it.
    """
    num_rows = len(frame.times_s)
    served = np.full(max(num_rows - 1, 0), np.nan)
    waiting = np.full(num_rows, np.nan)
    finished: dict[str, list[int]] = {}
    running: dict[str, int] = {}
    queues: list[int] = []
    for column, (role, series) in enumerate(zip(frame.roles, frame.series, strict=True)):
        if role is None or role.entity.kind is not EntityKind.POD:
            continue
        if role.entity.region != engine.region or series.label("service") != engine.service:
            continue
        if role.role == "engine_success":
            finished.setdefault(role.entity.name, []).append(column)
        elif role.role == "engine_running":
            running[role.entity.name] = column
        elif role.role == "engine_waiting":
            queues.append(column)
    stays: list[float] = []
    held = float("nan")
    for pod, columns in finished.items():
        rate = _increase(frame.values[:, columns].astype(np.float64)) / np.diff(frame.times_s)
        served = np.where(np.isnan(served), rate, served + np.nan_to_num(rate))
        if pod in running:
            busy = frame.values[:, running[pod]].astype(np.float64)
            known = busy[~np.isnan(busy)]
            if len(known) >= RATE_ROWS and known.mean() > 0.0 and not np.isnan(rate).all():
                stays.append(float(np.nanmean(rate) / known.mean()))
                held = float(np.fmax(held, np.quantile(known, BUSY_QUANTILE)))
    if queues:
        block = frame.values[:, queues].astype(np.float64)
        waiting = np.where(np.isnan(block).all(axis=1), np.nan, np.nansum(block, axis=1))
    return served, waiting, float(np.median(stays)) if stays else float("nan"), held


def _erlang_c(servers: int, offered: float) -> float:
    """Chance that a request has to wait, by the recursion of Erlang B."""
    if offered >= servers:
        return 1.0
    blocked = 1.0
    for k in range(1, servers + 1):
        blocked = offered * blocked / (k + offered * blocked)
    return servers * blocked / (servers - offered * (1.0 - blocked))


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


def _demand(
    frame: MetricFrame, served: FloatArray, waiting: FloatArray, *, onset_s: float
) -> float:
    """Highest of the usual rate and the present one; NaN where neither is known."""
    if not len(frame.times_s):  # after a restart an incident may be known before any metric is
        return float("nan")
    arriving, ends_s = _arriving(frame, served, waiting), frame.times_s[1:]
    usual = arriving[(ends_s <= onset_s) & (ends_s > min(onset_s, frame.times_s[-1]) - USUAL_S)]
    known = [part[~np.isnan(part)] for part in (usual, arriving[-RATE_ROWS:])]
    return max((float(part.mean()) for part in known if len(part)), default=float("nan"))


def _coming(snapshot: Snapshot, engine: ServiceRecord) -> int:
    well = {node.name for node in snapshot.nodes if node.ready}
    return sum(
        pod.phase in (PodPhase.PENDING, PodPhase.RUNNING) and not pod.ready and pod.node in well
        for pod in snapshot.pods
        if (pod.region, pod.service) == (engine.region, engine.service)
    )


def _recent(series: FloatArray) -> float:
    known = series[-RATE_ROWS:][~np.isnan(series[-RATE_ROWS:])]
    return float(known.mean()) if len(known) else float("nan")


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
