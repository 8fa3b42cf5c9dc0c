"""A live incident on the clock of its report, whose second zero is the start of the page.

The pages count seconds from a start and are told where it lies. So every moment of a real cluster
is moved once, here, and nothing behind needs to know of the Unix epoch.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from ops.clock import moment_text
from ops.state import ActionRecord, Decision, Incident
from rca.state import ChangeEvent, MetricFrame, RankedCause, RcaResult, Symptom

# The loop writes moments of its own clock into reasons, e.g. "since 1790000000 s".
_MOMENT = re.compile(r"\b(\d{10}) s\b")


@dataclass(frozen=True, slots=True)
class ReportClock:
    """Moves moments so that `start_s` (Unix seconds) becomes zero."""

    start_s: float

    def at(self, moment_s: float) -> float:
        """One moment."""
        return moment_s - self.start_s

    def maybe(self, moment_s: float | None) -> float | None:
        """One moment, or None that stays None."""
        return None if moment_s is None else moment_s - self.start_s

    def frame(self, frame: MetricFrame) -> MetricFrame:
        """A frame; values that are themselves moments (start times) stay as they were scraped."""
        return replace(frame, times_s=frame.times_s - self.start_s)

    def changes(self, changes: Iterable[ChangeEvent]) -> tuple[ChangeEvent, ...]:
        """Change events."""
        return tuple(replace(change, at_s=self.at(change.at_s)) for change in changes)

    def decision(self, decision: Decision) -> Decision:
        """A decision with the incident in it."""
        return replace(
            decision,
            at_s=self.at(decision.at_s),
            reason=dated(decision.reason),
            incident=None if decision.incident is None else self.incident(decision.incident),
        )

    def incident(self, incident: Incident) -> Incident:
        """An incident with its result and its actions."""
        return replace(
            incident,
            symptom=self.symptom(incident.symptom),
            began_at_s=self.at(incident.began_at_s),
            detected_at_s=self.at(incident.detected_at_s),
            diagnosed_at_s=self.maybe(incident.diagnosed_at_s),
            mitigated_at_s=self.maybe(incident.mitigated_at_s),
            resolved_at_s=self.maybe(incident.resolved_at_s),
            result=None if incident.result is None else self.result(incident.result),
            actions=tuple(map(self._record, incident.actions)),
        )

    def symptom(self, symptom: Symptom) -> Symptom:
        """A symptom."""
        return replace(
            symptom,
            began_at_s=self.at(symptom.began_at_s),
            detected_at_s=self.at(symptom.detected_at_s),
        )

    def result(self, result: RcaResult) -> RcaResult:
        """A ranking."""
        return replace(
            result,
            began_at_s=self.at(result.began_at_s),
            reason=dated(result.reason),
            causes=tuple(map(self._cause, result.causes)),
        )

    def _cause(self, cause: RankedCause) -> RankedCause:
        evidence = tuple(
            replace(item, onset_s=self.maybe(item.onset_s), text=dated(item.text))
            for item in cause.evidence
        )
        return replace(cause, onset_s=self.maybe(cause.onset_s), evidence=evidence)

    def _record(self, record: ActionRecord) -> ActionRecord:
        return replace(
            record,
            decided_at_s=self.at(record.decided_at_s),
            checked_at_s=self.maybe(record.checked_at_s),
        )


def dated(text: str) -> str:
    """A text whose Unix seconds are written as moments."""
    return _MOMENT.sub(lambda found: moment_text(float(found[1])), text)
