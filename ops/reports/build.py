"""Report of a run from plain data: minutes, decisions, frames. Nothing is simulated here."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ops.catalogue import Catalogue
from ops.reports import build_done, build_lanes, build_next, build_steps, build_story, words
from ops.reports.build_candidates import candidates_of
from ops.reports.build_demand import demand_of, usual_again
from ops.reports.build_evidence import Measured, measure, series_of
from ops.reports.build_findings import findings_of, with_users
from ops.reports.build_gaps import gaps_of
from ops.reports.build_harm import linked
from ops.reports.build_lanes import MinuteRow
from ops.reports.build_spread import cause_onset_s, spread_of
from ops.reports.calibration import CalibrationBin, calibrated
from ops.reports.model import IncidentReport, RequestLedger, RunReport
from ops.reports.parts import (
    Cause,
    Change,
    ClockBase,
    Command,
    EvidenceSeries,
    Finding,
    Lane,
    MissingData,
)
from ops.reports.reach import Reach
from ops.state import Decision, Incident, SloTarget
from rca.state import (
    CONTRADICTION,
    ChangeEvent,
    MetricFrame,
    RankedCause,
    RcaResult,
)

_LANES_BEFORE_S, _LANES_AFTER_S = 1800.0, 1800.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """Everything that a report is made of.

    Attributes:
        minutes: what users got, as it happened; None where the loop did not run.
        minutes_without: the same in the world without the loop; None = not run.
        decisions: the journal, oldest first.
        frames: by incident id, what the loop saw when the incident ended or the run did.
        changes: every change event of the run that the loop could read.
        reach: how kubectl finds what runs a service; None = by its name.
    """

    fleet: str
    clock: ClockBase
    duration_s: float
    seed: int
    load: float | None
    slos: tuple[SloTarget, ...]
    minutes: Sequence[MinuteRow] | None
    minutes_without: Sequence[MinuteRow] | None
    decisions: tuple[Decision, ...]
    frames: Mapping[str, MetricFrame] = field(default_factory=dict)
    changes: tuple[ChangeEvent, ...] = ()
    ledger: RequestLedger | None = None
    calibration: tuple[CalibrationBin, ...] = ()
    calibration_source: str = "in the sweep"
    commands: tuple[Command, ...] = ()
    replay_note: str = ""
    versions: tuple[tuple[str, str], ...] = ()
    watched: tuple[str, ...] = ()
    report_path: str = ""
    reach: Reach | None = None


def build_report(facts: RunFacts, catalogue: Catalogue) -> RunReport:
    """The report of a run with its incidents in the order in which they began."""
    last: dict[str, Incident] = {}
    for decision in facts.decisions:
        if decision.incident is not None:
            last[decision.incident.incident_id] = decision.incident
    known = [build_story.confirmed(incident, facts.decisions) for incident in last.values()]
    ordered = sorted(known, key=lambda i: (i.began_at_s, i.incident_id))
    happened = facts.minutes if facts.minutes is not None else facts.minutes_without or ()
    return RunReport(
        fleet=facts.fleet,
        clock=facts.clock,
        duration_s=facts.duration_s,
        seed=facts.seed,
        load=facts.load,
        ledger=facts.ledger,
        lanes=build_lanes.lanes_of(
            happened,
            facts.minutes_without if facts.minutes is not None else None,
            facts.slos,
            start_s=0.0,
            end_s=facts.duration_s,
        ),
        changes=tuple(
            Change(at_s=c.at_s, title=build_story.change_title(c), region=c.region)
            for c in facts.changes
        ),
        incidents=linked(
            [build_incident(i, facts, catalogue) for i in ordered],
            {i.incident_id: i for i in ordered},
            facts.decisions,
        ),
        gaps=gaps_of(facts.decisions, facts.clock, facts.changes),
        commands=facts.commands,
        replay_note=facts.replay_note,
        versions=facts.versions,
        watched=facts.watched,
        report_path=facts.report_path,
        loop=facts.minutes is not None,
    )


def build_incident(incident: Incident, facts: RunFacts, catalogue: Catalogue) -> IncidentReport:
    """The report of one incident in its last state."""
    result = incident.result
    named = incident.diagnosed_at_s is not None and result is not None and bool(result.causes)
    cause = result.causes[0] if named and result is not None else None
    decisions = [d for d in facts.decisions if d.incident_id == incident.incident_id]
    frame = facts.frames.get(incident.incident_id)
    measured = measure(frame, incident) if frame is not None else None
    region, rows = incident.symptom.region, facts.minutes or ()
    miss_s = build_lanes.first_miss_s(rows, facts.slos, region=region, from_s=incident.began_at_s)
    miss_s = incident.detected_at_s if miss_s is None else miss_s
    page_s = _page_at_s(incident, facts)
    onset_s = cause_onset_s(cause, incident, measured) if cause else None
    changes = build_story.changes_of(facts.changes, incident, cause, cause_onset_s=onset_s)
    changes += build_story.own_changes(facts.decisions, incident, cause)
    series = _series(measured, incident, catalogue, cause)
    usual = _usual_again(series, frame, cause)
    until_s = _end_s(incident, facts.duration_s)
    lanes = _lanes(incident, facts, until_s)
    nodes, arcs = spread_of(incident, cause, changes, lanes, measured, first_miss_s=miss_s)
    scene = build_next.scene_of(
        incident, decisions, cause, usual=usual, frame=frame,
        end_s=facts.duration_s, clock=facts.clock, reach=facts.reach,
    )  # fmt: skip
    tonight = build_next.tonight_of(scene)
    return IncidentReport(
        incident_id=incident.incident_id,
        phase=incident.phase,
        phase_at_s=_phase_at_s(incident),
        began_at_s=incident.began_at_s,
        first_miss_s=miss_s,
        detected_at_s=incident.detected_at_s,
        diagnosed_at_s=incident.diagnosed_at_s,
        mitigated_at_s=incident.mitigated_at_s,
        resolved_at_s=incident.resolved_at_s,
        page_at_s=page_s,
        cause=_cause(cause, facts, onset_s, str(scene.place)) if cause else None,
        now=build_steps.now_of(incident, decisions, cause, usual=usual),
        now_at_s=facts.duration_s if incident.resolved_at_s is None else incident.resolved_at_s,
        abstained="" if cause else _why_not(result),
        candidates=candidates_of(
            result,
            named=cause is not None,
            region=region,
            back=build_story.rolled_back(facts.changes, incident),
        ),
        findings=with_users(_findings(result, frame, catalogue), series, lanes),
        lanes=lanes,
        changes=changes,
        next_step=tonight,
        morning=build_next.without_repeats(build_next.morning_of(scene), tonight),
        done=build_done.done_of(incident, decisions, usual=usual),
        done_note=build_done.done_note(incident, decisions),
        marks=build_story.marks_of(
            decisions, incident, changes, first_miss_s=miss_s, page_s=page_s
        ),
        nodes=nodes,
        arcs=arcs,
        series=series,
        lost=build_lanes.lost_minutes(
            rows,
            facts.minutes_without,
            facts.slos,
            start_s=incident.began_at_s,
            end_s=until_s,
        ),
        missing=tuple(MissingData(what=text) for text in (result.missing if result else ())),
        checked=result.checked if result else (),
        would_settle=result.would_settle if result else (),
    )


def _lanes(incident: Incident, facts: RunFacts, until_s: float) -> tuple[Lane, ...]:
    return build_lanes.lanes_of(
        facts.minutes or (),
        facts.minutes_without,
        facts.slos,
        start_s=max(0.0, incident.began_at_s - _LANES_BEFORE_S),
        end_s=until_s,
        since_s=incident.began_at_s,
    )


def _usual_again(
    series: tuple[EvidenceSeries, ...], frame: MetricFrame | None, cause: RankedCause | None
) -> bool | None:
    if cause is None or frame is None:
        return None
    return usual_again(series, float(frame.times_s[-1]))


def _page_at_s(incident: Incident, facts: RunFacts) -> float | None:
    """When people would have been paged without the loop; None = not, or that was not run."""
    if facts.minutes_without is None:
        return None
    return build_lanes.page_at_s(
        facts.minutes_without,
        facts.slos,
        region=incident.symptom.region,
        from_s=incident.began_at_s,
    )


def _end_s(incident: Incident, duration_s: float) -> float:
    last_s = incident.resolved_at_s
    return duration_s if last_s is None else min(duration_s, last_s + _LANES_AFTER_S)


def _phase_at_s(incident: Incident) -> float:
    for at_s in (incident.resolved_at_s, incident.mitigated_at_s, incident.diagnosed_at_s):
        if at_s is not None:
            return at_s
    return incident.detected_at_s


def _series(
    measured: Measured | None,
    incident: Incident,
    catalogue: Catalogue,
    cause: RankedCause | None,
) -> tuple[EvidenceSeries, ...]:
    if measured is None:
        return ()
    demand = demand_of(measured, incident, cause)
    return (*((demand,) if demand else ()), *series_of(measured, incident, catalogue))


def _cause(cause: RankedCause, facts: RunFacts, onset_s: float | None, place: str) -> Cause:
    return Cause(
        entity=cause.entity,
        resource_class=cause.resource_class,
        confidence=cause.confidence,
        onset_s=onset_s,
        calibration=calibrated(cause.confidence, facts.calibration, facts.calibration_source),
        place=place,
        against="; ".join(e.text for e in cause.evidence if e.channel == CONTRADICTION),
    )


def _why_not(result: RcaResult | None) -> str:
    if result is None:
        return "No diagnosis was made yet."
    return words.capital(words.arrows(result.reason)).rstrip(".") + "."


def _findings(
    result: RcaResult | None, frame: MetricFrame | None, catalogue: Catalogue
) -> tuple[Finding, ...]:
    if result is None or not result.causes:
        return ()
    first = result.causes[0]
    roles = {}
    if frame is not None:
        wanted = {e.series for e in first.evidence if e.series is not None}
        roles = {
            series: role
            for series, role in zip(frame.series, frame.roles, strict=True)
            if series in wanted and role is not None
        }
    return findings_of(first.evidence, catalogue=catalogue, roles=roles, cause=first)


def good_ratio(rows: Sequence[MinuteRow], *, from_s: float) -> float:
    """Share of good requests of the minutes that began at or after `from_s`; NaN = none came."""
    counted = [(n, bad) for _, _, minute, n, bad in rows if minute * 60.0 >= from_s]
    requests = sum(n for n, _ in counted)
    return 1.0 - sum(bad for _, bad in counted) / requests if requests else math.nan
