"""Plain data of the loop's dataclasses, the same bytes for the same values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from math import isfinite
from typing import Any

import numpy as np
import orjson

from rca.state import Entity, Series

FLOAT_DIGITS = 6
_PROMQL_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n"}


def to_plain(value: Any) -> Any:
    """Dicts, lists, strings and numbers of `value`.

    Entities become their text, series `name{label="value"}`, floats are rounded to 6 digits after
    the point, NaN and infinities become None, sets are sorted.

    Raises:
        TypeError: a value that has no plain form.
    """
    match value:
        case None | bool() | int() | str() if not isinstance(value, Enum):
            return value
        case Enum():
            return value.value
        case float() | np.floating():
            number = round(float(value), FLOAT_DIGITS)
            return (number + 0.0) if isfinite(number) else None  # -0.0 becomes 0.0
        case np.integer():
            return int(value)
        case Entity():
            return str(value)
        case Series():
            labels = ",".join(f'{name}="{text}"' for name, text in value.labels)
            return f"{value.name}{{{labels}}}" if labels else value.name
        case Mapping():
            return {_key(key): to_plain(item) for key, item in value.items()}
        case list() | tuple():
            return [to_plain(item) for item in value]
        case set() | frozenset():
            return sorted((to_plain(item) for item in value), key=str)
        case _ if is_dataclass(value) and not isinstance(value, type):
            return {f.name: to_plain(getattr(value, f.name)) for f in fields(value)}
    raise TypeError(f"{type(value).__name__} has no plain form: {value!r}")


def _key(key: Any) -> str:
    if isinstance(key, tuple):
        return "/".join(str(part) for part in key)
    return str(key.value) if isinstance(key, Enum) else str(key)


def to_json_line(value: Any) -> bytes:
    """One line of JSON with sorted keys and a line feed."""
    return orjson.dumps(to_plain(value), option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)


def to_json(value: Any) -> bytes:
    """Indented JSON with sorted keys and a line feed, for files that people read."""
    option = orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE | orjson.OPT_INDENT_2
    return orjson.dumps(to_plain(value), option=option)


def promql_text(value: str) -> str:
    """A text as PromQL writes it, with its double quotes."""
    return f'"{"".join(_PROMQL_ESCAPES.get(letter, letter) for letter in value)}"'
