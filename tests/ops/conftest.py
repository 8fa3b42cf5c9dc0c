"""A tiny fleet whose counters are set by hand: frames and snapshots without any simulator."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from ops.state import NodeRecord, PodPhase, PodRecord, ServiceRecord, SloTarget, Snapshot
from rca.state import (
    Direction,
    Entity,
    EntityKind,
    Evidence,
    MetricFrame,
    MetricKind,
    MetricRole,
    RankedCause,
    RcaResult,
    ResourceClass,
    Series,
)

SLO = SloTarget(name="fast", ttft_s=1.0, tpot_s=0.1, target_ratio=0.99)
TTFT_BOUNDS = (0.5, 1.0, float("inf"))
TPOT_BOUNDS = (0.05, 0.1, float("inf"))

ENGINE_ROLES = ("engine_success", "engine_waiting", "engine_kv_usage", "engine_running")


def column(role, entity, *, part="", bound=None, group="", counter=True, **labels):
    series = Series(
        f"{role}_{part}" if part else role,
        tuple(sorted({**labels, "region": entity.region, "le": str(bound), "g": group}.items())),
    )
    return series, MetricRole(
        role=role,
        entity=entity,
        kind=MetricKind.RATE,
        resource=ResourceClass.LOAD,
        bad=Direction.BOTH,
        counter=counter,
        part=part,
        upper_bound=bound,
        group=group,
    )


def frontend_columns(region, slo_class, *, service="door", pod="p"):
    entry = Entity(EntityKind.SERVICE, region, service)
    pair = f"{region}/{slo_class}"
    labels = {"slo_class": slo_class, "pod": pod}
    columns = [
        column("frontend_requests", entry, group=status, status=status, **labels)
        for status in ("2xx", "4xx", "5xx")
    ]
    for role, bounds in (("frontend_ttft", TTFT_BOUNDS), ("frontend_tpot", TPOT_BOUNDS)):
        columns.append(column(role, entry, part="count", group=pair, **labels))
        columns += [
            column(role, entry, part="bucket", bound=b, group=pair, **labels) for b in bounds
        ]
    columns.append(column("frontend_in_flight", entry, counter=False, **labels))
    return columns


@dataclass
class TinyFleet:
    """Two regions with one engine service each; every step adds the requests it is told."""

    regions: tuple[str, ...] = ("east", "west")
    step_s: float = 5.0
    requests: int = 20  # per step and region
    now_s: float = 0.0
    in_flight: float = 5.0
    rows: list[np.ndarray] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    pods: dict[str, PodRecord] = field(default_factory=dict)
    services: dict[tuple[str, str], ServiceRecord] = field(default_factory=dict)
    nodes: dict[str, NodeRecord] = field(default_factory=dict)
    weights: dict[str, dict[str, float]] = field(default_factory=dict)
    changes: tuple = ()
    alerts: tuple = ()
    jobs_silent: bool = False
    engine_share: dict[str, float] = field(default_factory=dict)  # of the requests, default all

    def __post_init__(self):
        columns, self.keys = [], [(region, SLO.name) for region in self.regions]
        for region, slo_class in self.keys:
            columns += frontend_columns(region, slo_class)
        self.per_key = len(columns) // len(self.keys)
        for region in self.regions:
            for i in range(2):
                self._add_pod(region, "engine", i, engine=True)
                self._add_pod(region, "door", i, engine=False)
            for service in ("door", "engine"):
                self.services[region, service] = ServiceRecord(
                    region=region,
                    service=service,
                    replicas=2,
                    ready_replicas=2,
                    revision="r1",
                    engine=service == "engine",
                    replicas_max=6,
                )
            for name in (f"{region}-n0", f"{region}-n1", f"{region}-n2"):
                self.nodes[name] = NodeRecord(
                    name=name, region=region, ready=True, unschedulable=False
                )
            columns += [
                column(
                    role,
                    Entity(EntityKind.POD, region, f"{region}-engine-{i}"),
                    counter=role == "engine_success",
                    service="engine",
                    pod=f"{region}-engine-{i}",
                )
                for i in range(2)
                for role in ENGINE_ROLES
            ]
        self.series = tuple(series for series, _ in columns)
        self.roles = tuple(role for _, role in columns)
        self.totals = np.zeros(len(columns))

    def _add_pod(self, region, service, i, *, engine):
        name = f"{region}-{service}-{i}"
        self.pods[name] = PodRecord(
            name=name,
            region=region,
            service=service,
            node=f"{region}-n{i}",
            phase=PodPhase.RUNNING,
            ready=True,
            restarts=0,
            created_at_s=-1000.0,
            engine=engine,
            owner="ReplicaSet",
        )

    def advance(self, *, slow=None, failed=None, silent=(), kv=0.3, waiting=0.0):
        """One step. `slow` and `failed`: region -> share of its requests."""
        self.now_s += self.step_s
        for k, (region, _) in enumerate(self.keys):
            base = k * self.per_key
            count = 0 if region in silent else self.requests
            bad = round((failed or {}).get(region, 0.0) * count)
            late = round((slow or {}).get(region, 0.0) * (count - bad))
            self.totals[base : base + 3] += (count - bad, 0, bad)
            self.totals[base + 3 : base + 7] += (count - bad, 0, count - bad - late, count - bad)
            self.totals[base + 7 : base + 11] += (count - bad, 0, count - bad, count - bad)
            self.totals[base + 11] = self.in_flight
        for i, role in enumerate(self.roles):
            if role.role == "engine_success":
                self.totals[i] += self.requests / 2 * self.engine_share.get(role.entity.region, 1)
            elif role.role == "engine_waiting":
                self.totals[i] = waiting
            elif role.role == "engine_running":
                # Held at every second row; the busy rows show what an instance can hold.
                self.totals[i] = 40.0 if len(self.rows) % 2 else 0.0
            elif role.role == "engine_kv_usage":
                self.totals[i] = kv
        self.rows.append(self.totals.copy())
        self.times.append(self.now_s)
        return self.snapshot()

    def snapshot(self):
        frame = MetricFrame(
            times_s=np.array(self.times[-360:]),
            values=np.array(self.rows[-360:]),
            series=self.series,
            roles=self.roles,
            step_s=self.step_s,
        )
        return Snapshot(
            now_s=self.now_s,
            frame=frame,
            pods=tuple(self.pods.values()),
            nodes=tuple(self.nodes.values()),
            services=tuple(self.services.values()),
            changes=self.changes,
            events=(),
            slos=(SLO,),
            region_weights=self.weights,
            scrape_jobs={
                f"{region}/mesh": self.now_s - (100.0 if self.jobs_silent else 1.0)
                for region in self.regions
            },
            alerts=self.alerts,
        )

    def restart(self, pod):
        """What the world does when the loop restarts a pod."""
        record = self.pods[pod]
        self.pods[pod] = replace(record, restarts=record.restarts + 1)


@pytest.fixture
def fleet():
    return TinyFleet()


def cause(entity, resource=ResourceClass.MEMORY, *, confidence=0.9, rank=1, **more):
    if isinstance(entity, str):
        entity = Entity.parse(entity)
    return RankedCause(
        rank=rank,
        entity=entity,
        resource_class=resource,
        score=1.0,
        confidence=confidence,
        evidence=more.pop("evidence", (Evidence(channel="metric", text="it rose", strength=1.0),)),
        **more,
    )


def result(*causes, abstained=False):
    return RcaResult(began_at_s=0.0, causes=causes, abstained=abstained, reason="told by the test")


@pytest.fixture
def make_cause():
    return cause


@pytest.fixture
def make_result():
    return result
