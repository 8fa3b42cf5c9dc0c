"""Which service a pod belongs to, and in which region things are.

A pod is in the region of its node; one that is not scheduled yet is where its labels say, else
where its siblings are, else in the only region that the fleet or the cluster has, else in
"default": a pending pod must not seem to open a region of its own.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Final

from ops.adapters.kube.records import HASH_LABEL, REGION_LABEL, NodeRow, PodRow

DEFAULT_REGION: Final = "default"
# The last is of the LeaderWorkerSet that a pod belongs to: each of its groups has a StatefulSet.
_NAME_LABELS = ("app.kubernetes.io/name", "app", "leaderworkerset.sigs.k8s.io/name")


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


def label_of(pod: PodRow, service: str) -> str:
    """The label that names its service, as a selector; empty where none does."""
    first = [name for name in _NAME_LABELS if pod.label(name) == service]
    names = first or [name for name, value in pod.labels if value == service]
    return sys.intern(f"{names[0]}={service}") if names else ""


def region_of_node(node: NodeRow) -> str:
    """Region of a node."""
    return node.region or DEFAULT_REGION


class Places:
    """Service and region of one fleet's pods; regions of its services."""

    def __init__(self, nodes: Mapping[str, NodeRow], pods: Sequence[PodRow]) -> None:
        """Settle the places of `pods`; `nodes` are those of the whole cluster."""
        self._nodes = nodes
        self._of_service: dict[str, list[str]] = {}
        self._of_pod: dict[str, tuple[str, str]] = {}  # pod -> region, service
        unsettled = []
        for pod in pods:
            region, service = self._told(pod), service_of(pod)
            if region:
                self._settle(pod, region, service)
            else:
                unsettled.append((pod, service))
        self.fallback = self._only_region()  # of what nothing is known
        for pod, service in unsettled:
            self._settle(pod, self._guessed(service), service)

    @property
    def regions(self) -> frozenset[str]:
        """Regions that the fleet is in."""
        found = frozenset(region for regions in self._of_service.values() for region in regions)
        return found or frozenset({self.fallback})

    def of(self, pod: PodRow) -> tuple[str, str]:
        """Region and service of a pod, also of one that is gone."""
        known = self._of_pod.get(pod.name)
        if known is not None:
            return known
        service = service_of(pod)
        return self._told(pod) or self._guessed(service), service

    def regions_of(self, service: str) -> tuple[str, ...]:
        """Regions that a service has pods in; the likeliest one if it has none."""
        return tuple(sorted(self._of_service.get(service, [self.fallback])))

    def _told(self, pod: PodRow) -> str:
        node = self._nodes.get(pod.node) if pod.node else None
        return pod.label(REGION_LABEL) if node is None else region_of_node(node)

    def _guessed(self, service: str) -> str:
        siblings = self._of_service.get(service, [])
        return siblings[0] if len(siblings) == 1 else self.fallback

    def _settle(self, pod: PodRow, region: str, service: str) -> None:
        self._of_pod[pod.name] = (region, service)
        regions = self._of_service.setdefault(service, [])
        if region not in regions:
            regions.append(region)

    def _only_region(self) -> str:
        own = {region for regions in self._of_service.values() for region in regions}
        found = own or {region_of_node(node) for node in self._nodes.values()}
        return next(iter(found)) if len(found) == 1 else DEFAULT_REGION
