"""Fleets and Incidents as the API server stores them, read for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ops.controller.moments import seconds
from ops.controller.resources.fields import Condition, parse
from ops.controller.resources.fleet import FleetSpec, FleetStatus
from ops.controller.resources.incident import IncidentSpec, IncidentStatus, Phase
from ops.errors import ResourceError


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFleet:
    """One Fleet."""

    namespace: str
    name: str
    spec: FleetSpec
    status: FleetStatus
    seen: bool  # the operator has written a status


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredIncident:
    """One Incident."""

    namespace: str
    name: str
    spec: IncidentSpec
    status: IncidentStatus
    seen: bool  # the operator has written a status
    created_s: float

    @property
    def open(self) -> bool:
        """Whether it is not resolved yet."""
        return self.status.phase is not Phase.RESOLVED

    @property
    def began_s(self) -> float:
        """When users began to suffer; when it was created where that is not told."""
        return moment(self.status.began) or self.created_s


def stored_fleet(raw: Mapping[str, Any]) -> StoredFleet:
    """Read an object.

    Raises:
        ResourceError: it is of another shape than this release knows.
    """
    namespace, name, path = _identity(raw, "Fleet")
    return StoredFleet(
        namespace=namespace,
        name=name,
        spec=parse(FleetSpec, raw.get("spec"), path=f"{path}: spec"),
        status=parse(FleetStatus, raw.get("status"), path=f"{path}: status"),
        seen=bool(raw.get("status")),
    )


def stored_incident(raw: Mapping[str, Any]) -> StoredIncident:
    """Read an object.

    Raises:
        ResourceError: it is of another shape than this release knows.
    """
    namespace, name, path = _identity(raw, "Incident")
    return StoredIncident(
        namespace=namespace,
        name=name,
        spec=parse(IncidentSpec, raw.get("spec"), path=f"{path}: spec"),
        status=parse(IncidentStatus, raw.get("status"), path=f"{path}: status"),
        seen=bool(raw.get("status")),
        created_s=moment(raw["metadata"].get("creationTimestamp")) or 0.0,
    )


def condition(conditions: Sequence[Condition], kind: str) -> Condition | None:
    """The condition of that type."""
    return next((c for c in conditions if c.type == kind), None)


def moment(text: str | None) -> float | None:
    """Seconds since the epoch; None for no moment, or for what is none."""
    try:
        return seconds(text) if text else None
    except ValueError:
        return None


def _identity(raw: Mapping[str, Any], kind: str) -> tuple[str, str, str]:
    meta = raw.get("metadata")
    if not isinstance(meta, dict) or not meta.get("name"):
        raise ResourceError(f"{kind} without metadata.name; is this an API server?")
    namespace, name = str(meta.get("namespace", "")), str(meta["name"])
    return namespace, name, f"{kind} {namespace}/{name}"
