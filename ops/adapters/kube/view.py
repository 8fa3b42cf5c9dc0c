"""A fleet's part of the cluster, as records that the loop understands.

Building one is some work, asking again for an unchanged one is none: quiet fleets cost nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from weakref import WeakKeyDictionary

from ops.adapters.kube.cache import ClusterCache, Resource
from ops.adapters.kube.deployments import previous_revision
from ops.adapters.kube.fields import Labels
from ops.adapters.kube.fleet_events import FleetEvents
from ops.adapters.kube.fleet_rows import FleetRows
from ops.adapters.kube.places import label_of, region_of_node
from ops.adapters.kube.records import NODE, STATEFUL_SET, NodeRow, PodRow
from ops.adapters.kube.tables import KEEP_S
from ops.clock import monotonic_s
from ops.state import NodeRecord, PodPhase, PodRecord, ServiceRecord
from rca.state import ChangeEvent, ClusterEvent

STALE_S = 45.0  # a healthy watch speaks every 25 s
_MEMO_MAX = 2_000
_UNSEEN_S = 600.0  # then nobody looks at a view: its Fleet is gone, or its selector another


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterView:
    """What is known of one fleet's pods and what they run on.

    A resource that was never listed is None: nothing is known, which is not the same as nothing
    there. One that is out of date is in `stale`, with its last known rows.

    Attributes:
        nodes: every node of the regions that the fleet's pods are in.
        changes, events: of the last hour, ascending.
        stale: resources whose knowledge is older than the limit or missing.
        ages_s: seconds since each resource was last known to be up to date; inf = never.
    """

    pods: tuple[PodRecord, ...] | None
    nodes: tuple[NodeRecord, ...] | None
    services: tuple[ServiceRecord, ...] | None
    changes: tuple[ChangeEvent, ...] | None
    events: tuple[ClusterEvent, ...] | None
    stale: tuple[str, ...] = ()
    ages_s: Mapping[str, float] = field(default_factory=dict)


def cluster_view(
    cache: ClusterCache,
    *,
    namespace: str,
    match_labels: Mapping[str, str],
    now_s: float,
    stale_s: float = STALE_S,
) -> ClusterView:
    """What is known of the pods of `namespace` that carry all of `match_labels`.

    Args:
        now_s: wall clock, for what is too old to be shown.
        stale_s: age from which a resource counts as stale.
    """
    memo = _MEMOS.setdefault(cache, _Memo())
    key = (namespace, tuple(sorted(match_labels.items())))
    listed = {resource: cache.listed(resource) for resource in Resource}
    mark = (cache.generation(namespace), *listed.values())
    known = memo.views.get(key)
    memo.looked_s[key] = monotonic_s()
    if known is None or known.mark != mark or now_s >= known.expires_s:
        fleet, events = FleetRows(cache.rows(namespace), key[1]), known.events if known else None
        parts = _Parts(fleet, memo.node_records(fleet), events or FleetEvents())
        view = _built(parts, now_s=now_s, listed=listed)
        known = memo.keep(key, _Known(mark, _expires_s(view), view, parts.events))
    ages_s = {resource.value: cache.age_s(resource) for resource in Resource}
    stale = tuple(name for name, age_s in ages_s.items() if age_s > stale_s)
    return replace(known.view, ages_s=ages_s, stale=stale)


def stale_text(view: ClusterView) -> str:
    """In words what is out of date, "" if nothing is."""
    return ", ".join(
        f"{name} never listed"
        if math.isinf(view.ages_s[name])
        else f"{name} {view.ages_s[name]:.0f} s old"
        for name in view.stale
    )


@dataclass(frozen=True, slots=True)
class _Known:
    """A view that was built, with what it stands for."""

    mark: tuple[object, ...]
    expires_s: float
    view: ClusterView
    events: FleetEvents


class _Memo:
    """The last view of each fleet, and the nodes as records: many fleets share them."""

    def __init__(self) -> None:
        self.views: dict[tuple[str, Labels], _Known] = {}
        self.looked_s: dict[tuple[str, Labels], float] = {}
        self._swept_s = monotonic_s()
        # Rows and, of them, records by region: one value, as threads replace it.
        self._nodes: tuple[Mapping[str, NodeRow], dict[str, list[NodeRecord]]] = ({}, {})

    def keep(self, key: tuple[str, Labels], known: _Known) -> _Known:
        """Remember a view, and forget those that nobody looks at."""
        if len(self.views) >= _MEMO_MAX:
            self.views.clear()
        self.views[key] = known
        if monotonic_s() - self._swept_s > _UNSEEN_S:
            self._sweep()
        return known

    def _sweep(self) -> None:
        self._swept_s = now_s = monotonic_s()
        for key, looked_s in list(self.looked_s.items()):  # other threads look meanwhile
            if now_s - looked_s > _UNSEEN_S:
                self.looked_s.pop(key, None)
                self.views.pop(key, None)

    def node_records(self, fleet: FleetRows) -> Iterator[NodeRecord]:
        """Nodes of the regions that a fleet is in."""
        rows, records = self._nodes
        if rows is not fleet.rows.nodes:
            rows, records = fleet.rows.nodes, {}
            for row in rows.values():
                records.setdefault(region_of_node(row), []).append(_node(row))
            self._nodes = (rows, records)
        for region in sorted(fleet.places.regions):
            yield from records.get(region, ())


_MEMOS: WeakKeyDictionary[ClusterCache, _Memo] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class _Parts:
    """What a view is built of."""

    fleet: FleetRows
    nodes: Iterator[NodeRecord]
    events: FleetEvents


def _built(parts: _Parts, *, now_s: float, listed: Mapping[Resource, bool]) -> ClusterView:
    fleet = parts.fleet
    pods_known = listed[Resource.PODS]
    services_known = pods_known and listed[Resource.DEPLOYMENTS]
    return ClusterView(
        pods=tuple(_pods(fleet)) if pods_known else None,
        nodes=tuple(parts.nodes) if listed[Resource.NODES] else None,
        services=tuple(_services(fleet)) if services_known else None,
        changes=tuple(sorted(_changes(fleet, now_s))) if services_known else None,
        events=parts.events.of(fleet, now_s=now_s) if listed[Resource.EVENTS] else None,
    )


def _expires_s(view: ClusterView) -> float:
    """When the first change or Event will be too old to be shown."""
    times = [event.at_s for event in view.events or ()] + [c.at_s for c in view.changes or ()]
    return min(times, default=math.inf) + KEEP_S


def _pods(fleet: FleetRows) -> Iterator[PodRecord]:
    for pod in sorted(fleet.pods, key=lambda pod: pod.name):
        region, service = fleet.places.of(pod)
        yield PodRecord(
            name=pod.name,
            region=region,
            service=service,
            node=pod.node,
            phase=pod.phase,
            ready=pod.ready,
            restarts=pod.restarts,
            created_at_s=pod.created_at_s,
            engine=pod.engine,
            owner="" if pod.owner_kind == NODE else pod.owner_kind,
            label=label_of(pod, service),
        )


def _node(row: NodeRow) -> NodeRecord:
    return NodeRecord(
        name=row.name,
        region=region_of_node(row),
        ready=row.ready,
        unschedulable=row.unschedulable,
        gpus=row.gpus,
    )


def _services(fleet: FleetRows) -> Iterator[ServiceRecord]:
    """One record per region that a Deployment has pods in."""
    counts = _counts(fleet)
    for name, row in sorted(fleet.deployments.items()):
        regions = fleet.places.regions_of(name)
        for region in regions:
            wanted, ready = counts.get((region, name), (0, 0))
            replicas = row.replicas if len(regions) == 1 else wanted
            yield ServiceRecord(
                region=region,
                service=name,
                replicas=replicas,
                replicas_elsewhere=row.replicas - replicas,
                ready_replicas=ready,
                revision=row.revision,
                previous_revision=previous_revision(row.revision),
                engine=row.engine,
            )
    yield from _stateful(fleet)


def _stateful(fleet: FleetRows) -> Iterator[ServiceRecord]:
    """One record per region and service of StatefulSets, LeaderWorkerSets with them.

    All of it is told by their pods: the sets themselves are not watched, for which a right would be
    needed. A pod on its way out counts as wanted, as its name comes back; of revisions nothing is
    known.
    """
    pods: dict[tuple[str, str], list[PodRow]] = {}
    for pod in fleet.pods:
        place = fleet.places.of(pod)
        if pod.owner_kind == STATEFUL_SET and place[1] not in fleet.deployments:
            pods.setdefault(place, []).append(pod)
    for (region, service), own in sorted(pods.items()):
        yield ServiceRecord(
            region=region,
            service=service,
            replicas=len(own),
            ready_replicas=sum(pod.ready for pod in own),
            revision="",
            engine=any(pod.engine for pod in own),
        )


def _counts(fleet: FleetRows) -> dict[tuple[str, str], tuple[int, int]]:
    """(region, service) -> pods that are not on their way out, and ready ones."""
    counts: dict[tuple[str, str], tuple[int, int]] = {}
    for pod in fleet.pods:
        if pod.phase in (PodPhase.TERMINATING, PodPhase.FAILED):
            continue
        key = fleet.places.of(pod)
        wanted, ready = counts.get(key, (0, 0))
        counts[key] = (wanted + 1, ready + pod.ready)
    return counts


def _changes(fleet: FleetRows, now_s: float) -> Iterator[ChangeEvent]:
    for change in fleet.rows.changes:
        if change.at_s < now_s - KEEP_S or not fleet.takes(change.labels):
            continue
        for region in fleet.places.regions_of(change.service):
            yield ChangeEvent(
                at_s=change.at_s,
                kind=change.kind,
                region=region,
                service=change.service,
                revision_from=change.revision_from,
                revision_to=change.revision_to,
                summary=change.summary,
            )
