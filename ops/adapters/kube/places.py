"""Which service a pod belongs to, and in which region things are.

A pod is in the region of its node; one that is not scheduled yet is where its labels say, else
where its siblings are, else in the only region that the fleet or the cluster has, else in
"default": a pending pod must not seem to open a region of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from ops.adapters.kube.records import HASH_LABEL, REGION_LABEL, NodeRow, PodRow

DEFAULT_REGION: Final = "default"
_NAME_LABELS = ("app.kubernetes.io/name", "app")


def service_of(pod: PodRow) -> str:
    """Its Deployment, else what its labels call it, else its owner, else the pod itself."""
    if pod.owner_kind == "ReplicaSet":
        ending = f"-{pod.label(HASH_LABEL)}"
        if len(ending) > 1 and pod.owner.endswith(ending):
            return pod.owner[: -len(ending)]
    for name in _NAME_LABELS:
        value = pod.label(name)
        if value:
            return value
    return pod.owner or pod.name


class Places:
    """Regions of one fleet's pods and services."""

    def __init__(self, nodes: Mapping[str, NodeRow], pods: Iterable[PodRow]) -> None:
        """Settle the regions of `pods`; `nodes` are those of the whole cluster."""
        self._nodes = nodes
        self._of_service: dict[str, list[str]] = {}
        unsettled = []
        for pod in pods:
            region = self._told(pod)
            if region:
                self._settle(service_of(pod), region)
            else:
                unsettled.append(pod)
        self.fallback = self._only_region()  # of what nothing is known
        for pod in unsettled:
            self._settle(service_of(pod), self.region_of(pod))

    @property
    def regions(self) -> frozenset[str]:
        """Regions that the fleet is in."""
        found = frozenset(region for regions in self._of_service.values() for region in regions)
        return found or frozenset({self.fallback})

    def node_region(self, node: NodeRow) -> str:
        """Region of a node."""
        return node.region or DEFAULT_REGION

    def region_of(self, pod: PodRow) -> str:
        """Region of a pod."""
        told = self._told(pod)
        if told:
            return told
        siblings = self._of_service.get(service_of(pod), [])
        return siblings[0] if len(siblings) == 1 else self.fallback

    def regions_of(self, service: str) -> tuple[str, ...]:
        """Regions that a service has pods in; the likeliest one if it has none."""
        return tuple(sorted(self._of_service.get(service, [self.fallback])))

    def _told(self, pod: PodRow) -> str:
        node = self._nodes.get(pod.node) if pod.node else None
        if node is not None:
            return self.node_region(node)
        return pod.label(REGION_LABEL)

    def _settle(self, service: str, region: str) -> None:
        regions = self._of_service.setdefault(service, [])
        if region not in regions:
            regions.append(region)

    def _only_region(self) -> str:
        own = {region for regions in self._of_service.values() for region in regions}
        found = own or {self.node_region(node) for node in self._nodes.values()}
        return next(iter(found)) if len(found) == 1 else DEFAULT_REGION
