"""Fields of raw API objects: times, counts and labels as rows keep them, strings shared.

A field that is absent has its plain empty value. A field of the wrong shape raises, and whoever
decodes counts the object as malformed: an API server never stores one.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

Raw = Mapping[str, Any]  # a decoded JSON object
Labels = tuple[tuple[str, str], ...]  # sorted by name
MALFORMED = (AttributeError, KeyError, IndexError, TypeError, ValueError)
GPU_RESOURCES = ("nvidia.com/gpu", "amd.com/gpu")
NOTHING: Raw = {}
_POOL_MAX = 20_000


class Pool:
    """Equal tuples made one object: the pods of a template carry the same labels.

    Bounded: what is over the limit starts the pool afresh, which costs memory, never truth.
    """

    def __init__(self) -> None:
        self._pool: dict[tuple[Any, ...], tuple[Any, ...]] = {}

    def labels(self, raw: Mapping[str, str] | None) -> Labels:
        """Labels or annotations as one shared, sorted tuple."""
        if not raw:
            return ()
        intern = sys.intern
        found = tuple(sorted([(intern(key), intern(value)) for key, value in raw.items()]))
        return self._shared(found)

    def texts(self, raw: Sequence[str]) -> tuple[str, ...]:
        """Texts as one shared tuple, in their order."""
        return self._shared(tuple([sys.intern(text) for text in raw])) if raw else ()

    def _shared(self, found: tuple[Any, ...]) -> tuple[Any, ...]:
        if len(self._pool) > _POOL_MAX:
            self._pool.clear()
        return self._pool.setdefault(found, found)


def time_of(raw: str | None) -> float | None:
    """Seconds since the epoch of an RFC 3339 time, None where there is none."""
    return datetime.fromisoformat(raw).timestamp() if raw else None


def created_at_s(meta: Raw) -> float:
    """When an object was created, by the server's clock.

    Raises:
        KeyError: the server always says it.
    """
    return datetime.fromisoformat(meta["creationTimestamp"]).timestamp()


def condition(status: Raw, kind: str) -> Raw:
    """A condition by its type; empty where there is none."""
    for found in status.get("conditions") or ():
        if found["type"] == kind:
            return found  # type: ignore[no-any-return]
    return NOTHING


def gpus_of(quantities: Raw | None) -> int:
    """Whole GPUs of a resource list."""
    if not quantities:
        return 0
    return sum(int(quantities[name]) for name in GPU_RESOURCES if name in quantities)


def wants_gpu(spec: Raw, labels: Raw) -> bool:
    """Whether a pod spec asks for GPUs, or a label's name says so."""
    for container in spec.get("containers") or ():
        resources = container.get("resources") or NOTHING
        for part in ("requests", "limits"):
            if gpus_of(resources.get(part)):
                return True
    return any(name in labels for name in GPU_RESOURCES)
