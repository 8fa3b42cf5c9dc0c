"""Writes one Fleet's status, beside its decisions: a busy API server holds up no step."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf

from ops.adapters.kube.api import KubeApi
from ops.clock import monotonic_s, wall_s
from ops.controller.fleet.status import FleetSight, fleet_status, worth_writing
from ops.controller.operator_metrics import OperatorMetrics
from ops.controller.resources.fields import parse, to_object
from ops.controller.resources.fleet import FleetStatus
from ops.controller.resources.fleet_object import FleetObject
from ops.errors import KubeError, ResourceError


@dataclass(slots=True, kw_only=True)
class StatusWriter:
    """What the server holds of a Fleet's status. `write` is called from one thread at a time.

    Attributes:
        gone: the server answered that there is no such object; whether that is so, a list tells.
    """

    api: KubeApi
    metrics: OperatorMetrics
    status: FleetStatus = field(default_factory=FleetStatus)
    gone: bool = False
    _written_at_s: float = -inf

    def write(self, fleet: FleetObject, sight: FleetSight) -> None:
        """Write what has changed, small changes now and then.

        Raises:
            KubeError: it could not be written; it stays wanted.
        """
        age_s = monotonic_s() - self._written_at_s
        new = fleet_status(sight, self.status, now_s=wall_s())
        if not worth_writing(new, self.status, age_s=age_s):
            return
        with self.metrics.stage("status"):
            try:
                self.api.patch(f"{fleet.path}/status", {"status": to_object(new)})
            except KubeError as error:
                if error.status == 404:
                    self.gone = True
                    return
                raise
        self.gone = False
        self.status, self._written_at_s = new, monotonic_s()


def stored_status(fleet: FleetObject) -> FleetStatus:
    """What the server stores; one that does not fit is made anew."""
    try:
        return parse(FleetStatus, fleet.raw.get("status"), path=fleet.path)
    except ResourceError:
        return FleetStatus()
