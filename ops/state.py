"""Data that the loop passes around: snapshots, actions, decisions, incidents, journal entries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from rca.state import ChangeEvent, ClusterEvent, Entity, MetricFrame, RcaResult, Symptom


class PodPhase(StrEnum):
    """Kubernetes pod phase, reduced to what decisions need."""

    PENDING = "Pending"  # not scheduled, pulling, loading
    RUNNING = "Running"
    TERMINATING = "Terminating"
    FAILED = "Failed"


class Capability(StrEnum):
    """What a pod's software can do beyond serving."""

    CAN_DRAIN = "can_drain"
    CAN_MIGRATE = "can_migrate"
    RESUMABLE = "resumable"


@dataclass(frozen=True, slots=True, kw_only=True)
class PodRecord:
    """A pod as a watch on the cluster shows it.

    Attributes:
        label: "name=value" by which pods of its service are chosen; empty = not known.
    """

    name: str
    region: str
    service: str
    node: str
    phase: PodPhase
    ready: bool
    restarts: int
    created_at_s: float
    engine: bool = False  # serves a model on GPUs
    capabilities: frozenset[Capability] = frozenset()
    owner: str = ""  # kind of what makes a new one when it is deleted; "" = nothing is known to
    label: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRecord:
    """A node as a watch on the cluster shows it."""

    name: str
    region: str
    ready: bool
    unschedulable: bool
    gpus: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceRecord:
    """A deployment as a watch on the cluster shows it: its part in one region.

    Attributes:
        replicas_elsewhere: of the same object in other regions; it has one count for all of them.
    """

    region: str
    service: str
    replicas: int
    ready_replicas: int
    revision: str
    previous_revision: str = ""
    engine: bool = False
    replicas_max: int = 0  # upper bound that the owner allows; 0 = no scaling by anybody
    replicas_elsewhere: int = 0

    @property
    def replicas_in_all(self) -> int:
        """What the object itself asks for, which is what a command has to name."""
        return self.replicas + self.replicas_elsewhere


@dataclass(frozen=True, slots=True, kw_only=True)
class SloTarget:
    """Limits of one SLO class. A request is bad when it misses a limit, fails or is turned away."""

    name: str
    ttft_s: float
    tpot_s: float
    target_ratio: float = 0.99  # share of requests that must be good


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One alert of an Alertmanager notification, reduced."""

    group_key: str
    fingerprint: str
    starts_at_s: float
    firing: bool
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    ends_at_s: float | None = None  # None while firing

    @property
    def key(self) -> tuple[str, str, float]:
        """What makes a repeated notification the same alert."""
        return (self.group_key, self.fingerprint, self.starts_at_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Everything the loop may know at `now_s`: scraped, watched and announced; nothing else."""

    now_s: float
    frame: MetricFrame
    pods: tuple[PodRecord, ...]
    nodes: tuple[NodeRecord, ...]
    services: tuple[ServiceRecord, ...]
    changes: tuple[ChangeEvent, ...]  # that became known within the frame's window
    events: tuple[ClusterEvent, ...]
    slos: tuple[SloTarget, ...]
    region_weights: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    scrape_jobs: Mapping[str, float] = field(
        default_factory=dict
    )  # job -> time of last good scrape
    scraped_at_s: float | None = None  # newest sample of any series; None = no older than now
    alerts: tuple[Alert, ...] = ()  # notifications received so far; repeats do no harm


class ActionKind(StrEnum):
    """What the loop can do."""

    RESTART_POD = "restart-pod"
    REPLACE_POD = (
        "replace-pod"  # delete it; its owner makes another, elsewhere if the node is cordoned
    )
    CORDON_DRAIN_NODE = "cordon-drain-node"
    SHIFT_TRAFFIC = "shift-traffic"  # params: to_region, share
    SCALE_OUT = "scale-out"  # params: add
    LIMIT_ADMISSION = "limit-admission"  # params: ratio of the arriving requests admitted
    ROLLBACK = "rollback"  # params: to_revision
    UNDO = "undo"  # params: action_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One change of the world, with the way back."""

    action_id: str
    kind: ActionKind
    target: Entity
    params: Mapping[str, float | str] = field(default_factory=dict)
    reason: str = ""
    undo: str = ""  # in words; "none needed" where the action ends by itself
    command: str = ""  # what a person would type to do the same


class Verdict(StrEnum):
    """What the check after an action found."""

    EFFECTIVE = "Effective"
    NO_EFFECT = "NoEffect"
    WORSE = "Worse"
    BLOCKED = "Blocked"
    PENDING = "Pending"


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionRecord:
    """An action of an incident with what became of it."""

    action: Action
    decided_at_s: float
    verdict: Verdict = Verdict.PENDING
    verdict_reason: str = ""
    checked_at_s: float | None = None
    bad_ratio_before: float | None = None  # share of bad requests when the action was decided
    bad_ratio_after: float | None = None  # the same when its outcome was checked
    requests_before: float = 0.0  # requests that `bad_ratio_before` rests on
    ready_before: int | None = None  # ready instances of the target service at the decision
    restarts_before: int | None = None  # restarts of the target pod at the decision


class IncidentPhase(StrEnum):
    """Life of an incident."""

    OPEN = "Open"  # symptom seen, no cause named yet
    DIAGNOSED = "Diagnosed"
    MITIGATED = "Mitigated"  # symptom gone, may come back
    RESOLVED = "Resolved"


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """What people handle: one cause, however many alerts."""

    incident_id: str
    phase: IncidentPhase
    symptom: Symptom
    began_at_s: float
    detected_at_s: float
    diagnosed_at_s: float | None = None
    mitigated_at_s: float | None = None
    resolved_at_s: float | None = None
    result: RcaResult | None = None
    actions: tuple[ActionRecord, ...] = ()
    alerts: int = 0
    stand_down: str = ""  # why the loop acts no more here; empty = it may act


class DecisionKind(StrEnum):
    """What one entry of the journal says."""

    OPEN = "open"
    DIAGNOSE = "diagnose"
    ABSTAIN = "abstain"  # of an incident, or of a gap in the measurements without one
    NOTE = "note"  # something moved, no user suffers
    ACT = "act"
    REFUSE = "refuse"  # the guard said no
    OUTCOME = "outcome"
    MITIGATED = "mitigated"
    RESOLVE = "resolve"
    ALERT = "alert"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One decision with its reasons; the journal holds nothing else."""

    at_s: float
    kind: DecisionKind
    incident_id: str
    reason: str
    action: Action | None = None
    incident: Incident | None = None  # state after this decision
    details: Mapping[str, Any] = field(default_factory=dict)
