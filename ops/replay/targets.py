"""Who qualifies as the target of a fault: named in the scenario, else drawn from the seed.

Drawn targets are things that users wait for; what is broken elsewhere nobody would notice.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np

from ops.errors import NoTargetError, ScenarioError
from ops.replay.cluster import Cluster, Deployment
from ops.replay.pods import Node, Pod
from ops.replay.scenario import FaultSpec
from ops.replay.users import Users
from rca.state import Entity, EntityKind
from serving.sim.kernel import Kernel

T = TypeVar("T")

# Below this use of its CPU limit a pod has room for calls that are repeated: nobody notices.
BUSY_CPU_RATIO = 0.07


class Targets:
    """Reads the fleet; changes nothing."""

    def __init__(
        self, kernel: Kernel, cluster: Cluster, users: Users, *, jobs: tuple[str, ...]
    ) -> None:
        self._kernel, self._cluster, self._users, self._jobs = kernel, cluster, users, jobs
        self._engine_service = cluster.scenario.engine.name

    def pick_pod(self, spec: FaultSpec, rng: np.random.Generator, *, engine: bool) -> Pod:
        """A ready pod; drawn ones are instances or pods that users wait for, as asked."""
        pods = [
            p for p in self._cluster.pods()
            if p.ready and not p.quarantined and _here(spec, p.region)
        ]  # fmt: skip
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
                spec, [n for n in self._cluster.nodes.values() if n.name == entity.name], rng
            )
        used = {
            p.node for p in self._cluster.pods()
            if self._matters(p.region, p.service) and _here(spec, p.region)
        }  # fmt: skip
        return self._one(spec, [n for n in self._cluster.nodes.values() if n.name in used], rng)

    def pick_link(self, spec: FaultSpec, rng: np.random.Generator) -> tuple[str, str, str]:
        """(region, caller, callee) of a call that users wait for."""
        edges = [
            (region, service.name, call.to)
            for region in self._users.weights if _here(spec, region)
            for service in self._cluster.scenario.services
            for call in service.calls
            if not call.background and call.to != self._engine_service
            and call.probability > 0.5 and self._matters(region, service.name)
        ]  # fmt: skip
        if spec.target:
            entity = self._entity(spec)
            edges = [e for e in edges if e[0] == entity.region and f"{e[1]}->{e[2]}" == entity.name]
        return self._one(spec, edges, rng)

    def pick_service(self, spec: FaultSpec, rng: np.random.Generator) -> Deployment:
        """A service, not the engine pool, that users wait for."""
        found = [
            d for key, d in self._cluster.deployments.items()
            if d.spec is not None and self._matters(*key) and _here(spec, d.region)
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
        """(caller, callee, mean seconds of a call) of an edge to another service.

        Drawn ones lead to a busy callee, of those whose failure the caller does not tolerate.
        """
        edges = []
        for deployment in self._callers(spec):
            assert deployment.spec is not None
            for call in deployment.spec.calls:
                mean_s = self._mean_s(deployment, call.to)
                if not call.background and call.to != self._engine_service and mean_s > 0.0:
                    edges.append((deployment, call, mean_s))
        if not spec.target:
            edges = [e for e in edges if not e[1].optional] or edges
            edges = _busy(edges, [self._use_of(d.region, call.to) for d, call, _ in edges])
        deployment, call, mean_s = self._one(spec, edges, rng)
        return deployment, call.to, mean_s

    def pick_region(self, spec: FaultSpec, rng: np.random.Generator) -> str:
        """A region."""
        regions = [r for r in self._users.weights if _here(spec, r)]
        if spec.target:
            regions = [r for r in regions if r == self._entity(spec).region]
        return self._one(spec, regions, rng)

    def pick_job(self, spec: FaultSpec, rng: np.random.Generator) -> tuple[str, str]:
        """A scrape job of a region."""
        if spec.target:
            entity = self._entity(spec)
            return entity.region, entity.name
        return self.pick_region(spec, rng), self._one(spec, list(self._jobs), rng)

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
            raise NoTargetError(
                f"fault {spec.kind!r}: nothing in scenario {self._cluster.scenario.name!r} "
                f"qualifies as target {spec.target or '(any)'!r}"
            )
        return found[int(rng.integers(len(found)))]

    def _callers(self, spec: FaultSpec) -> list[Deployment]:
        target = self._entity(spec) if spec.target else None
        return [
            d for key, d in self._cluster.deployments.items()
            if d.spec is not None and self._matters(*key) and _here(spec, d.region)
            and (target is None or (d.region, d.service) == (target.region, target.name))
        ]  # fmt: skip

    def _matters(self, region: str, service: str) -> bool:
        """Whether users wait for this service: reached from an entry by waited-for calls."""
        scenario = self._cluster.scenario
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
        return service in seen and (region, service) in self._cluster.deployments

    def _connections(self, deployment: Deployment, callee: str) -> float:
        """Mean calls in progress per pod, by Little's law over the process's life."""
        now = self._kernel.now_s
        values = [
            p.source_edges[callee].latency.sum / max(1.0, now - p.container.started_at_s)
            for p in deployment.pods if callee in p.source_edges
        ]  # fmt: skip
        return sum(values) / len(values) if values else 0.0

    def _cpu_ratio(self, pod: Pod) -> float:
        """Mean use of the CPU limit over the process's life."""
        life_s = max(1.0, self._kernel.now_s - pod.container.started_at_s)
        return pod.container.cpu_s / life_s / pod.cpu_limit_cores

    def _use_of(self, region: str, service: str) -> float:
        pods = self._cluster.deployments[(region, service)].pods
        return max((self._cpu_ratio(p) for p in pods), default=0.0)

    def _mean_s(self, deployment: Deployment, callee: str) -> float:
        edges = [p.source_edges[callee] for p in deployment.pods if callee in p.source_edges]
        count = sum(e.latency.count for e in edges)
        return sum(e.latency.sum for e in edges) / count if count else 0.0


def _here(spec: FaultSpec, region: str) -> bool:
    return spec.region in ("", region)


def _busy(found: list[T], uses: list[float]) -> list[T]:
    """Those with a CPU use that a fault can bring to its limit, else the busiest."""
    enough = min(BUSY_CPU_RATIO, max(uses, default=0.0))
    return [one for one, use in zip(found, uses, strict=True) if use >= enough]
