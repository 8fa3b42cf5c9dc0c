"""What the mechanisms of the simulated fleet count. Telemetry reads these; faults never touch them.

Counters are cumulative from the start of their process and die with it, as real ones do; a meter
is equal to itself alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from serving.metrics import Histogram as Histogram  # re-exported: one histogram for all meters

# Upper bounds in seconds. Mesh: a coarse form of Istio's. TTFT and TPOT: OpenTelemetry GenAI's
# ranges, with bounds where SLO limits usually lie.
MESH_BOUNDS_S = (0.01, 0.05, 0.25, 1.0, 2.5, 10.0)
TTFT_BOUNDS_S = (
    0.01,
    0.05,
    0.1,
    0.25,
    0.5,
    0.75,
    1.0,
    1.5,
    2.0,
    3.0,
    4.0,
    5.0,
    7.5,
    10.0,
    20.0,
    40.0,
)
TPOT_BOUNDS_S = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)


@dataclass(slots=True, eq=False)
class EdgeMeter:
    """Mesh RED of one side of one call edge, per reporting pod."""

    requests_ok: int = 0
    requests_error: int = 0  # 5xx as the reporter saw it
    retries: int = 0  # source side only, like every counter below
    timeouts: int = 0
    connect_failures: int = 0
    latency: Histogram = field(default_factory=lambda: Histogram(MESH_BOUNDS_S))


@dataclass(slots=True, eq=False)
class PoolMeter:
    """Connections that one pod holds to one callee."""

    size: int = 0
    in_use: int = 0
    pending: int = 0
    timeouts: int = 0


@dataclass(slots=True, eq=False)
class ContainerMeter:
    """cAdvisor's view of one container."""

    started_at_s: float = 0.0
    cpu_s: float = 0.0
    periods: float = 0.0  # CFS periods with demand
    throttled_periods: float = 0.0
    throttled_s: float = 0.0
    memory_mib: float = 0.0
    memory_failures: float = 0.0  # hits of the limit
    received_bytes: float = 0.0
    transmitted_bytes: float = 0.0
    packets_dropped: float = 0.0
    read_bytes: float = 0.0
    written_bytes: float = 0.0


@dataclass(slots=True, eq=False)
class NodeMeter:
    """node-exporter's view of one node."""

    cores: float = 0.0
    cpu_busy_s: float = 0.0
    load1: float = 0.0
    memory_total_mib: float = 0.0
    memory_available_mib: float = 0.0
    pressure_cpu_s: float = 0.0
    received_bytes: float = 0.0
    transmitted_bytes: float = 0.0
    packets_dropped: float = 0.0
    disk_io_s: float = 0.0


@dataclass(slots=True, eq=False)
class GpuMeter:
    """DCGM's view of one GPU."""

    gpu: int = 0
    sm_clock_mhz: float = 0.0
    mem_clock_mhz: float = 0.0
    temperature_c: float = 0.0
    power_w: float = 0.0
    util_ratio: float = 0.0
    dram_active_ratio: float = 0.0
    tensor_active_ratio: float = 0.0
    fb_used_mib: float = 0.0
    fb_free_mib: float = 0.0
    xid: int = 0  # last error code, 0 = none
    thermal_violation_us: float = 0.0
    energy_mj: float = 0.0


@dataclass(slots=True, eq=False)
class FrontendMeter:
    """What an entry service knows of its users' requests, per (region, SLO class)."""

    by_status: dict[str, int] = field(
        default_factory=dict
    )  # "200", "429", "499", "500", "503", "504"
    in_flight: int = 0
    ttft: Histogram = field(default_factory=lambda: Histogram(TTFT_BOUNDS_S))
    tpot: Histogram = field(default_factory=lambda: Histogram(TPOT_BOUNDS_S))

    def finish(self, status: str) -> None:
        """Count one answer."""
        self.by_status[status] = self.by_status.get(status, 0) + 1
