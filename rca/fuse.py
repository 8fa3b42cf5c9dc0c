"""One score per entity from all channels, its resource class, and how far to trust it.

The only place where channels meet. Few weights, one frozen config, no table of faults.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rca.channels.case import Case, Finding, service_of
from rca.channels.contradiction import Contradiction
from rca.kinds import SOFT_CLASSES
from rca.state import (
    CONTRADICTION,
    Entity,
    EntityKind,
    Evidence,
    RankedCause,
    ResourceClass,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FuseConfig:
    """Weights of the channels and coefficients of the confidence."""

    explains: float = 1.0  # share of the users' loss that is the entity's own
    resource: float = 0.8  # its own resources moved the bad way
    change: float = 0.9  # somebody changed it and it misbehaves since
    event: float = 0.5  # the cluster speaks of it
    load: float = 1.1  # users, or its retries, ask for more
    behaviour: float = 0.8  # slower or silent compared with its own usual and its siblings
    graph: float = 0.3  # random walk from the symptom along causes
    outside: float = 0.2  # factor for what lies off the symptom's path
    # Chance that the first candidate is right = logistic of these times (1, score, margin,
    # channels that agree, strongest evidence that names its resource directly).
    confidence_base: float = -4.8
    confidence_score: float = 2.5
    confidence_margin: float = 1.8
    confidence_agree: float = 1.1
    confidence_direct: float = 1.6
    confidence_min: float = 0.35  # below: "cannot tell"


_WEIGHT_OF = {
    "topology": "explains",
    "resource": "resource",
    "host": "resource",
    "change": "change",
    "event": "event",
    "load": "load",
    "amplification": "load",
    "speed": "behaviour",
    "silence": "behaviour",
    "gap": "behaviour",
    "graph": "graph",
}
_LEANING = {"change": ("change", "graph"), "graph": ("graph",)}
# A class is told by what names it directly; own latency alone only says "code".
CLASS_STRENGTH_MIN = 0.15


@dataclass(slots=True, kw_only=True)
class Candidate:
    """One entity with everything that speaks for it."""

    entity: Entity
    score: float
    resource: ResourceClass
    findings: list[Finding]
    parts: dict[str, float]  # weight name -> contribution


def scope(case: Case, entity: Entity, on_path: set[str], config: FuseConfig) -> float:
    """1 on the symptom's path, less outside of it."""
    if entity.region != case.symptom.region:
        return config.outside
    service = service_of(case, entity)
    if service and on_path and service not in on_path:
        return config.outside
    return 1.0


def fuse(
    case: Case,
    findings: Sequence[Finding],
    *,
    on_path: set[str],
    share: Mapping[Entity, float],
    config: FuseConfig,
) -> list[Candidate]:
    """Score every entity that any finding names; best first, ties by the entity's text."""
    grouped: dict[Entity, list[Finding]] = defaultdict(list)
    for finding in findings:
        grouped[finding.entity].append(finding)
    candidates = []
    for entity, mine in grouped.items():
        best: dict[str, float] = {}
        for finding in mine:
            name = _WEIGHT_OF[finding.channel]
            best[name] = max(best.get(name, 0.0), finding.strength)
        owner = Entity(EntityKind.SERVICE, entity.region, service_of(case, entity))
        support = max(share.get(entity, 0.0), 0.6 * share.get(owner, 0.0))
        parts = {}
        for name, strength in best.items():
            value = getattr(config, name) * strength
            # A moving resource of an entity that adds nothing to the loss is a bystander.
            parts[name] = value * (0.5 + 0.5 * support) if name == "resource" else value
        # The walk sums up what others measured and a change only dates it: neither can say more
        # than what they rest on.
        for leaning, on in _LEANING.items():
            if leaning in parts:
                rest = sum(value for name, value in parts.items() if name not in on)
                parts[leaning] = min(parts[leaning], rest)
        factor = scope(case, entity, on_path, config)
        parts = {name: factor * value for name, value in parts.items()}
        candidates.append(
            Candidate(
                entity=entity,
                score=round(sum(parts[name] for name in sorted(parts)), 9),
                resource=resource_class(mine),
                findings=sorted(mine, key=lambda f: _order(f, config)),
                parts=parts,
            )
        )
    return sorted(candidates, key=lambda c: (-c.score, str(c.entity)))


