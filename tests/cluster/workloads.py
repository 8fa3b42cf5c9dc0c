"""Objects that tests put into a cluster: nodes with GPUs in regions, Deployments, cold pods."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

REGION = "topology.kubernetes.io/region"
ZONE = "topology.kubernetes.io/zone"
GPU = "nvidia.com/gpu"


def node(name: str, *, region: str = "north", gpus: int = 8, cores: int = 64) -> dict[str, Any]:
    """A node that kwok keeps ready."""
    capacity = {"cpu": str(cores), "memory": "512Gi", "pods": "1000"}
    if gpus:
        capacity[GPU] = str(gpus)
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {
                REGION: region, ZONE: f"{region}-a", "kubernetes.io/hostname": name,
                "kubernetes.io/os": "linux",
            },
        },
        "status": {"capacity": capacity, "allocatable": capacity},
    }  # fmt: skip


def cold_start(*, pull_s: float, load_s: float) -> dict[str, str]:
    """Annotations of a pod that spends this long on its image, then on its model."""
    return {
        "stage.test/pull": f"{round(pull_s * 1000)}ms",
        "stage.test/load": f"{round(load_s * 1000)}ms",
    }


def deployment(
    name: str, *, replicas: int = 1, gpus: int = 0, labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None, region: str = "", cores: str = "100m",
) -> dict[str, Any]:  # fmt: skip
    """A Deployment of pods named after it.

    Args:
        labels: of its pods, besides `app`.
        annotations: of its pods, e.g. `cold_start(...)`.
        region: where its pods must run; "" anywhere.
    """
    resources: dict[str, Any] = {"requests": {"cpu": cores, "memory": "64Mi"}}
    if gpus:
        resources["limits"] = {GPU: str(gpus)}
    spec: dict[str, Any] = {
        "containers": [{"name": "main", "image": f"example.test/{name}:1", "resources": resources}]
    }
    if region:
        spec["nodeSelector"] = {REGION: region}
    own = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": own},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": own},
            "template": {
                "metadata": {
                    "labels": {**own, **(labels or {})},
                    "annotations": dict(annotations or {}),
                },
                "spec": spec,
            },
        },
    }


def pods_path(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/pods"


def deployments_path(namespace: str) -> str:
    return f"/apis/apps/v1/namespaces/{namespace}/deployments"


def is_ready(pod: Mapping[str, Any]) -> bool:
    """Whether its condition Ready is True."""
    conditions = pod.get("status", {}).get("conditions", [])
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
