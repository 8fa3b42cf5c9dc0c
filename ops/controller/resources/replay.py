"""The Replay: an incident or a scenario once more."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from pydantic import ConfigDict, Field

from ops.controller.resources.fields import (
    CAMEL,
    Condition,
    ReportRef,
    Text,
    Time,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedFault:
    """A fault of a simulated replay."""

    __pydantic_config__: ClassVar[ConfigDict] = CAMEL

    kind: Annotated[str, Field(min_length=1, max_length=64, description="Kind of the fault.")]
    at_seconds: Annotated[
        float | None, Field(ge=0.0, description="Start, seconds after the replay's start.")
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaySpec:
    """What to replay: an Incident's bundle, open loop, or a scenario, closed loop."""

    __pydantic_config__: ClassVar[ConfigDict] = CAMEL

    incident: Annotated[
        str, Field(max_length=253, description="Incident whose bundle is replayed.")
    ] = ""
    scenario: Annotated[str, Field(max_length=63, description="Name of an embedded scenario.")] = ""
    faults: Annotated[
        list[AskedFault], Field(max_length=8, description="Faults, scenarios only.")
    ] = field(default_factory=list)
    seed: Annotated[int, Field(ge=0, le=2**31 - 1, description="Seed of every draw.")] = 7
    checks: Annotated[
        list[Annotated[str, Field(pattern=r"^(SameRanking|CauseNamed|NoIncident)$")]],
        Field(max_length=8, description="What must hold: SameRanking, CauseNamed, NoIncident."),
    ] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayStatus:
    """What came out. Conditions: Complete, Passed."""

    __pydantic_config__: ClassVar[ConfigDict] = CAMEL

    observed_generation: Annotated[
        int, Field(ge=0, description="Generation of the spec that this status speaks of.")
    ] = 0
    phase: Annotated[
        str,
        Field(pattern=r"^(Pending|Running|Complete|Failed)$", description="Where it stands."),
    ] = "Pending"
    verdict: Annotated[Text, Field(description="One sentence.")] = ""
    ranking_sha256: Annotated[str, Field(max_length=64, description="Of the ranking.")] = ""
    started: Annotated[Time | None, Field(description="When.")] = None
    completed: Annotated[Time | None, Field(description="When.")] = None
    report: Annotated[ReportRef | None, Field(description="Where the report is.")] = None
    conditions: Annotated[
        list[Condition],
        Field(
            max_length=16,
            description="Observations of the replay's state.",
            json_schema_extra={
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["type"],
            },
        ),
    ] = field(default_factory=list)
