"""JSON of plain values to and fro: exact floats one way, every fault named the other."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from functools import cache
from typing import Any, TypeVar, cast

import orjson
from pydantic import TypeAdapter, ValidationError

from ops.errors import WorkerError

FAULTS_SHOWN_MAX = 20

T = TypeVar("T")


def encode(value: Any) -> bytes:
    """JSON of any of these; a number that is none (NaN, infinity) becomes null.

    Raises:
        WorkerError: a value that has no JSON form.
    """
    try:
        return orjson.dumps(value, default=_plain, option=orjson.OPT_SERIALIZE_NUMPY)
    except (TypeError, orjson.JSONEncodeError) as error:
        raise WorkerError(f"{type(value).__name__} cannot be sent: {error}") from error


def decode(kind: type[T], raw: bytes) -> T:
    """Read JSON as `kind`; what is not known is ignored, so that either side may be newer.

    Raises:
        WorkerError: no JSON, or values that do not fit, all of them with their paths.
    """
    try:
        plain = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise WorkerError(
            f"{kind.__name__} is no JSON: {error}, it begins {raw[:40]!r}; "
            "is the other side of the same version?"
        ) from error
    try:
        found: T = _adapter(cast("Hashable", kind)).validate_python(_unmeasured(plain))
    except ValidationError as error:
        rows = error.errors(include_url=False, include_context=False)
        shown = [
            f"{'.'.join(map(str, row['loc'])) or '(whole)'}: {row['msg']}, "
            f"got {repr(row.get('input'))[:80]}"
            for row in rows[:FAULTS_SHOWN_MAX]
        ]
        more = len(rows) - len(shown)
        raise WorkerError(
            f"{kind.__name__} has {len(rows)} faults: {'; '.join(shown)}"
            f"{f'; and {more} more' if more else ''}; is the other side of the same version?"
        ) from error
    return found


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _unmeasured(plain: Any) -> Any:
    """NaN where a symptom's share is null: an alert alone measures none, and JSON has no NaN."""
    if isinstance(plain, dict):
        for key, value in plain.items():
            if key == "bad_ratio" and value is None:
                plain[key] = math.nan
            else:
                _unmeasured(value)
    elif isinstance(plain, list):
        for value in plain:
            _unmeasured(value)
    return plain


def _plain(value: Any) -> Any:
    """What orjson does not know by itself."""
    if isinstance(value, (set, frozenset)):
        return sorted(value, key=str)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")
