"""The CRDs say what the typed resources say, in the form that the API server accepts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from ops.controller.made.schema import definition, definition_yaml, structural
from ops.controller.resources.fields import parse, to_object
from ops.controller.resources.kinds import KINDS, Kind

CRDS = Path(__file__).resolve().parents[3] / "manifests" / "base" / "crds"
kinds = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)


def root_of(kind: Kind) -> dict[str, Any]:
    (version,) = definition(kind)["spec"]["versions"]
    return version["schema"]["openAPIV3Schema"]


def fields_of(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    for name, value in schema.get("properties", {}).items():
        yield f"{path}.{name}", value
        yield from fields_of(value, f"{path}.{name}")
    for inner in (schema.get("items"), schema.get("additionalProperties")):
        if inner is not None:
            yield f"{path}[]", inner
            yield from fields_of(inner, f"{path}[]")


def filled_in(schema: dict[str, Any], value: Any) -> Any:
    """Defaults as the API server fills them in: only below what is there."""
    if isinstance(value, dict):
        for name, inner in schema.get("properties", {}).items():
            if name not in value and "default" in inner:
                value[name] = {} if inner["default"] == {} else inner["default"]
        return {k: filled_in(schema["properties"][k], v) for k, v in value.items()}
    return value


@kinds
def test_the_file_is_the_one_made_from_the_types(kind: Kind) -> None:
    stored = (CRDS / f"{kind.plural}.yaml").read_text(encoding="utf-8")
    assert stored == definition_yaml(kind), "run `make manifests`"


def test_no_file_is_left_of_a_kind_that_is_gone() -> None:
    stored = {path.stem for path in CRDS.glob("*.yaml")} - {"kustomization"}
    assert stored == {kind.plural for kind in KINDS}


@kinds
def test_every_field_is_described_for_explain(kind: Kind) -> None:
    bare = [
        path
        for path, field in fields_of(root_of(kind))
        if not path.endswith("[]") and not field.get("description") and path != ".metadata"
    ]
    assert bare == []


@kinds
def test_everything_that_grows_is_bounded(kind: Kind) -> None:
    grows = {"array": "maxItems", "string": "maxLength"}
    loose = [
        path
        for path, field in fields_of(root_of(kind)["properties"]["spec"])
        if (limit := grows.get(field["type"])) and limit not in field
        if "pattern" not in field and "enum" not in field
    ]
    maps = [
        path
        for path, field in fields_of(root_of(kind)["properties"]["spec"])
        if "additionalProperties" in field and "maxProperties" not in field
    ]
    assert loose + maps == []


@kinds
def test_nothing_unknown_is_kept(kind: Kind) -> None:
    text = definition_yaml(kind)
    assert "preserve-unknown" not in text
    assert "$ref" not in text
    assert "anyOf" not in text


@kinds
def test_a_definition_is_valid_against_the_published_schema(kind: Kind) -> None:
    kubernetes_validate.validate(definition(kind), "1.36", strict=True)


def test_defaults_of_the_server_are_those_of_the_types() -> None:
    for kind in KINDS:
        schema = root_of(kind)["properties"]["spec"]
        given = {"fleet": "chat"} if kind.kind == "Incident" else {}
        stored = filled_in(schema, dict(given))
        typed = to_object(parse(kind.spec, given, path="test"))
        assert parse(kind.spec, stored, path="test") == parse(kind.spec, given, path="test")
        assert without_empty(stored) == without_empty(typed)


def without_empty(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    kept = {k: without_empty(v) for k, v in value.items()}
    return {k: v for k, v in kept.items() if v not in ({}, [])}


def test_optional_fields_are_nullable_and_nothing_else_is() -> None:
    status = dict(fields_of(root_of(KINDS[1])["properties"]["status"]))
    assert status[".confidence"]["nullable"] is True
    assert "nullable" not in status[".phase"]


def test_open_bounds_are_spelled_as_the_server_wants_them() -> None:
    spec = dict(fields_of(root_of(KINDS[0])["properties"]["spec"]))
    target = spec[".slos[].target"]
    assert (target["minimum"], target["exclusiveMinimum"]) == (0.0, True)
    assert (target["maximum"], target["exclusiveMaximum"]) == (1.0, True)


@pytest.mark.parametrize(
    "schema", [{"type": "string", "not": {}}, {"anyOf": [{"type": "string"}, {"type": "integer"}]}]
)
def test_what_has_no_structural_form_is_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="no structural form"):
        structural(schema, {})
