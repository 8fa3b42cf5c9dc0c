"""Rows of one fleet, chosen by its labels, and the Events about them."""

from __future__ import annotations

from collections.abc import Iterator

from ops.adapters.kube.cache import NamespaceRows
from ops.adapters.kube.events import EventRow
from ops.adapters.kube.fields import Labels
from ops.adapters.kube.places import Places, region_of_node
from ops.adapters.kube.tables import KEEP_S
from rca.state import ClusterEvent, Entity, EntityKind

_Subject = tuple[Entity, str]  # what an Event is about, the service it belongs to


class FleetRows:
    """Rows of one fleet with what is derived of them once."""

    def __init__(self, rows: NamespaceRows, labels: Labels) -> None:
        """Choose: pods and Deployments whose pods carry all of `labels`; finished pods do not."""
        self._wanted = frozenset(labels)
        self.rows = rows
        self.pods = [pod for pod in rows.pods if not pod.done and self.takes(pod.labels)]
        self.gone = {name: pod for name, pod in rows.gone.items() if self.takes(pod.labels)}
        self.deployments = {row.name: row for row in rows.deployments if self.takes(row.labels)}
        self.by_name = {pod.name: pod for pod in self.pods}
        self.places = Places(rows.nodes, self.pods)

    def takes(self, labels: Labels) -> bool:
        """Whether pods with these labels belong to the fleet."""
        return self._wanted.issubset(labels)


def events_of(fleet: FleetRows, *, now_s: float) -> Iterator[ClusterEvent]:
    """Every remembered occurrence of an Event about the fleet's pods, Deployments and nodes."""
    others = {pod.name for pod in fleet.rows.pods} - fleet.by_name.keys()
    for row in fleet.rows.events:
        for subject in _subjects(fleet, row, others):
            yield from _occurrences(row, subject, now_s)
    for node in sorted({pod.node for pod in fleet.pods} & fleet.rows.node_events.keys()):
        found = fleet.rows.nodes.get(node)
        region = region_of_node(found) if found else fleet.places.fallback
        for row in fleet.rows.node_events[node]:
            yield from _occurrences(row, (Entity(EntityKind.NODE, region, node), ""), now_s)


def _occurrences(row: EventRow, subject: _Subject, now_s: float) -> Iterator[ClusterEvent]:
    entity, service = subject
    for at_s, count in row.seen:
        if at_s >= now_s - KEEP_S:
            yield ClusterEvent(
                at_s=at_s,
                reason=row.reason,
                entity=entity,
                service=service,
                message=row.message,
                count=count,
                warning=row.warning,
            )


def _subjects(fleet: FleetRows, row: EventRow, others: set[str]) -> Iterator[_Subject]:
    if row.kind == "Pod":
        pod = fleet.by_name.get(row.about) or fleet.gone.get(row.about)
        if pod is not None:
            region, service = fleet.places.of(pod)
            yield Entity(EntityKind.POD, region, row.about), service
        elif row.about not in others and row.about not in fleet.rows.gone:
            # Deleted before the operator started: the name still begins with its Deployment's.
            for service in fleet.deployments:
                if row.about.rsplit("-", 2)[0] == service:
                    region = fleet.places.regions_of(service)[0]
                    yield Entity(EntityKind.POD, region, row.about), service
        return
    service = row.about.rpartition("-")[0] if row.kind == "ReplicaSet" else row.about
    if row.kind in ("ReplicaSet", "Deployment") and service in fleet.deployments:
        for region in fleet.places.regions_of(service):
            yield Entity(EntityKind.SERVICE, region, service), service
