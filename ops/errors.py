"""Errors of the application."""

from __future__ import annotations


class OpsError(Exception):
    """Root of every error that `ops` raises on purpose."""


class ScenarioError(OpsError):
    """A scenario file that cannot be used; the message lists every fault with its path."""


class NoTargetError(ScenarioError):
    """A scenario in which nothing qualifies as the target of a fault."""


class BundleError(OpsError):
    """An incident bundle that is incomplete or was changed."""


class AlertError(OpsError):
    """An Alertmanager body that cannot be read."""


class WorldError(OpsError):
    """A simulated world that could not be run to its end."""


class JournalError(OpsError):
    """A journal that cannot be written or read."""


class CatalogueError(OpsError):
    """A metric catalogue that cannot be used; the message lists every fault."""


class MetricsTextError(OpsError):
    """An OpenMetrics text that cannot be read."""


class PrometheusError(OpsError):
    """A Prometheus that does not answer, or not with samples; names URL, query and next step."""


class TooMuchError(PrometheusError):
    """One answer would be too large or take too long; a smaller question may succeed."""
