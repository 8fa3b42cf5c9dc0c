"""The Fleet: what to watch, by which limits, how far the operator may go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field

from ops.controller.resources.fields import (
    CAMEL,
    Condition,
    LabelKey,
    LabelValue,
    Name,
    Ratio,
    Text,
    Time,
    name_of,
    parse,
)


class Mode(StrEnum):
    """How far the operator may go."""

    OBSERVE = "Observe"
    RECOMMEND = "Recommend"
    ACT = "Act"


class EngineKind(StrEnum):
    """Model server that the fleet runs."""

    AUTO = "Auto"
    VLLM = "vLLM"
    SGLANG = "SGLang"
    TRTLLM = "TensorRT-LLM"
    NONE = "None"


@dataclass(frozen=True, slots=True, kw_only=True)
class Selector:
    """Pods by their labels."""

    __pydantic_config__: ClassVar[ConfigDict] = CAMEL

    match_labels: Annotated[
        dict[LabelKey, LabelValue],
        Field(max_length=16, description="Labels that a pod must carry; empty takes every pod."),
    ] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsSpec:
    """Where the fleet's metrics are."""

    __pydantic_config__: ClassVar[ConfigDict] = CAMEL

    endpoint: Annotated[
        Name,
        Field(description="Name of an endpoint in the operator's own configuration, no address."),
    ] = "default"
    match_labels: Annotated[
        dict[
            Annotated[str, Field(pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$", max_length=63)],
            Annotated[str, Field(max_length=256)],
        ],
        Field(
            max_length=8,
            description="Labels that a series must carry, besides the fleet's own namespace.",
        ),
    ] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSpec:
    """The model server."""

    __pydantic_config__: ClassVar[ConfigDict] = CAMEL

    kind: Annotated[
        EngineKind, Field(description="Auto finds it from the names of the metrics.")
    ] = EngineKind.AUTO
    endpoint: Annotated[
        str,
        Field(
            max_length=63,
            description="Name of an engine endpoint in the operator's own configuration.",
        ),
    ] = ""
    model: Annotated[str, Field(max_length=256, description="Model that is served.")] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SloSpec:
    """Limits of one class of requests."""

    __pydantic_config__: ClassVar[ConfigDict] = CAMEL

    name: Annotated[
        str,
        Field(
            min_length=1,
            max_length=63,
            pattern=r"^[a-zA-Z0-9]([-_.a-zA-Z0-9]*[a-zA-Z0-9])?$",
            description="Class of requests: the value of the label slo_class.",
        ),
    ]
    target: Annotated[
        float,
        Field(gt=0.0, lt=1.0, description="Share of requests that must be good (OpenSLO target)."),
    ] = 0.99
    ttft_seconds: Annotated[
        float, Field(gt=0.0, le=3600.0, description="Limit of the time to first token, seconds.")
    ] = 2.0
    tpot_seconds: Annotated[
        float, Field(gt=0.0, le=60.0, description="Limit of the time per output token, seconds.")
    ] = 0.2
    window: Annotated[
        str,
        Field(pattern=r"^[1-9][0-9]{0,3}(h|d|w)$", description="Window of the error budget."),
    ] = "28d"


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetSpec:
    """Limits that the guard holds every action to."""

    __pydantic_config__: ClassVar[ConfigDict] = CAMEL

    actions_per_hour: Annotated[
        int, Field(ge=0, le=1000, description="Actions in any hour, whole fleet.")
    ] = 20
    actions_per_hour_target: Annotated[
        int, Field(ge=0, le=100, description="Actions in any hour on one target.")
    ] = 3
    cool_down_seconds: Annotated[
        float, Field(ge=0.0, le=86400.0, description="Pause between two actions on one target.")
    ] = 120.0
    concurrent_actions: Annotated[
        int, Field(ge=0, le=100, description="Actions whose outcome is not known yet.")
    ] = 3
    blast_ratio: Annotated[
        Ratio,
        Field(description="Share of a service's ready instances that may be taken away at once."),
    ] = 0.5
    replicas_max: Annotated[
        int,
        Field(
            ge=0,
            le=10_000,
            description="Replicas of one Deployment, in all its regions, beyond which none is "
            "proposed; 0 = no scaling is proposed.",
        ),
    ] = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetSpec:
    """What to watch, by which limits, and how far the operator may go."""

    __pydantic_config__: ClassVar[ConfigDict] = CAMEL

    mode: Annotated[
        Mode,
        Field(
            description="Observe writes only midwatch's own objects. Recommend adds the exact "
            "patch and the server's dry-run answer. Act is not available in this release."
        ),
    ] = Mode.OBSERVE
    frozen: Annotated[
        bool, Field(description="Nothing is proposed for this fleet while this is true.")
    ] = False
    freeze_reason: Annotated[Text, Field(description="Why it is frozen, and by whom.")] = ""
    selector: Annotated[
        Selector, Field(description="Pods of the fleet, in its own namespace only.")
    ] = field(default_factory=Selector)
    metrics: Annotated[MetricsSpec, Field(description="Where its metrics are.")] = field(
        default_factory=MetricsSpec
    )
    engine: Annotated[EngineSpec, Field(description="The model server.")] = field(
        default_factory=EngineSpec
    )
    regions: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=63)]],
        Field(
            max_length=32,
            description="Regions it spans; empty takes those that are found.",
            json_schema_extra={"x-kubernetes-list-type": "set"},
        ),
    ] = field(default_factory=list)
    slos: Annotated[
        list[SloSpec],
        Field(
            max_length=32,
            description="One entry per class of requests.",
            json_schema_extra={
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"],
            },
        ),
    ] = field(default_factory=list)
    budgets: Annotated[BudgetSpec, Field(description="Limits of the guard.")] = field(
        default_factory=BudgetSpec
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionStatus:
    """Pods of one region."""

    __pydantic_config__: ClassVar[ConfigDict] = CAMEL

    name: Annotated[str, Field(max_length=63, description="Region.")]
    pods: Annotated[int, Field(ge=0, description="Pods that the selector takes.")]
    ready: Annotated[int, Field(ge=0, description="Of them ready.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class BurnRateStatus:
    """Speed at which one error budget is spent."""

    __pydantic_config__: ClassVar[ConfigDict] = CAMEL

    slo: Annotated[str, Field(max_length=63, description="Class of requests.")]
    region: Annotated[str, Field(max_length=63, description="Region.")]
    window: Annotated[str, Field(max_length=8, description="Window looked at, e.g. 5m.")]
    rate: Annotated[
        float, Field(ge=0.0, description="1 spends the budget exactly by the end of its window.")
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionStatus:
    """The newest decision."""

    __pydantic_config__: ClassVar[ConfigDict] = CAMEL

    at: Annotated[Time, Field(description="When.")]
    kind: Annotated[str, Field(max_length=32, description="Open, diagnose, act, refuse, ...")]
    incident: Annotated[str, Field(max_length=253, description="Incident that it belongs to.")] = ""
    reason: Annotated[Text, Field(description="Why.")] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetStatus:
    """What is seen, as conditions (docs/operator-reference.md lists them) and numbers."""

    __pydantic_config__: ClassVar[ConfigDict] = CAMEL

    observed_generation: Annotated[
        int, Field(ge=0, description="Generation of the spec that this status speaks of.")
    ] = 0
    observed_at: Annotated[
        Time | None,
        Field(
            description="When an operator wrote this, at least every two minutes while one watches."
        ),
    ] = None
    conditions: Annotated[
        list[Condition],
        Field(
            max_length=16,
            description="Observations of the fleet's state.",
            json_schema_extra={
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["type"],
            },
        ),
    ] = field(default_factory=list)
    pods: Annotated[int, Field(ge=0, description="Pods that the selector takes.")] = 0
    ready_pods: Annotated[int, Field(ge=0, description="Of them ready.")] = 0
    regions: Annotated[list[RegionStatus], Field(max_length=64, description="Per region.")] = field(
        default_factory=list
    )
    burn_rates: Annotated[
        list[BurnRateStatus], Field(max_length=256, description="Per SLO, region and window.")
    ] = field(default_factory=list)
    open_incidents: Annotated[int, Field(ge=0, description="Incidents not resolved yet.")] = 0
    metrics_spelling: Annotated[
        str, Field(max_length=64, description="Which spelling of metric names is stored.")
    ] = ""
    last_decision: Annotated[DecisionStatus | None, Field(description="The newest decision.")] = (
        None
    )


def parse_fleet(raw: Mapping[str, Any]) -> FleetSpec:
    """The spec of a Fleet object.

    Raises:
        ResourceError: it does not fit.
    """
    return parse(FleetSpec, raw.get("spec"), path=f"Fleet {name_of(raw)}: spec")
