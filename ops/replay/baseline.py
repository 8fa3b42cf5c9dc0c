"""What plain Kubernetes and the mesh do by themselves: the world without us.

Defaults: node not ready after 50 s without a heartbeat, eviction 300 s later; CPU autoscaler every
15 s with 10 % tolerance and 300 s scale-down window; outlier ejection after 5 errors in a row for
30 s times the number of ejections; an engine's watchdog restarts a hung process after 600 s.
"""

from __future__ import annotations

import math

from ops.replay.cluster import Cluster, Deployment
from ops.replay.pods import Node, Pod
from rca.state import ClusterEvent, Entity, EntityKind
from serving.sim.kernel import Kernel

NODE_TICK_S, NODE_GRACE_S, EVICT_S = 5.0, 50.0, 300.0
HPA_TICK_S, HPA_TOLERANCE, HPA_DOWN_S = 15.0, 0.1, 300.0
EJECT_TICK_S, EJECT_ERRORS, EJECT_S, EJECT_SHARE_MAX = 10.0, 5, 30.0, 0.5
WATCHDOG_S = 600.0


class Kubernetes:
    """The reflexes of the platform, run on the simulated clock."""

    def __init__(self, kernel: Kernel, cluster: Cluster) -> None:
        self._kernel, self._cluster = kernel, cluster
        self._lost_at_s: dict[str, float] = {}
        self._cpu_s: dict[str, float] = {}
        self._low_since_s: dict[tuple[str, str], float] = {}
        self._last_iterations: dict[str, tuple[int, float]] = {}

    def start(self) -> None:
        """Begin every control loop."""
        self._kernel.after(NODE_TICK_S, self._nodes)
        self._kernel.after(HPA_TICK_S, self._autoscale)
        self._kernel.after(EJECT_TICK_S, self._eject)

    # --- nodes

    def _nodes(self) -> None:
        now = self._kernel.now_s
        for node in self._cluster.nodes.values():
            if node.up:
                self._lost_at_s.pop(node.name, None)
                if not node.ready:
                    node.ready = True
                    self._event(node, "NodeReady", warning=False)
                continue
            lost_at_s = self._lost_at_s.setdefault(node.name, now)
            if node.ready and now - lost_at_s >= NODE_GRACE_S:
                node.ready = False
                self._event(node, "NodeNotReady", warning=True)
                for pod in self._on(node):
                    self._cluster.set_ready(pod, False)
            elif now - lost_at_s >= NODE_GRACE_S + EVICT_S:
                for pod in self._on(node):
                    self._cluster.evict(pod)
        self._watchdog(now)
        self._kernel.after(NODE_TICK_S, self._nodes)

    def _on(self, node: Node) -> list[Pod]:
        return [p for p in self._cluster.pods() if p.node == node.name]

    def _event(self, node: Node, reason: str, *, warning: bool) -> None:
        self._cluster.events.append(
            ClusterEvent(
                at_s=self._kernel.now_s,
                reason=reason,
                entity=Entity(EntityKind.NODE, node.region, node.name),
                warning=warning,
            )
        )

    def _watchdog(self, now_s: float) -> None:
        """An engine that has work and runs no iteration for ten minutes exits by itself."""
        for pod in self._cluster.pods():
            if pod.instance is None or pod.engine is None or not pod.up:
                continue
            pod.instance.refresh(now_s)
            seen, since_s = self._last_iterations.get(pod.name, (-1, now_s))
            idle = pod.instance.num_running + pod.instance.num_waiting == 0
            if pod.engine.iterations != seen or idle:
                self._last_iterations[pod.name] = (pod.engine.iterations, now_s)
            elif now_s - since_s > WATCHDOG_S and self._cluster.node_up(pod):
                self._cluster.note(pod, "Unhealthy", warning=True)
                self._cluster.kill_pod(pod, reason="Killing")

    # --- autoscaler

    def _autoscale(self) -> None:
        for key in self._cluster.deployments:
            deployment = self._cluster.deployments[key]
            wanted = self._wanted(deployment)
            if wanted is not None:
                self._apply(deployment, wanted)
        self._kernel.after(HPA_TICK_S, self._autoscale)

    def _wanted(self, deployment: Deployment) -> int | None:
        ready = [p for p in deployment.pods if p.ready]
        if not ready:
            return None
        engine, spec = self._cluster.scenario.engine, deployment.spec
        if spec is None:
            if engine.hpa_queue <= 0.0:
                return None
            for pod in ready:
                if pod.instance is not None:
                    pod.instance.refresh(self._kernel.now_s)
            waiting = sum(p.instance.num_waiting for p in ready if p.instance is not None)
            ratio = waiting / len(ready) / engine.hpa_queue
            # A queue metric says little below its target: never below what is deployed.
            return math.ceil(len(ready) * ratio) if ratio > 1.0 + HPA_TOLERANCE else 0
        if spec.hpa_cpu_ratio <= 0.0:
            return None
        used = 0.0
        for pod in ready:
            pod.meter(self._kernel.now_s)
            cpu_s = pod.container.cpu_s
            used += max(0.0, cpu_s - self._cpu_s.get(pod.name, cpu_s)) / HPA_TICK_S
            self._cpu_s[pod.name] = cpu_s
        ratio = used / (len(ready) * spec.cpu_limit_cores) / spec.hpa_cpu_ratio
        if abs(ratio - 1.0) <= HPA_TOLERANCE:
            return deployment.replicas
        return math.ceil(len(ready) * ratio)

    def _apply(self, deployment: Deployment, wanted: int) -> None:
        now = self._kernel.now_s
        key = (deployment.region, deployment.service)
        floor = self._floor(deployment)
        wanted = min(max(wanted, floor), deployment.replicas_max)
        deployment.hpa_desired = max(wanted, floor)
        if wanted > deployment.replicas:
            self._low_since_s.pop(key, None)
            self._cluster.scale(deployment, wanted)
        elif wanted < deployment.replicas:
            since_s = self._low_since_s.setdefault(key, now)
            if now - since_s >= HPA_DOWN_S:
                self._low_since_s.pop(key, None)
                self._cluster.scale(deployment, wanted)
        else:
            self._low_since_s.pop(key, None)

    def _floor(self, deployment: Deployment) -> int:
        if deployment.spec is not None:
            return max(deployment.spec.replicas, 1)
        for region in self._cluster.scenario.regions:
            if region.name == deployment.region and region.instances is not None:
                return region.instances
        return self._cluster.scenario.engine.instances

    # --- mesh

    def _eject(self) -> None:
        now = self._kernel.now_s
        for key in self._cluster.deployments:
            pods = self._cluster.deployments[key].pods
            ready = [p for p in pods if p.ready]
            out = sum(p.ejected_until_s > now for p in ready)
            changed = any(0.0 < p.ejected_until_s <= now < p.ejected_until_s + EJECT_TICK_S
                          for p in ready)  # fmt: skip
            for pod in ready:
                if pod.consecutive_errors < EJECT_ERRORS or pod.ejected_until_s > now:
                    continue
                if len(ready) < 2 or (out + 1) / len(ready) > EJECT_SHARE_MAX:
                    continue
                pod.ejections += 1
                pod.ejected_until_s = now + EJECT_S * pod.ejections
                pod.consecutive_errors = 0
                out += 1
                changed = True
            if changed:
                self._cluster.refresh_endpoints(*key)
        self._kernel.after(EJECT_TICK_S, self._eject)
