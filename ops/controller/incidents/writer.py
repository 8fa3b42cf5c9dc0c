"""Writes what the book of Incidents wants: objects first, then status, reports and Events.

The object is the record, so it is written before anybody is told. What cannot be written stays
wanted and is tried again at the next turn, oldest first; nothing is lost between two tries and
nothing is written twice. Not for several threads at once: one writer per fleet.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol

from ops.adapters.kube.paths import path_of
from ops.controller.incidents.book import Entry, IncidentBook
from ops.controller.incidents.conditions import Reported
from ops.controller.incidents.events import again_body, event_body, event_name, events_path
from ops.controller.incidents.objects import (
    incidents_path,
    merge_of,
    report_body,
    report_name,
)
from ops.controller.resources.fields import ReportRef, to_object
from ops.controller.worker_link.wire import ReportAnswer
from ops.errors import KubeError

logger = logging.getLogger(__name__)

INCIDENTS_MAX = 200  # of one fleet on the server; the oldest resolved ones go
# Faults of one object: the others are written all the same.
OF_ONE_OBJECT = frozenset({400, 404, 409, 413, 422})
REPORT_AGAIN_S = 60.0  # until a page that was refused is sent once more


class Api(Protocol):
    """What is needed of `ops.adapters.kube.api.KubeApi`."""

    def create(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Create an object."""
        ...

    def patch(self, path: str, body: Any) -> dict[str, Any]:
        """Change an object by a merge patch."""
        ...

    def delete(self, path: str) -> dict[str, Any]:
        """Delete an object."""
        ...


