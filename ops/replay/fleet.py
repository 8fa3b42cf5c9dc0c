"""The simulated fleet behind the loop's ports: assembles the mechanisms, shows a snapshot, acts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

from ops.catalogue import Catalogue
from ops.replay.actuate import Actuator
from ops.replay.baseline import Kubernetes
from ops.replay.cluster import Cluster, Deployment, Registry
from ops.replay.devices import Devices
from ops.replay.draws import Draws
from ops.replay.exporters import JOBS
from ops.replay.faults import ActiveFault, start_fault
from ops.replay.inject import Injector
from ops.replay.pods import Node, Pod, Revision
from ops.replay.scenario import ChangeSpec, Scenario
from ops.replay.services import ServiceGraph
from ops.replay.telemetry import Telemetry
from ops.replay.traffic import Traffic
from ops.replay.users import Users
from ops.replay.visits import compile_visits
from ops.state import Action, NodeRecord, PodPhase, PodRecord, ServiceRecord, Snapshot
from rca.state import ChangeKind
from serving.policies import batch_policy
from serving.sim.cost_model import CostModel
from serving.sim.flat_times import FlatTimes
from serving.sim.instances import EngineInstance, make_instance
from serving.sim.kernel import Kernel, stream
from serving.state import InstanceConfig

WINDOW_S = 2400.0  # what a snapshot's frame shows
ANNOUNCE_S = 2.0  # from a change or an event to the moment the loop can read it


class _ServiceView:
    """A deployment as kube-state-metrics sees it."""

    __slots__ = ("_deployment", "region", "service")

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self.region, self.service = deployment.region, deployment.service

    @property
    def replicas(self) -> int:
        return self._deployment.replicas

    @property
    def ready_replicas(self) -> int:
        return _num_ready(self._deployment)

    @property
    def hpa_desired(self) -> float | None:
        return float(self._deployment.hpa_desired)


class Fleet:
    """One world. Two fleets of one scenario and seed differ only by what was applied to them."""

    def __init__(
        self, scenario: Scenario, traffic: Traffic, *, seed: int, rate_rps: float,
        catalogue: Catalogue | None, graph: Callable[..., ServiceGraph] = ServiceGraph,
    ) -> None:  # fmt: skip
        self.scenario, self._seed, self.rate_rps = scenario, seed, rate_rps
        self._traffic = traffic
        self.kernel = kernel = Kernel()
        roots, visits = compile_visits(scenario)
        draws = Draws(seed, [v.spec.cpu_cv if v.spec else 0.0 for v in visits])
        self._cost_model = CostModel.of(
            gpu=scenario.engine.gpu, model=scenario.engine.model,
            tp_degree=scenario.engine.tp_degree,
        )  # fmt: skip
        self._times: dict[float, FlatTimes] = {}  # of the engines, by clock
        self.cluster = Cluster(kernel, scenario, seed=seed, make_instance=self._make_instance)
        self.graph = graph(
            kernel, self.cluster, draws, roots=roots,
            rtt_s={r.name: r.rtt_s for r in scenario.regions},
        )  # fmt: skip
        self.cluster.graph = self.graph
        self.users = Users(kernel, self.graph, draws, scenario, seed=seed)
        self.devices = Devices(kernel, self.cluster)
        self.kubernetes = Kubernetes(kernel, self.cluster)
        self.injector = Injector(
            kernel, self.cluster, self.graph, self.users,
            more_arrivals=self._more_arrivals, jobs=JOBS,
        )  # fmt: skip
        self.actuator = Actuator(kernel, self.cluster, self.graph, self.users)
        deployments = self.cluster.deployments.values()
        self._services = {
            region: [_ServiceView(d) for d in deployments if d.region == region]
            for region in self.regions
        }
        self.faults: list[ActiveFault] = []
        self.telemetry: Telemetry | None = None
        if catalogue is not None:
            self.telemetry = Telemetry(
                scenario.telemetry, regions=self.regions, catalogue=catalogue, seed=seed,
                window_s=WINDOW_S,
            )  # fmt: skip

    def start(self) -> None:
        """Schedule everything that happens by itself: users, reflexes, faults, changes, scrapes."""
        scenario, kernel = self.scenario, self.kernel
        kernel.run_until(0.0)  # pods that were ready before the replay began
        self.users.feed(self._traffic.arrivals(self.rate_rps, duration_s=scenario.duration_s))
        self.devices.start()
        self.kubernetes.start()
        for index, fault in enumerate(scenario.faults):
            kernel.at(fault.start_s, self._start_fault, index)
        for change in scenario.changes:
            kernel.at(change.at_s, self._change, change)
        if self.telemetry is not None:
            self.telemetry.start(kernel, self, scenario.duration_s)

    def run_until(self, at_s: float) -> None:
        """Advance simulated time."""
        self.kernel.run_until(at_s)

    def stop_watching(self) -> None:
        """Nobody will ask for a snapshot any more: scrapes can end. Nothing else changes."""
        if self.telemetry is not None:
            self.telemetry.stop()

    # --- ops.ports.World

    def snapshot(self) -> Snapshot:
        """What the loop may know now."""
        now, cluster = self.kernel.now_s, self.cluster
        assert self.telemetry is not None, "a fleet without telemetry cannot be watched"
        known_s, oldest_s = now - ANNOUNCE_S, now - WINDOW_S
        return Snapshot(
            now_s=now,
            frame=self.telemetry.frame(now, WINDOW_S),
            pods=tuple(_pod_record(p) for p in cluster.pods()),
            nodes=tuple(
                _kept_node(n.name, n.region, n.ready, n.unschedulable, n.gpus)
                for n in cluster.nodes.values()
            ),
            services=tuple(_service_record(d) for d in cluster.deployments.values()),
            changes=tuple(c for c in cluster.changes if oldest_s < c.at_s <= known_s),
            events=tuple(e for e in cluster.events if oldest_s < e.at_s <= known_s),
            slos=self.scenario.slos,
            region_weights=dict(self.users.weights),
            scrape_jobs=self.telemetry.last_good(now),
        )

    def apply(self, action: Action) -> str:
        """Start an action."""
        return self.actuator.apply(action)

    # --- FleetView

    @property
    def regions(self) -> tuple[str, ...]:
        """Regions."""
        return tuple(r.name for r in self.scenario.regions)

    @property
    def model_name(self) -> str:
        """Model of the engines."""
        return self.scenario.engine.model

    def refresh(self, region: str, now_s: float) -> None:  # noqa: ARG002
        """Bring meters up to date."""
        self.devices.refresh(region)

    def pods(self, region: str) -> Sequence[Pod]:
        """Pods of a region."""
        return self.cluster.pods_of(region)

    def nodes(self, region: str) -> Sequence[Node]:
        """Nodes of a region."""
        return self.devices.nodes_of(region)

    def services(self, region: str) -> Sequence[_ServiceView]:
        """Deployments of a region."""
        return self._services[region]

    def registry(self, region: str) -> Registry:
        """Image registry."""
        return self.cluster.registries[region]

    def silenced(self, region: str, job: str) -> bool:
        """Whether scrapes of a job fail now."""
        return (region, job) in self.injector.silent

    # --- inside

    def _make_instance(self, kernel: Kernel, name: str) -> EngineInstance:
        engine = self.scenario.engine
        num_blocks = self._cost_model.kv_blocks(
            block_tokens=engine.block_tokens, memory_ratio=engine.kv_memory_ratio
        )
        return make_instance(
            kernel,
            name,
            config=InstanceConfig(
                num_blocks=num_blocks, block_tokens=engine.block_tokens,
                sequences_max=engine.sequences_max, queue_max=engine.queue_max,
                prefix_cache=engine.prefix_cache,
            ),
            policy=batch_policy(engine.batch_policy, token_budget=engine.token_budget),
            cost_model=self._cost_model,
            times=self._times,
        )  # fmt: skip

    def _more_arrivals(self, region: str, at_s: float, length_s: float, ratio: float):  # type: ignore[no-untyped-def]
        share = {r.name: r.traffic_share for r in self.scenario.regions}[region]
        return self._traffic.more(region, at_s, length_s, self.rate_rps * share * ratio)

    def _start_fault(self, index: int) -> None:
        spec = self.scenario.faults[index]
        rng = stream(self._seed, f"faults/{index}/{spec.kind}")
        self.faults.append(start_fault(self.injector, spec, rng))

    def _change(self, change: ChangeSpec) -> None:
        """A harmless change: same behaviour, new revision, or a pod that moves."""
        deployment = self.cluster.deployments[(change.region, change.service)]
        if change.kind == "reschedule":
            ready = [p for p in deployment.pods if p.ready]
            if len(ready) > 1:
                self.cluster.retire_pod(ready[0])
                self.cluster.reconcile(deployment)
            return
        now = deployment.revision
        fresh = Revision(
            revision_id=self.cluster.next_revision(deployment), error_ratio=now.error_ratio,
            work_ratio=now.work_ratio, pools=now.pools, retries=now.retries,
            timeouts_s=now.timeouts_s,
        )  # fmt: skip
        kind = ChangeKind(change.kind)
        self.cluster.roll_out(deployment, fresh, kind, summary="routine")


def _pod_record(pod: Pod) -> PodRecord:
    return _kept_pod(
        pod.name, pod.region, pod.service, pod.node, pod.phase,
        pod.ready and not pod.quarantined, pod.restarts, pod.created_at_s, pod.workers == 0,
    )  # fmt: skip


# A snapshot shows the same few dozen objects as the one before, most of them unchanged.
@lru_cache(maxsize=1024)
def _kept_pod(
    name: str, region: str, service: str, node: str, phase: PodPhase, ready: bool, restarts: int,
    created_at_s: float, engine: bool,
) -> PodRecord:  # fmt: skip
    return PodRecord(
        name=name, region=region, service=service, node=node, phase=phase, ready=ready,
        restarts=restarts, created_at_s=created_at_s, engine=engine, owner="ReplicaSet",
    )  # fmt: skip


@lru_cache(maxsize=1024)
def _kept_node(name: str, region: str, ready: bool, unschedulable: bool, gpus: int) -> NodeRecord:
    return NodeRecord(name=name, region=region, ready=ready, unschedulable=unschedulable, gpus=gpus)


def _service_record(deployment: Deployment) -> ServiceRecord:
    previous = deployment.previous
    return _kept_service(
        deployment.region, deployment.service, deployment.replicas, _num_ready(deployment),
        deployment.revision.revision_id, previous.revision_id if previous else "",
        deployment.spec is None, deployment.replicas_max,
    )  # fmt: skip


@lru_cache(maxsize=1024)
def _kept_service(
    region: str, service: str, replicas: int, ready_replicas: int, revision: str,
    previous_revision: str, engine: bool, replicas_max: int,
) -> ServiceRecord:  # fmt: skip
    return ServiceRecord(
        region=region, service=service, replicas=replicas, ready_replicas=ready_replicas,
        revision=revision, previous_revision=previous_revision, engine=engine,
        replicas_max=replicas_max,
    )  # fmt: skip


def _num_ready(deployment: Deployment) -> int:
    num_ready = 0
    for pod in deployment.pods:
        num_ready += pod.ready
    return num_ready
