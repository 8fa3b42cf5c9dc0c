"""Events about one fleet, as records; what has not changed since the last time is not made again.

A namespace of fifty pods easily has a thousand Events in an hour, and its view is built anew after
each change of a pod.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from ops.adapters.kube.events import EventRow
from ops.adapters.kube.fleet_rows import FleetRows
from ops.adapters.kube.places import region_of_node
from ops.adapters.kube.tables import KEEP_S, Key
from rca.state import ClusterEvent, Entity, EntityKind

Subject = tuple[EntityKind, str, str, str]  # kind, region and name; service that it belongs to


@dataclass(frozen=True, slots=True)
class _Made:
    """Records of one Event, with what they were made of."""

    row: EventRow
    subjects: tuple[Subject, ...]
    records: tuple[ClusterEvent, ...]


class FleetEvents:
    """Makes the records of one fleet's Events and remembers them."""

    def __init__(self) -> None:
        self._made: dict[Key, _Made] = {}

    def of(self, fleet: FleetRows, *, now_s: float) -> tuple[ClusterEvent, ...]:
        """Every remembered occurrence of the last hour, ascending."""
        made: dict[Key, _Made] = {}
        for row, subjects in _about(fleet):
            key = (row.namespace, row.name)
            known = self._made.get(key)
            if known is None or known.row is not row or known.subjects != subjects:
                known = _Made(row, subjects, tuple(_records(row, subjects)))
            made[key] = known
        self._made = made
        found = [
            record
            for known in made.values()
            for record in known.records
            if record.at_s >= now_s - KEEP_S
        ]
        return tuple(sorted(found, key=_order))


def _order(record: ClusterEvent) -> tuple[float, str, str]:
    return record.at_s, record.reason, record.entity.name


def _about(fleet: FleetRows) -> Iterator[tuple[EventRow, tuple[Subject, ...]]]:
    """Events about the fleet's pods, Deployments and nodes, each with what it is about."""
    others = {pod.name for pod in fleet.rows.pods} - fleet.by_name.keys()
    for row in fleet.rows.events:
        subjects = _subjects(fleet, row, others)
        if subjects:
            yield row, subjects
    for node in sorted({pod.node for pod in fleet.pods} & fleet.rows.node_events.keys()):
        found = fleet.rows.nodes.get(node)
        region = region_of_node(found) if found else fleet.places.fallback
        for row in fleet.rows.node_events[node]:
            yield row, ((EntityKind.NODE, region, node, ""),)


def _subjects(fleet: FleetRows, row: EventRow, others: Collection[str]) -> tuple[Subject, ...]:
    if row.kind == "Pod":
        pod = fleet.by_name.get(row.about) or fleet.gone.get(row.about)
        if pod is not None:
            region, service = fleet.places.of(pod)
            return ((EntityKind.POD, region, row.about, service),)
        service = row.about.rsplit("-", 2)[0]
        known = row.about in others or row.about in fleet.rows.gone
        if known or service not in fleet.deployments:
            return ()
        # Deleted before the operator started: the name still begins with its Deployment's.
        return ((EntityKind.POD, fleet.places.regions_of(service)[0], row.about, service),)
    service = row.about.rpartition("-")[0] if row.kind == "ReplicaSet" else row.about
    if row.kind not in ("ReplicaSet", "Deployment") or service not in fleet.deployments:
        return ()
    return tuple(
        (EntityKind.SERVICE, region, service, service)
        for region in fleet.places.regions_of(service)
    )


def _records(row: EventRow, subjects: tuple[Subject, ...]) -> Iterator[ClusterEvent]:
    for kind, region, name, service in subjects:
        entity = Entity(kind, region, name)
        for at_s, count in row.seen:
            yield ClusterEvent(
                at_s=at_s,
                reason=row.reason,
                entity=entity,
                service=service,
                message=row.message,
                count=count,
                warning=row.warning,
            )