def _order(finding: Finding, config: FuseConfig) -> tuple[bool, float, str, str]:
    """Measured evidence first, strongest first; the walk only sums up what others measured."""
    weight = getattr(config, _WEIGHT_OF[finding.channel])
    return finding.channel == "graph", -weight * finding.strength, finding.channel, finding.text


def resource_class(findings: Sequence[Finding]) -> ResourceClass:
    """Class of the strongest evidence, where evidence that names a resource directly leads."""
    votes: dict[ResourceClass, float] = defaultdict(float)
    for finding in findings:
        if finding.strength >= CLASS_STRENGTH_MIN:
            votes[finding.resource] = max(
                votes[finding.resource], finding.strength * finding.specificity
            )
    if not votes:
        return ResourceClass.UNKNOWN
    hard = {r: v for r, v in votes.items() if r not in SOFT_CLASSES and v >= 0.1}
    chosen = hard or votes
    return max(sorted(chosen), key=lambda r: chosen[r])


def confidence(candidates: Sequence[Candidate], place: int, config: FuseConfig) -> float:
    """Chance that the candidate at `place` is the cause.

    The walk is left out of the channels that agree: it repeats what they say. The coefficients
    are a logistic regression (ridge 1, rounded, one weight per run) over 309 first candidates of
    simulated faults and of overload without a fault. Its rules were made on most of the same
    runs, so it is on the hopeful side for systems that it has not seen.
    """
    mine = candidates[place]
    others = [c.score for i, c in enumerate(candidates) if i != place]
    margin = mine.score - max(others, default=0.0)
    agree = sum(value > 0.1 for name, value in mine.parts.items() if name != "graph")
    if mine.entity.kind is EntityKind.NODE and mine.parts.get("explains", 0.0) > 0.1:
        agree += 1  # pods of two services at least were measured apart and point at it
    direct = max((f.strength * f.specificity for f in mine.findings), default=0.0)
    x = (
        config.confidence_base
        + config.confidence_score * mine.score
        + config.confidence_margin * margin
        + config.confidence_agree * agree
        + config.confidence_direct * direct
    )
    return 1.0 / (1.0 + math.exp(-max(min(x, 30.0), -30.0)))


def ranked(
    candidates: Sequence[Candidate],
    config: FuseConfig,
    *,
    paths: Mapping[Entity, tuple[str, ...]],
    num_causes_max: int,
    against: Mapping[Entity, Contradiction],
) -> tuple[RankedCause, ...]:
    """Candidates as the result shows them; what contradicts one is the last of its evidence."""
    out = []
    for place, candidate in enumerate(candidates[:num_causes_max]):
        onsets = [f.onset_s for f in candidate.findings if f.onset_s is not None]
        doubt = against.get(candidate.entity)
        kept = doubt.kept if doubt else 1.0
        out.append(
            RankedCause(
                rank=place + 1,
                entity=candidate.entity,
                resource_class=candidate.resource,
                score=candidate.score,
                confidence=round(kept * confidence(candidates, place, config), 6),
                onset_s=min(onsets) if onsets else None,
                evidence=(*(_evidence(f, config) for f in candidate.findings), *_against(doubt)),
                path=paths.get(candidate.entity, ()),
            )
        )
    return tuple(out)


def _evidence(finding: Finding, config: FuseConfig) -> Evidence:
    return Evidence(
        channel=finding.channel,
        text=finding.text,
        strength=round(getattr(config, _WEIGHT_OF[finding.channel]) * finding.strength, 6),
        series=finding.series,
        before=finding.before,
        after=finding.after,
        unit=finding.unit,
        onset_s=finding.onset_s,
    )


def _against(doubt: Contradiction | None) -> tuple[Evidence, ...]:
    if doubt is None:
        return ()
    return (Evidence(channel=CONTRADICTION, text=doubt.text, strength=round(doubt.kept - 1.0, 6)),)
