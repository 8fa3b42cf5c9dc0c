"""The report of a live incident: what was watched, what was decided, on a real clock.

There is no world without us to compare with, nothing was simulated, and what is recommended was
not carried out; the page says each of these, and leaves away what it cannot know.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ops import __version__
from ops.catalogue import Catalogue
from ops.controller.live_commands import all_here
from ops.controller.worker.live_now import bad_now
from ops.controller.worker.report_clock import ReportClock
from ops.controller.worker_link.wire import FleetPlace, ReportRequest
from ops.reports import ClockBase, Command, RunReport, words
from ops.reports.build import RunFacts, build_report
from ops.reports.build_lanes import MINUTE_S, MinuteRow
from ops.reports.calibration import load_calibration
from ops.reports.reach import AsSeen
from ops.slo import Count, SloMeter, advance, bads, totals
from ops.state import Decision, Incident, IncidentPhase, SloTarget
from rca.state import MetricFrame
from rca.verdict import LEADS


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What a report is made of, besides the request.

    Attributes:
        frame: metrics of the whole page.
        bundle: path of the bundle, empty where none was written.
        ranking_sha256: of the ranking that the page shows.
    """

    frame: MetricFrame
    bundle: str = ""
    ranking_sha256: str = ""


def live_report(request: ReportRequest, watched: Watched, catalogue: Catalogue) -> RunReport:
    """The report of one incident as it stands at `request.now_s`."""
    first_s = float(watched.frame.times_s[0]) if len(watched.frame.times_s) else request.now_s
    start_s = math.floor(min(first_s, request.window.start_s) / MINUTE_S) * MINUTE_S
    clock = ReportClock(start_s)
    frame = clock.frame(watched.frame)
    slos = with_classes(request.slos, frame)
    decisions = tuple(map(clock.decision, request.decisions))
    bins, counted = load_calibration()
    base, until_s = ClockBase(epoch_s=start_s, simulated=False), clock.at(request.now_s)
    minutes = minute_rows(frame, slos, until_s=until_s)
    facts = RunFacts(
        fleet=_fleet(request.place),
        clock=base,
        duration_s=until_s,
        seed=request.seed,
        load=None,
        slos=slos,
        minutes=minutes,
        minutes_without=None,
        decisions=decisions,
        frames={d.incident_id: frame for d in decisions if d.incident_id and len(frame.times_s)},
        changes=clock.changes(request.changes),
        calibration=bins,
        calibration_source=counted,
        commands=_commands(watched),
        replay_note=f"Expected: ranking sha256 {watched.ranking_sha256}." if watched.bundle else "",
        versions=_foot(request, watched, counted if bins else ""),
        watched=(
            words.count(len(frame.series), "series", "series"),
            words.count(len(request.changes), "change"),
            words.count(len(request.events), "Kubernetes event"),
        ),
        reach=AsSeen(known_pods=request.pods, known_services=request.services),
    )
    report = build_report(facts, catalogue)
    # The loop numbers incidents from one at each start; people know them by their object.
    named = tuple(replace(one, incident_id=request.incident) for one in report.incidents[-1:])
    last = newest(decisions)
    if last is not None and last.phase in (IncidentPhase.OPEN, IncidentPhase.DIAGNOSED):
        told = bad_now(minutes, last.symptom, until_s=until_s, clock=base)
        named = tuple(replace(one, now=f"{one.now} {told}") for one in named)
    return all_here(replace(report, incidents=named), namespace=request.place.namespace)


def minute_rows(
    frame: MetricFrame, slos: tuple[SloTarget, ...], *, until_s: float
) -> list[MinuteRow]:
    """Requests and bad ones per region, class and whole minute, from what was scraped.

    A minute without a sample is left out: nothing is known of it. Counters tell when requests
    ended, not when they came, so a slow request counts in the minute of its end.
    """
    meter = advance(SloMeter(), frame, slos, history_s=math.inf)
    if not len(meter.times_s):
        return []
    cumulative, times_s = meter.cumulative, meter.times_s
    rows: list[MinuteRow] = []
    edges = np.arange(0.0, until_s + MINUTE_S, MINUTE_S)
    at = np.searchsorted(times_s, edges, side="right") - 1
    for minute in range(len(edges) - 1):
        low, high = int(at[minute]), int(at[minute + 1])
        if high <= low:
            continue
        counts = cumulative[high] - (cumulative[low] if low >= 0 else 0.0)
        known = counts[:, Count.KNOWN] > 0
        for i, (region, slo_class) in enumerate(meter.keys):
            if known[i]:
                total, bad = float(totals(counts[i])), float(bads(counts[i]))
                rows.append((region, slo_class, minute, round(total), round(bad)))
    return rows


def with_classes(slos: Sequence[SloTarget], frame: MetricFrame) -> tuple[SloTarget, ...]:
    """The SLOs, and one without limits for each class that is measured and has none."""
    known = {slo.name for slo in slos}
    found = {
        series.label("slo_class")
        for series, role in zip(frame.series, frame.roles, strict=True)
        if role is not None and role.role == "frontend_requests"
    }
    free = [
        SloTarget(name=name, ttft_s=math.inf, tpot_s=math.inf) for name in sorted(found - known)
    ]
    return (*slos, *free)


def newest(decisions: Sequence[Decision]) -> Incident | None:
    """The incident in its last state."""
    found = [d.incident for d in decisions if d.incident is not None]
    return found[-1] if found else None


def _fleet(place: FleetPlace) -> str:
    where = f" on {place.cluster}" if place.cluster else ""
    return f"{place.namespace}/{place.fleet}{where}"


def _commands(watched: Watched) -> tuple[Command, ...]:
    if not watched.bundle:
        return ()
    return (Command(label="Replay", text=f"midwatch incident diagnose {watched.bundle}"),)


def _foot(request: ReportRequest, watched: Watched, counted: str) -> tuple[tuple[str, str], ...]:
    frame, place = watched.frame, request.place
    rows = [
        ("Made by", f"midwatch {__version__}"),
        ("World", f"a real cluster{f', {place.cluster}' if place.cluster else ''}: "
         f"namespace {place.namespace}, fleet {place.fleet}"
         f"{f', {len(request.pods):,} pods' if request.pods else ''}"),
        ("Metrics", f"endpoint {place.endpoint}, {len(frame.series):,} series, "
         f"{len(frame.times_s):,} rows of {frame.step_s:g} s"),
        ("Actions", "recommended at most: midwatch changed nothing in this cluster"),
        ("Not known", "what users would have got without midwatch; that is measured only where "
         "a fleet is simulated"),
    ]  # fmt: skip
    last = newest(request.decisions)
    if last is not None and last.result is not None:
        told = [t.removeprefix(LEADS) for t in last.result.checked if t.startswith(LEADS)]
        rows += [("Granger", text) for text in told]
    if watched.ranking_sha256:
        rows.append(("Ranking", f"sha256 {watched.ranking_sha256}"))
    if not watched.bundle:
        rows.append(("Replay", "not possible: no bundle was written, see condition Recorded"))
    if counted:
        rows.append(("Confidence from", counted))
    return tuple(rows)
