"""What a Fleet's spec makes the operator read: its frames, or why there can be none."""

from __future__ import annotations

from ops.controller.fleet.shared import Parts
from ops.controller.metrics_watch.frame import WatchFrame
from ops.controller.metrics_watch.roles import USER_ROLES, WATCHED_ROLES
from ops.controller.metrics_watch.series import Placed
from ops.controller.resources.fleet import FleetSpec
from ops.controller.settings import Settings

WINDOW_S = 900.0  # of metrics that the loop itself keeps
HISTORY_S = 3660.0  # read once, for the baseline and the burn rates


def watch_frame(parts: Parts, spec: FleetSpec, *, namespace: str, placed: Placed) -> WatchFrame:
    """The sliding frame of what the loop looks at.

    Args:
        namespace: of the Fleet.
        placed: where a pod of the fleet is.
    """
    return _frame(parts, spec, namespace, placed, window_s=WINDOW_S, roles=WATCHED_ROLES)


def history_frame(parts: Parts, spec: FleetSpec, *, namespace: str, placed: Placed) -> WatchFrame:
    """The same for the hour before, of what users get alone."""
    return _frame(parts, spec, namespace, placed, window_s=HISTORY_S, roles=USER_ROLES)


def class_names(spec: FleetSpec) -> frozenset[str]:
    """Classes of requests that the Fleet has SLOs for."""
    return frozenset(slo.name for slo in spec.slos)


def endpoint_fault(spec: FleetSpec, settings: Settings) -> tuple[str, str]:
    """Reason and message where the names that a Fleet gives cannot be used, else empty."""
    for what, name, known in (
        ("metrics", spec.metrics.endpoint, settings.metrics_endpoints),
        ("engine", spec.engine.endpoint, settings.engine_endpoints),
    ):
        if name not in known and not (what == "engine" and not name):
            allowed = ", ".join(sorted(known)) or "none"
            return (
                "UnknownEndpoint",
                f"spec.{what}.endpoint {name!r} is not in the operator's configuration, which "
                f"allows: {allowed}",
            )
    return "", ""


def _frame(
    parts: Parts,
    spec: FleetSpec,
    namespace: str,
    placed: Placed,
    *,
    window_s: float,
    roles: frozenset[str],
) -> WatchFrame:
    endpoint = parts.settings.metrics_endpoints.get(spec.metrics.endpoint)
    return WatchFrame(
        parts.catalogue,
        namespace=namespace,
        match_labels=spec.metrics.match_labels,
        add_labels=endpoint.add_labels if endpoint else {},
        window_s=window_s,
        step_s=parts.settings.scrape_seconds,
        placed=placed,
        roles=roles,
        classes=class_names(spec),
    )
