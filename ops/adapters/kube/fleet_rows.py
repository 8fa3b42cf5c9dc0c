"""Rows of one fleet, chosen by its labels, with what is derived of them once."""

from __future__ import annotations

from ops.adapters.kube.cache import NamespaceRows
from ops.adapters.kube.fields import Labels
from ops.adapters.kube.places import Places


class FleetRows:
    """One fleet's part of its namespace."""

    def __init__(self, rows: NamespaceRows, labels: Labels) -> None:
        """Choose: pods and Deployments whose pods carry all of `labels`; finished pods do not."""
        self._wanted = frozenset(labels)
        self.rows = rows
        self.pods = [pod for pod in rows.pods if not pod.done and self.takes(pod.labels)]
        self.gone = {name: pod for name, pod in rows.gone.items() if self.takes(pod.labels)}
        self.deployments = {row.name: row for row in rows.deployments if self.takes(row.labels)}
        self.by_name = {pod.name: pod for pod in self.pods}
        self.places = Places(rows.nodes, self.pods)

    def takes(self, labels: Labels) -> bool:
        """Whether pods with these labels belong to the fleet."""
        return self._wanted.issubset(labels)
