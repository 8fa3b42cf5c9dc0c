"""Keeps one resource of a cache equal to the server's: list by pages, then watch, in one thread.

Every way a server can fail ends in a pause that grows, never in a hot loop: refusals, silence on a
connection that looks open, an answer that ends at once, lines that are no JSON. What was cached
stays and its age tells how old it is.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from ops.adapters.kube.api import KubeApi
from ops.adapters.kube.cache import ClusterCache, Resource
from ops.adapters.kube.fields import MALFORMED, Pool, Raw
from ops.adapters.kube.lines import LineStream
from ops.adapters.kube.refusals import error_of_status
from ops.clock import monotonic_s
from ops.errors import KubeError

logger = logging.getLogger(__name__)

Decoder = Callable[[Raw, Pool], Any]
_GONE = 410
_LOST = ("Garbage", "Rewound")  # what was missed is not known
_CONFIRMED_S = 1.0  # a watch that lived so long was a good one even if nothing happened


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Time limits and pauses of a reflector, seconds."""

    page_items: int = 250  # a page of 3 KiB pods takes 8 MiB while it is decoded
    watch_s: float = 20.0  # after which the server is asked to end a watch; it is opened again
    grace_s: float = 10.0  # silence beyond `watch_s` means a dead connection
    pause_s_min: float = 0.5
    pause_s_max: float = 20.0
    retry_after_s_max: float = 60.0  # the longest pause that a server may ask for


@dataclass(slots=True)
class Tally:
    """What a reflector did so far."""

    lists: int = 0
    watches: int = 0
    events: int = 0
    bookmarks: int = 0
    failures: int = 0
    malformed: int = 0


