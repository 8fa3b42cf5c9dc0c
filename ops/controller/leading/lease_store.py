"""The Lease of an API server, and the clock of this machine."""

from __future__ import annotations

import os
import secrets
from datetime import UTC, datetime
from typing import Any

from ops.adapters.kube.api import KubeApi
from ops.adapters.kube.paths import path_of
from ops.clock import monotonic_s, wall_s
from ops.controller.leading.lease import ADDRESS, LeaseRecord
from ops.errors import KubeError

GROUP, VERSION = "coordination.k8s.io", "v1"


class SystemClock:
    """The clock of this machine."""

    def __call__(self) -> float:
        """Monotonic seconds."""
        return monotonic_s()

    def stamp(self) -> str:
        """The date in microseconds."""
        return datetime.fromtimestamp(wall_s(), UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class KubeLeases:
    """One Lease of an API server; every call ends within `timeout_s`."""

    def __init__(self, api: KubeApi, *, namespace: str, name: str, timeout_s: float) -> None:
        self._api, self._namespace, self._name = api, namespace, name
        self._timeout_s = timeout_s
        self._path = path_of(GROUP, VERSION, "leases", namespace, name)

    def read(self) -> LeaseRecord | None:
        """The Lease, None where there is none."""
        try:
            return LeaseRecord.of(self._api.get(self._path, timeout_s=self._timeout_s))
        except KubeError as error:
            if error.status == 404:
                return None
            raise

    def write(self, record: LeaseRecord) -> LeaseRecord:
        """Create or replace it."""
        body = self._body(record)
        if record.version:
            stored = self._api.replace(self._path, body, timeout_s=self._timeout_s)
        else:
            all_leases = path_of(GROUP, VERSION, "leases", self._namespace)
            stored = self._api.create(all_leases, body, timeout_s=self._timeout_s)
        return LeaseRecord.of(stored)

    def _body(self, record: LeaseRecord) -> dict[str, Any]:
        meta: dict[str, Any] = {"name": self._name, "namespace": self._namespace}
        if record.version:
            meta["resourceVersion"] = record.version
        if record.address:
            meta["annotations"] = {ADDRESS: record.address}
        spec = {
            "holderIdentity": record.holder,
            "leaseDurationSeconds": int(record.duration_s),
            "acquireTime": record.acquired_at,
            "renewTime": record.renewed_at,
            "leaseTransitions": record.transitions,
        }
        return {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": "Lease",
            "metadata": meta,
            "spec": {key: value for key, value in spec.items() if value != ""},
        }


def new_identity() -> str:
    """Host name and a random part: a restarted process is another candidate."""
    return f"{os.environ.get('HOSTNAME') or os.uname().nodename}_{secrets.token_hex(6)}"
