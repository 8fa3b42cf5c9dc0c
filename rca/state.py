"""Data of a diagnosis: entities, metric frames, events, ranked causes. No algorithm lives here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from rca.errors import FrameError

FloatArray = npt.NDArray[np.float64]
CONTRADICTION = "contradiction"  # channel of what lowers a confidence and leaves the score alone


class EntityKind(StrEnum):
    """What can be accused."""

    SERVICE = "service"  # all pods of one service in one region
    POD = "pod"
    NODE = "node"
    LINK = "link"  # name is "caller->callee", services of one region
    WORKLOAD = "workload"  # the traffic of one region; no name
    REGISTRY = "registry"  # the image registry of one region; no name
    TELEMETRY = "telemetry"  # one scrape job; the measurements are missing, not the service


@dataclass(frozen=True, slots=True, order=True)
class Entity:
    """One thing that can be accused, written `kind:region/name`."""

    kind: EntityKind
    region: str
    name: str = ""

    def __str__(self) -> str:
        return (
            f"{self.kind}:{self.region}/{self.name}" if self.name else f"{self.kind}:{self.region}"
        )

    @classmethod
    def parse(cls, text: str) -> Entity:
        """Read what `str()` wrote.

        Raises:
            ValueError: unknown kind or missing region.
        """
        kind, _, rest = text.partition(":")
        region, _, name = rest.partition("/")
        if not region:
            raise ValueError(f"entity is {text!r}, expected kind:region/name")
        return cls(EntityKind(kind), region, name)


class ResourceClass(StrEnum):
    """What about the entity is wrong."""

    CPU = "cpu"
    MEMORY = "memory"
    GPU_CLOCK = "gpu-clock"
    GPU_MEMORY = "gpu-memory"
    GPU_DEVICE = "gpu-device"  # errors, lost device, hang
    NETWORK = "network"
    POOL = "pool"
    CODE = "code"  # errors or added latency of its own with no exhausted resource
    CONFIG_CHANGE = "config-change"
    LOAD = "load"
    START_UP = "start-up"
    LOSS = "loss"  # gone: killed, evicted, not ready
    TELEMETRY = "telemetry"
    UNKNOWN = "unknown"


class MetricKind(StrEnum):
    """How a series behaves; decides how it is turned into a level and which way is bad."""

    RATE = "rate"  # counter of work done
    ERRORS = "errors"  # counter of failures
    LATENCY = "latency"  # sum and count of durations
    SATURATION = "saturation"  # gauge or counter of a resource being used up
    QUEUE = "queue"  # gauge of waiting or running work
    AVAILABILITY = "availability"  # gauge that falls when something is gone
    STATE = "state"  # gauge that should not move
    INFO = "info"  # constant 1 with facts in its labels


class Direction(StrEnum):
    """Which change of a level is suspicious."""

    UP = "up"
    DOWN = "down"
    BOTH = "both"


@dataclass(frozen=True, slots=True)
class Series:
    """Identity of one time series, as a metrics store names it."""

    name: str
    labels: tuple[tuple[str, str], ...] = ()  # sorted by label name

    def label(self, key: str, default: str = "") -> str:
        """Value of one label."""
        for name, value in self.labels:
            if name == key:
                return value
        return default


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricRole:
    """What the catalogue knows of one series: its meaning, never its expected fault."""

    role: str  # e.g. "engine_queue_depth"; one role per meaning, shared by all engines
    entity: Entity
    kind: MetricKind
    resource: ResourceClass
    bad: Direction
    counter: bool = False  # cumulative: becomes a rate before any comparison
    hardware: bool = False  # reads a device or kernel limit directly: more specific than a symptom
    part: str = ""  # "sum", "count", "bucket" of a histogram, else ""
    upper_bound: float | None = None  # `le` of a bucket
    group: str = ""  # series of one role and group belong to one histogram or ratio


@dataclass(slots=True)
class MetricFrame:
    """Scraped samples on one time axis. Missing is NaN, never zero.

    Attributes:
        times_s: scrape times, ascending, shape [T].
        values: raw samples as scraped (counters cumulative), shape [T, N].
        series: identities, length N.
        roles: catalogue entry per series or None where the catalogue knows none, length N.
        step_s: nominal scrape interval.
    """

    times_s: FloatArray
    values: npt.NDArray[np.float32] | FloatArray
    series: tuple[Series, ...]
    roles: tuple[MetricRole | None, ...]
    step_s: float
    generation: int = 0  # changes when `series` does, so that index maps can be cached

    def check(self) -> None:
        """Verify shapes and order.

        Raises:
            FrameError: parts do not fit.
        """
        expected = (len(self.times_s), len(self.series))
        if self.values.shape != expected:
            raise FrameError(f"values have shape {self.values.shape}, expected {expected}")
        if len(self.roles) != len(self.series):
            raise FrameError(f"{len(self.roles)} roles for {len(self.series)} series")
        if len(self.times_s) > 1 and bool(np.any(np.diff(self.times_s) <= 0)):
            raise FrameError("times_s must rise strictly; sort the rows and drop duplicates")


class ChangeKind(StrEnum):
    """Sort of a change event."""

    DEPLOY = "deploy"
    CONFIG = "config"
    FLAG = "flag"
    SCALE = "scale"


@dataclass(frozen=True, slots=True, order=True, kw_only=True)
class ChangeEvent:
    """Something that a person or a controller changed on purpose."""

    at_s: float
    kind: ChangeKind
    region: str
    service: str
    revision_from: str
    revision_to: str
    summary: str = ""


@dataclass(frozen=True, slots=True, order=True, kw_only=True)
class ClusterEvent:
    """A Kubernetes Event, reduced."""

    at_s: float
    reason: str  # e.g. BackOff, Killing, NodeNotReady, Pulling, Unhealthy, OOMKilling
    entity: Entity
    service: str = ""  # owner of the pod, if a pod
    message: str = ""
    count: int = 1
    warning: bool = False


@dataclass(frozen=True, slots=True, order=True, kw_only=True)
class Shown:
    """A pod or a node as a cluster's API showed it when a diagnosis was asked for.

    Attributes:
        well: the pod is Running and Ready, the node Ready.
        made_at_s: when the object was made; 0 = not known.
    """

    entity: Entity
    well: bool
    made_at_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """Who calls whom, who runs where. Discovered from labels, never configured.

    Attributes:
        calls: (region, caller service) -> callee services.
        pods: pod name -> (region, service, node).
        entries: (region, service) that receive user traffic.
    """

    calls: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    pods: Mapping[str, tuple[str, str, str]] = field(default_factory=dict)
    entries: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Symptom:
    """What users suffer: the reason why a diagnosis is asked for.

    Attributes:
        region, slo_class: where.
        began_at_s: change point of the bad share, not the time of detection.
        bad_ratio: share of bad requests since then.
    """

    region: str
    slo_class: str
    began_at_s: float
    detected_at_s: float
    bad_ratio: float
    reason: str  # "latency", "errors" or "missing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One measured reason for or against a candidate."""

    channel: str  # "metric", "topology", "change", "event", "granger", CONTRADICTION
    text: str  # one short sentence with its numbers and units
    strength: float  # contribution to the candidate's score; negative speaks against it
    series: Series | None = None
    before: float | None = None
    after: float | None = None
    unit: str = ""
    onset_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RankedCause:
    """One candidate of a ranking; `rank` counts from 1."""

    rank: int
    entity: Entity
    resource_class: ResourceClass
    score: float
    confidence: float  # calibrated chance that this candidate is the cause, 0..1
    onset_s: float | None = None
    evidence: tuple[Evidence, ...] = ()
    path: tuple[str, ...] = ()  # entities from the cause to the symptom


@dataclass(frozen=True, slots=True, kw_only=True)
class CausalArc:
    """An arc cause -> effect that a report may draw."""

    cause: Entity
    effect: Entity
    weight: float
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RcaResult:
    """Outcome of one diagnosis. A ranking is always there; `abstained` says whether to trust it."""

    began_at_s: float
    causes: tuple[RankedCause, ...]
    abstained: bool
    reason: str  # why abstained, or what carried the decision
    checked: tuple[str, ...] = ()  # channels and hypotheses that were looked at
    missing: tuple[str, ...] = ()  # data that was not there
    would_settle: tuple[str, ...] = ()  # metrics that would decide between the first candidates
    ruled_out: tuple[tuple[Entity, str], ...] = ()
    arcs: tuple[CausalArc, ...] = ()
