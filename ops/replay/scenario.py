"""Scenario: everything that makes one replay. Types and their checks; no mechanism lives here."""

from __future__ import annotations

from dataclasses import dataclass, field

from ops.state import SloTarget


@dataclass(frozen=True, slots=True, kw_only=True)
class CallSpec:
    """One call that a service makes while it handles a request; calls run in the order given."""

    to: str
    timeout_s: float = 2.0
    retries: int = 0
    retry_backoff_s: float = 0.05
    pool: int = 0  # connections per caller pod; 0 = not pooled
    pool_timeout_s: float = 5.0  # longest wait for a free connection
    probability: float = 1.0
    background: bool = False  # fire and forget: the caller does not wait
    optional: bool = False  # a failure is tolerated


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSpec:
    """One microservice, the same in every region that lists it."""

    name: str
    entry: bool = False  # receives user traffic
    regions: tuple[str, ...] = ()  # empty = all
    replicas: int = 2
    replicas_max: int = 6  # HPA bound
    hpa_cpu_ratio: float = 0.7  # HPA target of usage / limit; 0 = no HPA
    cpu_ms: float = 2.0  # CPU work per call, mean
    cpu_cv: float = 0.6
    cpu_limit_cores: float = 1.0
    workers: int = 32  # calls handled at once per pod
    queue_max: int = 256  # calls waiting for a worker per pod; beyond it 503
    memory_base_mib: float = 256.0
    memory_per_call_mib: float = 1.0
    memory_limit_mib: float = 1024.0
    start_s: float = 8.0  # container start to ready
    image_mib: float = 400.0
    calls: tuple[CallSpec, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSpec:
    """The pool of LLM serving instances. Callers name it in `CallSpec.to`."""

    name: str
    gpu: str = "A100"  # a key of `serving.sim.profile_files.find_gpu`
    model: str = "llama-2-70b"
    tp_degree: int = 4
    instances: int = 2  # per region
    instances_max: int = 4  # HPA bound per region
    hpa_queue: float = 8.0  # HPA target: waiting requests per instance; 0 = no HPA
    batch_policy: str = "chunked-prefill"
    token_budget: int = 512
    sequences_max: int = 128
    block_tokens: int = 16
    kv_memory_ratio: float = 0.9  # share of GPU memory used by weights and KV
    prefix_cache: bool = False  # keep the KV of prompts for later ones that begin alike
    dispatch: str = "least-loaded"  # or "round-robin"
    queue_max: int = 512  # waiting requests per instance; beyond it 503
    image_mib: float = 9000.0
    # Cold start by phase, seconds, means; each log-normal with sigma 0.15.
    schedule_s: float = 2.0
    load_weights_s: float = 26.0
    boot_s: float = 20.0
    warmup_s: float = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionSpec:
    """One region: share of users, nodes, time of day."""

    name: str
    traffic_share: float
    cpu_nodes: int = 3
    cores_per_node: float = 16.0
    memory_per_node_mib: float = 65536.0
    gpu_nodes: int = 3
    gpus_per_node: int = 8
    utc_offset_s: float = 0.0
    rtt_s: float = 0.0006  # between two pods of the region
    registry_mib_per_s: float = 120.0
    instances: int | None = None  # overrides EngineSpec.instances


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSpec:
    """How users behave."""

    first_token_timeout_s: float = 20.0  # gives up waiting for the first token
    total_timeout_s: float = 180.0
    retries: int = 2
    retry_backoff_s: float = 1.0  # doubled at each retry, times a draw in [0.5, 1.5)
    cancel_ratio: float = 0.01  # users who stop reading half way
    class_shares: tuple[tuple[str, float], ...] = (("interactive", 0.7), ("standard", 0.3))


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficSpec:
    """Where the requests come from and how many there are."""

    trace: str = "generated"  # or a path
    trace_format: str = "auto"
    load: float = 0.7  # share of the healthy fleet's capacity; 0 = the trace's own rate
    conversation_ratio: float = 0.1  # of generated requests; the others are short API calls
    diurnal: float = 0.0  # 0 = flat; 1 = the full daily curve of the generator
    step_at_s: float = 0.0  # a lasting load step, 0 = none
    step_ratio: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TelemetrySpec:
    """How the fleet is observed."""

    scrape_s: float = 5.0
    gpu_collect_s: float = 30.0
    delay_s: float = 1.0  # scrape to visible
    jitter_s: float = 0.4
    gap_ratio: float = 0.002  # chance that one scrape of one target fails
    not_collected: tuple[str, ...] = ()  # catalogue roles that this fleet does not collect


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultSpec:
    """One fault. An empty target is drawn by the fault's kind from the seed."""

    kind: str
    start_s: float
    length_s: float = 300.0
    target: str = ""  # Entity in text form
    region: str = ""  # where a target is drawn, empty = anywhere
    severity: float = 1.0  # 1 = the kind's typical size; 0 = none
    ramp_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeSpec:
    """A harmless change that happens while the scenario runs."""

    kind: str  # deploy, config, flag, scale, reschedule
    at_s: float
    region: str
    service: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SteadyState:
    """What the scenario expects of a healthy fleet."""

    good_ratio: float = 0.98  # share of good requests outside faults


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """Fleet, service graph, traffic, faults, observation."""

    name: str
    regions: tuple[RegionSpec, ...]
    services: tuple[ServiceSpec, ...]
    engine: EngineSpec
    slos: tuple[SloTarget, ...]
    duration_s: float = 1800.0
    warmup_s: float = 600.0
    client: ClientSpec = field(default_factory=ClientSpec)
    traffic: TrafficSpec = field(default_factory=TrafficSpec)
    telemetry: TelemetrySpec = field(default_factory=TelemetrySpec)
    faults: tuple[FaultSpec, ...] = ()
    changes: tuple[ChangeSpec, ...] = ()
    steady_state: SteadyState = field(default_factory=SteadyState)
    region_rtt_s: tuple[tuple[str, str, float], ...] = ()  # (a, b, round trip); default 0.08
