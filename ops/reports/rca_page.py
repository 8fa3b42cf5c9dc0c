"""The page of `midwatch rca rank`: one HTML file without network, figures drawn in SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from ops.reports import rca_sentences as said
from ops.reports import rca_words, spread, svg, traces, words
from ops.reports.lanes import Row
from ops.reports.page import render_page, tenths
from ops.reports.rca_graph_svg import graph_picture
from ops.reports.rca_model import RankReport, Reading, SuspectReport

EVIDENCE_FIRST = 3  # measurements on the first screen
POINTS = 200
COMPARED_MAX = 2  # measurements of the next candidate beside those of the cause
_GROUPS = (
    ("Metrics", ("metric",)),
    ("Spans", ("self-time", "edges", "structure")),
    ("Log lines", ("errors", "sequences")),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """Measurements of one service on one time axis."""

    title: str
    axis: Markup
    rows: list[Row]


def render_rank(report: RankReport) -> str:
    """The whole page."""
    named = report.named() or list(report.suspects[:2])
    others = [] if report.abstained else report.rivals()[:1]
    figures = [f for item in named for f in _figures(item, report, len(named) > 1)]
    for item in others:
        kept = item.readings[:COMPARED_MAX]
        figures += _figures(item, report, True, kept, "the next candidate, for comparison")
    users = _rows(report.users, report)
    return render_page(
        "rca.html.j2",
        "rca.css",
        it=report,
        said=said,
        rca_words=rca_words,
        title=f"{report.incident_id}: {report.headline}",
        tenths=tenths(report.calibration),
        first=_first(report),
        figures=figures,
        users=Figure(title="What users got", axis=_axis(report.users, report), rows=users)
        if users
        else None,
        graph=graph_picture(report.graph, report.clock),
        onset_axis=spread.axis_drawn(report.onsets, report.clock),
        onsets=spread.rows(report.onsets, report.onset_arcs, report.clock) if report.onsets else [],
    )


def _first(report: RankReport) -> list[tuple[str, str, str]]:
    """(figure, what it is, how unusual) of the first screen."""
    rows = []
    named = report.named()
    each = EVIDENCE_FIRST if len(named) < 2 else 1
    for item in named:
        for reading in item.readings[:each]:
            since = ""
            if reading.onset_s is not None:
                since = f"From {said.moment(reading.onset_s, report)}."
            text = f"{reading.text}." if reading.text else ""
            who = said.reading_name(reading)
            if len(named) > 1 and reading.channel != "metric":
                who = f"{item.name}, {who}"
            rows.append((said.figures(reading), who, f"{text} {since}".strip()))
    return rows


def _figures(
    item: SuspectReport,
    report: RankReport,
    say_whose: bool,
    readings: Sequence[Reading] | None = None,
    note: str = "",
) -> list[Figure]:
    found = []
    shown = item.readings if readings is None else readings
    order = [reading.channel for reading in shown]
    groups = [*_GROUPS, ("Other channels", ())]
    groups.sort(key=lambda g: min((order.index(c) for c in g[1] if c in order), default=99))
    for name, channels in groups:
        known = {c for _, group in _GROUPS for c in group}
        mine = [
            r for r in shown if r.channel in channels or (not channels and r.channel not in known)
        ]
        rows = _rows(mine, report)
        if rows:
            title = f"{name} of {item.name}" if say_whose else name
            found.append(
                Figure(
                    title=f"{title}, {note}" if note else title,
                    axis=_axis(mine, report),
                    rows=rows,
                )
            )
    return found


def _time_axis(readings: Sequence[Reading]) -> svg.TimeAxis | None:
    times = [
        at_s
        for reading in readings
        if reading.series is not None and reading.series.times_s
        for at_s in (reading.series.times_s[0], reading.series.times_s[-1])
    ]
    return svg.TimeAxis(min(times), max(times)) if times and max(times) > min(times) else None


def _axis(readings: Sequence[Reading], report: RankReport) -> Markup:
    axis = _time_axis(readings)
    if axis is None:
        return Markup("")
    start = report.compared.fault_start_s
    labels = []
    if start is not None and axis.holds(start):
        labels = [(start, "trouble compared from here", "ps")]
    return svg.time_axis(axis, report.clock, labels)


def _rows(readings: Sequence[Reading], report: RankReport) -> list[Row]:
    axis = _time_axis(readings)
    start = report.compared.fault_start_s
    marks = [] if start is None else [(start, "chg")]
    rows = []
    for reading in readings:
        plot = Markup("")
        if axis is not None and reading.series is not None:
            since_s = start if reading.channel != "metric" and reading.moved() else None
            plot = traces.plot_of(
                reading.series, marks, axis, report.clock, points=POINTS, since_s=since_s
            )
        onset = ""
        if reading.onset_s is not None:
            onset = f"onset {said.moment(reading.onset_s, report)}"
        notes = [note for note in (reading.text, onset) if note]
        rows.append(
            Row(
                label=words.plain(reading.label),
                detail=words.plain(reading.detail),
                plot=plot,
                value=said.figures(reading) or words.NO_DATA,
                value_detail=", ".join(notes),
            )
        )
    return rows
