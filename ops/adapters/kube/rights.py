"""What a call needs the right for, and which rights turned out to be missing."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from ops.adapters.kube.paths import parse_path

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
    """Rights that the server last refused; a right that is granted later leaves. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._missing: set[Right] = set()

    def refused(self, right: Right) -> bool:
        """Remember a 403; says whether it is news."""
        with self._lock:
            news = right not in self._missing
            self._missing.add(right)
            return news

    def allowed(self, right: Right) -> None:
        """Forget a right that works."""
        if right in self._missing:  # the common case takes no lock
            with self._lock:
                self._missing.discard(right)

    def snapshot(self) -> frozenset[Right]:
        """What is missing now."""
        with self._lock:
            return frozenset(self._missing)
