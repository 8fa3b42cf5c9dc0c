"""What the operator counts about itself, under /metrics. Labels have a bounded range."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.process_collector import ProcessCollector

from ops import __version__
from ops.clock import monotonic_s

STAGE_S = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
INCIDENT_S = (5.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0, 90.0, 120.0, 300.0, 900.0, 3600.0)
DECISION_S = (0.05, 0.1, 0.2, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)


class Totals(Protocol):
    """Sums over all fleets."""

    def num_open(self) -> int:
        """Incidents that are not resolved."""
        ...

    def num_series(self) -> int:
        """Series that are watched."""
        ...


class OperatorMetrics:
    """All counters of one operator process."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        build = Gauge("ops_build_info", "1, with the version.", ["version"], registry=registry)
        build.labels(version=__version__).set(1)
        self.leading = Gauge("ops_leading", "Whether this process leads.", registry=registry)
        self.fleets = Gauge("ops_fleets", "Fleets that are watched.", registry=registry)
        self.rights_missing = Gauge(
            "ops_rights_missing", "Rights that the API server refuses.", registry=registry
        )
        self.incidents = Counter(
            "ops_incidents", "Incidents with an answer, by class of the cause.",
            ["fault_class"], registry=registry,
        )  # fmt: skip
        self.open_incidents = Gauge(
            "ops_incident_open", "Incidents that are not resolved.", registry=registry
        )
        self.detect_s = Histogram(
            "ops_time_to_detect_seconds", "From the start of the trouble to its detection.",
            buckets=INCIDENT_S, registry=registry,
        )  # fmt: skip
        self.cause_s = Histogram(
            "ops_time_to_cause_seconds", "From the start of the trouble to its named cause.",
            buckets=INCIDENT_S, registry=registry,
        )  # fmt: skip
        self.mitigate_s = Histogram(
            "ops_time_to_mitigate_seconds", "From the start until users are well.",
            buckets=INCIDENT_S, registry=registry,
        )  # fmt: skip
        self.diagnoses = Counter(
            "ops_rca_runs", "Diagnoses by result: named, abstained, failed, busy.",
            ["result"], registry=registry,
        )  # fmt: skip
        self.diagnose_s = Histogram(
            "ops_rca_duration_seconds", "From a question to the worker to its answer.",
            buckets=STAGE_S, registry=registry,
        )  # fmt: skip
        self.confidence = Histogram(
            "ops_rca_confidence", "Confidence of the first cause.",
            buckets=[i / 10 for i in range(1, 11)], registry=registry,
        )  # fmt: skip
        self.actions = Counter(
            "ops_actions", "Actions proposed; none is carried out in this release.",
            ["action", "mode", "result"], registry=registry,
        )  # fmt: skip
        self.lag_s = Histogram(
            "ops_ingest_lag_seconds", "Age of the newest row when it is looked at.",
            buckets=DECISION_S, registry=registry,
        )  # fmt: skip
        self.series = Gauge("ops_series_tracked", "Series of all fleets.", registry=registry)
        self.samples = Counter("ops_samples_read", "Samples that were read.", registry=registry)
        self.readings = Counter(
            "ops_readings", "Readings of Prometheus by state: Fresh, Stale, Missing, ...",
            ["state"], registry=registry,
        )  # fmt: skip
        self.watch_to_decision_s = Histogram(
            "ops_watch_to_decision_seconds", "From a pod's change to the end of its fleet's step.",
            buckets=DECISION_S, registry=registry,
        )  # fmt: skip
        self.stage_s = Histogram(
            "ops_stage_seconds",
            "Time by stage: read, history, view, step, write, dry-run, status.",
            ["stage"], buckets=STAGE_S, registry=registry,
        )  # fmt: skip
        self.ticks = Counter(
            "ops_ticks", "Steps of fleets by result: ok, failed.", ["result"], registry=registry
        )

    def follow(self, table: Totals, *, num_rights_missing: Callable[[], int]) -> None:
        """Read these when they are asked for: what the fleets hold now."""
        self.open_incidents.set_function(table.num_open)
        self.series.set_function(table.num_series)
        self.rights_missing.set_function(num_rights_missing)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time one stage."""
        began_s = monotonic_s()
        try:
            yield
        finally:
            self.stage_s.labels(stage=name).observe(monotonic_s() - began_s)
