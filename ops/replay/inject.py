"""The parameters of the simulated fleet that a fault may turn, and who qualifies as its target."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np

from ops.errors import ScenarioError
from ops.replay.calls import Link
from ops.replay.cluster import Cluster, Deployment
from ops.replay.pods import Node, Pod, Revision
from ops.replay.scenario import FaultSpec
from ops.replay.services import ServiceGraph
from ops.replay.users import Arrivals, Users
from rca.state import ChangeKind, Entity, EntityKind
from serving.sim.kernel import Kernel

T = TypeVar("T")
XID_HANG = 31  # GPU memory page fault, one of the codes seen before a hang
ACTIVATOR_S = 5.0  # request seen -> scale from zero
LEAK_LEFT_RATIO = 0.3  # of the KV blocks in use when it begins, that a leak of severity 1 leaves
LEAK_LEFT_TOKENS = 2304  # but always room for one usual request


class Injector:
    """Hands of the fault catalogue. It knows mechanisms; it never writes a counter or a gauge."""

    def __init__(
        self,
        kernel: Kernel,
        cluster: Cluster,
        graph: ServiceGraph,
        users: Users,
        *,
        more_arrivals: Callable[[str, float, float, float], Arrivals],
        jobs: tuple[str, ...],
    ) -> None:
        self.kernel, self.cluster, self.graph, self.users = kernel, cluster, graph, users
        self.engine_service = cluster.scenario.engine.name
        self._more_arrivals = more_arrivals
        self._jobs = jobs
        self.silent: set[tuple[str, str]] = set()

    # --- targets: named in the spec, else drawn among those that qualify

    def pick_pod(self, spec: FaultSpec, rng: np.random.Generator, *, engine: bool) -> Pod:
        """A ready pod; drawn ones are instances or pods that users wait for, as asked."""
        pods = [p for p in self.cluster.pods() if p.ready and not p.quarantined]
        if spec.target:
            entity = self._entity(spec)
            pods = [
                p for p in pods
                if p.region == entity.region and entity.name in (p.name, p.service)
            ]  # fmt: skip
        elif engine:
            pods = [p for p in pods if p.instance is not None]
        else:
            pods = [p for p in pods if p.instance is None and self._matters(p.region, p.service)]
        return self._one(spec, pods, rng)

    def pick_node(self, spec: FaultSpec, rng: np.random.Generator) -> Node:
        """A node that runs at least one pod that users wait for."""
        if spec.target:
            entity = self._entity(spec)
            return self._one(
                spec, [n for n in self.cluster.nodes.values() if n.name == entity.name], rng
            )
        used = {p.node for p in self.cluster.pods() if self._matters(p.region, p.service)}
        return self._one(spec, [n for n in self.cluster.nodes.values() if n.name in used], rng)

    def pick_link(self, spec: FaultSpec, rng: np.random.Generator) -> tuple[str, str, str]:
        """(region, caller, callee) of a call that users wait for."""
        edges = [
            (region, service.name, call.to)
            for region in self.users.weights
            for service in self.cluster.scenario.services
            for call in service.calls
            if not call.background and call.to != self.engine_service
            and call.probability > 0.5 and self._matters(region, service.name)
        ]  # fmt: skip
        if spec.target:
            entity = self._entity(spec)
            edges = [e for e in edges if e[0] == entity.region and f"{e[1]}->{e[2]}" == entity.name]
        return self._one(spec, edges, rng)

    def pick_service(self, spec: FaultSpec, rng: np.random.Generator) -> Deployment:
        """A service, not the engine pool, that users wait for."""
        found = [
            d for key, d in self.cluster.deployments.items()
            if d.spec is not None and self._matters(*key)
        ]  # fmt: skip
        if spec.target:
            entity = self._entity(spec)
            found = [d for d in found if (d.region, d.service) == (entity.region, entity.name)]
        return self._one(spec, found, rng)

    def pick_pool(self, spec: FaultSpec, rng: np.random.Generator) -> tuple[Deployment, str, float]:
        """(caller, callee, connections in use) of a pooled edge, busy ones preferred."""
        edges = []
        for deployment in self._callers(spec):
            assert deployment.spec is not None
            for call in deployment.spec.calls:
                busy = self._connections(deployment, call.to)
                if call.pool and not call.background:
                    edges.append((deployment, call.to, busy))
        busy_edges = [e for e in edges if e[2] >= 1.5]
        best = max((e[2] for e in edges), default=0.0)
        return self._one(spec, busy_edges or [e for e in edges if e[2] == best], rng)

    def pick_retry_edge(
        self, spec: FaultSpec, rng: np.random.Generator
    ) -> tuple[Deployment, str, float]:
        """(caller, callee, mean seconds of a call) of an edge to another service."""
        edges = []
        for deployment in self._callers(spec):
            assert deployment.spec is not None
            for call in deployment.spec.calls:
                mean_s = self._mean_s(deployment, call.to)
                if not call.background and call.to != self.engine_service and mean_s > 0.0:
                    edges.append((deployment, call.to, mean_s))
        return self._one(spec, edges, rng)

    def pick_region(self, spec: FaultSpec, rng: np.random.Generator) -> str:
        """A region."""
        regions = list(self.users.weights)
        if spec.target:
            regions = [r for r in regions if r == self._entity(spec).region]
        return self._one(spec, regions, rng)

    def pick_job(self, spec: FaultSpec, rng: np.random.Generator) -> tuple[str, str]:
        """A scrape job of a region."""
        if spec.target:
            entity = self._entity(spec)
            return entity.region, entity.name
        return self.pick_region(spec, rng), self._one(spec, list(self._jobs), rng)

    # --- parameters

    def kill(self, pod: Pod) -> None:
        """Kill the process of a pod that still exists."""
        if self.cluster.pod(pod.name) is pod:
            self.cluster.kill_pod(pod, reason="Killing")

    def set_node_up(self, node: Node, up: bool) -> None:
        """Cut a node off, or bring it back rebooted."""
        if node.up == up:
            return
        pods = [p for p in self.cluster.pods() if p.node == node.name]
        if not up:
            for pod in pods:
                pod.up = False
                self.graph.drop_pod(pod, silent=True)
                if pod.instance is not None:
                    pod.instance.hang()
            node.up = False
            return
        node.up = True
        for pod in pods:
            self.cluster.reboot_pod(pod)

    def set_cooling(self, node: str, gpu: int, ratio: float) -> None:
        """Share of the heat that a GPU's cooling still carries away."""
        self.cluster.cooling[(node, gpu)] = ratio

    def set_block_leak(self, pod: Pod, level: float, length_s: float) -> None:
        """KV blocks that something else takes, at a rate that bites within the fault."""
        if pod.engine is None:
            return
        if level <= 0.0:
            pod.leak_blocks_per_s, pod.leaked_blocks = 0.0, 0.0
            return
        cache = pod.engine.cache_config
        if pod.instance is not None:
            pod.instance.refresh(self.kernel.now_s)  # else the answer depends on the last scrape
        used = cache.num_gpu_blocks * pod.engine.kv_usage_ratio
        left = max(LEAK_LEFT_RATIO * used / min(level, 4.0), LEAK_LEFT_TOKENS / cache.block_size)
        pod.leak_blocks_max = cache.num_gpu_blocks - left
        pod.leak_blocks_per_s = pod.leak_blocks_max / (0.3 * length_s)

    def set_hang(self, pod: Pod, hung: bool) -> None:
        """A device error: iterations stop. Its process, if replaced since, is left alone."""
        if pod.instance is None or self.cluster.pod(pod.name) is not pod:
            return
        if hung:
            pod.instance.hang()
            pod.hung_instance = pod.instance
            pod.gpus[0].xid = XID_HANG
        elif pod.hung_instance is pod.instance:
            pod.instance.resume()

    def set_link(
        self, region: str, caller: str, callee: str, delay_s: float, loss_ratio: float
    ) -> None:
        """Delay and loss of one edge."""
        if delay_s <= 0.0 and loss_ratio <= 0.0:
            self.graph.links.pop((region, caller, callee), None)
        else:
            self.graph.links[(region, caller, callee)] = Link(delay_s, loss_ratio)

    def set_hog(self, pod: Pod, cores: float) -> None:
        """CPU that a runaway process in the container asks for."""
        if not pod.up:
            return
        pod.meter(self.kernel.now_s)
        before = pod.cores
        pod.hog_cores = max(0.0, cores)
        self.graph.rescale(pod, before / pod.cores)

    def set_memory_leak(self, pod: Pod, mib_per_s: float) -> None:
        """Allocation rate that is never given back."""
        pod.set_leak(mib_per_s, self.kernel.now_s)
        if mib_per_s <= 0.0:
            pod.leaked_mib = 0.0

    def publish(
        self, deployment: Deployment, revision: Revision, kind: ChangeKind, summary: str
    ) -> None:
        """Roll a revision out."""
        self.cluster.roll_out(deployment, revision, kind, summary=summary)

    def next_revision(self, deployment: Deployment) -> str:
        """Name of the next revision."""
        return self.cluster.next_revision(deployment)

    def burst(self, region: str, *, ratio: float, length_s: float) -> None:
        """More requests of the same kind, `ratio` times the region's usual number, on top."""
        now = self.kernel.now_s
        self.users.inject(self._more_arrivals(region, now, length_s, ratio))

    def scale_to_zero(self, region: str, begin: bool, *, cold: float) -> None:
        """The pool was at zero; the activator asks for it back. Nodes lost the image too."""
        if not begin:
            return
        deployment = self.cluster.deployments[(region, self.engine_service)]
        wanted = deployment.replicas
        for pod in list(deployment.pods):
            self.cluster.delete_pod(pod)
        for node in self.cluster.nodes.values():
            if node.region == region:
                node.images = {i for i in node.images if i.split("@")[0] != self.engine_service}
        deployment.start_ratio = max(0.2, cold)
        self.kernel.after(ACTIVATOR_S, self.cluster.scale, deployment, wanted)

    def slow_registry(self, region: str, ratio: float, *, reschedule: bool) -> None:
        """Bandwidth of the registry; the routine reschedule moves one instance to a bare node."""
        self.cluster.set_registry(region, ratio)
        if not reschedule:
            return
        deployment = self.cluster.deployments[(region, self.engine_service)]
        for node in self.cluster.nodes.values():
            if node.region == region:
                node.images = {i for i in node.images if i.split("@")[0] != self.engine_service}
        ready = [p for p in deployment.pods if p.ready]
        if ready:
            self.cluster.evict(ready[0])

    def silence(self, region: str, job: str, silent: bool) -> None:
        """Scrapes of a job do not arrive."""
        (self.silent.add if silent else self.silent.discard)((region, job))

    # --- helpers

    def _entity(self, spec: FaultSpec) -> Entity:
        try:
            return Entity.parse(spec.target)
        except ValueError as error:
            raise ScenarioError(
                f"fault {spec.kind!r}: target {spec.target!r} is no entity ({error}); "
                f"write one of {', '.join(EntityKind)} as kind:region/name"
            ) from error

    def _one(self, spec: FaultSpec, found: list[T], rng: np.random.Generator) -> T:
        if not found:
            raise ScenarioError(
                f"fault {spec.kind!r}: nothing in scenario {self.cluster.scenario.name!r} "
                f"qualifies as target {spec.target or '(any)'!r}"
            )
        return found[int(rng.integers(len(found)))]

    def _callers(self, spec: FaultSpec) -> list[Deployment]:
        target = self._entity(spec) if spec.target else None
        return [
            d for key, d in self.cluster.deployments.items()
            if d.spec is not None and self._matters(*key)
            and (target is None or (d.region, d.service) == (target.region, target.name))
        ]  # fmt: skip

    def _matters(self, region: str, service: str) -> bool:
        """Whether users wait for this service: reached from an entry by waited-for calls."""
        scenario = self.cluster.scenario
        specs = {s.name: s for s in scenario.services}
        seen: set[str] = set()
        todo = [s.name for s in scenario.services if s.entry]
        while todo:
            name = todo.pop()
            if name in seen:
                continue
            seen.add(name)
            if name in specs:
                calls = specs[name].calls
                todo += [
                    c.to for c in calls
                    if not (c.background or c.optional) and c.probability > 0.5
                ]  # fmt: skip
        return service in seen and (region, service) in self.cluster.deployments

    def _connections(self, deployment: Deployment, callee: str) -> float:
        """Mean calls in progress per pod, by Little's law over the process's life."""
        now = self.kernel.now_s
        values = [
            p.source_edges[callee].latency.sum / max(1.0, now - p.container.started_at_s)
            for p in deployment.pods if callee in p.source_edges
        ]  # fmt: skip
        return sum(values) / len(values) if values else 0.0

    def _mean_s(self, deployment: Deployment, callee: str) -> float:
        edges = [p.source_edges[callee] for p in deployment.pods if callee in p.source_edges]
        count = sum(e.latency.count for e in edges)
        return sum(e.latency.sum for e in edges) / count if count else 0.0
