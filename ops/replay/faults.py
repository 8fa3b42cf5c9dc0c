"""Fault catalogue. A fault changes parameters of mechanisms, never a measurement.

Each kind knows which parameter it turns, by how much at severity 1, which targets qualify, and the
truth: entity, resource class, acceptable alternatives. Telemetry is not imported here. Over 300
lines: a catalogue, one short function a kind.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from ops.errors import ScenarioError
from ops.replay.cluster import Deployment
from ops.replay.inject import Injector
from ops.replay.pods import Pod, Revision
from ops.replay.scenario import FaultSpec
from rca.state import ChangeKind, Entity, EntityKind, ResourceClass
from serving.sim.kernel import EventHandle

RAMP_STEPS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What a perfect diagnosis would say. Kept apart from everything that the loop sees."""

    kind: str
    entity: Entity
    resource_classes: frozenset[ResourceClass]
    alternatives: frozenset[Entity] = frozenset()
    abstain: bool = False  # right answer: no accusation, the entity named as missing
    began_at_s: float = 0.0
    ended_at_s: float = 0.0
    direct_roles: tuple[str, ...] = ()  # catalogue roles that show the parameter itself


@dataclass(slots=True, kw_only=True)
class ActiveFault:
    """A fault in a running world."""

    truth: Truth
    set_level: Callable[[float], None]  # 0 = healthy .. 1 = full severity
    oracle: tuple[str, ...] = ()  # what somebody who knows the truth does at once
    timers: list[EventHandle] = field(default_factory=list)  # of its ramp and its end


Maker = Callable[[Injector, FaultSpec, np.random.Generator], ActiveFault]
R = ResourceClass


@dataclass(frozen=True, slots=True)
class FaultKind:
    """One entry of the catalogue."""

    name: str
    make: Maker
    ramp_s: float = 0.0  # typical
    direct_roles: tuple[str, ...] = field(default=())


def start_fault(port: Injector, spec: FaultSpec, rng: np.random.Generator) -> ActiveFault:
    """Pick the target, schedule ramp and end.

    Raises:
        ScenarioError: unknown kind, or no target qualifies.
    """
    kind = CATALOGUE.get(spec.kind)
    if kind is None:
        raise ScenarioError(f"fault kind {spec.kind!r} is unknown; one of {', '.join(CATALOGUE)}")
    fault = kind.make(port, spec, rng)
    if spec.severity <= 0.0:
        return fault
    end_s = spec.start_s + spec.length_s
    if spec.ramp_s > 0.0:
        for k in range(1, RAMP_STEPS + 1):
            at_s = spec.start_s + spec.ramp_s * k / RAMP_STEPS
            if at_s < end_s:
                fault.timers.append(port.kernel.at(at_s, fault.set_level, k / RAMP_STEPS))
    else:
        fault.timers.append(port.kernel.at(spec.start_s, fault.set_level, 1.0))
    fault.timers.append(port.kernel.at(end_s, fault.set_level, 0.0))
    return fault


def _truth(spec: FaultSpec, entity: Entity, *classes: ResourceClass, **more: object) -> Truth:
    alternatives = more.get("alternatives", frozenset())
    assert isinstance(alternatives, frozenset)
    return Truth(
        kind=spec.kind,
        entity=entity,
        resource_classes=frozenset(classes),
        alternatives=alternatives,
        abstain=bool(more.get("abstain", False)),
        began_at_s=spec.start_s,
        ended_at_s=spec.start_s + spec.length_s,
        direct_roles=CATALOGUE[spec.kind].direct_roles,
    )


def _pod_entity(pod: Pod) -> Entity:
    return Entity(EntityKind.POD, pod.region, pod.name)


def _service_entity(deployment: Deployment) -> Entity:
    return Entity(EntityKind.SERVICE, deployment.region, deployment.service)


