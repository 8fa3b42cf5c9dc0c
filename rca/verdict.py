"""What a ranking amounts to: accuse or abstain, what was checked, ruled out, still wanted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from rca.channels.blame import Blame
from rca.channels.case import Case, contrast, ratio
from rca.channels.changes import BEFORE_S
from rca.channels.gaps import Gaps
from rca.channels.load import demand
from rca.channels.red import RedTree
from rca.fuse import FuseConfig
from rca.kinds import plain, plain_s
from rca.state import (
    CONTRADICTION,
    CausalArc,
    ChangeEvent,
    ClusterEvent,
    Entity,
    EntityKind,
    RankedCause,
)

NUM_ARCS_MAX = 24
LEADS = "which series lead which: "  # and by which model
NUM_RULED_OUT_MAX = 8


def judge(
    case: Case,
    causes: Sequence[RankedCause],
    gaps: Gaps,
    config: FuseConfig,
    *,
    bad_ratio_min: float,
) -> tuple[bool, str]:
    """(abstained, reason). An accusation needs users who suffer and a leader who stands out."""
    if case.symptom.bad_ratio < bad_ratio_min:
        named = f"; not measured: {gaps.missing[0]}" if gaps.missing else ""
        return True, f"no user suffers{named}"
    if not causes:
        return True, "no series changed beyond its usual range"
    first = causes[0]
    if first.entity.kind is EntityKind.TELEMETRY:
        return True, f"measurements are missing: {gaps.missing[0]}"
    if len(causes) > 1 and first.score == causes[1].score:
        return True, f"{first.entity} and {causes[1].entity} score the same"
    if first.confidence < config.confidence_min:
        leads = f"{first.entity} leads with {first.confidence:.2f}"
        against = [e.text for e in first.evidence if e.channel == CONTRADICTION]
        if against:
            return True, f"the evidence contradicts itself: {leads}, {against[0]}"
        return True, f"the evidence is weak: {leads}"
    if first.entity.kind is EntityKind.WORKLOAD:
        asked = demand(case, first.entity.region)
        if not asked.rare:
            return True, (
                f"users send {plain(asked.before_rps)} -> {plain(asked.after_rps)} requests/s, as "
                f"they do by chance every {plain(asked.every_s / 3600.0)} h"
            )
    return False, first.evidence[0].text


def checked(
    case: Case,
    changes: Sequence[ChangeEvent],
    events: Sequence[ClusterEvent],
    *,
    leads: str,
) -> tuple[str, ...]:
    """Channels and hypotheses that were looked at."""
    return (
        f"change scores of {len(case.roles)} series against {case.windows.normal_end} normal rows",
        "own time and errors per service, gaps per link, siblings and nodes",
        "resources of pods and nodes",
        "demand, and speed at equal load",
        f"{_counted(changes, 'announced change')}, {_counted(events, 'cluster event')}",
        f"{LEADS}{leads}",
    )


def _counted(items: Sequence[object], noun: str) -> str:
    return f"{len(items)} {noun}{'' if len(items) == 1 else 's'}"


def would_settle(case: Case, causes: Sequence[RankedCause]) -> tuple[str, ...]:
    """Direct readings that the first two candidates lack and others of their kind have."""
    out: list[str] = []
    for cause in causes[:2]:
        mine = {r.role for r in case.roles if r.entity == cause.entity}
        peers = {
            r.role
            for r in case.roles
            if r.hardware and r.entity.kind is cause.entity.kind and r.entity != cause.entity
        }
        out += [f"{name} of {cause.entity}" for name in sorted(peers - mine)[:2]]
    return tuple(out)


def ruled_out(
    case: Case,
    tree: RedTree,
    blamed: Blame,
    changes: Sequence[ChangeEvent],
    causes: Sequence[RankedCause],
) -> tuple[tuple[Entity, str], ...]:
    """What a person would suspect at once, and the number that speaks against it."""
    region = case.symptom.region
    named = {cause.entity for cause in causes[:1]}
    out: list[tuple[Entity, str]] = []
    asked = demand(case, region)
    workload = Entity(EntityKind.WORKLOAD, region)
    if workload not in named and np.isfinite(asked.before_rps) and asked.factor < 1.15:
        text = f"demand {plain(asked.before_rps)} -> {plain(asked.after_rps)} requests/s"
        out.append((workload, text))
    for change in sorted(changes, reverse=True):
        entity = Entity(EntityKind.SERVICE, change.region, change.service)
        recent = -60.0 <= case.onset_s - change.at_s <= BEFORE_S
        if recent and entity not in named and blamed.share.get(entity, 0.0) < 0.05:
            named.add(entity)
            out.append((entity, f"{change.kind} is recent, but its own time and errors are usual"))
    waiting: list[tuple[float, Entity, str]] = []
    for (where, service), red in sorted(tree.inbound.items()):
        entity = Entity(EntityKind.SERVICE, where, service)
        if where != region or entity in named or blamed.share.get(entity, 0.0) >= 0.05:
            continue
        slower = contrast(ratio(red.total_s, red.count))
        if slower.z > 4.0:
            text = (
                f"{plain_s(slower.before)} -> {plain_s(slower.after)} per call, "
                "none of it its own: it waits for its callees"
            )
            waiting.append((-slower.z, entity, text))
    out += [(entity, text) for _, entity, text in sorted(waiting)]  # most suspicious first
    return tuple(out[:NUM_RULED_OUT_MAX])


def arcs(
    causes: Sequence[RankedCause], links: Mapping[tuple[Entity, Entity], float]
) -> tuple[CausalArc, ...]:
    """Arcs for a drawing: the paths of the first causes, then the strongest Granger links."""
    out: dict[tuple[Entity, Entity], CausalArc] = {}
    for cause in causes[:3]:
        path = [Entity.parse(text) for text in cause.path]
        for below, above in pairwise(path):
            out.setdefault(
                (below, above),
                CausalArc(cause=below, effect=above, weight=cause.confidence, text="waits for"),
            )
    strongest = sorted(links.items(), key=lambda item: (-item[1], item[0]))
    for (cause_entity, effect), weight in strongest:
        if len(out) >= NUM_ARCS_MAX:
            break
        arc = CausalArc(
            cause=cause_entity, effect=effect, weight=round(weight, 6), text="moved together"
        )
        out.setdefault((cause_entity, effect), arc)
    return tuple(out.values())
