"""The worker's own metrics, in a registry of its own."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.process_collector import ProcessCollector

from ops import __version__
from ops.controller.worker.jobs import Jobs

BUCKETS_S = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 120.0, 600.0)


class WorkerMetrics:
    """Counts and times of questions; no label has an unbounded range."""

    def __init__(self, jobs: Jobs) -> None:
        """Register; gauges read `jobs` when they are scraped."""
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._asked = Counter(
            "ops_worker_questions",
            "Questions by what was asked and what came of it.",
            ("question", "result"),
            registry=self._registry,
        )
        self._took = Histogram(
            "ops_worker_question_seconds",
            "From the whole request to the answer, waiting included.",
            ("question",),
            buckets=BUCKETS_S,
            registry=self._registry,
        )
        waiting = Gauge(
            "ops_worker_waiting", "Questions that wait for the thread.", registry=self._registry
        )
        waiting.set_function(lambda: float(jobs.waiting))
        busy = Gauge(
            "ops_worker_busy_seconds",
            "How long the running question has taken so far.",
            registry=self._registry,
        )
        busy.set_function(lambda: jobs.busy_s)
        Gauge("ops_worker_build_info", "Version.", ("version",), registry=self._registry).labels(
            __version__
        ).set(1)

    def count(self, question: str, result: str, seconds: float) -> None:
        """One question has ended."""
        self._asked.labels(question, result).inc()
        self._took.labels(question).observe(seconds)

    def text(self) -> bytes:
        """Exposition text."""
        return generate_latest(self._registry)
