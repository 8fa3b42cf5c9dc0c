"""A small fleet with hand-made meters, for tests of what observes a fleet."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from ops.replay.meters import (
    ContainerMeter,
    EdgeMeter,
    FrontendMeter,
    GpuMeter,
    NodeMeter,
    PoolMeter,
)
from ops.state import PodPhase
from serving.metrics import CacheConfig, EngineMeters


@dataclass
class FakePod:
    name: str
    region: str
    service: str
    node: str
    up: bool = True
    ready: bool = True
    phase: PodPhase = PodPhase.RUNNING
    restarts: int = 0
    created_at_s: float = 0.0
    scheduled_at_s: float | None = 1.0
    started_at_s: float | None = 2.0
    ready_at_s: float | None = 3.0
    waiting_reason: str = ""
    cpu_limit_cores: float = 1.0
    memory_limit_mib: float = 512.0
    container: ContainerMeter = field(default_factory=ContainerMeter)
    source_edges: dict[str, EdgeMeter] = field(default_factory=dict)
    dest_edges: dict[str, EdgeMeter] = field(default_factory=dict)
    pools: dict[str, PoolMeter] = field(default_factory=dict)
    frontends: dict[str, FrontendMeter] = field(default_factory=dict)
    engine: EngineMeters | None = None
    gpus: list[GpuMeter] = field(default_factory=list)


@dataclass
class FakeNode:
    name: str
    region: str
    ready: bool = True
    unschedulable: bool = False
    up: bool = True
    meter: NodeMeter = field(default_factory=NodeMeter)


@dataclass
class FakeService:
    region: str
    service: str
    replicas: int = 2
    ready_replicas: int = 2
    hpa_desired: float | None = 2.0


@dataclass
class FakeRegistry:
    pull_s_sum: float = 0.0
    pull_count: int = 0


class FakeFleet:
    """Two services and an engine per region; every counter rises by one a second."""

    model_name = "a-model"

    def __init__(self, regions: tuple[str, ...] = ("r1", "r2"), num_pods: int = 2) -> None:
        self.regions = regions
        self.silent: set[tuple[str, str]] = set()
        self.registries = {region: FakeRegistry() for region in regions}
        self.nodes_by_region = {r: [FakeNode(f"{r}-n{i}", r) for i in range(2)] for r in regions}
        self.services_by_region = {
            r: [FakeService(r, name) for name in ("front", "back", "llm")] for r in regions
        }
        self.pods_by_region: dict[str, list[FakePod]] = {r: [] for r in regions}
        for region in regions:
            for index in range(num_pods):
                for service in ("front", "back", "llm"):
                    self.add_pod(region, service, f"{region}-{service}-{index}")

    def add_pod(self, region: str, service: str, name: str) -> FakePod:
        pods = self.pods_by_region[region]
        pod = FakePod(name, region, service, self.nodes_by_region[region][len(pods) % 2].name)
        if service == "front":
            pod.source_edges["back"] = EdgeMeter()
            pod.pools["back"] = PoolMeter(size=8)
            pod.frontends["interactive"] = FrontendMeter()
        elif service == "back":
            pod.dest_edges["front"] = EdgeMeter()
        else:
            pod.engine = EngineMeters(cache_config=CacheConfig(1000, 16))
            pod.gpus = [GpuMeter(gpu=0, sm_clock_mhz=1400.0)]
        pods.append(pod)
        return pod

    def pod(self, name: str) -> FakePod:
        return next(p for pods in self.pods_by_region.values() for p in pods if p.name == name)

    def refresh(self, region: str, now_s: float) -> None:
        for pod in self.pods_by_region[region]:
            pod.container.cpu_s = now_s
            for edge in (*pod.source_edges.values(), *pod.dest_edges.values()):
                edge.requests_ok = int(now_s)
            for frontend in pod.frontends.values():
                frontend.by_status["200"] = int(now_s)
            for gpu in pod.gpus:
                gpu.energy_mj = now_s
        for node in self.nodes_by_region[region]:
            node.meter.cpu_busy_s = now_s

    def pods(self, region: str) -> list[FakePod]:
        return self.pods_by_region[region]

    def nodes(self, region: str) -> list[FakeNode]:
        return self.nodes_by_region[region]

    def services(self, region: str) -> list[FakeService]:
        return self.services_by_region[region]

    def registry(self, region: str) -> FakeRegistry:
        return self.registries[region]

    def silenced(self, region: str, job: str) -> bool:
        return (region, job) in self.silent


@pytest.fixture
def fake_fleet() -> type[FakeFleet]:
    return FakeFleet
