"""A synthetic fleet that draws frames: a chain of services that ends in engines, two regions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import pytest

from rca.state import (
    Direction,
    Entity,
    EntityKind,
    MetricFrame,
    MetricKind,
    MetricRole,
    ResourceClass,
    Series,
    Symptom,
    Topology,
)

K, R, D = MetricKind, ResourceClass, Direction
STEP_S = 5.0


@dataclass
class Fleet:
    """Columns are added one by one; knobs multiply or shift what a healthy fleet would show.

    The chain is front -> middle -> store -> (nothing) and front -> engine.
    """

    rows: int = 120
    onset_row: int = 100
    seed: int = 0
    rps: float = 8.0
    names: dict = field(default_factory=dict)
    knobs: dict = field(default_factory=dict)
    skip_roles: tuple = ()
    load: float = 1.0  # factor on arrivals since the onset
    columns: list = field(default_factory=list)
    regions: tuple = ("r1", "r2")
    where: str = "r1"  # region that the knobs act on

    CHAIN = (("front", "middle"), ("middle", "store"), ("front", "engine"))
    OWN_S: ClassVar = {"front": 0.01, "middle": 0.02, "store": 0.03, "engine": 0.5}

    def __post_init__(self):
        self.rng = np.random.default_rng(self.seed)
        self.times = STEP_S * np.arange(self.rows)
        self.late = np.arange(self.rows) >= self.onset_row

    def name(self, text):
        return self.names.get(text, text)

    def knob(self, region, key, default=0.0):
        return self.knobs.get(key, default) if region == self.where else default

    def pods(self, service):
        return [f"{service}-{i}" for i in (0, 1)]

    def node(self, pod):
        return "node-" + pod[-1]

    def add(self, metric, role, entity, values, *, kind, res, bad=D.UP, **more):
        if role in self.skip_roles:
            return
        labels = dict(region=entity.region, **more.pop("labels", {}))
        series = Series(metric, tuple(sorted(labels.items())))
        self.columns.append(
            (series, MetricRole(role=role, entity=entity, kind=kind, resource=res, bad=bad, **more),
             np.asarray(values, dtype=float))
        )  # fmt: skip

    def counter(self, per_row):
        return np.cumsum(np.concatenate([[0.0], per_row[1:]]))

    def own_s(self, region, service, pod):
        """Own seconds per call and row, of one pod."""
        base = self.OWN_S[service] * self.rng.normal(1.0, 0.03, self.rows)
        added = self.knob(region, ("own", service)) + self.knob(region, ("own", pod))
        added += self.knob(region, ("own", self.node(pod)))
        return base + added * self.late

    def build(self):
        for region in self.regions:
            self.build_region(region)
        series, roles, values = zip(*self.columns, strict=True)
        frame = MetricFrame(
            times_s=self.times, values=np.column_stack(values), series=series, roles=roles,
            step_s=STEP_S,
        )  # fmt: skip
        frame.check()
        return frame

    def build_region(self, region):
        growth = np.where(self.late & (region == self.where), self.load, 1.0)
        calls = self.rng.poisson(self.rps * STEP_S * growth).astype(float)
        own = {s: {p: self.own_s(region, s, p) for p in self.pods(s)} for s in self.OWN_S}
        fails = {
            s: self.knob(region, ("errors", s)) * self.late * np.ones(self.rows) for s in self.OWN_S
        }
        latency = {}
        for service in ("engine", "store", "middle", "front"):  # callees first
            mean = np.mean([own[service][p] for p in self.pods(service)], axis=0)
            for caller, callee in self.CHAIN:
                if caller == service:
                    gap = self.knob(region, ("gap", f"{caller}->{callee}")) * self.late
                    mean = mean + latency[callee] + gap
                    fails[service] = fails[service] + fails[callee]
            latency[service] = mean
        for caller, callee in self.CHAIN:
            self.edge(region, caller, callee, calls, own, latency, fails)
        self.front(region, calls, latency["front"], fails["front"])
        for service in self.OWN_S:
            for pod in self.pods(service):
                self.pod(region, service, pod, calls)
        for node in ("node-0", "node-1"):
            entity = Entity(EntityKind.NODE, region, self.name(node))
            use = 2.0 * STEP_S * self.rng.normal(1, 0.05, self.rows)
            self.add("node_cpu_seconds_total", "node_cpu", entity, self.counter(use),
                     kind=K.SATURATION, res=R.CPU, counter=True)  # fmt: skip
        for job in ("mesh", "cadvisor"):
            entity = Entity(EntityKind.TELEMETRY, region, job)
            up = np.where(self.late & (self.knob(region, ("gap", job)) > 0), 0.0, 1.0)
            self.add("up", "scrape_up", entity, up, kind=K.AVAILABILITY, res=R.TELEMETRY,
                     bad=D.DOWN, labels={"instance": job})  # fmt: skip

    def edge(self, region, caller, callee, calls, own, latency, fails):
        entity = Entity(EntityKind.LINK, region, f"{self.name(caller)}->{self.name(callee)}")
        gap = self.knob(region, ("gap", f"{caller}->{callee}")) * self.late
        shared = latency[callee] - np.mean([own[callee][p] for p in self.pods(callee)], axis=0)
        for side, owner in (("source", caller), ("destination", callee)):
            for pod in self.pods(owner):
                count = calls / 2
                mean = latency[callee] + gap
                if side == "destination":
                    mean = shared + own[callee][pod]
                self.red(region, entity, side, owner, pod, count, mean, fails[callee])

    def red(self, region, entity, side, owner, pod, count, mean, failed):
        labels = {"pod": self.name(pod), "service": self.name(owner), "reporter": side,
                  "link": entity.name, "node": self.name(self.node(pod))}  # fmt: skip
        common = {"counter": True, "group": side, "labels": labels}
        self.add("istio_requests_total", "edge_requests", entity,
                 self.counter(count * (1 - failed)), kind=K.RATE, res=R.LOAD, bad=D.BOTH,
                 **{**common, "labels": {**labels, "response_code": "200"}})  # fmt: skip
        self.add("istio_requests_total", "edge_errors", entity, self.counter(count * failed),
                 kind=K.ERRORS, res=R.CODE,
                 **{**common, "labels": {**labels, "response_code": "503"}})  # fmt: skip
        for part, values in (("sum", 1e3 * count * mean), ("count", count)):
            self.add(f"istio_request_duration_milliseconds_{part}", "edge_latency", entity,
                     self.counter(values), kind=K.LATENCY, res=R.NETWORK, part=part,
                     **common)  # fmt: skip

    def front(self, region, calls, mean, failed):
        entity = Entity(EntityKind.SERVICE, region, self.name("front"))
        for pod in self.pods("front"):
            labels = {"pod": self.name(pod), "service": self.name("front")}
            for part, values in (("sum", calls / 2 * mean), ("count", calls / 2)):
                self.add(f"ttft_seconds_{part}", "frontend_ttft", entity, self.counter(values),
                         kind=K.LATENCY, res=R.UNKNOWN, counter=True, part=part,
                         labels=labels)  # fmt: skip
            for status, share in (("2xx", 1 - failed), ("5xx", failed)):
                self.add("http_requests_total", "frontend_requests", entity,
                         self.counter(calls / 2 * share), kind=K.RATE, res=R.LOAD, bad=D.BOTH,
                         counter=True, group=status,
                         labels={**labels, "status": status})  # fmt: skip

    def pod(self, region, service, pod, calls):
        entity = Entity(EntityKind.POD, region, self.name(pod))
        labels = {"pod": self.name(pod), "service": self.name(service),
                  "node": self.name(self.node(pod))}  # fmt: skip
        noise = self.rng.normal(1, 0.05, self.rows)
        cpu = calls / 2 * 0.01 * noise
        throttled = self.knob(region, ("throttled", pod)) * self.late * STEP_S
        self.add("container_cpu_usage_seconds_total", "container_cpu", entity, self.counter(cpu),
                 kind=K.SATURATION, res=R.CPU, counter=True, labels=labels)  # fmt: skip
        self.add("container_cpu_cfs_throttled_seconds_total", "container_throttled_seconds",
                 entity, self.counter(throttled), kind=K.SATURATION, res=R.CPU, counter=True,
                 hardware=True, labels=labels)  # fmt: skip
        memory = 5e8 * self.rng.normal(1, 0.01, self.rows)
        memory = memory * (1 + self.knob(region, ("memory", pod)) * self.late)
        self.add("container_memory_working_set_bytes", "container_memory", entity, memory,
                 kind=K.SATURATION, res=R.MEMORY, labels=labels)  # fmt: skip
        ready = np.where(self.late & (self.knob(region, ("down", pod)) > 0), 0.0, 1.0)
        self.add("kube_pod_status_ready", "pod_ready", entity, ready, kind=K.AVAILABILITY,
                 res=R.LOSS, bad=D.DOWN, labels=labels)  # fmt: skip
        if service == "engine":
            self.engine(region, pod, entity, labels, calls)

    def engine(self, region, pod, entity, labels, calls):
        slow = 1.0 + self.knob(region, ("slow", pod)) * self.late
        running = np.round(calls / 2 * 0.8 * slow + 4)
        tokens = calls / 2 * 100
        itl = (0.02 + 0.0005 * running) * slow * self.rng.normal(1, 0.02, self.rows)
        self.add("vllm:num_requests_running", "engine_running", entity, running, kind=K.QUEUE,
                 res=R.LOAD, labels=labels)  # fmt: skip
        for part, values in (("sum", tokens * itl), ("count", tokens)):
            self.add(f"vllm:inter_token_latency_seconds_{part}", "engine_itl", entity,
                     self.counter(values), kind=K.LATENCY, res=R.GPU_CLOCK, counter=True,
                     part=part, labels=labels)  # fmt: skip
        clock = np.where(slow > 1.0, 1410.0 / slow, 1410.0)
        self.add("DCGM_FI_DEV_SM_CLOCK", "gpu_sm_clock", entity, clock, kind=K.SATURATION,
                 res=R.GPU_CLOCK, bad=D.DOWN, hardware=True, labels=labels)  # fmt: skip

    def topology(self):
        calls: dict = {}
        for region in self.regions:
            for caller, callee in self.CHAIN:
                key = (region, self.name(caller))
                calls[key] = (*calls.get(key, ()), self.name(callee))
        return Topology(
            calls=calls,
            pods={
                self.name(p): (region, self.name(s), self.name(self.node(p)))
                for region in self.regions[:1]
                for s in self.OWN_S
                for p in self.pods(s)
            },
            entries=tuple((region, self.name("front")) for region in self.regions),
        )

    def symptom(self, *, late_s=0.0, bad_ratio=0.3, reason="latency"):
        began = self.times[self.onset_row] + late_s
        return Symptom(region=self.where, slo_class="chat", began_at_s=began,
                       detected_at_s=float(self.times[-1]), bad_ratio=bad_ratio,
                       reason=reason)  # fmt: skip


@pytest.fixture
def fleet():
    """Factory of synthetic fleets; one region by default, so that pod names are unique."""

    def make(**knobs):
        knobs.setdefault("regions", ("r1",))
        return Fleet(**knobs)

    return make