def _pod_kill(port: Injector, spec: FaultSpec, rng: np.random.Generator) -> ActiveFault:
    """An instance is killed, and again later, as often as the severity says.

    A named target may be any pod; drawn ones are instances, whose absence users notice.
    """
    pod = port.targets.pick_pod(spec, rng, engine=True)

    def level(x: float) -> None:
        if x > 0.0:
            for k in range(max(1, round(2 * spec.severity))):
                port.kernel.after(k * spec.length_s / 3.0, port.kill, pod)

    return ActiveFault(
        truth=_truth(spec, _pod_entity(pod), R.LOSS, R.START_UP),
        set_level=level,
        oracle=("shift-traffic",),
    )


def _node_loss(port: Injector, spec: FaultSpec, rng: np.random.Generator) -> ActiveFault:
    """A node drops off the network, then comes back with its processes dead."""
    node = port.targets.pick_node(spec, rng)
    return ActiveFault(
        truth=_truth(spec, Entity(EntityKind.NODE, node.region, node.name), R.LOSS, R.NETWORK),
        set_level=lambda x: port.set_node_up(node, x <= 0.0),
        oracle=("cordon-drain-node", "shift-traffic"),
    )


def _gpu_throttle(port: Injector, spec: FaultSpec, rng: np.random.Generator) -> ActiveFault:
    """Cooling fails: the clock falls to what the heat sink still carries away."""
    pod = port.targets.pick_pod(spec, rng, engine=True)
    node, gpu = pod.node, pod.gpu_indices[int(rng.integers(len(pod.gpu_indices)))]
    return ActiveFault(
        truth=_truth(
            spec, _pod_entity(pod), R.GPU_CLOCK,
            alternatives=frozenset({Entity(EntityKind.NODE, pod.region, node)}),
        ),
        set_level=lambda x: port.set_cooling(node, gpu, max(0.16, 1.0 - 0.78 * x * spec.severity)),
        oracle=("replace-pod", "shift-traffic"),
    )  # fmt: skip


def _gpu_memory_leak(port: Injector, spec: FaultSpec, rng: np.random.Generator) -> ActiveFault:
    """Something takes GPU memory away from the KV cache, block by block."""
    pod = port.targets.pick_pod(spec, rng, engine=True)
    return ActiveFault(
        truth=_truth(spec, _pod_entity(pod), R.GPU_MEMORY, R.MEMORY),
        set_level=lambda x: port.set_block_leak(pod, x * spec.severity, spec.length_s),
        oracle=("restart-pod", "shift-traffic"),
    )


def _gpu_hang(port: Injector, spec: FaultSpec, rng: np.random.Generator) -> ActiveFault:
    """The device reports an error; the kernel on it never returns."""
    pod = port.targets.pick_pod(spec, rng, engine=True)
    return ActiveFault(
        truth=_truth(spec, _pod_entity(pod), R.GPU_DEVICE, R.LOSS),  # a hang looks like a loss
        set_level=lambda x: port.set_hang(pod, x > 0.0),
        oracle=("restart-pod", "shift-traffic"),
    )


def _slow_link(port: Injector, spec: FaultSpec, rng: np.random.Generator) -> ActiveFault:
    """Delay, and loss with its retransmissions, on every call of one edge of one region."""
    region, caller, callee = port.targets.pick_link(spec, rng)
    loss = float(rng.uniform(0.05, 0.3))
    delay_s = float(rng.uniform(0.8, 2.0))
    entity = Entity(EntityKind.LINK, region, f"{caller}->{callee}")
    return ActiveFault(
        truth=_truth(spec, entity, R.NETWORK),
        set_level=lambda x: port.set_link(
            region, caller, callee, delay_s * x * spec.severity, min(0.9, loss * x * spec.severity)
        ),
        oracle=("shift-traffic",),
    )


