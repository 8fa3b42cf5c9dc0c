"""Scenario files: TOML in, `Scenario` out, or one error that lists every problem with its path.

Keys, types and defaults are read off the dataclasses of `ops.replay.scenario`, so that a new
field needs no second list; ranges are in `scenario_limits`, rules between fields in
`scenario_rules`. A value at fault is noted and replaced by NaN, "" or (), which no rule objects
to, so that the rest of the file is checked too.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from ops.errors import ScenarioError
from ops.replay import scenario_limits as limits
from ops.replay.scenario import Scenario
from ops.replay.scenario_problems import SHOWN_CHARS_MAX, Problems, shown, unknown
from ops.replay.scenario_rules import check_rules

BYTES_MAX = 1 << 17  # the slowest input takes tomllib 0.3 s
# Of a key like a.b.c: tomllib's time grows with the square of its parts.
DOTS_PER_LINE_MAX = 32
HEAD = "scenario"  # table that holds the plain values of Scenario


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionRtt:
    """One entry of `[[region_rtt]]`; `Scenario` keeps it as a plain tuple."""

    a: str
    b: str
    rtt_s: float


def load_scenario(path: Path) -> Scenario:
    """Read a scenario file.

    Raises:
        ScenarioError: the file cannot be read or used; the message lists every problem.
    """
    try:
        if not path.is_file():
            what = "is no regular file" if path.exists() else "does not exist"
            raise ScenarioError(f"{path}: {what}; give the path of a TOML scenario file")
        with path.open("rb") as file:
            raw = file.read(BYTES_MAX + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise ScenarioError(f"{str(path)!r}: cannot be read: {error}") from error
    return parse_scenario(raw, source=str(path))


def parse_scenario(raw: bytes | str, *, source: str) -> Scenario:
    """Read a scenario from TOML text.

    Args:
        raw: the text, UTF-8 when bytes, at most 128 KiB.
        source: where it came from, for messages.

    Raises:
        ScenarioError: the text cannot be used; the message lists every problem with its path.
    """
    root = _parse_toml(raw, source)
    problems = Problems()
    hints = _hints(Scenario)
    head = {name for name, hint in hints.items() if hint in (str, int, float, bool)}
    tables = {key: value for key, value in root.items() if key != HEAD}
    values = _read_fields(Scenario, root.get(HEAD, {}), HEAD, problems, only=head)
    values |= _read_fields(Scenario, tables, "", problems, only=hints.keys() - head)
    scenario = Scenario(**values)
    check_rules(scenario, problems)
    if problems.num_found:
        raise ScenarioError(problems.message(source))
    return scenario


def toml_key(field_name: str, hint: Any) -> str:
    """Key of a field in a file: arrays of tables are written in the singular."""
    if field_name == "region_rtt_s":
        return "region_rtt"
    return field_name.removesuffix("s") if _entry_type(hint) else field_name


def _parse_toml(raw: bytes | str, source: str) -> dict[str, Any]:
    if len(raw) > BYTES_MAX:
        raise ScenarioError(f"{source}: larger than {BYTES_MAX} bytes; is this a scenario file?")
    try:
        text = raw.decode("utf-8-sig") if isinstance(raw, bytes) else raw
    except UnicodeDecodeError as error:
        raise ScenarioError(
            f"{source}: byte {raw[error.start]!r} at offset {error.start} is not UTF-8; "
            "save the file as UTF-8 text"
        ) from error
    for line_no, line in enumerate(text.splitlines(), start=1):
        if line.count(".") > DOTS_PER_LINE_MAX:
            raise ScenarioError(
                f"{source}: line {line_no} has {line.count('.')} dots, at most "
                f"{DOTS_PER_LINE_MAX} are allowed; break the line"
            )
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise ScenarioError(f"{source}: brackets are nested too deeply; flatten them") from error
    except ValueError as error:  # TOMLDecodeError, or a number that Python refuses to read
        raise ScenarioError(f"{source}: not valid TOML: {error}; correct it there") from error


def _read_fields(
    cls: type, raw: object, path: str, problems: Problems, *, only: Iterable[str] | None = None
) -> dict[str, Any]:
    """Values of the fields of `cls` from one table; every field has a value afterwards."""
    hints = _hints(cls)
    wanted = [f for f in fields(cls) if only is None or f.name in only]
    if not isinstance(raw, Mapping):
        problems.add(path, f"{shown(raw)} where a table is expected; write [{path}]")
        return {f.name: _placeholder(hints[f.name]) for f in wanted}
    keys = {toml_key(f.name, hints[f.name]): f for f in wanted}
    for key in raw:
        if problems.full:
            break
        if key not in keys:
            known = [*keys, HEAD] if not path else keys
            problems.add(_join(path, key), unknown(key, "known key", known))
    values: dict[str, Any] = {}
    for key, field in keys.items():
        if key in raw:
            where = _join(path, key)
            name = f"{cls.__name__}.{field.name}"
            values[field.name] = _read_value(hints[field.name], raw[key], where, name, problems)
        else:
            values[field.name] = _default(field, hints[field.name], _join(path, key), problems)
    return values


def _default(field: Field[Any], hint: Any, path: str, problems: Problems) -> Any:
    if field.default is not MISSING:
        return field.default
    if field.default_factory is not MISSING:
        return field.default_factory()
    kind = "table" if _entry_type(hint) or is_dataclass(hint) else "key"
    problems.add(path, f"missing; this {kind} must be given")
    return _placeholder(hint)


def _read_value(hint: Any, raw: object, path: str, name: str, problems: Problems) -> Any:
    """One value of the type `hint`; `name` is "Type.field", the key into the limits."""
    entry = _entry_type(hint)
    if entry is not None:
        return _read_entries(entry, raw, path, name, problems)
    if isinstance(hint, type) and is_dataclass(hint):
        return hint(**_read_fields(hint, raw, path, problems))
    if get_origin(hint) is UnionType:  # `int | None`: TOML has no null, leaving it out is None
        hint = get_args(hint)[0]
    if hint is bool:
        if isinstance(raw, bool):
            return raw
        problems.add(path, f"{shown(raw)} where true or false is expected")
        return _placeholder(hint)
    if hint is str:
        return _read_string(raw, path, name, problems)
    if hint in (int, float):
        return _read_number(hint, raw, path, name, problems)
    if hint == tuple[str, ...]:
        items = _array(raw, path, name, problems)
        return tuple(
            _read_string(item, f"{path}[{i}]", name, problems) for i, item in enumerate(items)
        )
    assert hint == tuple[tuple[str, float], ...], f"{name}: no reader for {hint}"
    if not isinstance(raw, Mapping):
        problems.add(path, f"{shown(raw)} where a table is expected; write {{ name = number }}")
        return ()
    return tuple(
        (key, _read_number(float, value, _join(path, key), name, problems))
        for key, value in list(raw.items())[: limits.LENGTH_MAX]
    )


def _read_entries(
    entry: type, raw: object, path: str, name: str, problems: Problems
) -> tuple[Any, ...]:
    items = _array(raw, path, name, problems, hint=f"; write [[{path}]]")
    read = tuple(
        entry(**_read_fields(entry, item, f"{path}[{i}]", problems)) for i, item in enumerate(items)
    )
    return tuple((rtt.a, rtt.b, rtt.rtt_s) for rtt in read) if entry is RegionRtt else read


def _array(
    raw: object, path: str, name: str, problems: Problems, *, hint: str = ""
) -> list[object]:
    """The array itself, or an empty one after a problem."""
    most = limits.LENGTHS_MAX.get(name, limits.LENGTH_MAX)
    if not isinstance(raw, list):
        problems.add(path, f"{shown(raw)} where an array is expected{hint}")
    elif len(raw) > most:
        problems.add(path, f"{len(raw)} entries, at most {most} are allowed")
    else:
        return raw
    return []


def _read_string(raw: object, path: str, name: str, problems: Problems) -> str:
    text = ""
    if not isinstance(raw, str):
        text = f"{shown(raw)} where a string is expected; put it in quotes"
    elif name in limits.CHOICES and raw not in limits.CHOICES[name]:
        text = unknown(raw, "choice here", limits.CHOICES[name])
    elif name in limits.NAMED and not limits.NAME.fullmatch(raw):
        text = (
            f"{shown(raw)} is no valid name; use lower-case letters, digits and inner '-', "
            f"at most {limits.NAME_CHARS_MAX} characters"
        )
    elif not raw.strip() and name not in limits.MAY_BE_EMPTY:
        text = "empty; give a value or leave the key out"
    elif len(raw) > limits.STRING_CHARS_MAX or not raw.isprintable():
        text = (
            f"{shown(raw)} is too long or holds control characters; "
            f"at most {limits.STRING_CHARS_MAX} printable characters"
        )
    else:
        return raw
    problems.add(path, text)
    # A bad name is kept, so that what refers to it is not reported as well.
    named = isinstance(raw, str) and name in limits.NAMED and len(raw) <= SHOWN_CHARS_MAX
    return str(raw) if named else ""


def _read_number(kind: type, raw: object, path: str, name: str, problems: Problems) -> Any:
    low, high = limits.RANGES[name]
    text = ""
    if isinstance(raw, bool) or not isinstance(raw, int | float):
        text = f"{shown(raw)} where a number is expected"
    elif kind is int and not isinstance(raw, int):
        text = f"{shown(raw)} where a whole number is expected"
    elif isinstance(raw, float) and not math.isfinite(raw):
        text = f"{raw} is no finite number"
    elif not low <= raw <= high:
        text = f"{shown(raw)} is out of range"
    else:
        return kind(raw)
    problems.add(path, f"{text}; give a value from {low:.12g} to {high:.12g}")
    return math.nan


@cache
def _hints(cls: type) -> dict[str, Any]:
    return get_type_hints(cls)


def _entry_type(hint: Any) -> type | None:
    """Dataclass of the entries when the field is an array of tables, else None."""
    if get_origin(hint) is not tuple:
        return None
    first = get_args(hint)[0]
    if first == tuple[str, str, float]:
        return RegionRtt
    return first if isinstance(first, type) and is_dataclass(first) else None


def _placeholder(hint: Any) -> Any:
    """A value to go on with after a problem; rules between fields find nothing wrong with it."""
    if hint is str:
        return ""
    if hint is bool:
        return False
    if get_origin(hint) is tuple:
        return ()
    if isinstance(hint, type) and is_dataclass(hint):
        return hint(**{name: _placeholder(h) for name, h in _hints(hint).items()})
    return math.nan


def _join(path: str, key: str) -> str:
    shown_key = key if key and key.isprintable() and len(key) <= 60 else shown(key)
    return f"{path}.{shown_key}" if path else shown_key
