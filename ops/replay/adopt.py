"""Simulated pods and nodes take the names and places of real ones, so that both speak of the same.

Only before anything has happened: names are keys of what is counted later.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ops.errors import ScenarioError
from ops.replay.cluster import Cluster
from ops.replay.fleet import Fleet
from ops.replay.pods import Node, Pod

REGION_LABEL = "topology.kubernetes.io/region"
GPU_RESOURCE = "nvidia.com/gpu"
SERVICE_LABELS = ("app.kubernetes.io/name", "app")


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class AdoptedPod:
    """A real pod: its place in the scenario, its name and where it runs."""

    region: str
    service: str
    node: str
    name: str


def adopt(fleet: Fleet, pods: Sequence[AdoptedPod]) -> None:
    """Rename pods and nodes, and move each pod to the node of the real one.

    Real pods of a service beyond those of the scenario are left alone.

    Raises:
        ScenarioError: fewer real pods than the scenario has, or a node without room.
    """
    cluster = fleet.cluster
    places = {(pod.node, pod.region) for pod in pods}
    gpu_nodes = {pod.node for pod in pods if pod.service == cluster.scenario.engine.name}
    _rename_nodes(cluster, places, gpu_nodes)
    for node in cluster.nodes.values():
        node.cores_used, node.gpus_used, node.images = 0.0, 0, set()
    taken: dict[str, int] = {}  # node -> GPUs given
    for deployment in cluster.deployments.values():
        mine = sorted(
            pod for pod in pods
            if (pod.region, pod.service) == (deployment.region, deployment.service)
        )  # fmt: skip
        if len(mine) < len(deployment.pods):
            raise ScenarioError(
                f"{deployment.region} has {len(mine)} real pods of {deployment.service!r}, the "
                f"scenario {len(deployment.pods)}; scale the Deployment to that"
            )
        for pod, real in zip(deployment.pods, mine, strict=False):
            _place(pod, cluster.nodes[real.node], taken)
            pod.name = real.name


def _rename_nodes(cluster: Cluster, places: set[tuple[str, str]], gpu_nodes: set[str]) -> None:
    """Nodes that run pods take real names; of a region's simulated ones, the first of a kind."""
    renamed: dict[str, Node] = {}
    spare = list(cluster.nodes.values())
    for name, region in sorted(places):
        wants_gpu = name in gpu_nodes
        node = next((n for n in spare if n.region == region and (n.gpus > 0) == wants_gpu), None)
        if node is None:
            kind = "GPU" if wants_gpu else "CPU"
            raise ScenarioError(
                f"node {name!r}: the scenario has fewer {kind} nodes in {region!r}; "
                "keep pods of services off GPU nodes, or give the scenario more"
            )
        spare.remove(node)
        node.name = name
        renamed[name] = node
    for node in spare:
        if node.name in renamed:
            node.name = f"{node.name}-spare"
        renamed[node.name] = node
    cluster.nodes = renamed


def _place(pod: Pod, node: Node, taken: dict[str, int]) -> None:
    num_gpus, first = len(pod.gpu_indices), taken.get(node.name, 0)
    if first + num_gpus > node.gpus:
        raise ScenarioError(
            f"node {node.name!r} has {node.gpus} GPUs, its pods want {first + num_gpus}"
        )
    taken[node.name] = first + num_gpus
    pod.gpu_indices = tuple(range(first, first + num_gpus))
    pod.node = node.name
    node.gpus_used += num_gpus
    node.cores_used += pod.cpu_limit_cores
    node.images.add(pod.service)


def adopted_pods(items: Iterable[Mapping[str, Any]], *, namespace: str) -> tuple[AdoptedPod, ...]:
    """Pods that run in a namespace, of `kubectl get pods,nodes -A -o json`'s items.

    Raises:
        ScenarioError: an item that is no Kubernetes object.
    """
    try:
        nodes, found = {}, []
        for item in items:
            labels = item["metadata"].get("labels") or {}
            if item["kind"] == "Node":
                nodes[item["metadata"]["name"]] = labels.get(REGION_LABEL, "default")
            elif item["kind"] == "Pod" and item["metadata"]["namespace"] == namespace:
                found.append((item["metadata"]["name"], labels, item["spec"].get("nodeName", "")))
        return tuple(
            AdoptedPod(
                region=nodes.get(node, labels.get(REGION_LABEL, "default")),
                service=next((labels[key] for key in SERVICE_LABELS if key in labels), ""),
                node=node,
                name=name,
            )
            for name, labels, node in found
            if node
        )
    except (AttributeError, KeyError, TypeError) as error:
        raise ScenarioError(
            f"pods: {error!r} in an item; give what `kubectl get pods,nodes -A -o json` prints"
        ) from error


def unshown(fleet: Fleet, pods: Collection[AdoptedPod]) -> frozenset[str]:
    """Pods that only one side has: the simulated fleet, or the cluster whose pods it took.

    Nothing carries a replaced pod into that cluster, so a watcher sees metrics of pods that the
    cluster does not have, and pods without metrics. Empty where no pods were taken.
    """
    if not pods:
        return frozenset()
    simulated = {pod.name for pod in fleet.cluster.pods()}
    return frozenset(simulated ^ {pod.name for pod in pods})
