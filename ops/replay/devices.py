"""Physics of the simulated fleet: GPU heat and clocks, GPU memory, container memory, node load.

Evaluated every few seconds; each rule is a mechanism with parameters, none knows of faults.
"""

from __future__ import annotations

import math

from ops.replay.cluster import Cluster
from ops.replay.meters import GpuMeter
from ops.replay.pods import Node, Pod
from serving.sim.kernel import Kernel

TICK_S = 5.0
REFRESH_S = 0.8  # exporters cache; jobs scraped within it read the same values
AMBIENT_C, LIMIT_C = 32.0, 87.0
IDLE_W, FULL_W = 70.0, 400.0
CLOCK_MHZ, CLOCK_MIN_RATIO = 1410.0, 0.15
C_PER_W = 0.11  # steady temperature rise per watt at full cooling
POWER_EXPONENT = 2.4  # dynamic power against clock: frequency times voltage squared, roughly
HEAT_TIME_S = 20.0  # time constant of the die and its sink
BYTES_PER_BLOCK_MIB = 5.0  # framebuffer shown per leaked KV block; only for the gauge


class Devices:
    """Advances devices and enforces their limits."""

    def __init__(self, kernel: Kernel, cluster: Cluster) -> None:
        self._kernel, self._cluster = kernel, cluster
        self._busy_s: dict[str, float] = {}
        self._load: dict[str, tuple[float, float]] = {}
        self._refreshed_s: dict[str, float] = {}
        self._nodes_of = {
            region.name: [n for n in cluster.nodes.values() if n.region == region.name]
            for region in cluster.scenario.regions
        }

    def start(self) -> None:
        """Begin to tick."""
        self._kernel.after(TICK_S, self._tick)

    def nodes_of(self, region: str) -> list[Node]:
        """Nodes of a region, in order of creation."""
        return self._nodes_of[region]

    def _tick(self) -> None:
        for pod in self._cluster.pods():
            if not pod.up:
                continue
            if pod.instance is not None:
                self._gpu(pod)
            elif pod.memory_mib(self._kernel.now_s) > pod.memory_limit_mib:
                self._cluster.kill_pod(pod, reason="OOMKilled")
        self._kernel.after(TICK_S, self._tick)

    def _gpu(self, pod: Pod) -> None:
        now, instance, engine = self._kernel.now_s, pod.instance, pod.engine
        assert instance is not None and engine is not None
        instance.refresh(now)
        before = self._busy_s.get(pod.name, 0.0)
        busy = engine.busy_s - before if engine.busy_s >= before else engine.busy_s
        self._busy_s[pod.name] = engine.busy_s
        util = min(1.0, busy / TICK_S)
        cooling = min(
            (self._cluster.cooling.get((pod.node, g), 1.0) for g in pod.gpu_indices), default=1.0
        )
        clock = sustained_clock(util, cooling)
        if abs(clock - instance.cost_model.clock_ratio) > 0.005:
            instance.set_clock_ratio(clock)
        if pod.leak_blocks_per_s > 0.0:
            leaked = pod.leaked_blocks + pod.leak_blocks_per_s * TICK_S
            pod.leaked_blocks = min(leaked, pod.leak_blocks_max)
        instance.reserve_blocks(int(pod.leaked_blocks))
        pod.gpus[0].xid = pod.device_error
        for gpu in pod.gpus:
            hot = self._cluster.cooling.get((pod.node, gpu.gpu), 1.0)
            self._gauges(gpu, util, clock, hot, engine.kv_usage_ratio)
            memory_mib = self._cluster.gpu_memory_mib
            gpu.fb_used_mib = min(
                memory_mib,
                memory_mib * self._cluster.scenario.engine.kv_memory_ratio
                + pod.leaked_blocks * BYTES_PER_BLOCK_MIB / max(1, len(pod.gpus)),
            )
            gpu.fb_free_mib = memory_mib - gpu.fb_used_mib

    @staticmethod
    def _gauges(gpu: GpuMeter, util: float, clock: float, cooling: float, kv: float) -> None:
        own = sustained_clock(util, cooling)
        gpu.sm_clock_mhz = CLOCK_MHZ * own if util > 0.02 else CLOCK_MHZ
        # The slowest GPU of a tensor-parallel group sets the pace: the others wait and idle.
        pace = util * (clock / own if own > 0 else 1.0)
        gpu.power_w = IDLE_W + (FULL_W - IDLE_W) * pace * own**POWER_EXPONENT
        target_c = AMBIENT_C + gpu.power_w * C_PER_W / cooling
        gpu.temperature_c += (min(target_c, LIMIT_C + 3.0) - gpu.temperature_c) * (
            1.0 - math.exp(-TICK_S / HEAT_TIME_S)
        )
        gpu.util_ratio = util
        gpu.tensor_active_ratio = 0.55 * pace
        gpu.dram_active_ratio = min(1.0, 0.5 * pace + 0.2 * kv)
        gpu.energy_mj += gpu.power_w * TICK_S * 1e3
        if own < 1.0:
            gpu.thermal_violation_us += TICK_S * 1e6 * (1.0 - own)

    def refresh(self, region: str) -> None:
        """Bring container, node and engine meters of a region up to date for a scrape."""
        now, cluster = self._kernel.now_s, self._cluster
        if now - self._refreshed_s.get(region, -1e9) < REFRESH_S:
            return
        self._refreshed_s[region] = now
        nodes = self._nodes_of[region]
        used = {node.name: [0.0, 0.0] for node in nodes}  # CPU s, MiB
        for pod in cluster.pods_of(region):
            if not pod.node:
                continue
            if pod.up:
                pod.meter(now)
                if pod.instance is not None:
                    pod.instance.refresh(now)
                    self._host(pod)
            container, sums = pod.container, used[pod.node]
            sums[0] += container.cpu_s
            sums[1] += container.memory_mib
        for node in nodes:
            self._node(node, now, *used[node.name])

    def _host(self, pod: Pod) -> None:
        """CPU and memory of the engine's host process: a busy loop per GPU."""
        assert pod.engine is not None
        pod.container.cpu_s = pod.engine.busy_s * 1.1
        pod.container.memory_mib = pod.memory_base_mib

    def _node(self, node: Node, now_s: float, cpu_s: float, memory_mib: float) -> None:
        last_s, last_cpu_s = self._load.get(node.name, (now_s, cpu_s))
        spent_s, used_s = now_s - last_s, max(0.0, cpu_s - last_cpu_s)
        self._load[node.name] = (now_s, cpu_s)
        node.meter.memory_available_mib = node.memory_mib * 0.94 - memory_mib
        if spent_s <= 0.0:
            return
        system_s = 0.02 * node.cores * spent_s
        node.meter.cpu_busy_s += used_s + system_s
        busy_cores = (used_s + system_s) / spent_s
        node.meter.load1 += (busy_cores - node.meter.load1) * (1.0 - math.exp(-spent_s / 60.0))
        node.meter.pressure_cpu_s += spent_s * max(0.0, busy_cores / node.cores - 0.8)


def sustained_clock(util_ratio: float, cooling_ratio: float) -> float:
    """Clock, 1 = full, at which a GPU of this load can shed its heat below the limit.

    Solves temperature limit = ambient + power x resistance / cooling for the clock, with power =
    idle + dynamic x load x clock^2.4.
    """
    allowed_w = (LIMIT_C - AMBIENT_C) * cooling_ratio / C_PER_W - IDLE_W
    wanted_w = (FULL_W - IDLE_W) * max(util_ratio, 0.05)
    if allowed_w >= wanted_w:
        return 1.0
    if allowed_w <= 0.0:
        return CLOCK_MIN_RATIO
    return max(CLOCK_MIN_RATIO, float((allowed_w / wanted_w) ** (1.0 / POWER_EXPONENT)))
