"""Each example is an object that the server takes, and together they show every field."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
import yaml

from ops.controller.made.schema import definition
from ops.controller.resources.fields import API_VERSION, parse
from ops.controller.resources.kinds import KINDS
from tests.manifests.installs import MANIFESTS

EXAMPLES = sorted((MANIFESTS / "examples").glob("*.yaml"))
BY_KIND = {kind.kind: kind for kind in KINDS}
examples = pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)


def load(path: Any) -> dict[str, Any]:
    (found,) = yaml.safe_load_all(path.read_text(encoding="utf-8"))
    return found


def schema_of(kind: str) -> dict[str, Any]:
    (version,) = definition(BY_KIND[kind])["spec"]["versions"]
    return version["schema"]["openAPIV3Schema"]


def closed(schema: dict[str, Any]) -> dict[str, Any]:
    """The same without room for fields that it does not know: the server would prune them."""
    found = dict(schema)
    if "properties" in found:
        found["properties"] = {name: closed(v) for name, v in found["properties"].items()}
        found["additionalProperties"] = False
    if "items" in found:
        found["items"] = closed(found["items"])
    return found


def paths_of(value: Any, path: str = "") -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            yield from paths_of(item, path)
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield f"{path}.{name}"
            yield from paths_of(inner, f"{path}.{name}")


def fields_of(schema: dict[str, Any], path: str = "") -> Iterator[str]:
    for name, inner in schema.get("properties", {}).items():
        yield f"{path}.{name}"
        yield from fields_of(inner, f"{path}.{name}")
    if "items" in schema:
        yield from fields_of(schema["items"], path)


@examples
def test_an_example_fits_schema_and_types(path: Any) -> None:
    found = load(path)
    assert found["apiVersion"] == API_VERSION
    assert "namespace" not in found["metadata"], "the reader chooses: kubectl apply -n"
    spec = closed(schema_of(found["kind"])["properties"]["spec"])
    jsonschema.Draft4Validator(spec).validate(found["spec"])
    parse(BY_KIND[found["kind"]].spec, found["spec"], path=path.name)


@pytest.mark.parametrize("kind", BY_KIND)
def test_examples_show_every_field_of_a_spec(kind: str) -> None:
    shown = {p for e in map(load, EXAMPLES) if e["kind"] == kind for p in paths_of(e["spec"])}
    fields = set(fields_of(schema_of(kind)["properties"]["spec"]))
    assert fields - shown == set()


def test_names_of_examples_differ() -> None:
    names = [(e["kind"], e["metadata"]["name"]) for e in map(load, EXAMPLES)]
    assert len(names) == len(set(names)) == len(EXAMPLES)
