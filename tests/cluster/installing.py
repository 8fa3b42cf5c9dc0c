"""Puts the manifests on a control plane as a person would, and takes them off again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.cluster.api import ApiError
from tests.cluster.control_plane import ControlPlane
from tests.cluster.processes import WAIT_S, eventually

MANIFESTS = Path(__file__).resolve().parents[2] / "manifests"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
OURS = "/apis/midwatch.dev/v1alpha1"
KINDS = ("fleets", "incidents", "replays")
SYSTEM = "midwatch-system"
OPERATOR = f"system:serviceaccount:{SYSTEM}:midwatch-operator"
WORKER = f"system:serviceaccount:{SYSTEM}:midwatch-worker"


def apply(plane: ControlPlane, folder: str = ".") -> float:
    """`kubectl apply -k` of a folder below manifests/; seconds until its kinds are served."""
    plane.kubectl("apply", "-k", MANIFESTS / folder)
    return eventually(lambda: served(plane), timeout_s=WAIT_S, what="kinds of midwatch.dev")


def served(plane: ControlPlane) -> bool:
    """Whether all kinds are Established, listable, and known to discovery."""
    try:
        known = {one["name"] for one in plane.admin.get(OURS)["resources"]}
        return set(KINDS) <= known and all(established(plane, kind) for kind in KINDS)
    except ApiError:
        return False


def established(plane: ControlPlane, kind: str) -> bool:
    found = plane.admin.get(f"{CRDS}/{kind}.midwatch.dev").get("status", {})
    conditions = {one["type"]: one["status"] for one in found.get("conditions", [])}
    return conditions.get("Established") == "True"


def path_of(kind: str, namespace: str, name: str = "") -> str:
    """Of our own objects, e.g. kind "fleets"."""
    return f"{OURS}/namespaces/{namespace}/{kind}" + (f"/{name}" if name else "")


def body(kind: str, name: str, spec: Any = None, **metadata: Any) -> dict[str, Any]:
    """One of our own objects, e.g. kind "Fleet"."""
    made = {"apiVersion": "midwatch.dev/v1alpha1", "kind": kind,
            "metadata": {"name": name, **metadata}}  # fmt: skip
    return made if spec is None else made | {"spec": spec}


def remove_namespace(plane: ControlPlane, name: str) -> None:
    """Delete a namespace and wait until it is gone: an operator sees the Fleets of all of them."""
    path = f"/api/v1/namespaces/{name}"
    plane.admin.delete(path)
    eventually(lambda: not plane.admin.exists(path), timeout_s=WAIT_S, what=f"{name} to be gone")


def no_fleet_but(plane: ControlPlane, *namespaces: str) -> None:
    """Wait until only these namespaces hold Fleets: those of other tests go in their own time."""

    def others() -> set[str]:
        found = plane.admin.items(f"{OURS}/fleets")
        return {one["metadata"]["namespace"] for one in found} - set(namespaces)

    eventually(lambda: not others(), timeout_s=WAIT_S, what="the Fleets of other tests to be gone")
