"""What ties the suffering of each group of users to a cause, also across incidents."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from ops.reports.build_story import taken_back
from ops.reports.model import IncidentReport
from ops.reports.parts import Lane, Related
from ops.state import ActionKind, Decision, Incident

_MINUTE_S = 60.0


def linked(
    reports: Sequence[IncidentReport],
    incidents: Mapping[str, Incident],
    decisions: Sequence[Decision],
) -> tuple[IncidentReport, ...]:
    """The reports with what midwatch's own shifts did and with every lane tied to a cause."""
    harmed = _harmed(reports, incidents, taken_back(decisions))
    done = []
    for report in reports:
        caused = [b for a, b, _ in harmed if a == report.incident_id]
        by = [(a, region) for a, b, region in harmed if b == report.incident_id]
        related = tuple(
            Related(
                incident_id=b,
                text=f"midwatch's own shift of users hurt {_region(incidents[b])} meanwhile.",
            )
            for b in caused
        ) + tuple(
            Related(
                incident_id=a,
                text=f"midwatch caused this: it sent users of {region} here for another incident.",
            )
            for a, region in by
        )
        others = [other for other in reports if other is not report]
        lanes = tuple(
            replace(
                lane, tie=_tie(lane, report, others, {_region(incidents[b]): b for b in caused})
            )
            for lane in report.lanes
        )
        done.append(replace(report, related=related, lanes=lanes))
    return tuple(done)


def _harmed(
    reports: Sequence[IncidentReport],
    incidents: Mapping[str, Incident],
    back: Mapping[str, float],
) -> list[tuple[str, str, str]]:
    """(incident whose shift did it, incident that it caused, whose users were sent)."""
    return [
        (a.incident_id, b.incident_id, record.action.target.region)
        for a in reports
        for record in incidents[a.incident_id].actions
        if record.action.kind is ActionKind.SHIFT_TRAFFIC
        for b in reports
        if b is not a
        and _region(incidents[b.incident_id]) == record.action.params["to_region"]
        and 0.0
        <= b.began_at_s - record.decided_at_s
        <= back.get(record.action.action_id, math.inf) - record.decided_at_s
    ]


def _region(incident: Incident) -> str:
    return incident.symptom.region


def _tie(
    lane: Lane,
    report: IncidentReport,
    others: Sequence[IncidentReport],
    caused: Mapping[str, str],
) -> str:
    if not lane.minutes_with():
        return ""
    if lane.region in caused:
        return f"hurt by midwatch's own shift of users, see {caused[lane.region]}"
    cause = report.cause
    if cause is not None and lane.region == cause.entity.region:
        return "explained by the cause"
    minutes = _bad_minutes(lane)
    for other in others:
        if other.cause is None or other.cause.entity.region != lane.region:
            continue
        end_s = math.inf if other.resolved_at_s is None else other.resolved_at_s
        if any(other.began_at_s - _MINUTE_S <= at_s <= end_s for at_s in minutes):
            return f"not explained by this cause, see {other.incident_id}"
    return "no cause is named" if cause is None else "not explained by the cause"


def _bad_minutes(lane: Lane) -> list[float]:
    """Starts of the bad minutes that count."""
    starts = (lane.start_s + _MINUTE_S * k for k in range(len(lane.bad_with)))
    return [
        at_s
        for at_s, ratio in zip(starts, lane.bad_with, strict=True)
        if ratio > lane.budget_ratio and at_s + _MINUTE_S > lane.since_s
    ]
