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
    """An Alertmanager body that cannot be read.

    Attributes:
        faults: (path, what is wrong there) of each fault.
    """

    def __init__(self, message: str, *, faults: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(message)
        self.faults = faults


class OverloadedError(OpsError):
    """No room or no time for more now; the sender should come again after `retry_after_s`."""

    def __init__(self, message: str, *, retry_after_s: float = 5.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


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


class TooLateError(TooMuchError):
    """No whole answer in time: too much was asked, or the server hardly answers at all."""


class ResourceError(OpsError):
    """A custom resource whose values do not fit; the message lists every fault with its path."""


class SloError(OpsError):
    """Objectives that cannot be used; the message lists every fault with its path."""


class SettingsError(OpsError):
    """A configuration of the operator that cannot be used; the message lists every fault."""


class WorkerError(OpsError):
    """A worker that does not answer, or refuses."""


class WorkerAwayError(WorkerError):
    """A worker that was not asked at all, as no connection stood."""


class NotLeadingError(OpsError):
    """A write that was held back because another process may lead by now."""


class WorkerBusyError(WorkerError):
    """A worker that has as much to do as it can hold.

    Attributes:
        retry_after_s: when it asks to be asked again.
    """

    def __init__(self, message: str, *, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class KubeError(OpsError):
    """An API server that refuses or does not answer; names verb, path, status and next step.

    Attributes:
        status: HTTP status, 0 where no answer came.
        reason: the server's own word, e.g. Conflict, Expired, Forbidden.
        retry_after_s: what the server asks for, None where it says nothing.
        causes: the server's words for what stands behind it, e.g. DisruptionBudget.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 0,
        reason: str = "",
        retry_after_s: float | None = None,
        causes: frozenset[str] = frozenset(),
    ) -> None:
        super().__init__(message)
        self.status, self.reason, self.retry_after_s = status, reason, retry_after_s
        self.causes = causes