class IncidentWriter:
    """Brings the server to what the book says.

    Attributes:
        trouble: why reports or Events are not written, empty where they are. They are no record:
            what fails of them does not hold up a turn, and is tried again.
    """

    def __init__(self, api: Api, book: IncidentBook) -> None:
        """Write with `api` what `book` wants."""
        self._api, self._book = api, book
        self.trouble = ""
        self._report_after_s: dict[str, float] = {}  # by incident, where its page was refused

    def flush(self, *, now_s: float) -> None:
        """Write what is wanted, oldest first.

        Raises:
            KubeError: the server cannot be written to; what is left stays wanted.
            NotLeadingError: another process may lead.
        """
        entries = tuple(self._book.entries.values())
        for entry in entries:
            if not entry.uid and not entry.gone:
                self._of_one(entry, self._create)
        for entry in entries:
            if entry.on_server and entry.dirty:
                self._of_one(entry, self._patch_status)
        self._write_extras(entries, now_s)

    def _write_extras(self, entries: tuple[Entry, ...], now_s: float) -> None:
        """Reports, Events, pruning; what fails of one keeps nothing else from being done."""
        trouble = ""
        waiting = {entry.name for entry in entries if entry.report is not None and not entry.gone}
        again = self._report_after_s.items()
        self._report_after_s = {name: after_s for name, after_s in again if name in waiting}
        steps: list[Callable[[], None]] = [self._prune]
        for entry in entries:
            if entry.on_server:
                steps += [partial(self._write_report, entry, now_s), partial(self._tell, entry)]
        for step in steps:
            try:
                step()
            except KubeError as error:
                trouble = trouble or str(error)
                if error.status not in OF_ONE_OBJECT | {403}:
                    break  # the server is away: the rest would only wait for it, too
        if trouble and trouble != self.trouble:
            logger.warning("report or event not written error=%s", trouble)
        self.trouble = trouble or (self.trouble if self._report_after_s else "")

    @property
    def _namespace(self) -> str:
        return self._book.fleet.namespace

    def _of_one(self, entry: Entry, write: Callable[[Entry], None]) -> None:
        """A fault of one object is noted and does not hold up the others."""
        try:
            write(entry)
        except KubeError as error:
            if error.status not in OF_ONE_OBJECT:
                raise
            if error.status == 404 and entry.uid:
                entry.gone = True  # a person deleted it
                logger.info("incident deleted by somebody name=%s", entry.name)
                return
            if entry.fault != str(error):
                logger.error("incident not written name=%s error=%s", entry.name, error)
            entry.fault = str(error)
        else:
            entry.fault = ""

    def _create(self, entry: Entry) -> None:
        assert entry.body is not None, entry.name
        try:
            stored = self._api.create(incidents_path(self._namespace), entry.body)
        except KubeError as error:
            if error.status != 409:
                raise
            # Ours: the name is made of the Fleet's uid and the incident. Its answer was lost, or
            # the process before this one died. An empty patch of the status tells the uid.
            stored = self._api.patch(incidents_path(self._namespace, entry.name, "status"), {})
        _note(entry, stored)
        logger.info("incident created name=%s", entry.name)

    def _patch_status(self, entry: Entry) -> None:
        assert entry.wanted is not None, entry.name
        before = to_object(entry.stored) if entry.stored is not None else {}
        patch = merge_of(before, to_object(entry.wanted))
        path = incidents_path(self._namespace, entry.name, "status")
        _note(entry, self._api.patch(path, {"status": patch}))
        entry.stored = entry.wanted

    def _write_report(self, entry: Entry, now_s: float) -> None:
        answer = entry.report
        if answer is None or now_s < self._report_after_s.get(entry.name, now_s):
            return
        self._report_after_s[entry.name] = now_s + REPORT_AGAIN_S
        body = report_body(answer, incident=entry.name, uid=entry.uid, fleet=self._book.fleet)
        name = report_name(entry.name)
        folder = path_of("", "v1", "configmaps", self._namespace)
        own = path_of("", "v1", "configmaps", self._namespace, name)
        try:
            if entry.reported:
                self._api.patch(own, body)
            else:
                self._api.create(folder, body)
        except KubeError as error:
            if error.status == 409 and not entry.reported:
                self._api.patch(own, body)
            elif error.status == 404 and entry.reported:  # a person deleted it
                self._api.create(folder, body)
            else:
                raise
        self._report_after_s.pop(entry.name, None)
        self._book.written(entry, _reported(answer, name), now_s=now_s)
        self._of_one(entry, self._patch_status)

    def _tell(self, entry: Entry) -> None:
        """Write the Events that wait; one that the server refuses is dropped with a line."""
        while entry.news:
            one = entry.news[0]
            count = entry.counts.get(one.key, 0)
            try:
                if count:
                    path = events_path(self._namespace, event_name(entry.name, one))
                    self._api.patch(path, again_body(one, count + 1))
                else:
                    self._api.create(
                        events_path(self._namespace),
                        event_body(
                            one, incident=entry.name, namespace=self._namespace, uid=entry.uid
                        ),
                    )
            except KubeError as error:
                if error.status == 409 and not count:  # from before a restart
                    entry.counts[one.key] = 1
                    continue
                if error.status == 404 and count:  # the server drops Events after an hour
                    entry.counts[one.key] = 0
                    continue
                if error.status not in OF_ONE_OBJECT:
                    raise
                logger.warning("event dropped incident=%s error=%s", entry.name, error)
            entry.counts[one.key] = count + 1
            entry.news.pop(0)

    def _prune(self) -> None:
        """Remove the oldest resolved Incidents beyond the limit; open ones always stay."""
        book = self._book
        done = [entry for entry in book.entries.values() if entry.resolved]
        held = len(book.closed) + sum(entry.on_server for entry in book.entries.values())
        while held > INCIDENTS_MAX and (book.closed or done):
            name = book.closed[0] if book.closed else done[0].name
            try:
                self._api.delete(incidents_path(self._namespace, name))
            except KubeError as error:
                if error.status != 404:
                    raise
            logger.info("incident pruned name=%s limit=%d", name, INCIDENTS_MAX)
            held -= 1
            if book.closed:
                book.closed.pop(0)
            else:
                done.pop(0).gone = True


def _note(entry: Entry, stored: Mapping[str, Any]) -> None:
    meta = stored.get("metadata") or {}
    entry.uid = str(meta.get("uid") or entry.uid)
    entry.generation = int(meta.get("generation") or entry.generation)
    if meta.get("deletionTimestamp"):  # it waits for its dependents: nobody reads it any more
        entry.gone = True
        logger.info("incident being deleted by somebody name=%s", entry.name)


def _reported(answer: ReportAnswer, name: str) -> Reported:
    return Reported(
        ref=ReportRef(config_map=name, sha256=answer.sha256, bundle=answer.bundle),
        headline=answer.headline,
        recorded=answer.recorded,
        message=answer.recorded_message,
    )
