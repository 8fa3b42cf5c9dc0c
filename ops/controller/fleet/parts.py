"""What all fleets of one operator share: readers of Prometheus, caches, the worker."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from ops.adapters.kube.api import KubeApi
from ops.adapters.kube.cache import ClusterCache, Resource
from ops.adapters.kube.cluster_watch import ClusterWatch
from ops.adapters.kube.near_labels import why_unmatched
from ops.adapters.kube.view import STALE_S, cluster_view, stale_text
from ops.catalogue import Catalogue
from ops.controller.fleet.diagnosing import RemoteDiagnoser
from ops.controller.fleet.reporting import ReportQueue
from ops.controller.fleet.shared import Parts
from ops.controller.fleet.tick import ClusterSight
from ops.controller.incidents.book import IncidentBook
from ops.controller.metrics_watch.endpoint_readers import Readers
from ops.controller.operator_metrics import OperatorMetrics
from ops.controller.probes import Check
from ops.controller.resources.fleet import FleetSpec
from ops.controller.resources.fleet_object import FleetObject
from ops.controller.settings import Settings
from ops.controller.worker_link.line import WorkerLine
from ops.controller.worker_link.wire import FleetPlace
from rca.state import Symptom


class SharedParts:
    """Made once, started when this process leads."""

    def __init__(self, api: KubeApi, settings: Settings, metrics: OperatorMetrics) -> None:
        """Prepare; nothing is sent yet."""
        self._settings = settings
        self.worker = WorkerLine(settings.worker)
        self.cache = ClusterCache()
        self._watch = ClusterWatch(api, self.cache)
        self._readers = Readers(settings.metrics_endpoints)
        self.shared = Parts(
            api=api,
            settings=settings,
            catalogue=Catalogue.load(),
            metrics=metrics,
            reader=self._readers.get,
            look=self._look,
            diagnoser=self._diagnoser,
            report_queue=self._report_queue,
            worker_trouble=lambda: self.worker.trouble,
        )

    def start(self) -> None:
        """Begin to watch the cluster."""
        self._watch.start()

    def stop(self) -> None:
        """End what was started."""
        self._watch.stop()

    def checks(self) -> tuple[Check, ...]:
        """Conditions of these parts."""
        late = [
            f"{resource}: {self.cache.trouble(resource) or 'not listed yet'}"
            for resource in Resource
            if self.cache.age_s(resource) > STALE_S
        ]
        return (
            Check(
                type="ClusterSeen",
                ok=not late,
                reason="Stale" if late else "Fresh",
                message="; ".join(late),
            ),
            Check(
                type="WorkerAnswers",
                ok=not self.worker.trouble,
                reason="Silent" if self.worker.trouble else "Answers",
                message=self.worker.trouble,
            ),
        )

    def _look(self, namespace: str, match_labels: Mapping[str, str], now_s: float) -> ClusterSight:
        view = cluster_view(self.cache, namespace=namespace, match_labels=match_labels, now_s=now_s)
        unmatched = ""
        if match_labels and view.pods == ():
            pods = self.cache.rows(namespace).pods
            unmatched = why_unmatched(match_labels, pods, namespace=namespace)
        return ClusterSight(
            pods=view.pods or (),
            nodes=view.nodes or (),
            services=view.services or (),
            changes=view.changes or (),
            events=view.events or (),
            stale=stale_text(view),
            unmatched=unmatched,
            absent=lambda names: self._absent(namespace, names),
        )

    def _absent(self, namespace: str, names: Collection[str]) -> frozenset[str]:
        if not self.cache.listed(Resource.PODS):
            return frozenset()
        rows = self.cache.rows(namespace)
        return frozenset(names) - {pod.name for pod in rows.pods} - rows.gone.keys()

    def _diagnoser(
        self,
        fleet: FleetObject,
        spec: FleetSpec,
        wake: Callable[[], None],
        name_of: Callable[[Symptom], str],
    ) -> RemoteDiagnoser:
        return RemoteDiagnoser(
            place=self._place(fleet, spec),
            ask=self.worker.diagnose,
            wake=wake,
            metrics=self.shared.metrics,
            name_of=name_of,
        )

    def _report_queue(
        self, fleet: FleetObject, wake: Callable[[], None], book: IncidentBook
    ) -> ReportQueue:
        return ReportQueue(
            place=lambda spec: self._place(fleet, spec),
            ask=self.worker.report,
            wake=wake,
            entry_of=book.entries.get,
        )

    def _place(self, fleet: FleetObject, spec: FleetSpec) -> FleetPlace:
        endpoint = self._settings.metrics_endpoints.get(spec.metrics.endpoint)
        return FleetPlace(
            namespace=fleet.namespace,
            fleet=fleet.name,
            endpoint=spec.metrics.endpoint,
            match_labels=spec.metrics.match_labels,
            add_labels=endpoint.add_labels if endpoint else {},
            cluster=self._settings.cluster,
        )
