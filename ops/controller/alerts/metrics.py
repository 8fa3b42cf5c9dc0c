"""What the receiver tells about itself."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from ops.controller.alerts.inbox import Receipt

SECONDS = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 8.0)


class WebhookMetrics:
    """Counters of one receiver. Labels have a fixed range: statuses and reasons of our own."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._posts = Counter(
            "ops_webhook_posts",
            "Notifications by answer.",
            ["status", "reason"],
            registry=registry,
        )
        self._alerts = Counter(
            "ops_webhook_alerts",
            "Alerts of accepted notifications: written, known, unrouted.",
            ["result"],
            registry=registry,
        )
        self._seconds = Histogram(
            "ops_webhook_seconds",
            "From the head of a notification to its answer.",
            buckets=SECONDS,
            registry=registry,
        )
        self.held = Gauge(
            "ops_webhook_held_bytes",
            "Bodies that are read or wait to be written.",
            registry=registry,
        )

    def answered(self, status: int, reason: str, seconds: float) -> None:
        """One notification has its answer."""
        self._posts.labels(status=str(status), reason=reason).inc()
        self._seconds.observe(seconds)

    def took(self, receipt: Receipt) -> None:
        """The alerts of one notification are written."""
        self._alerts.labels(result="written").inc(receipt.written)
        self._alerts.labels(result="known").inc(receipt.known)
        self._alerts.labels(result="unrouted").inc(receipt.unrouted)
