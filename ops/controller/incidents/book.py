"""What is wanted of every Incident of one fleet, and what of it the server holds. Pure.

The loop's cases and decisions come in, `ops.controller.incidents.writer` writes what differs. A
case that ended stays here until its end is written.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ops.config import OutcomeConfig
from ops.controller.alerts.digests import add_digests
from ops.controller.conditions import merged
from ops.controller.incidents.conditions import Reported, waiting
from ops.controller.incidents.current import with_current
from ops.controller.incidents.events import News, newest, news_of
from ops.controller.incidents.names import incident_name
from ops.controller.incidents.objects import incident_body
from ops.controller.incidents.restore import Restored
from ops.controller.incidents.status import incident_status, with_answer
from ops.controller.resources.fleet_object import FleetObject
from ops.controller.resources.incident import CurrentStatus, IncidentStatus, Phase
from ops.controller.worker_link.wire import ReportAnswer
from ops.pipeline_state import Case
from ops.state import Alert, Decision, DecisionKind
from rca.state import Symptom

logger = logging.getLogger(__name__)

NEWS_MAX = 32  # of one incident that wait for a server
DECISIONS_MAX = 256  # of one incident that are kept for its report
ENDED_MAX = 200  # whose end could not be written; the oldest are given up beyond it
WINDOW_BEFORE_S = 1200.0  # of metrics before the trouble began
NONE_MEASURED: Mapping[str, CurrentStatus] = {}


@dataclass(slots=True, kw_only=True)
class Entry:
    """One Incident: what the server holds, and what is wanted.

    Attributes:
        uid: empty until the object was created from `body`.
        stored: status as it was last written, None = never by us.
        report: pages that are still to be written.
        news, counts: Events that wait, and how often each was written.
        decisions: its journal, oldest first; from before a restart as far as the object tells.
        gone: a person has deleted it; it is not made again.
        fault: why the server refuses it, empty where it does not.
    """

    name: str
    case: Case | None = None
    uid: str = ""
    generation: int = 1
    stored: IncidentStatus | None = None
    wanted: IncidentStatus | None = None
    body: Mapping[str, Any] | None = None
    report: ReportAnswer | None = None
    reported: bool = False
    news: list[News] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    decisions: list[Decision] = field(default_factory=list)
    gone: bool = False
    fault: str = ""

    @property
    def dirty(self) -> bool:
        """Whether something of the record itself is still to be written."""
        return not self.gone and (not self.uid or self.wanted != self.stored)

    @property
    def on_server(self) -> bool:
        """Whether the server holds the object, as far as is known."""
        return bool(self.uid) and not self.gone

    @property
    def resolved(self) -> bool:
        """Whether the server holds its end: it may be removed when there are too many."""
        return self.stored is not None and self.stored.phase is Phase.RESOLVED and not self.dirty


class IncidentBook:
    """The Incidents of one fleet.

    Attributes:
        fleet: their owner; renew it when the Fleet changes.
        entries: by the loop's incident id, oldest first.
        closed: names of resolved objects without an entry, oldest first.
        given_up: ended incidents whose end was never written, for a metric.
        resolved_after_s: of quiet, as the loop is told.
    """

    def __init__(self, fleet: FleetObject) -> None:
        """Know of nothing yet; `adopt` tells what the server holds."""
        self.fleet = fleet
        self.entries: dict[str, Entry] = {}
        self.closed: list[str] = []
        self.given_up = 0
        self.resolved_after_s = OutcomeConfig().resolved_after_s

    def adopt(self, restored: Restored) -> None:
        """Go on with the objects that the server holds."""
        for record in restored.records:
            if record.case is None:
                if record.resolved:
                    self.closed.append(record.name)
                continue
            self.entries[record.case.incident.incident_id] = Entry(
                name=record.name, case=record.case, uid=record.uid,
                generation=record.generation, stored=record.status, wanted=record.status,
                reported=record.status.report is not None,
                decisions=list(record.journal),
            )  # fmt: skip

    def name_of(self, incident_id: str) -> str:
        """Name of the object of an incident; empty where it is not known."""
        entry = self.entries.get(incident_id)
        return entry.name if entry is not None else ""

    def name_for(self, symptom: Symptom) -> str:
        """Name under which an incident is, or will be, on the server.

        One that was read back keeps its name, whichever release has made it. A symptom may be
        corrected in when it began and how many suffer; it is the same one all the same.
        """
        for entry in self.entries.values():
            if entry.case is not None and _place(entry.case.incident.symptom) == _place(symptom):
                return entry.name
        return incident_name(self.fleet.name, symptom, fleet_uid=self.fleet.uid)

    @property
    def pending(self) -> int:
        """Incidents of which something is still to be written."""
        return sum(entry.dirty for entry in self.entries.values())

    @property
    def trouble(self) -> str:
        """What of it the server refuses, oldest first; empty where nothing is refused."""
        return "; ".join(f"{e.name}: {e.fault}" for e in self.entries.values() if e.fault)

    def take(
        self,
        cases: Sequence[Case],
        decisions: Iterable[Decision],
        *,
        alerts: Sequence[Alert] = (),
        current: Mapping[str, CurrentStatus] = NONE_MEASURED,
        now_s: float,
        seed: int = 0,
    ) -> None:
        """Note what the loop has decided.

        Args:
            cases: all cases of the loop's state.
            decisions: new ones, oldest first.
            current: how bad it is now, by the loop's incident id, where that is measured.
            alerts: those of this turn, for the digests of the incidents that counted some.
        """
        said: dict[str, list[Decision]] = {}
        for decision in decisions:
            said.setdefault(decision.incident_id, []).append(decision)
        for case in cases:
            own = said.get(case.incident.incident_id, [])
            entry = self._entry(case, alerts)
            if entry.gone:
                continue
            before = entry.wanted
            if own or not _same(entry.case, case) or before is None:
                counted = alerts if any(d.kind is DecisionKind.ALERT for d in own) else ()
                self._want(entry, case, own, alerts=counted, now_s=now_s, seed=seed)
            assert entry.wanted is not None, entry.name
            measured = current.get(case.incident.incident_id)
            entry.wanted = with_current(entry.wanted, measured, anyway=entry.wanted != before)
        self._forget({case.incident.incident_id for case in cases})

    def tell_silence(self, trouble: str, *, now_s: float) -> None:
        """Say of every Incident that waits for its first diagnosis whether the worker answers."""
        for entry in self.entries.values():
            wanted = entry.wanted
            said = waiting(wanted.conditions, trouble) if wanted is not None else None
            if wanted is None or said is None:
                continue
            told = merged(wanted.conditions, [said], now_s=now_s, generation=entry.generation)
            entry.wanted = replace(wanted, conditions=told)

    def put_report(self, incident_id: str, answer: ReportAnswer) -> None:
        """Note an Incident's new pages; newer ones take the place of older ones."""
        entry = self.entries.get(incident_id)
        if entry is not None and not entry.gone:
            entry.report = answer

    def put_answers(self, decisions: Iterable[Decision]) -> None:
        """Note what the server says to recommended actions; their decisions carry it."""
        for told in decisions:
            entry = self.entries.get(told.incident_id)
            if entry is None or entry.gone or entry.wanted is None:
                continue
            entry.wanted = with_answer(entry.wanted, told, namespace=self.fleet.namespace)
            same = (told.at_s, told.kind, told.action)
            entry.decisions = [
                told if (one.at_s, one.kind, one.action) == same else one for one in entry.decisions
            ]

    def is_written(self, incident_id: str) -> bool:
        """Whether the server holds all of an Incident's record."""
        entry = self.entries.get(incident_id)
        return entry is not None and entry.on_server and not entry.dirty

    def written(self, entry: Entry, reported: Reported, *, now_s: float) -> None:
        """The pages of an Incident are on the server: its status may say so."""
        entry.report, entry.reported = None, True
        if entry.case is not None:
            self._want(entry, entry.case, [], report=reported, now_s=now_s)

    def _entry(self, case: Case, alerts: Sequence[Alert]) -> Entry:
        incident = case.incident
        entry = self.entries.get(incident.incident_id)
        if entry is None:
            name = self.name_for(incident.symptom)
            body = incident_body(
                name, incident, self.fleet, alerts=alerts,
                window_start_s=incident.began_at_s - WINDOW_BEFORE_S,
            )  # fmt: skip
            entry = self.entries[incident.incident_id] = Entry(name=name, body=body)
        return entry

    def _want(
        self,
        entry: Entry,
        case: Case,
        own: Sequence[Decision],
        *,
        alerts: Sequence[Alert] = (),
        report: Reported | None = None,
        now_s: float,
        seed: int | None = None,
    ) -> None:
        before = entry.wanted
        digests = before.alert_digests if before else ""
        entry.wanted = incident_status(
            case.incident,
            keys=case.keys,
            decisions=own,
            alert_digests=add_digests(digests, (a for a in alerts if a.firing)),
            firing_digests="".join(sorted(case.firing)),
            alert_severity=_severity(alerts),
            report=report,
            seed=(before.seed if before else 0) if seed is None else seed,
            namespace=self.fleet.namespace,
            previous=before,
            now_s=now_s,
            generation=entry.generation,
            resolved_after_s=self.resolved_after_s,
        )
        entry.case = case
        entry.decisions = [*entry.decisions, *own][-DECISIONS_MAX:]
        entry.news = newest([*entry.news, *news_of(own)], NEWS_MAX)

    def _forget(self, known: set[str]) -> None:
        """What the loop has dropped is over; it goes from here when its end is written."""
        ended = [i for i in self.entries if i not in known]
        waiting = [i for i in ended if self.entries[i].dirty]
        for incident_id in ended:
            entry = self.entries[incident_id]
            if entry.dirty and len(waiting) <= ENDED_MAX:
                continue
            if entry.dirty:
                waiting.remove(incident_id)
                self.given_up += 1
                logger.error("incident given up name=%s fault=%s", entry.name, entry.fault)
            elif entry.on_server:
                self.closed.append(entry.name)
            del self.entries[incident_id]


def _place(symptom: Symptom) -> tuple[str, str, float]:
    """What of a symptom is never corrected, and tells it from any other."""
    return symptom.region, symptom.slo_class, symptom.detected_at_s


def _same(old: Case | None, new: Case) -> bool:
    """Whether nothing that a status shows differs."""
    return (
        old is not None
        and old.incident == new.incident
        and old.keys == new.keys
        and old.firing == new.firing
    )


def _severity(alerts: Sequence[Alert]) -> str:
    """The strongest word that the alerts use."""
    told = {alert.labels.get("severity", "").lower() for alert in alerts if alert.firing}
    return next((word for word in ("critical", "page", "warning") if word in told), "")
