"""What telemetry asks of a fleet: read-only Protocols, so that scrapes never change the world.

The fleet of `ops.replay` implements them, and small fakes do in tests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

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


class PodView(Protocol):
    """One pod object; it exists from its creation until it is deleted."""

    @property
    def name(self) -> str:
        """Unique name."""
        ...

    @property
    def region(self) -> str:
        """Region."""
        ...

    @property
    def service(self) -> str:
        """Owner."""
        ...

    @property
    def node(self) -> str:
        """Node, empty until scheduled."""
        ...

    @property
    def up(self) -> bool:
        """Its process answers scrapes."""
        ...

    @property
    def ready(self) -> bool:
        """Readiness."""
        ...

    @property
    def phase(self) -> PodPhase:
        """Phase."""
        ...

    @property
    def restarts(self) -> int:
        """Restarts of its container."""
        ...

    @property
    def created_at_s(self) -> float:
        """Creation of the object."""
        ...

    @property
    def scheduled_at_s(self) -> float | None:
        """Given to a node, None until then."""
        ...

    @property
    def started_at_s(self) -> float | None:
        """Start of the running container, None while none runs."""
        ...

    @property
    def ready_at_s(self) -> float | None:
        """Last time it became ready, None until then."""
        ...

    @property
    def waiting_reason(self) -> str:
        """Why its container does not run, empty when it does."""
        ...

    @property
    def cpu_limit_cores(self) -> float:
        """CPU limit."""
        ...

    @property
    def memory_limit_mib(self) -> float:
        """Memory limit."""
        ...

    @property
    def container(self) -> ContainerMeter:
        """cAdvisor's counters."""
        ...

    @property
    def source_edges(self) -> Mapping[str, EdgeMeter]:
        """By callee: calls that it makes."""
        ...

    @property
    def dest_edges(self) -> Mapping[str, EdgeMeter]:
        """By caller: calls that it gets."""
        ...

    @property
    def pools(self) -> Mapping[str, PoolMeter]:
        """By callee: connection pools."""
        ...

    @property
    def frontends(self) -> Mapping[str, FrontendMeter]:
        """By SLO class: users' requests, entry services only."""
        ...

    @property
    def engine(self) -> EngineMeters | None:
        """Engine counters, None for other software."""
        ...

    @property
    def gpus(self) -> Sequence[GpuMeter]:
        """Its GPUs."""
        ...


class NodeView(Protocol):
    """One node."""

    @property
    def name(self) -> str:
        """Unique name."""
        ...

    @property
    def region(self) -> str:
        """Region."""
        ...

    @property
    def ready(self) -> bool:
        """Ready condition."""
        ...

    @property
    def unschedulable(self) -> bool:
        """Cordoned."""
        ...

    @property
    def up(self) -> bool:
        """Its agents answer scrapes."""
        ...

    @property
    def meter(self) -> NodeMeter:
        """node-exporter's counters."""
        ...


class ServiceView(Protocol):
    """One deployment."""

    @property
    def region(self) -> str:
        """Region."""
        ...

    @property
    def service(self) -> str:
        """Name."""
        ...

    @property
    def replicas(self) -> int:
        """Wanted pods."""
        ...

    @property
    def ready_replicas(self) -> int:
        """Ready pods."""
        ...

    @property
    def hpa_desired(self) -> float | None:
        """What its HPA wants, None without HPA."""
        ...


class RegistryView(Protocol):
    """Image pulls of one region."""

    @property
    def pull_s_sum(self) -> float:
        """Seconds spent pulling."""
        ...

    @property
    def pull_count(self) -> int:
        """Finished pulls."""
        ...


class FleetView(Protocol):
    """The whole fleet. Sequences are in order of creation, never of name."""

    @property
    def regions(self) -> tuple[str, ...]:
        """Regions."""
        ...

    @property
    def model_name(self) -> str:
        """Model that the engines serve."""
        ...

    def refresh(self, region: str, now_s: float) -> None:
        """Bring the meters of a region up to date."""
        ...

    def pods(self, region: str) -> Sequence[PodView]:
        """Pods of a region."""
        ...

    def nodes(self, region: str) -> Sequence[NodeView]:
        """Nodes of a region."""
        ...

    def services(self, region: str) -> Sequence[ServiceView]:
        """Deployments of a region."""
        ...

    def registry(self, region: str) -> RegistryView:
        """Image registry of a region."""
        ...

    def silenced(self, region: str, job: str) -> bool:
        """Whether nothing of a scrape job arrives at present."""
        ...
