"""Pods of one node that are off together vote for the node."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from rca.channels.case import Case, Finding
from rca.state import Entity, EntityKind, ResourceClass

HOST = "host"


def host_findings(case: Case, findings: Sequence[Finding]) -> list[Finding]:
    """Pods of one node that are off in the same way vote for the node.

    The vote is the share of the node's pods that are off; two services must be among them, as
    two pods of one service on one node may share a fault of their own.
    """
    pods: dict[tuple[str, str], set[str]] = defaultdict(set)
    for pod, (region, _, node) in case.pod_place.items():
        if node and pod in case.live:
            pods[(region, node)].add(pod)
    off: dict[tuple[str, str], dict[str, tuple[float, ResourceClass]]] = defaultdict(dict)
    for finding in findings:
        if finding.entity.kind is not EntityKind.POD or finding.channel == "topology":
            continue
        region, _, node = case.pod_place.get(finding.entity.name, ("", "", ""))
        if finding.entity.name not in case.live:
            continue
        known = off[(region, node)].get(finding.entity.name, (0.0, ResourceClass.UNKNOWN))
        if node and finding.strength > max(0.3, known[0]):
            off[(region, node)][finding.entity.name] = (finding.strength, finding.resource)
    found = []
    for (region, node), hit in sorted(off.items()):
        owners = {case.pod_place[pod][1] for pod in hit}
        total = len(pods[(region, node)])
        if len(owners) < 2 or 2 * len(hit) < total:
            continue
        votes: dict[ResourceClass, float] = defaultdict(float)
        for strength, resource in hit.values():
            votes[resource] += strength
        resource = max(sorted(votes), key=lambda r: votes[r])
        found.append(
            Finding(
                entity=Entity(EntityKind.NODE, region, node),
                channel=HOST,
                strength=min(1.0, sum(s for s, _ in hit.values()) / total),
                resource=resource,
                text=f"{len(hit)} of its {total} pods are off together",
                specificity=0.7,
            )
        )
    return found
