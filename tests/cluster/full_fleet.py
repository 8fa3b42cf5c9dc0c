"""A fleet that needs every right of the operator: it has more resolved Incidents than are kept."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tests.cluster.accounts import roles_in_force
from tests.cluster.api import Api, ApiError
from tests.cluster.control_plane import ControlPlane
from tests.cluster.granted import rights_in
from tests.cluster.installing import apply, body, path_of
from tests.cluster.processes import eventually
from tests.cluster.workloads import deployment, deployments_path, is_ready, pods_path
from tests.manifests.installs import of_kind

KEPT_MAX = 200  # Incidents of one fleet
SHIPPED = {
    right
    for kind in ("ClusterRole", "Role")
    for role in of_kind("default", kind)
    if role["metadata"]["name"].startswith("midwatch-operator")
    for right in rights_in(role)
}


@contextmanager
def many_incidents(plane: ControlPlane) -> Iterator[str]:
    """Its namespace, with midwatch installed."""
    apply(plane)
    roles_in_force(plane)
    admin, name = plane.admin, f"rights-{time.monotonic_ns() % 10**6}"
    admin.create("/api/v1/namespaces", {"metadata": {"name": name}})
    admin.create(deployments_path(name), deployment("web", replicas=2))
    eventually(lambda: sum(map(is_ready, admin.items(pods_path(name)))) == 2)
    admin.create(path_of("fleets", name), body("Fleet", "chat"))
    for number in range(KEPT_MAX + 1):
        resolved_incident(admin, name, f"chat-20261101-000000-{number:05x}")
    yield name
    admin.delete(f"/api/v1/namespaces/{name}")


def resolved_incident(admin: Api, namespace: str, name: str) -> None:
    """One that is over, as the operator writes it."""
    labels = {"midwatch.dev/fleet": "chat"}
    made = body("Incident", name, {"fleet": "chat"}, labels=labels)
    with suppress(ApiError):
        admin.create(path_of("incidents", namespace), made)
        status = {"phase": "Resolved", "resolved": "2026-11-01T00:00:00Z"}
        admin.patch(path_of("incidents", namespace, name) + "/status", {"status": status})


def notification(
    namespace: str, *, firing: bool = True, name: str = "Slow", fingerprint: str = "ab12"
) -> bytes:
    """A body of Alertmanager's with one alert."""
    labels = {"alertname": name, "namespace": namespace, "severity": "critical"}
    ends = "0001-01-01T00:00:00Z" if firing else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    status = "firing" if firing else "resolved"
    alert = {"status": status, "labels": labels, "annotations": {}, "generatorURL": "",
             "startsAt": "2026-11-30T12:30:00Z", "endsAt": ends,
             "fingerprint": fingerprint}  # fmt: skip
    made = {"version": "4", "groupKey": name, "truncatedAlerts": 0, "status": status,
            "receiver": "midwatch", "groupLabels": {}, "commonLabels": {}, "commonAnnotations": {},
            "externalURL": "", "alerts": [alert]}  # fmt: skip
    return json.dumps(made).encode()


def open_incidents(admin: Api, namespace: str) -> list[str]:
    """Names of those that are not over."""
    found = admin.items(path_of("incidents", namespace))
    return [i["metadata"]["name"] for i in found if i.get("status", {}).get("phase") != "Resolved"]
