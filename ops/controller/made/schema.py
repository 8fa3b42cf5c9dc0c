"""CustomResourceDefinitions made from the typed resources, so that the two cannot differ.

pydantic says what a class is in JSON schema; the API server takes a narrower "structural" form:
no references, no unions, bounds in the older spelling, nothing unknown kept. What a class cannot
say (printer columns, rules across fields) stands in `ops.controller.resources.kinds`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml
from pydantic import TypeAdapter

from ops.controller.resources.fields import GROUP, VERSION
from ops.controller.resources.kinds import Column, Kind, Rule

HEADER = "# Made from ops/controller/resources by `make manifests`; a test compares. Do not edit.\n"
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
