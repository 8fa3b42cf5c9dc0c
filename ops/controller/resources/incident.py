"""The Incident: the record of one incident, however many alerts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import ConfigDict, Field

from ops.controller.resources.cause import ARCS_MAX, ArcStatus, CauseStatus
from ops.controller.resources.fields import (
    CAMEL,
    TEXT_MAX,
    Condition,
    Name,
    Ratio,
    ReportRef,
    Text,
    Time,
)
from ops.proposals import best_first

CAUSES_MAX = 5  # kept in a status
RULED_OUT_MAX = 8
ACTIONS_MAX = 8


class Phase(StrEnum):
    """Life of an Incident."""

    OPEN = "Open"
    DIAGNOSED = "Diagnosed"
    MITIGATED = "Mitigated"
    RESOLVED = "Resolved"


class Severity(StrEnum):
    """How much users suffer."""

    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertSource:
    """The alert that opened an Incident."""

    __pydantic_config__: ClassVar[ConfigDict] = CAMEL

    name: Annotated[str, Field(max_length=253, description="alertname.")] = ""
    fingerprint: Annotated[
        str, Field(max_length=253, description="Alertmanager's fingerprint.")
    ] = ""
    starts_at: Annotated[Time | None, Field(description="Since when it fires.")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SymptomSpec:
    """What users suffered when the Incident was opened; a restarted operator goes on from it."""

    __pydantic_config__: ClassVar[ConfigDict] = CAMEL

    region: Annotated[str, Field(max_length=63, description="Where.")]
    slo_class: Annotated[str, Field(max_length=63, description="Class of requests.")] = ""
    kind: Annotated[
        str,
        Field(
            pattern=r"^(latency|errors|missing|alert)$",
            description="Requests are late, fail, are not answered, or an alert says so.",
        ),
    ] = "alert"
    bad_ratio: Annotated[
        Ratio | None, Field(description="Share of bad requests, absent where nobody measures it.")
    ] = None
    began_seconds: Annotated[
        float, Field(ge=0.0, description="When it began, seconds since the epoch, exact.")
    ]
    detected_seconds: Annotated[
        float, Field(ge=0.0, description="When it was noticed, seconds since the epoch, exact.")
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentSpec:
    """Which fleet, why it was opened. Written once."""

    __pydantic_config__: ClassVar[ConfigDict] = CAMEL

    fleet: Annotated[Name, Field(description="Fleet of the same namespace.")]
    source: Annotated[
        str,
        Field(pattern=r"^(Alert|Detection)$", description="Alert, or midwatch's own Detection."),
    ] = "Detection"
    alert: Annotated[AlertSource | None, Field(description="The first alert.")] = None
    symptom: Annotated[
        SymptomSpec | None, Field(description="What users suffered when it was opened.")
    ] = None
    window_start: Annotated[
        Time | None, Field(description="Start of the metrics that were looked at.")
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RuledOut:
    """A candidate that was looked at and excluded."""

    __pydantic_config__: ClassVar[ConfigDict] = CAMEL

    entity: Annotated[str, Field(max_length=512, description="kind:region/name.")]
    reason: Annotated[Text, Field(description="Why not.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionStatus:
    """A recommended action. Nothing of it has been carried out."""

    __pydantic_config__: ClassVar[ConfigDict] = CAMEL

    kind: Annotated[str, Field(max_length=64, description="What to do.")]
    target: Annotated[str, Field(max_length=512, description="To whom, kind:region/name.")]
    reason: Annotated[Text, Field(description="Why.")] = ""
    command: Annotated[
        str, Field(max_length=1024, description="What a person would type to do it.")
    ] = ""
    undo: Annotated[Text, Field(description="The way back.")] = ""
    allowed: Annotated[
        bool, Field(description="Whether the guard would let it happen in mode Act.")
    ] = False
    guard: Annotated[
        Text,
        Field(
            description="Why the guard would refuse, or why it could not judge anew what it had "
            "allowed; else empty."
        ),
    ] = ""
    request: Annotated[
        str,
        Field(max_length=1024, description="Method and path of the API request, mode Recommend."),
    ] = ""
    patch: Annotated[
        str, Field(max_length=4096, description="Exact body of that request, JSON.")
    ] = ""
    dry_run: Annotated[
        str, Field(max_length=1024, description="The server's answer to it with dryRun=All.")
    ] = ""
    decided: Annotated[Time | None, Field(description="When the guard judged it.")] = None
    params: Annotated[
        str | None,
        Field(max_length=1024, description="What the action takes, JSON; for a later page."),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CurrentStatus:
    """How bad it was for users when it was measured last."""

    __pydantic_config__: ClassVar[ConfigDict] = CAMEL

    at: Annotated[Time, Field(description="Newest sample that was counted.")]
    key: Annotated[
        str, Field(max_length=130, description="region/class that suffers most of the incident's.")
    ]
    bad_ratio: Annotated[
        Ratio | None,
        Field(description="Share of its requests that were bad, absent where none tells."),
    ] = None
    requests: Annotated[int, Field(ge=0, description="Its requests that were counted.")] = 0
    seconds: Annotated[
        float, Field(ge=0.0, description="Length of the window that was counted, seconds.")
    ] = 0.0


def actions_best_first(actions: Sequence[ActionStatus]) -> list[ActionStatus]:
    """Recommended actions, the next one first; see `ops.proposals`."""
    return best_first(actions, allowed=lambda one: one.allowed, at=lambda one: one.decided or "")


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentStatus:
    """The record of an incident. Conditions: Detected, Diagnosed, Mitigated, Resolved, Recorded."""

    __pydantic_config__: ClassVar[ConfigDict] = CAMEL

    observed_generation: Annotated[
        int, Field(ge=0, description="Generation of the spec that this status speaks of.")
    ] = 0
    phase: Annotated[Phase, Field(description="Open, Diagnosed, Mitigated, Resolved.")] = Phase.OPEN
    severity: Annotated[Severity, Field(description="critical, warning, info.")] = Severity.WARNING
    summary: Annotated[Text, Field(description="One sentence to wake up to.")] = ""
    cause: Annotated[
        str, Field(max_length=600, description="First cause, or empty while none is named.")
    ] = ""
    confidence: Annotated[Ratio | None, Field(description="Of the first cause.")] = None
    symptom: Annotated[Text, Field(description="What users suffer, and where.")] = ""
    bad_ratio: Annotated[
        Ratio | None, Field(description="Share of bad requests, absent if unmeasured.")
    ] = None
    current: Annotated[
        CurrentStatus | None,
        Field(description="How bad it is now, absent if not known. Written at most once a minute."),
    ] = None
    keys: Annotated[
        list[Annotated[str, Field(max_length=130)]],
        Field(max_length=256, description="region/class pairs that suffer from it."),
    ] = field(default_factory=list)
    began: Annotated[Time | None, Field(description="When users began to suffer.")] = None
    detected: Annotated[Time | None, Field(description="When it was noticed.")] = None
    diagnosed: Annotated[Time | None, Field(description="When the cause was named.")] = None
    mitigated: Annotated[Time | None, Field(description="When users were well again.")] = None
    resolved: Annotated[Time | None, Field(description="When they had stayed well.")] = None
    time_to_cause: Annotated[
        str, Field(max_length=16, description="From the start to the named cause, e.g. 21s.")
    ] = ""
    time_to_mitigate: Annotated[
        str, Field(max_length=16, description="From the start until users were well.")
    ] = ""
    abstained: Annotated[bool, Field(description="No cause is sure enough to be named.")] = False
    reason: Annotated[Text, Field(description="What carried the decision, or why none.")] = ""
    causes: Annotated[
        list[CauseStatus], Field(max_length=CAUSES_MAX, description="Candidates, best first.")
    ] = field(default_factory=list)
    ruled_out: Annotated[
        list[RuledOut], Field(max_length=RULED_OUT_MAX, description="What it was not.")
    ] = field(default_factory=list)
    missing: Annotated[
        list[Annotated[str, Field(max_length=TEXT_MAX)]],
        Field(max_length=16, description="Data that was not there."),
    ] = field(default_factory=list)
    checked: Annotated[
        list[Annotated[str, Field(max_length=TEXT_MAX)]],
        Field(max_length=16, description="What was looked at."),
    ] = field(default_factory=list)
    arcs: Annotated[
        list[ArcStatus],
        Field(
            max_length=ARCS_MAX,
            description="How it spread: paths of causes to users, then what moved together.",
        ),
    ] = field(default_factory=list)
    would_settle: Annotated[
        list[Annotated[str, Field(max_length=TEXT_MAX)]],
        Field(max_length=16, description="Metrics that would tell the candidates apart."),
    ] = field(default_factory=list)
    actions: Annotated[
        list[ActionStatus],
        Field(max_length=ACTIONS_MAX, description="What to do, in order of preference."),
    ] = field(default_factory=list)
    alerts: Annotated[int, Field(ge=0, description="Alerts counted on this incident.")] = 0
    alert_digests: Annotated[
        str,
        Field(
            max_length=16384, description="Digests of counted alerts, so that none counts twice."
        ),
    ] = ""
    firing_digests: Annotated[
        str, Field(max_length=8192, description="Digests of counted alerts that still fire.")
    ] = ""
    ranking_sha256: Annotated[
        str, Field(max_length=64, description="Of the ranking; the bundle replays to the same.")
    ] = ""
    seed: Annotated[int, Field(ge=0, description="Seed of the diagnosis.")] = 0
    report: Annotated[ReportRef | None, Field(description="Where the report is.")] = None
    conditions: Annotated[
        list[Condition],
        Field(
            max_length=16,
            description="Observations of the incident's state.",
            json_schema_extra={
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["type"],
            },
        ),
    ] = field(default_factory=list)
