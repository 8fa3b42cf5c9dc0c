"""Rows by namespace and name, and two bounded memories: pods that are gone, and Events.

Nothing here is thread-safe: `ops.adapters.kube.cache` holds the lock.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Generic, Protocol, TypeVar

from ops.adapters.kube.events import EventRow, merged
from ops.adapters.kube.records import PodRow

GONE_PODS_MAX = 4_000
EVENTS_MAX = 10_000
EVENTS_MAX_NAMESPACE = 1_000
KEEP_S = 3600.0  # gone pods, Events and changes; the server drops Events after an hour itself


class Named(Protocol):
    """What every row has."""

    @property
    def namespace(self) -> str:
        """Namespace, "" for cluster-scoped rows."""
        ...

    @property
    def name(self) -> str:
        """Name within it."""
        ...


Row = TypeVar("Row", bound=Named)
Key = tuple[str, str]  # namespace, name


class Table(Generic[Row]):
    """Rows of one resource."""

    def __init__(self) -> None:
        self._rows: dict[str, dict[str, Row]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._rows.values()))

    def get(self, namespace: str, name: str) -> Row | None:
        """One row, None if there is none."""
        return self._rows.get(namespace, {}).get(name)

    def of(self, namespace: str) -> Mapping[str, Row]:
        """Rows of a namespace by name; valid under the lock."""
        return self._rows.get(namespace, {})

    def put(self, row: Row) -> Row | None:
        """Store; returns what was there."""
        rows = self._rows.setdefault(row.namespace, {})
        old = rows.get(row.name)
        rows[row.name] = row
        return old

    def drop(self, namespace: str, name: str) -> Row | None:
        """Remove; returns what was there."""
        rows = self._rows.get(namespace)
        old = rows.pop(name, None) if rows else None
        if rows is not None and not rows:
            del self._rows[namespace]
        return old

    def keys_but(self, rows: Iterable[Row]) -> list[Key]:
        """Keys of what is stored and is not among `rows`."""
        kept = {(row.namespace, row.name) for row in rows}
        return [
            (namespace, name)
            for namespace, names in self._rows.items()
            for name in names
            if (namespace, name) not in kept
        ]

    def __iter__(self) -> Iterator[Row]:
        for rows in self._rows.values():
            yield from rows.values()


class GonePods:
    """The last row of pods that were deleted lately: their Events arrive after them."""

    def __init__(self) -> None:
        self._order: dict[Key, float] = {}  # when each was deleted, oldest first
        self._of: dict[str, dict[str, PodRow]] = {}

    def add(self, row: PodRow, now_s: float) -> None:
        """Remember a pod that was deleted at `now_s`."""
        key = (row.namespace, row.name)
        self._order.pop(key, None)
        self._order[key] = now_s
        self._of.setdefault(row.namespace, {})[row.name] = row
        while self._order:
            (namespace, name), gone_s = next(iter(self._order.items()))
            if len(self._order) <= GONE_PODS_MAX and gone_s >= now_s - KEEP_S:
                break
            del self._order[namespace, name]
            rows = self._of[namespace]
            del rows[name]
            if not rows:
                del self._of[namespace]

    def of(self, namespace: str) -> Mapping[str, PodRow]:
        """Those of a namespace by name; valid under the lock."""
        return self._of.get(namespace, {})


class Events:
    """Events by the namespace they belong to; those about nodes, by node."""

    def __init__(self) -> None:
        self._order: dict[Key, EventRow] = {}  # by last arrival, oldest first
        self._of: dict[str, dict[Key, EventRow]] = {}  # by namespace
        self._about_node: dict[str, dict[Key, EventRow]] = {}

    def __len__(self) -> int:
        return len(self._order)

    def of(self, namespace: str) -> list[EventRow]:
        """Events of a namespace."""
        return list(self._of.get(namespace, {}).values())

    def about_node(self, node: str) -> list[EventRow]:
        """Events about a node."""
        return list(self._about_node.get(node, {}).values())

    def put(self, row: EventRow, now_s: float) -> bool:
        """Store, with what was known of the same object; says whether anything is new."""
        if row.last_s < now_s - KEEP_S:
            return False
        key = (row.namespace, row.name)
        old = self._order.pop(key, None)
        row = row if old is None else merged(old, row)
        self._order[key] = row
        for index, name in self._indices(row):
            index.setdefault(name, {}).pop(key, None)
            index[name][key] = row
        self._shorten(row.namespace, now_s)
        return row != old

    def drop(self, key: Key) -> EventRow | None:
        """Remove an Event."""
        old = self._order.pop(key, None)
        if old is None:
            return None
        for index, name in self._indices(old):
            rows = index.get(name, {})
            rows.pop(key, None)
            if not rows:
                index.pop(name, None)
        return old

    def keys_but(self, rows: Iterable[EventRow]) -> list[Key]:
        """Keys of what is stored and is not among `rows`."""
        kept = {(row.namespace, row.name) for row in rows}
        return [key for key in self._order if key not in kept]

    def _indices(self, row: EventRow) -> Iterator[tuple[dict[str, dict[Key, EventRow]], str]]:
        if row.kind == "Node":
            yield self._about_node, row.about
        else:
            yield self._of, row.namespace

    def _shorten(self, namespace: str, now_s: float) -> None:
        own = self._of.get(namespace, {})
        if len(own) > EVENTS_MAX_NAMESPACE:
            self.drop(next(iter(own)))
        while self._order:
            key, oldest = next(iter(self._order.items()))
            if len(self._order) <= EVENTS_MAX and oldest.last_s >= now_s - KEEP_S:
                break
            self.drop(key)
