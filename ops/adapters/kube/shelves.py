"""What is kept of each resource, and which namespaces a row concerns.

Nothing here is thread-safe: `ops.adapters.kube.cache` holds the lock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Protocol

from ops.adapters.kube.deployments import Change, ChangeLog, DeploymentRow
from ops.adapters.kube.events import EventRow
from ops.adapters.kube.records import NodeRow, PodRow
from ops.adapters.kube.tables import KEEP_S, Events, GonePods, Key, Table
from rca.state import ChangeKind

CHANGES_MAX_NAMESPACE = 200  # of scalings, and of everything else
_NAMESPACES_MAX = 2_000  # whose changes are kept


class Shelf(Protocol):
    """Rows of one resource. What changes returns the namespaces whose picture changed."""

    def __len__(self) -> int: ...

    def put(self, row: Any, *, first: bool, now_s: float) -> Collection[str]:
        """Store a row; `first`: it is part of the first list."""
        ...

    def drop(self, namespace: str, name: str, *, now_s: float) -> Collection[str]:
        """Remove a row whose object was deleted."""
        ...

    def keys_but(self, rows: Iterable[Any]) -> list[Key]:
        """Keys of what is stored and is not among `rows`."""
        ...


class PodShelf:
    """Pods, by namespace and by node; those deleted lately are remembered."""

    def __init__(self) -> None:
        self.table, self._gone = Table[PodRow](), GonePods()
        self._on: dict[str, dict[str, int]] = {}  # node -> namespace -> pods

    def __len__(self) -> int:
        return len(self.table)

    def put(self, row: PodRow, *, first: bool, now_s: float) -> Collection[str]:
        """Store a pod."""
        del first, now_s
        old = self.table.put(row)
        if old is None or old.node != row.node:
            self._count(row, 1)
            if old is not None:
                self._count(old, -1)
        return () if old == row else (row.namespace,)

    def drop(self, namespace: str, name: str, *, now_s: float) -> Collection[str]:
        """Remove a pod and remember it for a while."""
        old = self.table.drop(namespace, name)
        if old is None:
            return ()
        self._count(old, -1)
        self._gone.add(old, now_s)
        return (namespace,)

    def keys_but(self, rows: Iterable[PodRow]) -> list[Key]:
        """Keys of what is stored and is not among `rows`."""
        return self.table.keys_but(rows)

    def gone(self, namespace: str) -> Mapping[str, PodRow]:
        """The last rows of pods that were deleted lately, by name; valid under the lock."""
        return self._gone.of(namespace)

    def namespaces_on(self, node: str) -> Collection[str]:
        """Namespaces that have pods on a node."""
        return tuple(self._on.get(node, ()))

    def _count(self, row: PodRow, by: int) -> None:
        if not row.node:
            return
        counts = self._on.setdefault(row.node, {})
        counts[row.namespace] = counts.get(row.namespace, 0) + by
        if not counts[row.namespace]:
            del counts[row.namespace]
            if not counts:
                del self._on[row.node]


class NodeShelf:
    """Nodes; a node concerns the namespaces that have pods on it."""

    def __init__(self, pods: PodShelf) -> None:
        self._table, self._pods = Table[NodeRow](), pods
        self._all: Mapping[str, NodeRow] | None = None
        self.generation = 0

    def __len__(self) -> int:
        return len(self._table)

    def put(self, row: NodeRow, *, first: bool, now_s: float) -> Collection[str]:
        """Store a node; a heartbeat says nothing new."""
        del first, now_s
        return () if self._table.put(row) == row else self._changed(row.name)

    def drop(self, namespace: str, name: str, *, now_s: float) -> Collection[str]:
        """Remove a node."""
        del now_s
        return () if self._table.drop(namespace, name) is None else self._changed(name)

    def keys_but(self, rows: Iterable[NodeRow]) -> list[Key]:
        """Keys of what is stored and is not among `rows`."""
        return self._table.keys_but(rows)

    def all(self) -> Mapping[str, NodeRow]:
        """Every node by name, in a mapping that is replaced and never changed."""
        if self._all is None:
            self._all = {row.name: row for row in self._table}
        return self._all

    def _changed(self, name: str) -> Collection[str]:
        self._all = None
        self.generation += 1
        return self._pods.namespaces_on(name)


class DeploymentShelf:
    """Deployments and what was changed about them lately."""

    def __init__(self) -> None:
        self.table, self._log = Table[DeploymentRow](), ChangeLog()
        # Scalings apart: many of them must not push out the one deploy that matters.
        self._changes: dict[tuple[str, bool], deque[Change]] = {}

    def __len__(self) -> int:
        return len(self.table)

    def put(self, row: DeploymentRow, *, first: bool, now_s: float) -> Collection[str]:
        """Store a Deployment and note what changed."""
        old = self.table.put(row)
        if old == row:
            return ()
        found = self._log.first(row) if first else self._log.seen(old, row, now_s=now_s)
        self._note(row.namespace, found, now_s)
        return (row.namespace,)

    def drop(self, namespace: str, name: str, *, now_s: float) -> Collection[str]:
        """Remove a Deployment, which is a change too."""
        old = self.table.drop(namespace, name)
        if old is None:
            return ()
        self._note(namespace, self._log.gone(old, now_s=now_s), now_s)
        return (namespace,)

    def keys_but(self, rows: Iterable[DeploymentRow]) -> list[Key]:
        """Keys of what is stored and is not among `rows`."""
        return self.table.keys_but(rows)

    def changes(self, namespace: str) -> Sequence[Change]:
        """Changes of the last hour, in no order."""
        return [
            c for scalings in (False, True) for c in self._changes.get((namespace, scalings), ())
        ]

    def _note(self, namespace: str, found: list[Change], now_s: float) -> None:
        for change in found:
            if change.at_s < now_s - KEEP_S:
                continue
            key = (namespace, change.kind is ChangeKind.SCALE)
            kept = self._changes.pop(key, None) or deque(maxlen=CHANGES_MAX_NAMESPACE)
            kept.append(change)
            self._changes[key] = kept  # the namespace that changed last is the last
            if len(self._changes) > 2 * _NAMESPACES_MAX:
                del self._changes[next(iter(self._changes))]


class EventShelf:
    """Events; one about a node concerns the namespaces that have pods on it."""

    def __init__(self, pods: PodShelf) -> None:
        self._events, self._pods = Events(), pods

    def __len__(self) -> int:
        return len(self._events)

    def put(self, row: EventRow, *, first: bool, now_s: float) -> Collection[str]:
        """Store an Event, unless it is too old."""
        del first
        return self._concerned(row) if self._events.put(row, now_s) else ()

    def drop(self, namespace: str, name: str, *, now_s: float) -> Collection[str]:
        """Remove an Event."""
        del now_s
        old = self._events.drop((namespace, name))
        return () if old is None else self._concerned(old)

    def keys_but(self, rows: Iterable[EventRow]) -> list[Key]:
        """Keys of what is stored and is not among `rows`."""
        return self._events.keys_but(rows)

    def of(self, namespace: str) -> Sequence[EventRow]:
        """Events of a namespace."""
        return self._events.of(namespace)

    def about_node(self, node: str) -> Sequence[EventRow]:
        """Events about a node."""
        return self._events.about_node(node)

    def _concerned(self, row: EventRow) -> Collection[str]:
        return self._pods.namespaces_on(row.about) if row.kind == "Node" else (row.namespace,)