def _cpu_hog(port: Injector, spec: FaultSpec, rng: np.random.Generator) -> ActiveFault:
    """A runaway process inside one container eats its quota."""
    pod = port.targets.pick_pod(spec, rng, engine=False)
    return ActiveFault(
        truth=_truth(spec, _pod_entity(pod), R.CPU),
        set_level=lambda x: port.set_hog(pod, 14.0 * pod.cpu_limit_cores * x * spec.severity),
        oracle=("restart-pod",),
    )


def _memory_leak(port: Injector, spec: FaultSpec, rng: np.random.Generator) -> ActiveFault:
    """Allocations are not given back: reclaim pressure, then an OOM kill, and again."""
    pod = port.targets.pick_pod(spec, rng, engine=False)
    room = pod.memory_limit_mib - pod.memory_base_mib
    rate = room / (0.35 * spec.length_s)
    return ActiveFault(
        truth=_truth(spec, _pod_entity(pod), R.MEMORY),
        set_level=lambda x: port.set_memory_leak(pod, rate * x * spec.severity),
        oracle=("restart-pod",),
    )


def _pool_exhaustion(port: Injector, spec: FaultSpec, rng: np.random.Generator) -> ActiveFault:
    """A settings roll-out shrinks a caller's connection pool below what the traffic needs."""
    deployment, callee, busy = port.targets.pick_pool(spec, rng)
    size = max(1, int(busy * max(0.05, 0.75 - 0.35 * spec.severity)))
    bad = Revision(revision_id=port.next_revision(deployment), pools={callee: size})
    return ActiveFault(
        truth=_truth(spec, _service_entity(deployment), R.POOL, R.CONFIG_CHANGE),
        set_level=_publish(port, deployment, bad, ChangeKind.CONFIG, "settings reload"),
        oracle=("rollback",),
    )


def _bad_code(port: Injector, spec: FaultSpec, rng: np.random.Generator) -> ActiveFault:
    """A roll-out of code that fails a share of its calls and works longer on the others."""
    deployment = port.targets.pick_service(spec, rng)
    bad = Revision(
        revision_id=port.next_revision(deployment),
        error_ratio=min(0.9, float(rng.uniform(0.35, 0.65)) * spec.severity),
        work_ratio=1.0 + float(rng.uniform(0.0, 1.0)) * spec.severity,
    )
    return ActiveFault(
        truth=_truth(spec, _service_entity(deployment), R.CODE, R.CONFIG_CHANGE),
        set_level=_publish(port, deployment, bad, ChangeKind.DEPLOY, "new image"),
        oracle=("rollback",),
    )


def _retry_storm(port: Injector, spec: FaultSpec, rng: np.random.Generator) -> ActiveFault:
    """A flag makes one caller impatient: a short timeout and many retries against one callee."""
    deployment, callee, typical_s = port.targets.pick_retry_edge(spec, rng)
    bad = Revision(
        revision_id=port.next_revision(deployment),
        retries={callee: int(4 + 8 * spec.severity)},
        timeouts_s={callee: typical_s * max(0.3, 1.5 - 0.6 * spec.severity)},
    )
    entity = _service_entity(deployment)
    link = Entity(EntityKind.LINK, deployment.region, f"{deployment.service}->{callee}")
    return ActiveFault(
        truth=_truth(
            spec, entity, R.CONFIG_CHANGE, R.LOAD, R.POOL, R.CODE, R.NETWORK,
            alternatives=frozenset({link}),
        ),
        set_level=_publish(port, deployment, bad, ChangeKind.FLAG, "client policy flag"),
        oracle=("rollback",),
    )  # fmt: skip


def _traffic_burst(port: Injector, spec: FaultSpec, rng: np.random.Generator) -> ActiveFault:
    """A stretch of the same trace arrives on top, from one region's users."""
    region = port.targets.pick_region(spec, rng)
    return ActiveFault(
        truth=_truth(spec, Entity(EntityKind.WORKLOAD, region), R.LOAD),
        set_level=lambda x: (
            port.burst(region, ratio=1.6 * spec.severity, length_s=spec.length_s)
            if x >= 1.0 else None
        ),
        oracle=("scale-out", "shift-traffic"),
    )  # fmt: skip


