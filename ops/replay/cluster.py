"""Control plane of the simulated fleet: nodes, scheduling, pod start and stop, roll-outs.

Kubernetes' own reflexes (restart, eviction, autoscaling, ejection) live in `baseline`. Over 300
lines: a pod's way from wanted to ready to gone is one state machine.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from ops.replay.draws import mix
from ops.replay.meters import GpuMeter, NodeMeter
from ops.replay.pods import Node, Pod, Revision, least_loaded
from ops.replay.scenario import EngineSpec, RegionSpec, Scenario, ServiceSpec
from ops.replay.services import ServiceGraph
from ops.state import PodPhase
from rca.state import ChangeEvent, ChangeKind, ClusterEvent, Entity, EntityKind
from serving.sim.instances import EngineInstance
from serving.sim.kernel import EventHandle, Kernel
from serving.sim.profile_files import find_gpu

PHASE_SIGMA = 0.15  # spread of each start-up phase, log-normal
BACKOFF_FIRST_S, BACKOFF_MAX_S = 10.0, 300.0
BACKOFF_RESET_S = 600.0  # a process that lived this long restarts at once
DRAIN_S = 30.0  # termination grace period


@dataclass(slots=True, kw_only=True)
class Deployment:
    """Wanted state of one service in one region."""

    region: str
    service: str
    spec: ServiceSpec | None  # None = engine pool
    replicas: int
    replicas_floor: int  # an action's lower bound for the autoscaler
    replicas_max: int
    revision: Revision
    previous: Revision | None = None
    hpa_desired: int = 0
    start_ratio: float = 1.0  # how much longer its start-up phases take
    num_revisions: int = 0
    pods: list[Pod] = field(default_factory=list)


@dataclass(slots=True)
class Registry:
    """Image registry of one region."""

    mib_per_s: float
    ratio: float = 1.0
    pull_s_sum: float = 0.0
    pull_count: int = 0
    pulls: dict[str, EventHandle] = field(default_factory=dict)  # pod -> end of its pull


class Cluster:
    """Owns nodes, pods and deployments; the service graph asks it for endpoints."""

    def __init__(
        self,
        kernel: Kernel,
        scenario: Scenario,
        *,
        seed: int,
        make_instance: Callable[[Kernel, str], EngineInstance],
    ) -> None:
        self._kernel, self._seed = kernel, seed
        self.scenario = scenario
        self.gpu_memory_mib = find_gpu(scenario.engine.gpu).memory_gib * 1024.0
        self._make_instance = make_instance
        self.graph: ServiceGraph | None = None  # set by the fleet
        self.nodes: dict[str, Node] = {}
        self.deployments: dict[tuple[str, str], Deployment] = {}
        self.registries: dict[str, Registry] = {}
        self.cooling: dict[tuple[str, int], float] = {}  # (node, gpu) -> heat it can shed, ratio
        self.events: list[ClusterEvent] = []
        self.changes: list[ChangeEvent] = []
        self._endpoints: dict[tuple[str, str], list[Pod]] = {}
        self._pods: list[Pod] | None = None  # None after a pod came or went; never changed
        self._pods_of: dict[str, list[Pod]] = {}
        self._num_pods = 0
        self._turn = 0
        self.least_loaded = scenario.engine.dispatch != "round-robin"
        for region in scenario.regions:
            self._add_region(region)

    # --- what the service graph asks

    def endpoints(self, region: str, service: str) -> list[Pod]:
        """Pods in the load balancer now."""
        return self._endpoints.get((region, service)) or []

    def engine_pod(self, region: str) -> Pod | None:
        """Least loaded instance (ties by age), or the next in turn."""
        pods = self._endpoints.get((region, self.scenario.engine.name), [])
        if not pods:
            return None
        if self.least_loaded:
            return least_loaded(pods)
        self._turn += 1
        return pods[self._turn % len(pods)]

    def node_up(self, pod: Pod) -> bool:
        """Whether packets to the pod arrive."""
        return self.nodes[pod.node].up if pod.node else False

    def call_result(self, pod: Pod, ok: bool) -> None:
        """Count errors in a row for outlier ejection."""
        pod.consecutive_errors = 0 if ok else pod.consecutive_errors + 1

    # --- pods

    def pods(self) -> list[Pod]:
        """Every pod, in the order of regions and services in the scenario, then of creation."""
        if self._pods is None:
            self._pods = [pod for d in self.deployments.values() for pod in d.pods]
            self._pods_of = {}
            for pod in self._pods:
                self._pods_of.setdefault(pod.region, []).append(pod)
        return self._pods

    def pods_of(self, region: str) -> list[Pod]:
        """Pods of one region, in the same order."""
        self.pods()
        return self._pods_of.get(region, [])

    def pod(self, name: str) -> Pod | None:
        """Pod by name."""
        return next((p for p in self.pods() if p.name == name), None)

    def refresh_endpoints(self, region: str, service: str) -> None:
        """Recompute who gets traffic; an empty set falls back to ejected pods, as the mesh does."""
        now = self._kernel.now_s
        ready = [
            p for p in self.deployments[(region, service)].pods if p.ready and not p.quarantined
        ]
        kept = [p for p in ready if p.ejected_until_s <= now]
        self._endpoints[(region, service)] = kept or ready

    def add_pod(self, deployment: Deployment, *, warm: bool = False) -> Pod:
        """Create a pod; warm ones are ready at once (the fleet as the replay finds it)."""
        now, spec, engine = self._kernel.now_s, deployment.spec, self.scenario.engine
        self._num_pods += 1
        suffix = "".join(
            "bcdfghjklmnpqrstvwxz2456789"[int(mix(self._seed, 31, self._num_pods, k) * 27)]
            for k in range(5)
        )
        pod = Pod(
            name=f"{deployment.service}-{deployment.region}-{suffix}",
            serial=self._num_pods,
            region=deployment.region,
            service=deployment.service,
            node="",
            created_at_s=now,
            cpu_limit_cores=spec.cpu_limit_cores if spec else 8.0,
            memory_limit_mib=spec.memory_limit_mib if spec else 131072.0,
            memory_base_mib=spec.memory_base_mib if spec else 24576.0,
            memory_per_call_mib=spec.memory_per_call_mib if spec else 0.0,
            workers=spec.workers if spec else 0,
            queue_max=spec.queue_max if spec else 0,
            revision=deployment.revision,
        )
        deployment.pods.append(pod)
        self._pods = None
        self._schedule(pod, engine if spec is None else None, warm=warm)
        return pod

    def kill_pod(self, pod: Pod, *, reason: str, restart: bool = True) -> None:
        """The process dies; the kubelet starts it again with back-off."""
        now = self._kernel.now_s
        if not pod.up:
            return
        self._stop_process(pod, silent=False)
        self.note(pod, reason, warning=True)
        if not restart:
            return
        alive_s = now - (pod.started_at_s or now)
        streak = 0 if alive_s > BACKOFF_RESET_S or pod.restarts == 0 else pod.restarts
        backoff_s = 0.0 if streak == 0 else min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2 ** (streak - 1))
        pod.restarts += 1
        pod.waiting_reason = "CrashLoopBackOff" if backoff_s else "ContainerCreating"
        if backoff_s:
            self.note(pod, "BackOff", warning=True)
        pod.timers.append(self._kernel.after(backoff_s + 1.0, self._start_process, pod))

    def delete_pod(self, pod: Pod) -> None:
        """Remove a pod for good and free what it held."""
        deployment = self.deployments[(pod.region, pod.service)]
        if pod not in deployment.pods:
            return
        self._stop_process(pod, silent=not self.node_up(pod))
        for timer in pod.timers:
            Kernel.cancel(timer)
        deployment.pods.remove(pod)
        self._pods = None
        node = self.nodes.get(pod.node)
        if node is not None:
            node.gpus_used -= len(pod.gpu_indices)
            node.cores_used -= pod.cpu_limit_cores
        pod.phase = PodPhase.FAILED
        self.note(pod, "Killing")
        self.refresh_endpoints(pod.region, pod.service)

    def reboot_pod(self, pod: Pod) -> None:
        """Its node came back from a reboot: every process on it is gone."""
        for timer in pod.timers:
            Kernel.cancel(timer)
        pod.timers.clear()
        pulling = self.registries[pod.region].pulls.pop(pod.name, None) is not None
        if pod.phase is PodPhase.RUNNING:
            self._stop_process(pod, silent=False)
            self.note(pod, "NodeRebooted", warning=True)
            pod.restarts += 1
        if pulling or pod.scheduled_at_s is None:
            self._pull(pod)
        else:
            self._start_process(pod)

    def retire_pod(self, pod: Pod) -> None:
        """Take a pod out of the load balancer, let it finish its calls, delete it."""
        pod.quarantined = True
        pod.phase = PodPhase.TERMINATING
        self.refresh_endpoints(pod.region, pod.service)
        self._kernel.after(DRAIN_S, self.delete_pod, pod)

    def reconcile(self, deployment: Deployment) -> None:
        """Make as many pods as wanted; extra ones go youngest first."""
        wanted = max(deployment.replicas, deployment.replicas_floor)
        alive = [p for p in deployment.pods if not p.quarantined]
        for _ in range(wanted - len(alive)):
            self.add_pod(deployment)
        surplus = sorted(alive, key=lambda p: (-p.created_at_s, -p.serial))
        for pod in surplus[: max(0, len(alive) - wanted)]:
            self.retire_pod(pod)

    def scale(self, deployment: Deployment, replicas: int) -> None:
        """Set the wanted number."""
        deployment.replicas = replicas
        self.reconcile(deployment)

    def evict(self, pod: Pod) -> None:
        """Delete now and let the owner make another one."""
        deployment = self.deployments[(pod.region, pod.service)]
        self.delete_pod(pod)
        self.reconcile(deployment)

    # --- revisions

    def next_revision(self, deployment: Deployment) -> str:
        """Name of the revision to come."""
        deployment.num_revisions += 1
        return f"r{100 + deployment.num_revisions}"

    def roll_out(
        self, deployment: Deployment, revision: Revision, kind: ChangeKind, *, summary: str
    ) -> None:
        """Publish a revision: code replaces pods one after another, settings reload in place."""
        before = deployment.revision
        deployment.previous, deployment.revision = before, revision
        self.changes.append(
            ChangeEvent(
                at_s=self._kernel.now_s,
                kind=kind,
                region=deployment.region,
                service=deployment.service,
                revision_from=before.revision_id,
                revision_to=revision.revision_id,
                summary=summary,
            )
        )
        if kind is ChangeKind.DEPLOY:
            old = [p for p in deployment.pods if not p.quarantined]
            self._roll_next(deployment, revision, old)
            return
        for pod in deployment.pods:
            pod.revision = revision

    def _roll_next(self, deployment: Deployment, revision: Revision, old: list[Pod]) -> None:
        """Surge one pod, wait until it is ready, retire one old pod, repeat."""
        if deployment.revision is not revision:
            return
        if not old:
            self.reconcile(deployment)  # a roll-out that this one overtook left a surge pod
            return
        self._roll_wait(deployment, revision, old, self.add_pod(deployment))

    def _roll_wait(
        self, deployment: Deployment, revision: Revision, old: list[Pod], fresh: Pod
    ) -> None:
        if deployment.revision is not revision:
            return
        if fresh.ready:
            if old[0] in deployment.pods:
                self.retire_pod(old[0])
            self._roll_next(deployment, revision, old[1:])
        elif fresh in deployment.pods:
            self._kernel.after(1.0, self._roll_wait, deployment, revision, old, fresh)

    # --- start and stop of processes

    def note(self, pod: Pod, reason: str, *, warning: bool = False, message: str = "") -> None:
        """Record a Kubernetes Event about a pod."""
        self.events.append(
            ClusterEvent(
                at_s=self._kernel.now_s,
                reason=reason,
                entity=Entity(EntityKind.POD, pod.region, pod.name),
                service=pod.service,
                message=message,
                warning=warning,
            )
        )

    def set_ready(self, pod: Pod, ready: bool) -> None:
        """Readiness as the control plane sees it."""
        if pod.ready != ready:
            pod.ready = ready
            self.refresh_endpoints(pod.region, pod.service)

    def _stop_process(self, pod: Pod, *, silent: bool) -> None:
        pod.up = False
        pod.phase = PodPhase.PENDING if pod.phase is PodPhase.RUNNING else pod.phase
        pod.ready = False
        self.refresh_endpoints(pod.region, pod.service)
        if pod.instance is not None:
            if not silent:
                pod.instance.kill()  # tells its callers; a lost node tells nobody
            pod.instance = None
        if self.graph is not None:
            self.graph.drop_pod(pod, silent=silent)

    def _schedule(self, pod: Pod, engine: EngineSpec | None, *, warm: bool) -> None:
        node = self._pick_node(pod, engine.tp_degree if engine else 0)
        if node is None:
            pod.waiting_reason = "Unschedulable"
            self.note(pod, "FailedScheduling", warning=True)
            pod.timers.append(self._kernel.after(10.0, self._schedule_again, pod, engine))
            return
        pod.node = node.name
        node.cores_used += pod.cpu_limit_cores
        if engine:
            taken = {g for p in self.pods() if p.node == node.name for g in p.gpu_indices}
            free = [g for g in range(node.gpus) if g not in taken]
            pod.gpu_indices = tuple(free[: engine.tp_degree])
            node.gpus_used += engine.tp_degree
        if warm:
            pod.scheduled_at_s = self._kernel.now_s
            node.images.add(pod.service)
            self._start_process(pod, warm=True)
            return
        pod.waiting_reason = "ContainerCreating"
        wait_s = self._phase_s(pod, 1, engine.schedule_s if engine else 0.5)
        pod.timers.append(self._kernel.after(wait_s, self._pull, pod))

    def _schedule_again(self, pod: Pod, engine: EngineSpec | None) -> None:
        if pod in self.deployments[(pod.region, pod.service)].pods and not pod.node:
            self._schedule(pod, engine, warm=False)

    def _pull(self, pod: Pod) -> None:
        """Fetch the image unless the node has it."""
        now, node = self._kernel.now_s, self.nodes[pod.node]
        pod.scheduled_at_s = now
        key = f"{pod.service}@{pod.revision.revision_id}"
        pull_s = 0.0
        if key not in node.images:
            spec = self.deployments[(pod.region, pod.service)].spec
            whole = spec.image_mib if spec else self.scenario.engine.image_mib
            # A node that has an earlier revision fetches only the top layers.
            image_mib = whole * (0.15 if pod.service in node.images else 1.0)
            registry = self.registries[pod.region]
            pull_s = self._phase_s(pod, 2, image_mib / (registry.mib_per_s * registry.ratio))
            self.note(pod, "Pulling")
        handle = self._kernel.after(pull_s, self._pulled, pod, now)
        self.registries[pod.region].pulls[pod.name] = handle
        pod.timers.append(handle)

    def set_registry(self, region: str, ratio: float) -> None:
        """Change the registry's bandwidth; pulls in progress go on at the new speed."""
        registry, now = self.registries[region], self._kernel.now_s
        slower = registry.ratio / ratio
        registry.ratio = ratio
        for name, handle in list(registry.pulls.items()):
            pod = self.pod(name)
            end_s, args = handle[0], handle[3]
            Kernel.cancel(handle)
            if pod is None:
                del registry.pulls[name]
                continue
            fresh = self._kernel.at(now + (end_s - now) * slower, self._pulled, *args)
            registry.pulls[name] = fresh
            pod.timers.append(fresh)

    def _pulled(self, pod: Pod, began_at_s: float) -> None:
        node, registry = self.nodes[pod.node], self.registries[pod.region]
        registry.pulls.pop(pod.name, None)
        pull_s = self._kernel.now_s - began_at_s
        node.images.update((pod.service, f"{pod.service}@{pod.revision.revision_id}"))
        if pull_s > 0.0:
            registry.pull_s_sum += pull_s
            registry.pull_count += 1
            self.note(pod, "Pulled", message=f"pulled in {pull_s:.1f} s")
        self._start_process(pod)

    def _start_process(self, pod: Pod, warm: bool = False) -> None:
        if pod not in self.deployments[(pod.region, pod.service)].pods:
            return
        if not self.node_up(pod):
            return
        now = self._kernel.now_s
        pod.phase = PodPhase.RUNNING
        pod.waiting_reason = ""
        pod.started_at_s = now
        pod.hog_cores = 0.0  # whatever ran away in the container died with it
        pod.new_process(now)
        self.note(pod, "Started")
        deployment = self.deployments[(pod.region, pod.service)]
        engine, spec = self.scenario.engine, deployment.spec
        if spec is not None:
            start_s = self._phase_s(pod, 3, spec.start_s)
        else:
            phases = (engine.load_weights_s, engine.boot_s, engine.warmup_s)
            start_s = sum(self._phase_s(pod, 4 + k, s) for k, s in enumerate(phases))
        start_s *= deployment.start_ratio
        pod.timers.append(self._kernel.after(0.0 if warm else start_s, self._become_ready, pod))

    def _become_ready(self, pod: Pod) -> None:
        if pod.phase is not PodPhase.RUNNING or not self.node_up(pod):
            return
        now, engine = self._kernel.now_s, self.scenario.engine
        if self.deployments[(pod.region, pod.service)].spec is None:
            pod.instance = self._make_instance(self._kernel, pod.name)
            pod.engine = pod.instance.meters
            pod.gpus = [
                GpuMeter(gpu=g, sm_clock_mhz=1410.0, mem_clock_mhz=1593.0, temperature_c=40.0,
                         fb_used_mib=self.gpu_memory_mib * engine.kv_memory_ratio)
                for g in pod.gpu_indices
            ]  # fmt: skip
        pod.up, pod.ready_at_s = True, now
        self.set_ready(pod, True)

    def _phase_s(self, pod: Pod, phase: int, mean_s: float) -> float:
        """Log-normal duration of one start-up phase, drawn per pod and phase."""
        one = mix(self._seed, 41, pod.serial, phase, pod.restarts)
        two = mix(self._seed, 43, pod.serial, phase, pod.restarts)
        z = math.sqrt(-2.0 * math.log(max(one, 1e-12))) * math.cos(2.0 * math.pi * two)
        return mean_s * math.exp(PHASE_SIGMA * z - PHASE_SIGMA**2 / 2)

    def _pick_node(self, pod: Pod, gpus: int) -> Node | None:
        """Most room first, then in order of creation: the default scheduler's spread, reduced."""
        fit = [
            n for n in self.nodes.values()
            if n.region == pod.region and n.up and n.ready and not n.unschedulable
            and (n.gpus > 0) == (gpus > 0)
            and n.gpus - n.gpus_used >= gpus
            and n.cores - n.cores_used >= pod.cpu_limit_cores
        ]  # fmt: skip
        if not fit:
            return None
        return min(fit, key=lambda n: (n.gpus_used, n.cores_used / n.cores))

    def _add_region(self, region: RegionSpec) -> None:
        self.registries[region.name] = Registry(region.registry_mib_per_s)
        kinds = (("cpu", region.cpu_nodes, 0), ("gpu", region.gpu_nodes, region.gpus_per_node))
        for label, count, gpus in kinds:
            for k in range(count):
                cores = region.cores_per_node if gpus == 0 else max(96.0, 16.0 * gpus)
                memory = region.memory_per_node_mib if gpus == 0 else 1048576.0
                self.nodes[f"{region.name}-{label}-{k}"] = Node(
                    name=f"{region.name}-{label}-{k}",
                    region=region.name,
                    cores=cores,
                    memory_mib=memory,
                    gpus=gpus,
                    meter=NodeMeter(cores=cores, memory_total_mib=memory),
                )
        engine = self.scenario.engine
        for spec in self.scenario.services:
            if not spec.regions or region.name in spec.regions:
                self._deploy(region.name, spec.name, spec, spec.replicas, spec.replicas_max)
        instances = engine.instances if region.instances is None else region.instances
        most = max(engine.instances_max, instances)
        self._deploy(region.name, engine.name, None, instances, most)

    def _deploy(
        self, region: str, service: str, spec: ServiceSpec | None, replicas: int, most: int
    ) -> None:
        deployment = Deployment(
            region=region, service=service, spec=spec, replicas=replicas, replicas_floor=0,
            replicas_max=most, hpa_desired=replicas, revision=Revision(revision_id="r100"),
        )  # fmt: skip
        self.deployments[(region, service)] = deployment
        self._endpoints[(region, service)] = []
        for _ in range(replicas):
            self.add_pod(deployment, warm=True)
