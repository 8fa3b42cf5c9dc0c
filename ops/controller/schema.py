"""CustomResourceDefinitions made from the typed resources, so that the two cannot differ.

pydantic says what a class is in JSON schema; the API server takes a narrower "structural" form:
no references, no unions, bounds in the older spelling, nothing unknown kept. What a class cannot
say (printer columns, rules across fields) stands in the table `KINDS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml
from pydantic import TypeAdapter

from ops.controller.resources.fields import GROUP, VERSION
from ops.controller.resources.fleet import FleetSpec, FleetStatus
from ops.controller.resources.incident import IncidentSpec, IncidentStatus
from ops.controller.resources.replay import ReplaySpec, ReplayStatus

HEADER = "# Made from ops/controller/resources by `make manifests`; a test compares. Do not edit.\n"
NAME_MAX = 63  # a Fleet's name is the value of a label on its Incidents
KEPT = (
    "type",
    "format",
    "description",
    "default",
    "enum",
    "pattern",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "required",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-validations",
)
MADE_OVER = frozenset(
    {
        "$defs",
        "$ref",
        "additionalProperties",
        "anyOf",
        "exclusiveMaximum",
        "exclusiveMinimum",
        "items",
        "patternProperties",
        "properties",
        "propertyNames",
        "title",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of `kubectl get`; `priority` 1 shows with `-o wide` only."""

    name: str
    path: str
    type: str = "string"
    priority: int = 0
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One CEL rule and what the server says when it is broken."""

    rule: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One custom resource: its names, classes, columns and the rules across its fields."""

    kind: str
    plural: str
    short: str
    description: str
    spec: type
    status: type
    columns: tuple[Column, ...]
    spec_required: bool = True
    root_rules: tuple[Rule, ...] = ()
    spec_rules: tuple[Rule, ...] = ()

    @property
    def name(self) -> str:
        """Name of the definition."""
        return f"{self.plural}.{GROUP}"


def _condition(name: str) -> str:
    return f'.status.conditions[?(@.type=="{name}")].status'


AGE = Column(
    name="Age", type="date", path=".metadata.creationTimestamp", description="Since its creation."
)

FLEET = Kind(
    kind="Fleet",
    plural="fleets",
    short="fl",
    description="Fleet says what to watch, by which limits, and how far midwatch may go.",
    spec=FleetSpec,
    status=FleetStatus,
    spec_required=False,  # an empty Fleet watches every pod of its namespace
    root_rules=(
        Rule(
            rule=f"self.metadata.name.size() <= {NAME_MAX} && !self.metadata.name.contains('.')",
            message=f"a Fleet's name is a label of its Incidents: at most {NAME_MAX} characters, "
            "no dot",
        ),
    ),
    columns=(
        Column(name="Mode", path=".spec.mode", description="Observe, Recommend or Act."),
        Column(name="Ready", path=_condition("Ready"), description="Whether it is watched."),
        Column(name="SLO", path=_condition("SLOMet"), description="Whether its SLOs are met."),
        Column(name="Pods", type="integer", path=".status.pods", description="Pods selected."),
        Column(
            name="Incidents",
            type="integer",
            path=".status.openIncidents",
            description="Incidents not resolved yet.",
        ),
        AGE,
        Column(
            name="Ready Pods",
            type="integer",
            path=".status.readyPods",
            priority=1,
            description="Pods selected and ready.",
        ),
        Column(
            name="Fresh",
            path=_condition("DataFresh"),
            priority=1,
            description="Whether its data is fresh.",
        ),
        Column(
            name="Frozen",
            type="boolean",
            path=".spec.frozen",
            priority=1,
            description="Whether nothing is proposed for it.",
        ),
        Column(
            name="Last Decision",
            path=".status.lastDecision.reason",
            priority=1,
            description="Why the newest decision was taken.",
        ),
    ),
)

INCIDENT = Kind(
    kind="Incident",
    plural="incidents",
    short="inc",
    description="Incident is the record of one incident, however many alerts it raised.",
    spec=IncidentSpec,
    status=IncidentStatus,
    spec_rules=(
        Rule(rule="self == oldSelf", message="an Incident's spec is written once, never changed"),
    ),
    columns=(
        Column(name="Phase", path=".status.phase", description="Open to Resolved."),
        Column(name="Severity", path=".status.severity", description="How much users suffer."),
        Column(name="Cause", path=".status.cause", description="First of the ranked causes."),
        Column(
            name="Conf",
            type="number",
            path=".status.confidence",
            description="Calibrated chance that this is the cause.",
        ),
        Column(name="Since", type="date", path=".status.began", description="Users suffer since."),
        Column(name="TTC", path=".status.timeToCause", description="Time to the named cause."),
        Column(name="TTM", path=".status.timeToMitigate", description="Time until users are well."),
        Column(name="Fleet", path=".spec.fleet", priority=1, description="Its Fleet."),
        Column(
            name="Alerts",
            type="integer",
            path=".status.alerts",
            priority=1,
            description="Alerts counted on it.",
        ),
        Column(name="Summary", path=".status.summary", priority=1, description="One sentence."),
    ),
)

REPLAY = Kind(
    kind="Replay",
    plural="replays",
    short="rp",
    description="Replay runs a recorded Incident or an embedded scenario once more.",
    spec=ReplaySpec,
    status=ReplayStatus,
    spec_rules=(
        Rule(
            rule="self == oldSelf",
            message="a Replay runs once: make a new one instead of changing it",
        ),
        Rule(
            rule="(self.incident != '') != (self.scenario != '')",
            message="name either an incident or a scenario, exactly one of them",
        ),
        Rule(
            rule="!has(self.faults) || self.faults.size() == 0 || self.scenario != ''",
            message="faults are for scenarios; a recorded incident brings its own",
        ),
    ),
    columns=(
        Column(name="Phase", path=".status.phase", description="Pending to Complete or Failed."),
        Column(name="Verdict", path=".status.verdict", description="One sentence."),
        AGE,
        Column(name="Incident", path=".spec.incident", priority=1, description="What is replayed."),
        Column(name="Scenario", path=".spec.scenario", priority=1, description="What is replayed."),
    ),
)

