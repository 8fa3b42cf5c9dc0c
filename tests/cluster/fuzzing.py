"""Resources as nobody should write them: from valid objects, one to three seeded faults each."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

EXAMPLES = Path(__file__).resolve().parents[2] / "manifests" / "examples"
PLURALS = {"Fleet": "fleets", "Incident": "incidents", "Replay": "replays"}
ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 0.5, -0.0, 1e308, 2**31, 2**53 + 1, 2**63, -(2**64), "", " ",
    "x", "x" * 64, "x" * 5000, "A", "a.b", "a/b", "../../etc/passwd", "a\nb", "\x00", "\u202e",
    "\U0001f4a5", "é" * 300, "{{7*7}}", "$(reboot)", '"} or vector(1)', "Observe", "None", "NaN",
    "-1", "1e9", "28d", "0h", "99999w", "2026-13-01T00:00:00Z", "now", [], {}, [[]], [None],
    [{}], {"": ""}, {"a": None}, {"name": "x"}, {"a": {"b": {"c": []}}}, ["a", "a"], [1, "a"],
)  # fmt: skip
KEYS = ("", " ", "a-b", "mode", "name", "$ref", "__proto__", "x" * 400, "é", "a.b/c", "-a", "0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fuzzed:
    """One request: which collection, the body as bytes, what was done to it."""

    plural: str
    name: str
    raw: bytes
    faults: tuple[str, ...]


def fuzzed(num: int, *, seed: int, namespace: str) -> Iterator[Fuzzed]:
    """`num` requests; the same seed gives the same."""
    dice = random.Random(seed)
    bases = [yaml.safe_load(path.read_text()) for path in sorted(EXAMPLES.glob("*.yaml"))]
    for number in range(num):
        body = copy.deepcopy(dice.choice(bases))
        plural, name = PLURALS[body["kind"]], f"fuzzed-{number}"
        body["metadata"] = {"name": name, "namespace": namespace}
        faults = tuple(dice.choice(FAULTS)(body, dice) for _ in range(dice.randint(1, 3)))
        raw = json.dumps(body).encode()
        if dice.random() < 0.1:
            raw, told = damaged(raw, dice)
            faults += (told,)
        yield Fuzzed(plural=plural, name=name, raw=raw, faults=faults)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Path of everything below a spec, the spec itself first."""
    yield path
    steps = value.items() if isinstance(value, dict) else ()
    if isinstance(value, list):
        steps = enumerate(value)  # type: ignore[assignment]
    for key, inner in steps:
        yield from places(inner, (*path, key))


def at(body: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        body = body[key]
    return body


def some_place(body: Any, dice: random.Random) -> tuple[Any, tuple[Any, ...]]:
    """The parent of a random place below the spec, and the whole path."""
    spec = body.setdefault("spec", {})  # an earlier fault may have taken it
    path = ("spec", *dice.choice(list(places(spec))))
    return at(body, path[:-1]), path


def odd(dice: random.Random) -> Any:
    return copy.deepcopy(dice.choice(ODD))


def odd_value(body: Any, dice: random.Random) -> str:
    parent, path = some_place(body, dice)
    parent[path[-1]] = odd(dice)
    return f"{path} = {str(parent[path[-1]])[:40]!r}"


def odd_field(body: Any, dice: random.Random) -> str:
    """A value for a field that the example may not have."""
    fields = ("mode", "frozen", "freezeReason", "selector", "metrics", "engine", "regions", "slos",
              "budgets", "fleet", "source", "alert", "windowStart", "incident", "scenario",
              "faults", "seed", "checks")  # fmt: skip
    if not isinstance(body.get("spec"), dict):
        body["spec"] = {}
    name = dice.choice(fields)
    body["spec"][name] = odd(dice)
    return f"spec.{name} = {str(body['spec'][name])[:40]!r}"


def dropped(body: Any, dice: random.Random) -> str:
    parent, path = some_place(body, dice)
    del parent[path[-1]]
    return f"{path} dropped"


def unknown(body: Any, dice: random.Random) -> str:
    _, path = some_place(body, dice)
    found = at(body, path)
    if isinstance(found, dict):
        found[dice.choice(KEYS)] = odd(dice)
    return f"{path} with another key"


def repeated(body: Any, dice: random.Random) -> str:
    _, path = some_place(body, dice)
    found = at(body, path)
    if isinstance(found, list) and found:
        found += [found[0]] * dice.choice((1, 40, 400))
    return f"{path} repeated"


def crowded(body: Any, dice: random.Random) -> str:
    if not isinstance(body.get("spec"), dict):
        body["spec"] = {}
    size = dice.choice((9, 17, 300))
    body["spec"]["selector"] = {"matchLabels": {f"k{i}": "v" for i in range(size)}}
    return f"{size} labels"


def deep(body: Any, dice: random.Random) -> str:
    parent, path = some_place(body, dice)
    inner: Any = "x"
    for _ in range(dice.choice((50, 300))):
        inner = {"a": inner}
    parent[path[-1]] = inner
    return f"{path} deep"


def odd_metadata(body: Any, dice: random.Random) -> str:
    name = dice.choice(("labels", "annotations", "finalizers", "ownerReferences", "generateName"))
    body["metadata"][name] = odd(dice)
    return f"metadata.{name}"


def odd_status(body: Any, dice: random.Random) -> str:
    body["status"] = odd(dice)
    return "status given"


FAULTS: tuple[Callable[[Any, random.Random], str], ...] = (
    odd_value, odd_value, odd_value, odd_field, odd_field, odd_field, dropped, unknown, repeated,
    crowded, deep, odd_metadata, odd_status,
)  # fmt: skip


def damaged(raw: bytes, dice: random.Random) -> tuple[bytes, str]:
    """A body that is no JSON, or hardly."""
    kind = dice.choice(("cut", "flipped", "nan", "huge", "twice", "empty", "not utf-8"))
    if kind == "cut":
        return raw[: dice.randrange(len(raw))], kind
    if kind == "flipped":
        index = dice.randrange(len(raw))
        return raw[:index] + bytes([dice.randrange(256)]) + raw[index + 1 :], kind
    if kind == "twice":
        return raw[:-1] + b', "spec": {"mode": "Observe"}}', kind
    if kind == "empty":
        return b"", kind
    word = {"nan": b"NaN", "huge": b"1e999", "not utf-8": b'"\xff\xfe"'}[kind]
    return raw[:-1] + b', "status": {"pods": ' + word + b"}}", kind
