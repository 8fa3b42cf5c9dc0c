"""The pages of one fleet's incidents: asked of the worker after each turn of an incident.

One question at a time and the newest state only: an incident that moves while its page is made is
asked for again. A worker that is away costs pages, never the record.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Protocol

from ops.clock import monotonic_s
from ops.controller.fleet.diagnosing import BEFORE_S, WINDOW_S_MAX
from ops.controller.incidents.book import Entry
from ops.controller.resources.fleet import FleetSpec
from ops.controller.worker_link.wire import FleetPlace, ReportAnswer, ReportRequest, Window
from ops.errors import OpsError, WorkerAwayError, WorkerBusyError
from ops.state import Alert, Decision, DecisionKind, Incident, Snapshot

logger = logging.getLogger(__name__)
# What makes an incident's page another one.
TURNS = frozenset(
    {
        DecisionKind.DIAGNOSE,
        DecisionKind.ABSTAIN,
        DecisionKind.REFUSE,
        DecisionKind.MITIGATED,
        DecisionKind.RESOLVE,
    }
)
SETTLE_S = 2.0  # decisions of the same moment share a page
PAUSE_S, PAUSE_S_MAX, DOUBLINGS_MAX = 5.0, 120.0, 8
FAILURES_MAX = 8  # of one incident; its next turn begins anew
WANTED_MAX, WANTED_S_MAX = (
    200,
    3600.0,
)  # pages that wait, and for how long: an object may never come
ALERTS_MAX = 200  # of one incident that a page shows


class AskReport(Protocol):
    """Sends a question without waiting; `wake` is called when the answer is there."""

    def __call__(self, request: ReportRequest, *, wake: Callable[[], None]) -> Future[ReportAnswer]:
        """The answer, or a WorkerError in it."""
        ...


@dataclass(slots=True)
class _Wanted:
    incident: Incident
    due_s: float
    tries: int = 0  # without a page
    failures: int = 0  # of them, those that the worker had a hand in
    name: str = ""  # of the object


@dataclass(slots=True, kw_only=True)
class ReportQueue:
    """Pages of one fleet. Called from one thread at a time."""

    place: Callable[[FleetSpec], FleetPlace]
    ask: AskReport
    wake: Callable[[], None]
    entry_of: Callable[[str], Entry | None]
    clock: Callable[[], float] = monotonic_s
    _wanted: dict[str, _Wanted] = field(default_factory=dict)
    _alerts: dict[str, tuple[Alert, ...]] = field(default_factory=dict)
    _asked: tuple[str, _Wanted, Future[ReportAnswer]] | None = None

    def note(self, decisions: Iterable[Decision], alerts: tuple[Alert, ...]) -> None:
        """Want a page of every incident that has turned."""
        for decision in decisions:
            incident = decision.incident
            if incident is None:
                continue
            if alerts and decision.kind is DecisionKind.ALERT:
                known = (*self._alerts.get(incident.incident_id, ()), *alerts)
                self._alerts[incident.incident_id] = known[:ALERTS_MAX]
            if decision.kind in TURNS:
                wanted = self._wanted.get(incident.incident_id)
                due_s = wanted.due_s if wanted and not wanted.tries else self.clock() + SETTLE_S
                self._wanted[incident.incident_id] = _Wanted(incident, due_s)
        self._give_up_old()

    def forget(self, known: Iterable[str]) -> None:
        """Drop what belongs to incidents that the loop has dropped."""
        kept = set(known)
        self._alerts = {key: value for key, value in self._alerts.items() if key in kept}

    def turn(self, snapshot: Snapshot, spec: FleetSpec) -> tuple[str, ReportAnswer] | None:
        """Take a page that came, and ask for the next one that is due.

        Returns:
            The incident's id in the loop and its page, None while there is none.
        """
        came = self._take()
        if self._asked is None:
            due = [
                (wanted.due_s, key)
                for key, wanted in self._wanted.items()
                if wanted.due_s <= self.clock() and self.entry_of(key) is not None
            ]
            if due:
                self._ask(min(due)[1], snapshot, spec)
        return came

    def _give_up_old(self) -> None:
        newest_first = sorted(self._wanted.items(), key=lambda item: -item[1].due_s)
        oldest_s = self.clock() - WANTED_S_MAX
        kept = {key: one for key, one in newest_first[:WANTED_MAX] if one.due_s >= oldest_s}
        if len(kept) < len(self._wanted):
            logger.warning("reports given up number=%d", len(self._wanted) - len(kept))
            self._wanted = kept

    def _take(self) -> tuple[str, ReportAnswer] | None:
        if self._asked is None or not self._asked[2].done():
            return None
        (key, wanted, future), self._asked = self._asked, None
        error = None if future.cancelled() else future.exception()
        if not future.cancelled() and error is None:
            return key, future.result()
        # What the worker never saw is no fault of the page: it may be away for hours.
        unseen = isinstance(error, WorkerAwayError | WorkerBusyError)
        wanted.tries += 1
        wanted.failures += not unseen
        pause_s = min(PAUSE_S * 2.0 ** min(wanted.tries, DOUBLINGS_MAX), PAUSE_S_MAX)
        if isinstance(error, WorkerBusyError):
            pause_s = error.retry_after_s
        if wanted.failures > FAILURES_MAX:
            logger.error("report given up incident=%s: %s", wanted.name, error)
        elif key not in self._wanted:  # else it has turned again and is asked for anyway
            wanted.due_s = self.clock() + pause_s
            self._wanted[key] = wanted
            expected = error is None or isinstance(error, OpsError)
            logger.warning(
                "no report incident=%s, again in %.0fs: %s", wanted.name, pause_s, error,
                exc_info=None if expected else error,
            )  # fmt: skip
        return None

    def _ask(self, key: str, snapshot: Snapshot, spec: FleetSpec) -> None:
        wanted, entry = self._wanted.pop(key), self.entry_of(key)
        assert entry is not None, key
        wanted.name = entry.name
        began_s, now_s = wanted.incident.began_at_s, snapshot.now_s
        start_s = min(max(began_s - BEFORE_S, now_s - WINDOW_S_MAX), now_s - 60.0)
        request = ReportRequest(
            place=self.place(spec),
            window=Window(start_s=start_s, end_s=now_s),
            incident=entry.name,
            decisions=tuple(entry.decisions),
            alerts=self._alerts.get(key, ()),
            pods=snapshot.pods,
            services=snapshot.services,
            changes=snapshot.changes,
            events=snapshot.events,
            slos=snapshot.slos,
            now_s=now_s,
            ranking_sha256=entry.wanted.ranking_sha256 if entry.wanted else "",
        )
        self._asked = (key, wanted, self.ask(request, wake=self.wake))
