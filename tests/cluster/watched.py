"""A small fleet that an operator is to see, and whether it does."""

from __future__ import annotations

from dataclasses import dataclass

from tests.cluster.control_plane import ControlPlane
from tests.cluster.own_processes import condition, wait_for_fleet
from tests.cluster.processes import WAIT_S
from tests.cluster.workloads import deployments_path

RECOVERY_S = 60.0


@dataclass
class Watched:
    """A fleet of three pods that an operator is to see."""

    plane: ControlPlane
    namespace: str
    replicas: int = 3

    def is_seen(self, fleet):
        pods = fleet.get("status", {}).get("pods")
        return condition(fleet, "Ready") == "True" and pods == self.replicas

    def wait(self, timeout_s=WAIT_S):
        """Until the status shows all pods; seconds that took."""
        return wait_for_fleet(self.plane, self.namespace, self.is_seen, timeout_s=timeout_s)

    def scale(self):
        """One pod more, which the status does not show yet."""
        self.replicas += 1
        path = f"{deployments_path(self.namespace)}/chat"
        self.plane.admin.patch(path, {"spec": {"replicas": self.replicas}})

    def recovers(self):
        """Scale, and wait until the status follows."""
        self.scale()
        return self.wait(timeout_s=RECOVERY_S)