def _cold_region(port: Injector, spec: FaultSpec, rng: np.random.Generator) -> ActiveFault:
    """A region's model pool stood at zero when its users come back."""
    region = port.targets.pick_region(spec, rng)
    engine = Entity(EntityKind.SERVICE, region, port.engine_service)
    return ActiveFault(
        truth=_truth(spec, engine, R.START_UP, R.LOSS),
        set_level=lambda x: port.scale_to_zero(region, x > 0.0, cold=spec.severity),
        oracle=("shift-traffic",),
    )


def _slow_registry(port: Injector, spec: FaultSpec, rng: np.random.Generator) -> ActiveFault:
    """The image registry crawls while a routine reschedule needs images on a fresh node."""
    region = port.targets.pick_region(spec, rng)
    return ActiveFault(
        truth=_truth(spec, Entity(EntityKind.REGISTRY, region), R.NETWORK, R.START_UP),
        set_level=lambda x: port.slow_registry(
            region, 1.0 / (1.0 + 60.0 * x * spec.severity), reschedule=x > 0.0
        ),
        oracle=("shift-traffic",),
    )


def _metric_gap(port: Injector, spec: FaultSpec, rng: np.random.Generator) -> ActiveFault:
    """Scrapes of one job fail; the service itself is fine."""
    region, job = port.targets.pick_job(spec, rng)
    return ActiveFault(
        truth=_truth(spec, Entity(EntityKind.TELEMETRY, region, job), R.TELEMETRY, abstain=True),
        set_level=lambda x: port.silence(region, job, x > 0.0),
    )


def _publish(
    port: Injector, deployment: Deployment, bad: Revision, kind: ChangeKind, summary: str
) -> Callable[[float], None]:
    """Publish once; at the end go back, unless somebody did so before."""

    def level(x: float) -> None:
        if x >= 1.0 and deployment.revision is not bad:
            port.publish(deployment, bad, kind, summary)
        elif x <= 0.0 and deployment.revision is bad and deployment.previous is not None:
            port.publish(deployment, deployment.previous, kind, f"back from {bad.revision_id}")

    return level


CATALOGUE: dict[str, FaultKind] = {
    k.name: k
    for k in (
        FaultKind("pod-kill", _pod_kill, 0.0, ("pod_restarts", "pod_ready")),
        FaultKind("node-loss", _node_loss, 0.0, ("node_ready",)),
        FaultKind("gpu-throttle", _gpu_throttle, 60.0, ("gpu_sm_clock", "gpu_thermal_violation")),
        FaultKind("gpu-memory-leak", _gpu_memory_leak, 0.0, ("gpu_fb_used", "gpu_fb_free")),
        FaultKind("gpu-hang", _gpu_hang, 0.0, ("gpu_xid",)),
        FaultKind("slow-link", _slow_link, 30.0, ("container_network_drops",)),
        FaultKind("cpu-hog", _cpu_hog, 0.0,
                  ("container_throttled_seconds", "container_throttled_periods")),
        FaultKind("memory-leak", _memory_leak, 0.0,
                  ("container_memory", "container_memory_failures")),
        FaultKind("pool-exhaustion", _pool_exhaustion, 0.0,
                  ("pool_in_use", "pool_size", "pool_pending")),
        FaultKind("bad-code", _bad_code, 0.0, ()),
        FaultKind("retry-storm", _retry_storm, 0.0, ("edge_retries",)),
        FaultKind("traffic-burst", _traffic_burst, 0.0, ()),
        FaultKind("cold-region", _cold_region, 0.0, ("pod_pending", "pod_ready_time")),
        FaultKind("slow-registry", _slow_registry, 0.0, ("image_pull_seconds",)),
        FaultKind("metric-gap", _metric_gap, 0.0, ()),
    )
}  # fmt: skip
