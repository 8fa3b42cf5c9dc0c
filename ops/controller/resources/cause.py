"""Candidates of an Incident's ranking, each with its evidence."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from pydantic import ConfigDict, Field

from ops.controller.resources.fields import CAMEL, TEXT_MAX, Ratio, Text, Time

EVIDENCE_MAX = 4  # of one cause
ARCS_MAX, PATH_MAX = 8, 8


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceStatus:
    """One measured reason for or against a cause."""

    __pydantic_config__: ClassVar[ConfigDict] = CAMEL

    channel: Annotated[str, Field(max_length=32, description="Sort of evidence.")]
    text: Annotated[Text, Field(description="One sentence with its numbers and units.")]
    metric: Annotated[str, Field(max_length=TEXT_MAX, description="Series it was read from.")] = ""
    strength: Annotated[
        float | None, Field(description="Part of the score; negative speaks against it.")
    ] = None
    before: Annotated[float | None, Field(description="Level before the onset.")] = None
    after: Annotated[float | None, Field(description="Level after it.")] = None
    unit: Annotated[str | None, Field(max_length=32, description="Of both levels.")] = None
    began: Annotated[Time | None, Field(description="When the series began to change.")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ArcStatus:
    """How the trouble spread, as far as it was measured."""

    __pydantic_config__: ClassVar[ConfigDict] = CAMEL

    cause: Annotated[str, Field(max_length=512, description="kind:region/name.")]
    effect: Annotated[str, Field(max_length=512, description="kind:region/name.")]
    weight: Annotated[float, Field(description="Strength of the arc.")]
    text: Annotated[Text, Field(description="What was measured.")] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CauseStatus:
    """One candidate of the ranking."""

    __pydantic_config__: ClassVar[ConfigDict] = CAMEL

    rank: Annotated[int, Field(ge=1, description="From 1.")]
    entity: Annotated[str, Field(max_length=512, description="kind:region/name.")]
    resource: Annotated[str, Field(max_length=32, description="What about it is wrong.")]
    confidence: Annotated[Ratio, Field(description="Calibrated chance that this is the cause.")]
    began: Annotated[Time | None, Field(description="When it began to change.")] = None
    evidence: Annotated[
        list[EvidenceStatus],
        Field(max_length=EVIDENCE_MAX, description="Strongest first; last what contradicts it."),
    ] = field(default_factory=list)
    path: Annotated[
        list[Annotated[str, Field(max_length=512)]] | None,
        Field(max_length=PATH_MAX, description="From it to the users, kind:region/name each."),
    ] = None
