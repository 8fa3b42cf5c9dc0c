"""Things that fell silent as a whole, and pods of one node that fail together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from rca.channels.case import Case, Finding
from rca.kinds import plain
from rca.state import Entity, EntityKind, ResourceClass

CHANNEL = "silence"
HOST = "host"
ENDED_MIN = 0.6  # the control plane still describes what is gone
_WHOLE = frozenset({EntityKind.POD, EntityKind.NODE})


def vanished_findings(case: Case, silent_jobs: Sequence[Entity]) -> list[Finding]:
    """Pods and nodes of which nearly every series ended, while others of the same roles go on.

    Args:
        silent_jobs: scrape jobs that are down; a role that ended for most entities of a region
            tells of its job and is ignored here.
    """
    gone: dict[tuple[str, str], int] = defaultdict(int)
    known: dict[tuple[str, str], int] = defaultdict(int)
    for column, role in enumerate(case.roles):
        key = (role.entity.region, role.role)
        known[key] += 1
        gone[key] += int(case.changes.vanished[column])
    regions = {entity.region for entity in silent_jobs}
    columns: dict[Entity, list[int]] = defaultdict(list)
    for column, role in enumerate(case.roles):
        key = (role.entity.region, role.role)
        many = known[key] >= 4 and 2 * gone[key] > known[key]
        if role.entity.kind in _WHOLE and not (many and role.entity.region in regions):
            columns[role.entity].append(column)
    found = []
    for entity, mine in sorted(columns.items()):
        ended = case.changes.vanished[mine]
        alive = np.isfinite(case.changes.before[mine])
        if alive.sum() < 3 or ended.sum() < ENDED_MIN * alive.sum():
            continue
        if entity.kind is EntityKind.POD and entity.name not in case.live:
            continue  # replaced before the trouble began
        found.append(
            Finding(
                entity=entity,
                channel=CHANNEL,
                strength=0.8,
                resource=ResourceClass.LOSS,
                text=f"{plain(float(ended.sum()))} of its {len(mine)} series ended",
                specificity=0.6,
            )
        )
    return found


def sibling_findings(case: Case, findings: Sequence[Finding]) -> list[Finding]:
    """Silent pods against the other pods of their service: when all are silent, the service is.

    Returns:
        The findings with those of wholly silent services replaced by one of the service.
    """
    silent: dict[tuple[str, str], dict[str, float]] = defaultdict(dict)
    for finding in findings:
        if finding.channel == CHANNEL and finding.entity.kind is EntityKind.POD:
            region, service, _ = case.pod_place.get(finding.entity.name, ("", "", ""))
            known = silent[(region, service)].get(finding.entity.name, 0.0)
            silent[(region, service)][finding.entity.name] = max(known, finding.strength)
    out: list[Finding] = list(findings)
    for (region, service), pods in sorted(silent.items()):
        live = set(case.pods_of(region, service)) & case.live
        if len(live) < 2 or not live <= set(pods):
            continue
        entity = Entity(EntityKind.SERVICE, region, service)
        out = [f for f in out if not (f.channel == CHANNEL and f.entity.name in pods)]
        out.append(
            Finding(
                entity=entity,
                channel=CHANNEL,
                strength=min(pods[pod] for pod in live),
                resource=ResourceClass.LOSS,
                text=f"all {len(live)} pods that were at work are silent",
                specificity=0.6,
            )
        )
    return out


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
