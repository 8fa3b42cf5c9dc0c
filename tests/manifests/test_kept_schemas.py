"""An object that an older release stored stays valid: no later schema asks for more.

`kept/<version>/` holds the definitions as that version shipped them, and objects as it stored
them; 0.1.0a1 is the first form that there was. The copy of the version in the making is written
by `make manifests`; a version that is out is never edited.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ops import __version__
from ops.controller.made.schema import definition
from ops.controller.resources.kinds import KINDS

KEPT = Path(__file__).parent / "kept"
RELEASES = sorted(path.name for path in KEPT.iterdir())
UPPER = ("maximum", "maxLength", "maxItems", "maxProperties")
LOWER = ("minimum", "minLength", "minItems", "minProperties")
# Times of 0.1.0a1 had a format, later ones a pattern that takes every time of RFC 3339.
YEAR = "^[0-9]{4}-"
Schema = dict[str, Any]


def kept(release: str, plural: str) -> Schema:
    text = (KEPT / release / f"{plural}.yaml").read_text(encoding="utf-8")
    found: Schema = yaml.safe_load(text)
    return found


def root(found: Schema) -> Schema:
    (version,) = found["spec"]["versions"]
    schema: Schema = version["schema"]["openAPIV3Schema"]
    return schema


def tighter(old: Schema, new: Schema, path: str = "") -> Iterator[str]:
    """Where the new schema refuses, drops or changes what the old one took."""
    if old["type"] != new["type"] and (old["type"], new["type"]) != ("integer", "number"):
        yield f"{path}: {old['type']} became {new['type']}"
        return
    for word in UPPER:
        if word in new and new[word] < old.get(word, float("inf")):
            yield f"{path}: {word} {old.get(word)} became {new[word]}"
    for word in LOWER:
        if word in new and new[word] > old.get(word, float("-inf")):
            yield f"{path}: {word} {old.get(word)} became {new[word]}"
    for word in ("exclusiveMinimum", "exclusiveMaximum"):
        if new.get(word) and not old.get(word):
            yield f"{path}: {word} is new"
    if old.get("nullable") and not new.get("nullable"):
        yield f"{path}: null is refused"
    times = old.get("format") == "date-time" and new.get("pattern", "").startswith(YEAR)
    if new.get("pattern") not in (None, old.get("pattern")) and not times:
        yield f"{path}: another pattern, say here why every old value fits it"
    if "enum" in new and not set(old.get("enum", ["anything"])) <= set(new["enum"]):
        yield f"{path}: enum lost {set(old.get('enum', ())) - set(new['enum'])}"
    if more := set(new.get("required", ())) - set(old.get("required", ())):
        yield f"{path}: now required: {sorted(more)}"
    if old.get("default") != new.get("default") and old.get("default") is not None:
        yield f"{path}: default {old.get('default')!r} became {new.get('default')!r}"
    rules = [rule["rule"] for rule in old.get("x-kubernetes-validations", ())]
    for rule in new.get("x-kubernetes-validations", ()):
        if rule["rule"] not in rules:
            yield f"{path}: new rule {rule['rule']}"
    for word in ("x-kubernetes-list-type", "x-kubernetes-list-map-keys"):
        if old.get(word) != new.get(word):
            yield f"{path}: {word} {old.get(word)} became {new.get(word)}"
    for name, inner in old.get("properties", {}).items():
        if name not in new.get("properties", {}):
            yield f"{path}.{name}: is gone, what was stored there would be dropped"
        else:
            yield from tighter(inner, new["properties"][name], f"{path}.{name}")
    for word in ("items", "additionalProperties"):
        if word in old:
            yield from tighter(old[word], new[word], f"{path}[]")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_this_version_is_kept(kind: Any) -> None:
    assert kept(__version__, kind.plural) == definition(kind), "run `make manifests`"


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_no_schema_asks_for_more_than_an_older_one(kind: Any, release: str) -> None:
    before, now = kept(release, kind.plural), definition(kind)
    assert list(tighter(root(before), root(now))) == []
    assert before["spec"]["names"] == now["spec"]["names"]
    served = {version["name"] for version in now["spec"]["versions"]}
    assert {version["name"] for version in before["spec"]["versions"]} <= served


OLD: Schema = {
    "type": "object",
    "properties": {
        "a": {"type": "string", "maxLength": 9, "enum": ["x", "y"], "default": "x"},
        "b": {"type": "array", "items": {"type": "integer", "minimum": 0}},
    },
}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"maxLength": 8}, "maxLength 9 became 8"),
        ({"minLength": 1}, "minLength None became 1"),
        ({"enum": ["x"]}, "enum lost {'y'}"),
        ({"default": "y"}, "default 'x' became 'y'"),
        ({"pattern": "^x"}, "another pattern"),
        ({"type": "integer"}, "string became integer"),
    ],
)
def test_what_would_refuse_an_old_object_is_found(change: Schema, told: str) -> None:
    new = {**OLD, "properties": {**OLD["properties"], "a": {**OLD["properties"]["a"], **change}}}
    assert any(told in one for one in tighter(OLD, new))


def test_a_field_that_is_new_and_optional_is_no_change_for_old_objects() -> None:
    more = {**OLD["properties"], "c": {"type": "string"}}
    assert list(tighter(OLD, {**OLD, "properties": more})) == []
    assert list(tighter({**OLD, "properties": more}, OLD)) == [
        ".c: is gone, what was stored there would be dropped"
    ]
    assert list(tighter(OLD, {**OLD, "properties": more, "required": ["c"]})) == [
        ": now required: ['c']"
    ]
