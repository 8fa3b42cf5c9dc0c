"""What the watches know of the cluster, with the age of that knowledge. Thread-safe."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from ops.adapters.kube.deployments import Change, DeploymentRow
from ops.adapters.kube.events import EventRow
from ops.adapters.kube.records import NodeRow, PodRow
from ops.adapters.kube.shelves import DeploymentShelf, EventShelf, NodeShelf, PodShelf, Shelf
from ops.clock import monotonic_s, wall_s

logger = logging.getLogger(__name__)

_NAMESPACES_MAX = 10_000  # generations kept; beyond, every view counts as changed once
Subscriber = Callable[[str, str], None]  # resource, namespace


class Resource(StrEnum):
    """What is watched."""

    PODS = "pods"
    NODES = "nodes"
    DEPLOYMENTS = "deployments"
    EVENTS = "events"


@dataclass(frozen=True, slots=True, kw_only=True)
class NamespaceRows:
    """Copies of what concerns one namespace, taken at one moment."""

    pods: Sequence[PodRow]
    deployments: Sequence[DeploymentRow]
    events: Sequence[EventRow]
    node_events: Mapping[str, Sequence[EventRow]]  # by node, of nodes that hold its pods
    changes: Sequence[Change]
    nodes: Mapping[str, NodeRow]  # of the whole cluster, by name
    gone: Mapping[str, PodRow]  # pods by name that Events are about and that were deleted


class ClusterCache:
    """Pods, nodes, Deployments and Events of a cluster.

    Every namespace has a generation that rises when anything of it changes, its pods' nodes
    included: an unchanged generation means an unchanged view. A write that says nothing new (a
    heartbeat) raises nothing and wakes nobody.
    """

    def __init__(
        self, *, clock: Callable[[], float] = monotonic_s, wall: Callable[[], float] = wall_s
    ) -> None:
        """Make an empty cache; nothing is listed yet.

        Args:
            clock: for ages, never steps back.
            wall: for the moments of changes that the server does not tell.
        """
        self._clock, self._wall, self._lock = clock, wall, threading.RLock()
        self._pods, self._deployments = PodShelf(), DeploymentShelf()
        self._nodes, self._events = NodeShelf(self._pods), EventShelf(self._pods)
        self._shelves: Mapping[Resource, Shelf] = {
            Resource.PODS: self._pods,
            Resource.NODES: self._nodes,
            Resource.DEPLOYMENTS: self._deployments,
            Resource.EVENTS: self._events,
        }
        self._tick, self._floor = 0, 0
        self._generations: dict[str, int] = {}
        self._alive_s: dict[str, float] = {}  # by resource, from its first list on
        self._trouble: dict[str, str] = {}
        self._subscribers: list[Subscriber] = []

    # --- what is known

    def age_s(self, resource: str) -> float:
        """Seconds since the server last proved that it would have told of a change.

        Infinite before the first list: nothing is known then, not even that there is nothing. A
        server that is itself cut off from its store seems young: it tells all that it knows.
        """
        alive_s = self._alive_s.get(resource)
        return math.inf if alive_s is None else max(0.0, self._clock() - alive_s)

    def listed(self, resource: str) -> bool:
        """Whether a first list was read."""
        return resource in self._alive_s

    def trouble(self, resource: str) -> str:
        """Why it is not up to date, "" while all is well."""
        return self._trouble.get(resource, "")

    def generation(self, namespace: str) -> tuple[int, int]:
        """Changes with anything that a view of the namespace shows."""
        return self._generations.get(namespace, self._floor), self._nodes.generation

    def counts(self) -> dict[str, int]:
        """Rows held, by resource."""
        with self._lock:
            return {resource.value: len(shelf) for resource, shelf in self._shelves.items()}

    def rows(self, namespace: str) -> NamespaceRows:
        """Everything of one namespace, copied under the lock."""
        with self._lock:
            pods = list(self._pods.table.of(namespace).values())
            events, gone = self._events.of(namespace), self._pods.gone(namespace)
            return NamespaceRows(
                pods=pods,
                deployments=list(self._deployments.table.of(namespace).values()),
                events=events,
                node_events={
                    node: found
                    for node in {pod.node for pod in pods}
                    if (found := self._events.about_node(node))
                },
                changes=self._deployments.changes(namespace),
                nodes=self._nodes.all(),
                gone={event.about: gone[event.about] for event in events if event.about in gone},
            )

    def subscribe(self, callback: Subscriber) -> Callable[[], None]:
        """Call `callback(resource, namespace)` after each change, in the thread that brought it.

        It must be quick and may read the cache. A change of a node, or an Event about one, is told
        once for each namespace that has pods there.

        Returns:
            What ends the subscription.
        """
        with self._lock:
            self._subscribers = [*self._subscribers, callback]

        def end() -> None:
            with self._lock:
                self._subscribers = [kept for kept in self._subscribers if kept is not callback]

        return end

    # --- what the reflectors bring

    def replace(self, resource: Resource, rows: Collection[Any]) -> None:
        """A whole list: what is not in it is gone."""
        now_s, shelf = self._wall(), self._shelves[resource]
        changed: set[str] = set()
        with self._lock:
            first = resource not in self._alive_s
            for namespace, name in shelf.keys_but(rows):
                changed.update(shelf.drop(namespace, name, now_s=now_s))
            for row in rows:
                changed.update(shelf.put(row, first=first, now_s=now_s))
            self._bump(changed)
            self._alive_s[resource] = self._clock()
            self._trouble.pop(resource, None)
        self._tell(resource, changed)

    def put(self, resource: Resource, row: Any) -> None:
        """One new or changed row."""
        with self._lock:
            changed = self._shelves[resource].put(row, first=False, now_s=self._wall())
            self._bump(changed)
        self._tell(resource, changed)

    def drop(self, resource: Resource, namespace: str, name: str) -> None:
        """One row whose object was deleted."""
        with self._lock:
            changed = self._shelves[resource].drop(namespace, name, now_s=self._wall())
            self._bump(changed)
        self._tell(resource, changed)

    def alive(self, resource: Resource) -> None:
        """The server spoke: until now nothing was missed."""
        if resource in self._alive_s:
            self._alive_s[resource] = self._clock()
            self._trouble.pop(resource, None)

    def troubled(self, resource: Resource, reason: str) -> None:
        """The server refuses or is silent; the age tells for how long."""
        self._trouble[resource] = reason

    # --- how

    def _bump(self, namespaces: Iterable[str]) -> None:
        for namespace in namespaces:
            self._tick += 1
            self._generations[namespace] = self._tick
        if len(self._generations) > _NAMESPACES_MAX:
            self._generations, self._floor = {}, self._tick + 1

    def _tell(self, resource: Resource, namespaces: Iterable[str]) -> None:
        for namespace in namespaces:
            for callback in self._subscribers:
                try:
                    callback(resource.value, namespace)
                except Exception:  # a subscriber's fault must not end a watch
                    logger.exception(
                        "subscriber failed resource=%s namespace=%s", resource, namespace
                    )
