"""Pods and nodes of the simulated fleet: CPU quota, memory, pools, probes' view. No scheduling."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ops.replay.meters import (
    ContainerMeter,
    EdgeMeter,
    FrontendMeter,
    GpuMeter,
    NodeMeter,
    PoolMeter,
)
from ops.state import PodPhase
from serving.metrics import EngineMeters
from serving.sim.instances import EngineInstance

CFS_PERIOD_S = 0.1
PRESSURE_START_RATIO = 0.7  # above it reclaim costs CPU
PRESSURE_WORK_RATIO = 30.0  # extra work at the limit, in multiples of the call's own
HOG_SHARE_MAX = 0.97  # a hog leaves at least 3 % of the quota


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """What a roll-out can change about a service."""

    revision_id: str
    error_ratio: float = 0.0  # answers 500 by itself
    work_ratio: float = 1.0  # CPU work per call
    pools: Mapping[str, int] = field(default_factory=dict)  # callee -> connections
    retries: Mapping[str, int] = field(default_factory=dict)  # callee -> retries
    timeouts_s: Mapping[str, float] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Node:
    """A machine. A lost one answers nothing until it is back."""

    name: str
    region: str
    cores: float
    memory_mib: float
    gpus: int
    meter: NodeMeter = field(default_factory=NodeMeter)
    up: bool = True
    ready: bool = True  # as the control plane believes
    unschedulable: bool = False
    gpus_used: int = 0
    cores_used: float = 0.0
    images: set[str] = field(default_factory=set)


@dataclass(slots=True, kw_only=True)
class Pool:
    """Connections of one pod to one callee, with the calls that wait for one."""

    meter: PoolMeter
    waiting: deque[Any] = field(default_factory=deque)
    # A call that gets a connection may be refused on the spot: its connection goes on in a loop.
    handing_out: bool = False


@dataclass(slots=True, kw_only=True, eq=False)
class Pod:
    """One pod: identity, Kubernetes state, CPU and memory mechanism, counters."""

    name: str
    serial: int  # order of creation
    region: str
    service: str
    node: str
    created_at_s: float
    cpu_limit_cores: float
    memory_limit_mib: float
    memory_base_mib: float = 0.0
    memory_per_call_mib: float = 0.0
    workers: int = 0
    queue_max: int = 0
    revision: Revision
    phase: PodPhase = PodPhase.PENDING
    up: bool = False  # the process runs and answers
    ready: bool = False
    in_endpoints: bool = False
    quarantined: bool = False
    ejected_until_s: float = 0.0
    ejections: int = 0
    consecutive_errors: int = 0
    restarts: int = 0
    scheduled_at_s: float | None = None
    started_at_s: float | None = None
    ready_at_s: float | None = None
    last_crash_at_s: float = -1e9
    waiting_reason: str = ""
    # mechanism
    hog_cores: float = 0.0
    leak_mib_per_s: float = 0.0
    leaked_mib: float = 0.0
    leaked_at_s: float = 0.0
    active: int = 0
    calls: dict[Any, None] = field(default_factory=dict)  # in progress, in order of arrival
    queue: deque[Any] = field(default_factory=deque)
    cpu_free_at_s: float = 0.0
    cpu_tokens_s: float = 0.0
    cpu_tokens_at_s: float = 0.0
    cpu_metered_at_s: float = 0.0
    # counters of the running process
    container: ContainerMeter = field(default_factory=ContainerMeter)
    source_edges: dict[str, EdgeMeter] = field(default_factory=dict)
    dest_edges: dict[str, EdgeMeter] = field(default_factory=dict)
    pools: dict[str, PoolMeter] = field(default_factory=dict)
    pool_queues: dict[str, Pool] = field(default_factory=dict)
    frontends: dict[str, FrontendMeter] = field(default_factory=dict)
    engine: EngineMeters | None = None
    instance: EngineInstance | None = None
    gpus: list[GpuMeter] = field(default_factory=list)
    gpu_indices: tuple[int, ...] = ()
    leak_blocks_per_s: float = 0.0
    leaked_blocks: float = 0.0
    leak_blocks_max: float = 0.0
    hung_instance: EngineInstance | None = None
    device_error: int = 0  # last error of its first GPU since the process started
    timers: list[Any] = field(default_factory=list)

    @property
    def cores(self) -> float:
        """Cores that calls may use while a hog runs in the container."""
        if self.hog_cores <= 0.0:
            return self.cpu_limit_cores
        share = self.hog_cores / (self.hog_cores + self.cpu_limit_cores)
        return self.cpu_limit_cores * (1.0 - min(share, HOG_SHARE_MAX))

    def memory_mib(self, now_s: float) -> float:
        """Working set."""
        leaked = self.leaked_mib + self.leak_mib_per_s * (now_s - self.leaked_at_s)
        return self.memory_base_mib + self.memory_per_call_mib * self.active + leaked

    def set_leak(self, mib_per_s: float, now_s: float) -> None:
        """Change the allocation rate; what leaked so far stays."""
        self.leaked_mib += self.leak_mib_per_s * (now_s - self.leaked_at_s)
        self.leaked_at_s, self.leak_mib_per_s = now_s, mib_per_s

    def run_cpu(self, now_s: float, work_s: float) -> float:
        """Charge CPU work in order of arrival; returns the moment it is done.

        The quota is a token bucket of one CFS period: a burst runs at the speed of one core until
        the period's quota is spent, then at the quota's rate; the difference is throttled time.
        Differs from the kernel's: tokens refill continuously, not at period boundaries.
        """
        if self.leaked_mib or self.leak_mib_per_s:
            work_s *= self._pressure(now_s)
        start_s = now_s if now_s > self.cpu_free_at_s else self.cpu_free_at_s
        cores = self.cores if self.hog_cores > 0.0 else self.cpu_limit_cores
        container = self.container
        container.cpu_s += work_s
        if cores >= 1.0:
            self.cpu_free_at_s = start_s + work_s / cores
            return start_s + work_s
        quota_s = 0.0 if self.hog_cores > 0.0 else cores * CFS_PERIOD_S
        tokens = self.cpu_tokens_s + cores * (start_s - self.cpu_tokens_at_s)
        tokens = tokens if tokens < quota_s else quota_s
        burst_s = tokens / (1.0 - cores)
        if work_s <= burst_s:
            end_s = start_s + work_s
            self.cpu_tokens_s = tokens - work_s * (1.0 - cores)
        else:
            slow_s = (work_s - burst_s) / cores
            end_s = start_s + burst_s + slow_s
            throttled_s = slow_s - (work_s - burst_s)
            container.throttled_s += throttled_s
            container.throttled_periods += throttled_s / CFS_PERIOD_S
            self.cpu_tokens_s = 0.0
        self.cpu_tokens_at_s = end_s
        self.cpu_free_at_s = end_s
        container.periods += (end_s - start_s) / CFS_PERIOD_S
        return end_s

    def _pressure(self, now_s: float) -> float:
        used = self.memory_mib(now_s) / self.memory_limit_mib
        if used <= PRESSURE_START_RATIO:
            return 1.0
        # A limit crossed between two looks of the OOM killer is thrashing, not more than that.
        over = min(1.0, (used - PRESSURE_START_RATIO) / (1.0 - PRESSURE_START_RATIO))
        self.container.memory_failures += 1.0
        return 1.0 + PRESSURE_WORK_RATIO * over * over

    def meter(self, now_s: float) -> None:
        """Bring the container's lazily kept counters up to date."""
        spent_s = now_s - self.cpu_metered_at_s
        self.cpu_metered_at_s = now_s
        self.container.memory_mib = self.memory_mib(now_s)
        if self.hog_cores > 0.0 and spent_s > 0.0:
            used = self.cpu_limit_cores - self.cores
            self.container.cpu_s += used * spent_s
            throttled_s = max(0.0, self.hog_cores - used) * spent_s
            self.container.throttled_s += throttled_s
            self.container.throttled_periods += min(1.0, throttled_s) * spent_s / CFS_PERIOD_S
            self.container.periods += spent_s / CFS_PERIOD_S

    def new_process(self, now_s: float) -> None:
        """Forget what died with the old process: counters, queues, leaks, CPU debt."""
        self.container = ContainerMeter(started_at_s=now_s)
        self.source_edges, self.dest_edges, self.pools = {}, {}, {}
        self.pool_queues, self.frontends = {}, {}
        self.active, self.calls, self.queue = 0, {}, deque()
        self.cpu_free_at_s = self.cpu_tokens_at_s = self.cpu_metered_at_s = now_s
        self.cpu_tokens_s = self.leaked_mib = self.leaked_blocks = 0.0
        self.leaked_at_s = now_s
        self.consecutive_errors = self.device_error = 0

    def source_edge(self, callee: str) -> EdgeMeter:
        """Counters of calls from here to `callee`."""
        meter = self.source_edges.get(callee)
        if meter is None:
            meter = self.source_edges[callee] = EdgeMeter()
        return meter

    def dest_edge(self, caller: str) -> EdgeMeter:
        """Counters of calls that `caller` made to here."""
        meter = self.dest_edges.get(caller)
        if meter is None:
            meter = self.dest_edges[caller] = EdgeMeter()
        return meter

    def pool(self, callee: str, size: int) -> Pool:
        """Connections to `callee`; the size follows the revision."""
        pool = self.pool_queues.get(callee)
        if pool is None:
            pool = self.pool_queues[callee] = Pool(meter=PoolMeter(size=size))
            self.pools[callee] = pool.meter
        pool.meter.size = size
        return pool


def least_loaded(pods: list[Pod]) -> Pod:
    """Engine with the fewest outstanding requests; of equal ones the first. `pods` not empty."""
    best, least = pods[0], math.inf
    for pod in pods:
        instance = pod.instance
        load = instance.load if instance is not None else 0
        if load < least:
            best, least = pod, load
    return best
