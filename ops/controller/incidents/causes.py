"""Causes with their evidence as a status keeps them, and back after a restart. Pure."""

from __future__ import annotations

import re
from math import isfinite

from ops.controller.conditions import cut
from ops.controller.moments import optional, seconds
from ops.controller.resources.cause import (
    ARCS_MAX,
    EVIDENCE_MAX,
    PATH_MAX,
    ArcStatus,
    CauseStatus,
    EvidenceStatus,
)
from ops.controller.resources.fields import TEXT_MAX
from ops.controller.resources.incident import CAUSES_MAX
from ops.encode import to_plain
from rca.state import (
    CONTRADICTION,
    CausalArc,
    Entity,
    Evidence,
    RankedCause,
    RcaResult,
    ResourceClass,
    Series,
)

NAME_BYTES_MAX = 512
_SERIES = re.compile(r'([a-zA-Z_:][\w:]*)(?:\{((?:[a-zA-Z_]\w*="[^"]*",?)+)\})?')
_LABEL = re.compile(r'([a-zA-Z_]\w*)="([^"]*)"')


def causes_of(result: RcaResult) -> list[CauseStatus]:
    """The first candidates, best first."""
    return [
        CauseStatus(
            rank=place,
            entity=cut(str(cause.entity), NAME_BYTES_MAX),
            resource=str(cause.resource_class),
            confidence=round(min(max(cause.confidence, 0.0), 1.0), 2)
            if isfinite(cause.confidence)
            else 0.0,
            began=optional(cause.onset_s),
            evidence=_evidence(cause),
            path=[cut(text, NAME_BYTES_MAX) for text in cause.path[:PATH_MAX]] or None,
        )
        for place, cause in enumerate(result.causes[:CAUSES_MAX], start=1)
    ]


def _evidence(cause: RankedCause) -> list[EvidenceStatus]:
    """What contradicts it comes last, and always has a place."""
    strongest = sorted(cause.evidence, key=lambda e: (-abs(e.strength), e.channel, e.text))
    against = [item for item in strongest if item.channel == CONTRADICTION]
    others = [item for item in strongest if item.channel != CONTRADICTION]
    kept = [*others[: EVIDENCE_MAX - len(against)], *against]
    return [
        EvidenceStatus(
            channel=cut(item.channel, 32),
            text=cut(item.text, TEXT_MAX),
            metric="" if item.series is None else cut(str(to_plain(item.series)), TEXT_MAX),
            strength=_number(item.strength),
            before=_number(item.before),
            after=_number(item.after),
            unit=cut(item.unit, 32) or None,
            began=optional(item.onset_s),
        )
        for item in kept
    ]


def arcs_of(result: RcaResult) -> list[ArcStatus]:
    """The strongest arcs, in the order of the diagnosis."""
    arcs = [arc for arc in result.arcs if isfinite(arc.weight)]
    kept = sorted(arcs, key=lambda arc: -abs(arc.weight))[:ARCS_MAX]
    return [
        ArcStatus(
            cause=cut(str(arc.cause), NAME_BYTES_MAX),
            effect=cut(str(arc.effect), NAME_BYTES_MAX),
            weight=float(arc.weight),
            text=cut(arc.text, TEXT_MAX),
        )
        for arc in arcs
        if arc in kept
    ]


def arc_back(arc: ArcStatus) -> CausalArc:
    """The same arc."""
    return CausalArc(
        cause=Entity.parse(arc.cause), effect=Entity.parse(arc.effect), weight=arc.weight,
        text=arc.text,
    )  # fmt: skip


def cause_back(cause: CauseStatus) -> RankedCause:
    """As far as it is kept: not its score, nor the evidence that had no room."""
    return RankedCause(
        rank=cause.rank,
        entity=Entity.parse(cause.entity),
        resource_class=ResourceClass(cause.resource),
        score=cause.confidence,
        confidence=cause.confidence,
        onset_s=None if cause.began is None else seconds(cause.began),
        evidence=tuple(_evidence_back(e, n) for n, e in enumerate(cause.evidence, start=1)),
        path=tuple(cause.path or ()),
    )


def _evidence_back(item: EvidenceStatus, place: int) -> Evidence:
    return Evidence(
        channel=item.channel,
        text=item.text,
        # An object of an earlier release has its order alone.
        strength=1.0 / place if item.strength is None else item.strength,
        series=series_back(item.metric),
        before=item.before,
        after=item.after,
        unit=item.unit or "",
        onset_s=None if item.began is None else seconds(item.began),
    )


def series_back(text: str) -> Series | None:
    """The series of `name{label="value"}`; None where it was cut or cannot be told for sure."""
    found = _SERIES.fullmatch(text)
    if found is None:
        return None
    labels = tuple(_LABEL.findall(found[2] or ""))
    series = Series(found[1], labels)
    return series if to_plain(series) == text else None


def _number(value: float | None) -> float | None:
    return None if value is None or not isfinite(value) else float(value)
