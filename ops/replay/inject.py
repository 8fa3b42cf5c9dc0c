"""The parameters of the simulated fleet that a fault may turn."""

from __future__ import annotations

from collections.abc import Callable

from ops.replay.calls import Link
from ops.replay.cluster import Cluster, Deployment
from ops.replay.ledger import Arrivals
from ops.replay.pods import Node, Pod, Revision
from ops.replay.services import ServiceGraph
from ops.replay.targets import Targets
from ops.replay.users import Users
from rca.state import ChangeKind
from serving.sim.kernel import Kernel

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
        self.targets = Targets(kernel, cluster, users, jobs=jobs)
        self.silent: set[tuple[str, str]] = set()

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
            pod.device_error = XID_HANG
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
        deployment = self.cluster.deployments[(region, self.engine_service)]
        if not begin:
            deployment.start_ratio = 1.0  # starts in progress keep the time they were given
            return
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
