"""One collection of an API server, in process: lists by pages, watches from a version, forgets."""

from __future__ import annotations

import json
from collections import deque

from ops.errors import KubeError

EXPIRED = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}


def expired() -> KubeError:
    return KubeError("410 Expired", status=410, reason="Expired")


class Stream:
    """Lines of a watch; an exception among them is raised in its place."""

    def __init__(self, lines) -> None:
        self._lines, self.closed = iter(lines), False

    def __enter__(self):
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def __iter__(self):
        return self

    def __next__(self):
        line = next(self._lines)
        if isinstance(line, Exception):
            raise line
        return line

    def close(self) -> None:
        self.closed = True


class FakeCollection:
    """What a reflector needs of `KubeApi`.

    `faults` are used up, one by each call that is made: an exception is raised; a function
    changes the lines of a watch; None lets the call pass.
    """

    def __init__(self, *, expired_in_stream: bool = True, bookmarks: bool = True) -> None:
        self.version, self.oldest = 10, 0
        self.objects, self.snapshots = {}, {10: {}}
        self.history, self.faults, self.asked = [], deque(), []
        self.expired_in_stream, self.bookmarks = expired_in_stream, bookmarks
        self._lists = {}

    def put(self, raw) -> None:
        meta = raw["metadata"]
        key = (meta.get("namespace", ""), meta["name"])
        self._write("MODIFIED" if key in self.objects else "ADDED", key, raw)

    def delete(self, namespace: str, name: str) -> None:
        if (namespace, name) in self.objects:
            self._write("DELETED", (namespace, name), self.objects[(namespace, name)])

    def compact(self) -> None:
        """Forget the history and every list that is being paged."""
        self.oldest = self.version
        self.history.clear()
        self._lists.clear()

    def rewind(self, versions: int) -> None:
        """An older copy of the store is put back."""
        self.version = max(v for v in self.snapshots if v <= max(10, self.version - versions))
        self.objects = dict(self.snapshots[self.version])
        self.history = [event for event in self.history if event[0] <= self.version]
        self.snapshots = {v: s for v, s in self.snapshots.items() if v <= self.version}
        self.oldest = min(self.oldest, self.version)

    def _write(self, kind, key, raw) -> None:
        self.version += 1
        raw = {**raw, "metadata": {**raw["metadata"], "resourceVersion": str(self.version)}}
        if kind == "DELETED":
            del self.objects[key]
        else:
            self.objects[key] = raw
        self.history.append((self.version, kind, raw))
        self.snapshots[self.version] = dict(self.objects)

    # --- KubeApi

    def get_bytes(self, path, *, params=None, timeout_s=None) -> bytes:
        self.asked.append(("list", dict(params)))
        fault = self.faults.popleft() if self.faults else None
        if isinstance(fault, Exception):
            raise fault
        mark = params.get("continue")
        if mark is None:
            version, rest = self.version, sorted(self.objects)
        elif mark in self._lists:
            version, rest = self._lists.pop(mark)
        else:
            raise expired()
        page, rest = rest[: params["limit"]], rest[params["limit"] :]
        meta = {"resourceVersion": str(version)}
        if rest:
            meta["continue"] = f"mark-{len(self.asked)}"
            self._lists[meta["continue"]] = (version, rest)
        items = [self.snapshots[version][key] for key in page]
        return json.dumps({"metadata": meta, "items": items}).encode()

    def watch(self, path, *, params=None, read_timeout_s):
        self.asked.append(("watch", dict(params)))
        fault = self.faults.popleft() if self.faults else None
        if isinstance(fault, Exception):
            raise fault
        since = int(params["resourceVersion"])
        if since < self.oldest:
            if not self.expired_in_stream:
                raise expired()
            return Stream([_line("ERROR", EXPIRED)])
        lines = [_line(kind, raw) for version, kind, raw in self.history if version > since]
        if self.bookmarks and params["allowWatchBookmarks"]:
            mark = {"metadata": {"resourceVersion": str(self.version)}}
            lines.append(_line("BOOKMARK", mark))
        return Stream(lines if fault is None else fault(lines))


def _line(kind, raw) -> bytes:
    return json.dumps({"type": kind, "object": raw}).encode()