KINDS = (FLEET, INCIDENT, REPLAY)


def definition(kind: Kind) -> dict[str, Any]:
    """The CustomResourceDefinition of one kind, as `kubectl apply` takes it."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": kind.name, "labels": {"app.kubernetes.io/part-of": "midwatch"}},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind.kind,
                "listKind": f"{kind.kind}List",
                "plural": kind.plural,
                "singular": kind.kind.lower(),
                "shortNames": [kind.short],
                "categories": ["midwatch"],
            },
            "versions": [_version(kind)],
        },
    }


def definition_yaml(kind: Kind) -> str:
    """The same as the text of its file under manifests/base/crds."""
    body: str = yaml.safe_dump(
        definition(kind), sort_keys=False, width=100, allow_unicode=True, default_flow_style=False
    )
    return HEADER + body


def _version(kind: Kind) -> dict[str, Any]:
    spec = _object_of(kind.spec, rules=kind.spec_rules)
    if not kind.spec_required:
        spec["default"] = {}
    root = {
        "type": "object",
        "description": kind.description,
        **_validations(kind.root_rules),
        **({"required": ["spec"]} if kind.spec_required else {}),
        "properties": {
            "apiVersion": {"type": "string", "description": "Version of this form of the object."},
            "kind": {"type": "string", "description": "Kind of the object."},
            "metadata": {"type": "object"},
            "spec": spec,
            "status": _object_of(kind.status),
        },
    }
    return {
        "name": VERSION,
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "additionalPrinterColumns": [_column(column) for column in kind.columns],
        "schema": {"openAPIV3Schema": root},
    }


def _column(column: Column) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": column.name,
        "type": column.type,
        "description": column.description,
        "jsonPath": column.path,
    }
    return found | ({"priority": column.priority} if column.priority else {})


def _validations(rules: tuple[Rule, ...]) -> dict[str, Any]:
    if not rules:
        return {}
    return {
        "x-kubernetes-validations": [{"rule": r.rule, "message": r.message} for r in rules],
    }


def _object_of(cls: type, *, rules: tuple[Rule, ...] = ()) -> dict[str, Any]:
    schema = TypeAdapter(cls).json_schema(by_alias=True)
    return structural(schema, schema.get("$defs", {})) | _validations(rules)


def structural(schema: Mapping[str, Any], defs: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON schema of pydantic in the form that the API server accepts.

    Args:
        defs: what its references name.

    Raises:
        ValueError: a keyword that has no structural form; nothing is dropped in silence.
    """
    flat = _resolved(schema, defs)
    unknown = set(flat) - set(KEPT) - MADE_OVER - {"nullable"}
    if unknown:
        raise ValueError(f"no structural form for {sorted(unknown)} in {dict(flat)!r:.200}")
    found: dict[str, Any] = {key: flat[key] for key in KEPT if key in flat}
    if found.get("default", ...) is None:
        del found["default"]  # absent says the same
    if flat.get("nullable"):
        found["nullable"] = True
    if found["type"] == "integer":
        found["format"] = "int64"
    for old, new in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if old in flat:
            found |= {new: flat[old], old: True}
    if found["type"] == "array":
        found["items"] = structural(flat["items"], defs)
        found.setdefault("x-kubernetes-list-type", "atomic")
    if found["type"] == "object":
        found |= _members(flat, defs)
    return found


def _members(flat: Mapping[str, Any], defs: Mapping[str, Any]) -> dict[str, Any]:
    """What an object or a map holds."""
    if "properties" in flat:
        members = {name: structural(value, defs) for name, value in flat["properties"].items()}
        for value in members.values():
            # The server fills defaults in only where the parent is there.
            if _fills_itself(value):
                value.setdefault("default", {})
        return {"properties": members}
    patterns: Mapping[str, Any] = flat.get("patternProperties", {})
    if not patterns:
        return {"additionalProperties": structural(flat["additionalProperties"], defs)}
    ((pattern, value),) = patterns.items()
    length = flat.get("propertyNames", {}).get("maxLength", 253)
    rule = Rule(
        rule=f"self.all(k, k.size() <= {length} && k.matches('{pattern}'))",
        message=f"a key has at most {length} characters and matches {pattern}",
    )
    return {"additionalProperties": structural(value, defs), **_validations((rule,))}


def _resolved(schema: Mapping[str, Any], defs: Mapping[str, Any]) -> dict[str, Any]:
    """Without references and without the union with null; a field's own words win."""
    found = dict(schema)
    if "anyOf" in found:
        kinds = [kind for kind in found.pop("anyOf") if kind != {"type": "null"}]
        if len(kinds) != 1:
            raise ValueError(f"a union has no structural form: {dict(schema)!r:.200}")
        found = {**kinds[0], **found, "nullable": True}
    if "$ref" in found:
        target = defs[str(found.pop("$ref")).rpartition("/")[2]]
        found = {**_resolved(target, defs), **found}
    return found


def _fills_itself(value: Mapping[str, Any]) -> bool:
    """Whether an absent object may stand for one of defaults alone."""
    whole = value["type"] == "object" and "properties" in value and "required" not in value
    return whole and not value.get("nullable")
