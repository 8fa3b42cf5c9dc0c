"""Asks every channel about one case, in the order in which they build on each other."""

from __future__ import annotations

from collections.abc import Sequence

from rca.channels.blame import Blame
from rca.channels.case import Case, Finding, service_of
from rca.channels.changes import change_findings
from rca.channels.events import event_findings
from rca.channels.gaps import Gaps
from rca.channels.hosts import host_findings
from rca.channels.load import load_findings
from rca.channels.red import RedTree
from rca.channels.resources import resource_findings
from rca.channels.silence import Silence, silence_findings
from rca.channels.speed import SPEED, speed_findings
from rca.channels.topology import CHANNEL as TOPOLOGY
from rca.channels.topology import findings as topology_findings
from rca.state import ChangeEvent, ClusterEvent, Entity, EntityKind, ResourceClass

LINK_SHARE = 0.4


def own_findings(case: Case) -> list[Finding]:
    """What entities show of themselves, whoever suffers: resources, and speed at equal load."""
    return resource_findings(case) + speed_findings(case)


def reasons(findings: Sequence[Finding]) -> dict[Entity, float]:
    """Entity -> 0..1, how far its own speed or resources moved, what load moves left out."""
    out: dict[Entity, float] = {}
    for finding in findings:
        if finding.resource is not ResourceClass.LOAD:
            out[finding.entity] = max(out.get(finding.entity, 0.0), finding.strength)
    return out


def collect_findings(
    case: Case,
    tree: RedTree,
    blamed: Blame,
    gaps: Gaps,
    silence: Silence,
    own: Sequence[Finding],
    changes: Sequence[ChangeEvent],
    events: Sequence[ClusterEvent],
) -> list[Finding]:
    """Ask every channel; the later ones build on what the earlier ones found.

    Args:
        own: what `own_findings` said.
    """
    found = topology_findings(blamed)
    found += own
    silent = silence_findings(case, silence)
    found += silent
    found += event_findings(case, events, missed=silence.fell.keys())
    speed = [f for f in own if f.channel == SPEED]
    slowed = max((f.strength for f in [*speed, *silent]), default=0.0)
    found += load_findings(case, tree, slowed)
    found += host_findings(case, found)
    found += change_findings(case, changes, misbehaviour(case, blamed, found))
    found += gaps.findings
    return found


def misbehaviour(case: Case, blamed: Blame, findings: Sequence[Finding]) -> dict[Entity, float]:
    """How far each service's own numbers are off, 0..1: itself, its pods and its calls."""
    out: dict[Entity, float] = {}
    sums: dict[Entity, float] = {}
    for entity, share in blamed.share.items():
        service = service_of(case, entity)
        if service:
            owner = Entity(EntityKind.SERVICE, entity.region, service)
            # A slow link is more often the network's fault than its caller's.
            mine = LINK_SHARE * share if entity.kind is EntityKind.LINK else share
            sums[owner] = min(1.0, sums.get(owner, 0.0) + mine)
    out.update(sums)
    for finding in findings:
        service = service_of(case, finding.entity)
        if service and finding.channel != TOPOLOGY:
            owner = Entity(EntityKind.SERVICE, finding.entity.region, service)
            whole = 1.0 if finding.entity.kind is EntityKind.SERVICE else 0.5
            out[owner] = max(out.get(owner, 0.0), whole * finding.strength)
    return out
