"""What one Fleet's work is given; all fleets of one operator share it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ops.adapters.kube.api import KubeApi
from ops.catalogue import Catalogue
from ops.controller.fleet.diagnosing import RemoteDiagnoser
from ops.controller.fleet.reporting import ReportQueue
from ops.controller.fleet.tick import ClusterSight
from ops.controller.incidents.book import IncidentBook
from ops.controller.metrics_watch.clock import WatchedSamples
from ops.controller.operator_metrics import OperatorMetrics
from ops.controller.resources.fleet import FleetSpec
from ops.controller.resources.fleet_object import FleetObject
from ops.controller.settings import Settings
from rca.state import Symptom


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What all fleets of one operator share.

    Attributes:
        reader: of the endpoint of that name, for the calling thread.
        look: the cluster as a namespace and labels cut it, at a moment.
        diagnoser: makes the diagnoser of one fleet.
        report_queue: makes the queue of one fleet's pages.
        worker_trouble: why the worker does not answer, empty where it does.
    """

    api: KubeApi
    settings: Settings
    catalogue: Catalogue
    metrics: OperatorMetrics
    reader: Callable[[str], WatchedSamples]
    look: Callable[[str, Mapping[str, str], float], ClusterSight]
    report_queue: Callable[[FleetObject, Callable[[], None], IncidentBook], ReportQueue]
    worker_trouble: Callable[[], str]
    diagnoser: Callable[
        [FleetObject, FleetSpec, Callable[[], None], Callable[[Symptom], str]], RemoteDiagnoser
    ]
