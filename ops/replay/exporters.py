"""Exporters: which targets each scrape job has and which meters they expose, in which order.

How a meter is named lives in the probes; when it is read, in telemetry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from ops.replay.fleet_view import FleetView, NodeView, PodView, RegistryView
from ops.replay.probes import (
    ANSWERS,
    DEST_EDGE,
    ENGINE,
    ENGINE_HISTOGRAMS,
    FRONTEND,
    FRONTEND_TPOT,
    FRONTEND_TTFT,
    POOL,
    PREFIX_CACHE,
    SOURCE_EDGE,
    Labels,
    Probe,
    pod_labels,
)
from ops.replay.probes_cluster import (
    CONTAINER,
    GPU,
    KUBE_NODE,
    KUBE_POD,
    KUBE_SERVICE,
    KUBE_WAITING,
    NODE,
    PULLS,
)

# Probe, name of the owner, what tells series of one owner apart, meter, owner.
Reading = tuple[Probe, str, Any, Any, Any]


class Target(NamedTuple):
    """One address that a job scrapes. A tuple, because every scrape makes them anew.

    Attributes:
        name: unique within region and job.
        group: targets of one group are told apart by their order of creation.
        owner: what is scraped.
        labels: owner -> target labels of its `up`.
        layout: equal to that of the scrape before as long as `readings` yields the same.
    """

    name: str
    group: str
    up: bool
    owner: Any
    labels: Callable[[Any], Labels]
    layout: Sequence[Any]
    readings: Callable[[], Iterator[Reading]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exporter:
    """One scrape job, present in each region."""

    job: str
    targets: Callable[[FleetView, str], Iterator[Target]]
    collects: bool = False  # serves what it collected on its own, slower clock


def target_labels(target: Target, job: str, added: Labels) -> Labels:
    """Labels that a Prometheus attaches to every series of a target."""
    return {**target.labels(target.owner), **added, "job": job, "instance": target.name}


def _mesh_readings(pod: PodView) -> Iterator[Reading]:
    name = pod.name
    for callee, edge in pod.source_edges.items():
        yield SOURCE_EDGE, name, callee, edge, pod
    for caller, edge in pod.dest_edges.items():
        yield DEST_EDGE, name, caller, edge, pod
    for callee, pool in pod.pools.items():
        yield POOL, name, callee, pool, pod
    for slo_class, frontend in pod.frontends.items():
        yield FRONTEND, name, slo_class, frontend, pod
        yield FRONTEND_TTFT, name, slo_class, frontend.ttft, pod
        yield FRONTEND_TPOT, name, slo_class, frontend.tpot, pod
        yield ANSWERS, name, (slo_class, *frontend.by_status), frontend.by_status, pod


def _mesh_layout(pod: PodView) -> list[Any]:
    frontends = pod.frontends.values()
    return [
        *pod.source_edges.values(), *pod.dest_edges.values(), *pod.pools.values(), *frontends,
        *[len(frontend.by_status) for frontend in frontends],
    ]  # fmt: skip


def _mesh_targets(view: FleetView, region: str) -> Iterator[Target]:
    for pod in view.pods(region):
        # A pod without an address is not discovered; one whose process died is, and is down.
        if pod.started_at_s is not None or pod.restarts:
            yield _pod_target(pod, _mesh_layout(pod), partial(_mesh_readings, pod))


def _engine_readings(pod: PodView, model: str) -> Iterator[Reading]:
    meter = pod.engine
    if meter is not None:
        other = (model, meter.cache_config.num_gpu_blocks)
        yield ENGINE, pod.name, other, meter, pod
        if meter.has_prefix_cache:
            yield PREFIX_CACHE, pod.name, other, meter, pod
        for attribute, probe in ENGINE_HISTOGRAMS.items():
            yield probe, pod.name, other, getattr(meter, attribute), pod


def _engine_targets(view: FleetView, region: str) -> Iterator[Target]:
    for pod in view.pods(region):
        if pod.engine is not None and (pod.started_at_s is not None or pod.restarts):
            readings = partial(_engine_readings, pod, view.model_name)
            yield _pod_target(pod, (pod.engine,), readings)


def _pod_target(
    pod: PodView, layout: Sequence[Any], readings: Callable[[], Iterator[Reading]]
) -> Target:
    return Target(pod.name, pod.service, pod.up, pod, pod_labels, layout, readings)


def _gpu_readings(pods: list[PodView]) -> Iterator[Reading]:
    for pod in pods:
        for gpu in pod.gpus:
            yield GPU, pod.name, gpu.gpu, gpu, pod


def _container_readings(pods: list[PodView]) -> Iterator[Reading]:
    for pod in pods:
        if pod.started_at_s is not None:
            yield CONTAINER, pod.name, "", pod.container, pod


def _node_readings(node: NodeView) -> Iterator[Reading]:
    yield NODE, node.name, "", node.meter, node


def _gpu_targets(view: FleetView, region: str) -> Iterator[Target]:
    by_node = _pods_by_node(view, region)
    for node in view.nodes(region):
        pods = [pod for pod in by_node.get(node.name, ()) if pod.gpus]
        if pods:
            layout = [gpu for pod in pods for gpu in pod.gpus]
            yield _node_target(node, layout, partial(_gpu_readings, pods))


def _container_targets(view: FleetView, region: str) -> Iterator[Target]:
    by_node = _pods_by_node(view, region)
    for node in view.nodes(region):
        pods = by_node.get(node.name, [])
        layout = [pod.container for pod in pods if pod.started_at_s is not None]
        yield _node_target(node, layout, partial(_container_readings, pods))


def _node_targets(view: FleetView, region: str) -> Iterator[Target]:
    for node in view.nodes(region):
        yield _node_target(node, (), partial(_node_readings, node))


def _pods_by_node(view: FleetView, region: str) -> dict[str, list[PodView]]:
    by_node: dict[str, list[PodView]] = {}
    for pod in view.pods(region):
        if pod.node:
            by_node.setdefault(pod.node, []).append(pod)
    return by_node


def _node_target(
    node: NodeView, layout: Sequence[Any], readings: Callable[[], Iterator[Reading]]
) -> Target:
    return Target(node.name, "", node.up, node, _node_labels, layout, readings)


def _node_labels(node: NodeView) -> Labels:
    return {"region": node.region, "node": node.name}


def _region_labels(region: str) -> Labels:
    return {"region": region}


def _kube_readings(view: FleetView, region: str) -> Iterator[Reading]:
    for pod in view.pods(region):
        yield KUBE_POD, pod.name, "", pod, pod
        if pod.waiting_reason:
            yield KUBE_WAITING, pod.name, pod.waiting_reason, 1.0, pod
    for node in view.nodes(region):
        yield KUBE_NODE, node.name, "", node, node
    for service in view.services(region):
        yield KUBE_SERVICE, service.service, "", service, service


def _kube_targets(view: FleetView, region: str) -> Iterator[Target]:
    pods = view.pods(region)
    layout = [*pods, *[pod.waiting_reason for pod in pods]]  # nodes and services only ever change
    readings = partial(_kube_readings, view, region)
    yield Target("kube-state", "", True, region, _region_labels, layout, readings)


def _pull_readings(registry: RegistryView, region: str) -> Iterator[Reading]:
    yield PULLS, region, "", registry, region


def _pull_targets(view: FleetView, region: str) -> Iterator[Target]:
    readings = partial(_pull_readings, view.registry(region), region)
    yield Target("kubelet", "", True, region, _region_labels, (), readings)


EXPORTERS = (
    Exporter(job="mesh", targets=_mesh_targets),
    Exporter(job="engine", targets=_engine_targets),
    Exporter(job="dcgm", targets=_gpu_targets, collects=True),
    Exporter(job="cadvisor", targets=_container_targets),
    Exporter(job="node", targets=_node_targets),
    Exporter(job="kube-state", targets=_kube_targets),
    Exporter(job="kubelet", targets=_pull_targets),
)
JOBS = tuple(exporter.job for exporter in EXPORTERS)