class Reflector:
    """One resource, one thread."""

    def __init__(
        self,
        api: KubeApi,
        cache: ClusterCache,
        resource: Resource,
        *,
        path: str,
        decode: Decoder,
        pace: Pace | None = None,
        rng: np.random.Generator | None = None,
    ) -> None:
        """Prepare; `start()` begins.

        Args:
            path: of the collection, e.g. /api/v1/pods.
            rng: draws jitter, so that replicas do not return to a restarted server at once.
        """
        self._api, self._cache, self._resource = api, cache, resource
        self._path, self._decode, self._pace = path, decode, pace or Pace()
        self._rng = rng or np.random.default_rng()
        self._pool, self._stopping = Pool(), threading.Event()
        self._stream: LineStream | None = None
        self._version: str | None = None  # resourceVersion up to which all is known
        self._failures = 0  # in a row
        self.tally = Tally()
        self._thread = threading.Thread(
            target=self._run, name=f"reflector-{resource.value}", daemon=True
        )

    def start(self) -> None:
        """Begin in a thread of its own."""
        self._thread.start()

    def stop(self, *, timeout_s: float = 5.0) -> bool:
        """End, closing an open watch; says whether the thread has ended in time."""
        self._stopping.set()
        stream = self._stream
        if stream is not None:
            stream.close()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def step(self) -> float:
        """List or watch once.

        Returns:
            Seconds to pause before the next step.
        """
        try:
            if self._version is None:
                self._list()
            self._watch()
            self._failures = 0
            return 0.0
        except KubeError as error:
            return self._failed(error)

    # --- how

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                pause_s = self.step()
            except Exception:  # a fault of ours must not leave a cache that nobody fills
                logger.exception("reflector failed resource=%s", self._resource)
                self._version = None
                pause_s = self._failed(KubeError("fault in the reflector; see the log"))
            if pause_s > 0.0:
                self._stopping.wait(pause_s)

    def _list(self) -> None:
        rows: list[Any] = []
        version, more = "", ""
        while True:
            params: dict[str, str | int | bool] = {"limit": self._pace.page_items}
            if more:
                params["continue"] = more
            page = _loaded(self._path, self._api.get_bytes(self._path, params=params))
            meta = page.get("metadata") or {}
            for raw in page.get("items") or ():
                row = self._row(raw)
                if row is not None:
                    rows.append(row)
            # Every page of one list carries the version of its first.
            version, more = str(meta.get("resourceVersion") or ""), str(meta.get("continue") or "")
            if self._stopping.is_set():
                return
            if not more:
                break
        if not version:
            raise KubeError(f"{self._path}: a list without resourceVersion", reason="Garbage")
        self._cache.replace(self._resource, rows)
        self._version = version
        self.tally.lists += 1
        logger.debug("listed resource=%s rows=%d version=%s", self._resource, len(rows), version)

    def _watch(self) -> None:
        if self._version is None or self._stopping.is_set():
            return
        seconds = max(1, round(self._pace.watch_s * self._rng.uniform(0.8, 1.2)))
        stream = self._api.watch(
            self._path,
            params={
                "resourceVersion": self._version,
                "allowWatchBookmarks": True,
                "timeoutSeconds": seconds,
            },
            read_timeout_s=seconds + self._pace.grace_s,
        )
        self._stream = stream
        self.tally.watches += 1
        began_s, lines = monotonic_s(), 0
        try:
            with stream:
                # `stop` may have come before there was a stream to close.
                for line in () if self._stopping.is_set() else stream:
                    lines += 1
                    self._take(_loaded(self._path, line))
        finally:
            self._stream = None
        if self._stopping.is_set():
            return
        if not lines and monotonic_s() - began_s < _CONFIRMED_S:
            raise KubeError(
                f"watch {self._path}: the server ended it at once without a word; "
                "is there a proxy between?",
                reason="TooShort",
            )
        self._cache.alive(self._resource)

    def _take(self, event: dict[str, Any]) -> None:
        """One line of a watch."""
        kind, raw = event.get("type"), event.get("object")
        if not isinstance(raw, dict):
            raise KubeError(f"watch {self._path}: an event without object", reason="Garbage")
        if kind == "ERROR":
            raise error_of_status(f"watch {self._path}", raw)
        version = (raw.get("metadata") or {}).get("resourceVersion")
        if kind == "BOOKMARK":
            self._check_not_rewound(version)
            self.tally.bookmarks += 1
        elif kind in ("ADDED", "MODIFIED", "DELETED"):
            self.tally.events += 1
            row = self._row(raw)
            if row is not None and kind == "DELETED":
                self._cache.drop(self._resource, row.namespace, row.name)
            elif row is not None:
                self._cache.put(self._resource, row)
        self._cache.alive(self._resource)
        self._failures = 0
        if version:
            self._version = str(version)

    def _check_not_rewound(self, version: Any) -> None:
        """A store put back to an older copy counts versions anew: our watch would stay silent."""
        known = self._version or ""
        if str(version).isdecimal() and known.isdecimal() and int(version) < int(known):
            raise KubeError(
                f"watch {self._path}: the server is at version {version}, this watch at {known}; "
                "was its store restored?",
                reason="Rewound",
            )

    def _row(self, raw: Raw) -> Any:
        try:
            return self._decode(raw, self._pool)
        except MALFORMED as error:
            self.tally.malformed += 1
            if self.tally.malformed == 1:
                logger.warning(
                    "object left out resource=%s error=%r", self._resource, error, exc_info=True
                )
            return None

    def _failed(self, error: KubeError) -> float:
        """Note a failure; returns the pause after it."""
        self._failures += 1
        self.tally.failures += 1
        if error.status == _GONE or error.reason in _LOST:
            self._version = None  # cannot be continued: list again
        if error.status == _GONE and self._failures == 1:
            logger.info("relist resource=%s reason=%s", self._resource, error)
            return 0.0
        self._cache.troubled(self._resource, str(error))
        pace = self._pace
        pause_s = min(pace.pause_s_max, pace.pause_s_min * 2.0 ** min(self._failures - 1, 16))
        pause_s *= float(self._rng.uniform(0.5, 1.0))
        if error.retry_after_s is not None:
            asked_s = min(error.retry_after_s, pace.retry_after_s_max)
            pause_s = max(pause_s, asked_s * float(self._rng.uniform(1.0, 1.25)))
        logger.log(
            logging.WARNING if self._failures in (1, 3, 10) else logging.DEBUG,
            "reflector waits resource=%s failures=%d pause_s=%.1f error=%s",
            self._resource,
            self._failures,
            pause_s,
            error,
        )
        return pause_s


def _loaded(path: str, text: bytes) -> dict[str, Any]:
    """A JSON object.

    Raises:
        KubeError: it is none.
    """
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise KubeError(f"{path}: {text[:40]!r} is no JSON ({error})", reason="Garbage") from error
    if not isinstance(found, dict):
        raise KubeError(f"{path}: {text[:40]!r} is no JSON object", reason="Garbage")
    return found
