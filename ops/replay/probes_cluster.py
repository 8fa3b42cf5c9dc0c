"""Probes of containers, nodes, GPUs, the control plane's objects and image pulls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ops.replay.fleet_view import NodeView, PodView, RegistryView, ServiceView
from ops.replay.meters import ContainerMeter, GpuMeter, NodeMeter
from ops.replay.probes import Labels, Named, Probe, pod_labels, read_number
from ops.state import PodPhase

MIB = 1024.0 * 1024.0
# Samples that are moments of the world's clock.
MOMENTS = frozenset({
    "container_start_time_seconds", "kube_pod_created", "kube_pod_status_scheduled_time",
    "kube_pod_container_state_started", "kube_pod_status_ready_time",
})  # fmt: skip


def _fixed(*names: str, **labels: str) -> Callable[[Any, Any, Any], Named]:
    named: Named = [(name, labels) for name in names]
    return lambda _owner, _other, _meter: named


def _object_labels(pod: PodView) -> Labels:
    # Without the node: it comes later than the object, and a label that changes splits a series.
    return {"region": pod.region, "pod": pod.name, "service": pod.service}


def _node_labels(node: NodeView) -> Labels:
    return {"region": node.region, "node": node.name}


def _service_labels(service: ServiceView) -> Labels:
    return {"region": service.region, "service": service.service, "deployment": service.service}


def _read_container(meter: ContainerMeter) -> list[float]:
    return [
        meter.cpu_s,
        meter.periods,
        meter.throttled_periods,
        meter.throttled_s,
        meter.memory_mib * MIB,
        meter.memory_failures,
        meter.received_bytes,
        meter.transmitted_bytes,
        meter.packets_dropped,
        meter.read_bytes,
        meter.written_bytes,
        meter.started_at_s,
    ]


CONTAINER = Probe(
    name="container",
    labels=pod_labels,
    names=_fixed(
        "container_cpu_usage_seconds_total",
        "container_cpu_cfs_periods_total",
        "container_cpu_cfs_throttled_periods_total",
        "container_cpu_cfs_throttled_seconds_total",
        "container_memory_working_set_bytes",
        "container_memory_failcnt",
        "container_network_receive_bytes_total",
        "container_network_transmit_bytes_total",
        "container_network_receive_packets_dropped_total",
        "container_fs_reads_bytes_total",
        "container_fs_writes_bytes_total",
        "container_start_time_seconds",
        container="main",
        namespace="default",
    ),
    read=_read_container,
)


def _node_names(_node: NodeView, _other: str, _meter: NodeMeter) -> Named:
    return [
        # Busy time is all in one mode: the fleet does not split it.
        ("node_cpu_seconds_total", {"mode": "user"}),
        ("node_load1", {}),
        ("node_memory_MemAvailable_bytes", {}),
        ("node_pressure_cpu_waiting_seconds_total", {}),
        ("node_network_receive_bytes_total", {"device": "eth0"}),
        ("node_network_transmit_bytes_total", {"device": "eth0"}),
        ("node_network_receive_drop_total", {"device": "eth0"}),
        ("node_disk_io_time_seconds_total", {"device": "sda"}),
    ]


def _read_node(meter: NodeMeter) -> list[float]:
    return [
        meter.cpu_busy_s,
        meter.load1,
        meter.memory_available_mib * MIB,
        meter.pressure_cpu_s,
        meter.received_bytes,
        meter.transmitted_bytes,
        meter.packets_dropped,
        meter.disk_io_s,
    ]


NODE = Probe(name="node", labels=_node_labels, names=_node_names, read=_read_node)


def _gpu_names(pod: PodView, gpu: int, _meter: GpuMeter) -> Named:
    labels = {"gpu": str(gpu), "Hostname": pod.node, "namespace": "default"}
    device = "SM_CLOCK MEM_CLOCK GPU_TEMP POWER_USAGE GPU_UTIL FB_USED FB_FREE XID_ERRORS"
    counters = "THERMAL_VIOLATION TOTAL_ENERGY_CONSUMPTION"
    return [
        *((f"DCGM_FI_DEV_{name}", labels) for name in f"{device} {counters}".split()),
        *((f"DCGM_FI_PROF_{name}", labels) for name in ("DRAM_ACTIVE", "PIPE_TENSOR_ACTIVE")),
    ]


def _read_gpu(meter: GpuMeter) -> list[float]:
    return [
        meter.sm_clock_mhz,
        meter.mem_clock_mhz,
        meter.temperature_c,
        meter.power_w,
        meter.util_ratio * 100.0,
        meter.fb_used_mib,
        meter.fb_free_mib,
        meter.xid,
        meter.thermal_violation_us,
        meter.energy_mj,
        meter.dram_active_ratio,
        meter.tensor_active_ratio,
    ]


GPU = Probe(name="gpu", labels=pod_labels, names=_gpu_names, read=_read_gpu)


# kube-state-metrics.
def _kube_pod_names(_pod: PodView, _other: str, _meter: PodView) -> Named:
    container = {"container": "main"}
    limits = "kube_pod_container_resource_limits"
    return [
        ("kube_pod_status_ready", {"condition": "true"}),
        ("kube_pod_status_phase", {"phase": "Pending"}),
        ("kube_pod_container_status_waiting", container),
        ("kube_pod_container_status_restarts_total", container),
        (limits, {**container, "resource": "cpu", "unit": "core"}),
        (limits, {**container, "resource": "memory", "unit": "byte"}),
        ("kube_pod_created", {}),
        ("kube_pod_status_scheduled_time", {}),
        ("kube_pod_container_state_started", container),
        ("kube_pod_status_ready_time", {}),
    ]


def _stamp(time_s: float | None) -> float:
    return float("nan") if time_s is None else time_s


def _read_kube_pod(pod: PodView) -> list[float]:
    return [
        pod.ready,
        pod.phase is PodPhase.PENDING,
        bool(pod.waiting_reason),
        pod.restarts,
        pod.cpu_limit_cores,
        pod.memory_limit_mib * MIB,
        pod.created_at_s,
        _stamp(pod.scheduled_at_s),
        _stamp(pod.started_at_s),
        _stamp(pod.ready_at_s),
    ]


def _waiting_names(_pod: PodView, reason: str, _meter: float) -> Named:
    labels = {"container": "main", "reason": reason}
    return [("kube_pod_container_status_waiting_reason", labels)]


def _kube_node_names(_node: NodeView, _other: str, _meter: NodeView) -> Named:
    ready = {"condition": "Ready", "status": "true"}
    return [("kube_node_status_condition", ready), ("kube_node_spec_unschedulable", {})]


def _kube_service_names(service: ServiceView, _other: str, _meter: ServiceView) -> Named:
    hpa = {"horizontalpodautoscaler": service.service}
    return [
        ("kube_deployment_spec_replicas", {}),
        ("kube_deployment_status_replicas_ready", {}),
        ("kube_horizontalpodautoscaler_status_desired_replicas", hpa),
    ]


KUBE_POD = Probe(name="kube_pod", labels=_object_labels, names=_kube_pod_names, read=_read_kube_pod)
KUBE_WAITING = Probe(
    name="kube_waiting", labels=_object_labels, names=_waiting_names, read=read_number
)
KUBE_NODE = Probe(
    name="kube_node",
    labels=_node_labels,
    names=_kube_node_names,
    read=lambda node: (node.ready, node.unschedulable),
)
KUBE_SERVICE = Probe(
    name="kube_service",
    labels=_service_labels,
    names=_kube_service_names,
    read=lambda s: (s.replicas, s.ready_replicas, _stamp(s.hpa_desired)),
)


def _region_labels(region: str) -> Labels:
    return {"region": region}


def _read_pulls(registry: RegistryView) -> tuple[float, float]:
    return (registry.pull_s_sum, registry.pull_count)


PULLS = Probe(
    name="pulls",
    labels=_region_labels,
    names=_fixed(
        "kubelet_image_pull_duration_seconds_sum", "kubelet_image_pull_duration_seconds_count"
    ),
    read=_read_pulls,
)
