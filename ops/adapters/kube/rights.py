"""What a call needs the right for, and which rights turned out to be missing."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from ops.adapters.kube.paths import parse_path
from ops.clock import monotonic_s

FORGET_S = 3600.0  # what is still wanted is tried again far sooner
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


@dataclass(frozen=True, slots=True, order=True)
class Right:
    """One tuple of RBAC, as the audit log spells it."""

    verb: str
    group: str  # "" = core
    resource: str
    subresource: str = ""
    namespace: str = ""  # "" = cluster-wide

    def __str__(self) -> str:
        resource = f"{self.resource}.{self.group}" if self.group else self.resource
        part = f"/{self.subresource}" if self.subresource else ""
        where = f"in namespace {self.namespace}" if self.namespace else "in the whole cluster"
        return f"{self.verb} {resource}{part} {where}"


def right_of(method: str, path: str, *, watch: bool = False) -> Right:
    """The right that one HTTP call needs.

    Args:
        method: HTTP method.
        path: path on the server; one without a resource gives an empty `resource`.
        watch: the call is a watch.
    """
    what = parse_path(path)
    verb = _VERBS.get(method, "get")
    if verb == "get" and not what.name:
        verb = "watch" if watch else "list"
    if verb == "delete" and not what.name:
        verb = "deletecollection"
    return Right(verb, what.group, what.resource, what.subresource, what.namespace)


class MissingRights:
    """Rights that the server refused of late; one that is granted later leaves. Thread-safe.

    One that is not used again leaves, too: its namespace is gone, or nobody wants it any more.
    """

    def __init__(self, clock: Callable[[], float] = monotonic_s) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._missing: dict[Right, float] = {}  # when each was last refused

    def refused(self, right: Right) -> bool:
        """Remember a 403; says whether it is news."""
        with self._lock:
            self._forget()
            news = right not in self._missing
            self._missing[right] = self._clock()
            return news

    def allowed(self, right: Right) -> None:
        """Forget a right that works."""
        if right in self._missing:  # the common case takes no lock
            with self._lock:
                self._missing.pop(right, None)

    def snapshot(self) -> frozenset[Right]:
        """What is missing now."""
        with self._lock:
            self._forget()
            return frozenset(self._missing)

    def _forget(self) -> None:
        oldest_s = self._clock() - FORGET_S
        for right in [right for right, at_s in self._missing.items() if at_s < oldest_s]:
            del self._missing[right]
