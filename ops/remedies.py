"""How each remedy becomes an action: its target, its size, its undo, what a person would type.

A remedy answers None where it does not apply or its target lacks what it needs.
"""

from __future__ import annotations

from dataclasses import dataclass

from ops.capacity import EngineLoad, instances_to_add
from ops.config import ActConfig
from ops.state import (
    Action,
    ActionKind,
    NodeRecord,
    PodPhase,
    PodRecord,
    ServiceRecord,
    Snapshot,
)
from rca.state import ChangeEvent, ChangeKind, Entity, EntityKind, RankedCause, ResourceClass

# A change explains these classes by itself; others need evidence of the change's own.
CHANGE_CLASSES = frozenset({ResourceClass.CONFIG_CHANGE, ResourceClass.CODE, ResourceClass.POOL})
REVERSIBLE_CHANGES = frozenset({ChangeKind.DEPLOY, ChangeKind.CONFIG, ChangeKind.FLAG})


@dataclass(frozen=True, slots=True, kw_only=True)
class Distress:
    """What the users of the region that suffers go through now; NaN where nobody knows."""

    bad_ratio: float = float("nan")
    failed_ratio: float = float("nan")
    rate_ratio: float = float("nan")  # requests that end, over the usual number: tries included


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a remedy may look at."""

    cause: RankedCause
    began_at_s: float
    region_served: str  # where users suffer
    snapshot: Snapshot
    loads: tuple[EngineLoad, ...]
    regions_suffering: frozenset[str]
    symptom_ratio: float  # bad share of the symptom
    distress: Distress
    config: ActConfig

    @property
    def onset_s(self) -> float:
        """When the cause began, as far as is known."""
        return self.began_at_s if self.cause.onset_s is None else self.cause.onset_s


def pod_of(context: Context) -> PodRecord | None:
    """The accused pod, if it is still there."""
    if context.cause.entity.kind is not EntityKind.POD:
        return None
    name = context.cause.entity.name
    return next((pod for pod in context.snapshot.pods if pod.name == name), None)


def services_of(context: Context) -> tuple[ServiceRecord, ...]:
    """Services that the accused entity belongs to, the nearest first."""
    entity = context.cause.entity
    if entity.kind is EntityKind.SERVICE:
        names = [entity.name]
    elif entity.kind is EntityKind.LINK:
        names = list(entity.name.partition("->")[::2])
    elif entity.kind is EntityKind.POD:
        pod = pod_of(context)
        names = [pod.service] if pod else []
    else:
        names = []
    by_name = {s.service: s for s in context.snapshot.services if s.region == entity.region}
    return tuple(by_name[name] for name in names if name in by_name)


def lost_for_good(cause: RankedCause, snapshot: Snapshot) -> str:
    """Why an accused pod cannot be replaced; empty where something makes a new one."""
    if cause.entity.kind is not EntityKind.POD:
        return ""
    pod = next((one for one in snapshot.pods if one.name == cause.entity.name), None)
    if pod is None or pod.owner:
        return ""
    return f"{pod.name} has no controller, deleted it would be lost for good"


def roll_back(context: Context) -> Action | None:
    """Undo the last reversible change of the accused service before the onset."""
    told = any(e.channel == "change" and e.strength > 0 for e in context.cause.evidence)
    if context.cause.resource_class not in CHANGE_CLASSES and not told:
        return None
    for service in services_of(context):
        change = _last_change(context, service)
        if change is None or service.revision == change.revision_from:
            continue
        to_revision = change.revision_from or service.previous_revision
        if not to_revision:
            continue
        before_s = context.onset_s - change.at_s
        return Action(
            action_id="",
            kind=ActionKind.ROLLBACK,
            target=Entity(EntityKind.SERVICE, service.region, service.service),
            params={"to_revision": to_revision},
            reason=f"{change.kind} of {service.service} {before_s:.0f} s before the onset",
            undo=f"deploy revision {change.revision_to or service.revision} again",
            command=f"kubectl --context {service.region} rollout undo "
            f"deployment/{service.service}  # to {to_revision}",
        )
    return None


def _last_change(context: Context, service: ServiceRecord) -> ChangeEvent | None:
    first_s = context.onset_s - context.config.change_before_s
    last_s = context.onset_s + context.config.change_after_s
    fitting = [
        change
        for change in context.snapshot.changes
        if change.kind in REVERSIBLE_CHANGES
        and (change.region, change.service) == (service.region, service.service)
        and first_s <= change.at_s <= last_s
    ]
    return max(fitting, key=lambda change: change.at_s, default=None)


def restart_pod(context: Context) -> Action | None:
    """Restart the accused pod; not one that Kubernetes is restarting already.

    On a cluster the way to do that is to delete it, so it needs an owner.
    """
    pod = pod_of(context)
    if pod is None or pod.phase is not PodPhase.RUNNING or not (pod.ready and pod.owner):
        return None
    return Action(
        action_id="",
        kind=ActionKind.RESTART_POD,
        target=context.cause.entity,
        reason=f"{context.cause.resource_class} of {pod.name} is the cause; "
        "a fresh process starts without it",
        undo="none needed: the pod comes back by itself",
        command=f"kubectl --context {pod.region} exec {pod.name} -- kill 1",
    )


def replace_pod(context: Context) -> Action | None:
    """Delete the accused pod, so that its owner makes another; never one that has none."""
    pod = pod_of(context)
    if pod is None or pod.phase is not PodPhase.RUNNING or not pod.owner:
        return None
    return Action(
        action_id="",
        kind=ActionKind.REPLACE_POD,
        target=context.cause.entity,
        params={"service": pod.service},
        reason=f"{context.cause.resource_class} of {pod.name} is the cause; "
        "a new pod gets other hardware or a clean state",
        undo=f"none needed: its {pod.owner} makes a new pod",
        command=f"kubectl --context {pod.region} delete pod {pod.name}",
    )


def drain_node(context: Context) -> Action | None:
    """Move everything off the accused node, or off the node of the accused pod.

    Not where a pod would be lost for good; kubectl drain stops at such a pod, the node cordoned.
    """
    entity = context.cause.entity
    pod = pod_of(context)
    name = pod.node if pod else entity.name if entity.kind is EntityKind.NODE else ""
    node = _node(context.snapshot, name)
    if node is None or node.unschedulable or not _others(context.snapshot, node):
        return None
    if any(not one.owner for one in context.snapshot.pods if one.node == node.name):
        return None
    return Action(
        action_id="",
        kind=ActionKind.CORDON_DRAIN_NODE,
        target=Entity(EntityKind.NODE, node.region, node.name),
        reason=f"node {node.name} has a fault, {context.cause.resource_class}: "
        "others take its pods",
        undo=f"kubectl --context {node.region} uncordon {node.name}",
        command=f"kubectl --context {node.region} drain {node.name} --ignore-daemonsets "
        "--delete-emptydir-data",
    )


def _node(snapshot: Snapshot, name: str) -> NodeRecord | None:
    return next((node for node in snapshot.nodes if node.name == name), None)


def _others(snapshot: Snapshot, node: NodeRecord) -> list[NodeRecord]:
    """Nodes of the same sort that could take over."""
    return [
        other
        for other in snapshot.nodes
        if other.name != node.name
        and other.region == node.region
        and other.ready
        and not other.unschedulable
        and (other.gpus > 0) == (node.gpus > 0)
    ]


def surge(context: Context) -> Action | None:
    """Start more instances of the accused service, or of the engines where traffic is accused."""
    services = services_of(context)
    if context.cause.entity.kind is EntityKind.WORKLOAD:
        region = context.cause.entity.region
        services = tuple(s for s in context.snapshot.services if s.engine and s.region == region)
    service = next((s for s in services if s.replicas < s.replicas_max), None)
    if service is None:
        return None
    load = _load(context, service.region, service.service)
    add = instances_to_add(load, context.config) if load else 1
    if add < 1:
        return None
    replicas = service.replicas_in_all + add
    why = (
        f"forecast demand needs {add} more, ready in about {load.cold_start_s:.0f} s"
        if load
        else f"{service.service} has {service.ready_replicas} ready of {service.replicas}"
    )
    return Action(
        action_id="",
        kind=ActionKind.SCALE_OUT,
        target=Entity(EntityKind.SERVICE, service.region, service.service),
        params={"add": float(add)},
        reason=why,
        undo=f"scale {service.service} back to {service.replicas_in_all}",
        command=f"kubectl --context {service.region} scale deployment/{service.service} "
        f"--replicas={replicas}",
    )


def _load(context: Context, region: str, service: str) -> EngineLoad | None:
    return next(
        (load for load in context.loads if (load.region, load.service) == (region, service)), None
    )


def _growth_rps(load: EngineLoad) -> float:
    """Requests/s that arrive beyond what is served, over the newest rows."""
    recent = load.arriving_rps[-6:]
    known = recent[recent == recent]  # NaN differs from itself
    return max(0.0, float(known.mean()) - load.served_rps) if len(known) else 0.0


def limit_admission(context: Context) -> Action | None:
    """Turn a part of the requests away, only when the queue cannot be served in time."""
    region = context.cause.entity.region
    ttft_s = min((slo.ttft_s for slo in context.snapshot.slos), default=1.0)
    loads = [load for load in context.loads if load.region == region and load.instances_ready]
    load = max(loads, key=lambda item: (item.waiting, item.service), default=None)
    if load is None or not load.drain_s > 2.0 * ttft_s:
        return None
    full_rps = load.fits_rps(load.instances_ready)
    arriving_rps = load.served_rps + _growth_rps(load)
    ratio = round(max(context.config.admission_ratio_min, full_rps / max(arriving_rps, 1e-9)), 2)
    if not ratio <= context.config.admission_ratio_max:
        return None  # so little turned away would not shorten the queue
    return Action(
        action_id="",
        kind=ActionKind.LIMIT_ADMISSION,
        target=Entity(EntityKind.WORKLOAD, region),
        params={"ratio": ratio},
        reason=f"{load.waiting:.0f} requests wait, {load.drain_s:.0f} s of work at full rate; "
        "turning some away keeps the rest within the limit",
        undo="admit every request again",
        command=f"kubectl --context {region} annotate deployment/{load.service} "
        f"midwatch.dev/admission-ratio={ratio:.2f} --overwrite",
    )
