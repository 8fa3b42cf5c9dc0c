"""Figures with one row per lane: the timeline, and bad minutes with and without the loop."""

from __future__ import annotations

import math
from dataclasses import dataclass

from markupsafe import Markup

from ops.reports import sentence, svg, words
from ops.reports.lane_minutes import MINUTE_S, minutes_of
from ops.reports.model import IncidentReport
from ops.reports.parts import ClockBase, Lane, MarkKind

_TALL, _STRIP, _PAIR = 68, 20, 40  # heights in pixels
_BEFORE_S = 1800.0  # what led to an incident is looked for in the 30 minutes before
_AFTER_S = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row of a figure: label | plot | reading."""

    label: str
    plot: Markup
    detail: str = ""
    value: str = ""
    value_detail: str = ""
    style: str = ""


def run_axis(lanes: tuple[Lane, ...], duration_s: float) -> svg.TimeAxis:
    """The whole run."""
    end_s = max([duration_s, *(n.start_s + MINUTE_S * len(n.bad_with) for n in lanes)])
    return svg.TimeAxis(0.0, max(end_s, MINUTE_S))


def incident_axis(incident: IncidentReport) -> svg.TimeAxis:
    """From 30 minutes before the onset to shortly after the last thing that happened."""
    moments = [mark.at_s for mark in incident.marks]
    moments += [incident.phase_at_s, incident.first_miss_s]
    moments += [t for t in (incident.resolved_at_s, incident.page_at_s) if t is not None]
    moments += [
        lane.start_s + MINUTE_S * (index + 1)
        for lane in incident.lanes
        for index, ratio in enumerate(lane.bad_with)
        if ratio > lane.budget_ratio
    ]
    start_s = min(incident.began_at_s, incident.first_miss_s) - _BEFORE_S
    earliest = min((lane.start_s for lane in incident.lanes), default=start_s)
    start_s = max(start_s, min(earliest, incident.began_at_s - _AFTER_S))
    return svg.TimeAxis(start_s, max(moments) + _AFTER_S)


def lane_rows(
    lanes: tuple[Lane, ...], axis: svg.TimeAxis, base: ClockBase, tallest: Lane | None
) -> list[Row]:
    """Bad share per minute; the lane that suffers most as bars, the others as strips."""
    rows = []
    for lane in lanes:
        tall = lane is tallest
        count, first = lane.minutes_with(), lane.first_counted()
        shares = [f"{100 * r:.0f}" for r in lane.bad_with[first:] if r > lane.budget_ratio]
        past = sum(x.past and x.bad for x in minutes_of(lane, lane.bad_with, axis))
        notes = [f"{', '.join(shares)} %"] if tall and 0 < len(shares) <= 5 else []
        notes += [f"{past} before it began"] if past else []
        rows.append(
            Row(
                label=sentence.lane_name(lane),
                detail="requests outside limits" if tall else "",
                plot=_bars(lane, axis, base) if tall else _strip(lane, axis, base),
                value=words.count(count, "bad minute"),
                value_detail="; ".join(notes),
                style="" if tall else "strip",
            )
        )
    return rows


def _bars(lane: Lane, axis: svg.TimeAxis, base: ClockBase) -> Markup:
    parts = [svg.grid(axis, base, _TALL), svg.line(0, 0, 100, 0, "gl")]
    for one in minutes_of(lane, lane.bad_with, axis):
        if math.isnan(one.ratio):
            parts.append(svg.rect(one.x, 0, one.width, _TALL, "gap"))
        elif one.bad:
            height = round(_TALL * one.ratio, 1)
            parts.append(svg.rect(one.x, round(_TALL - height, 1), one.width, height, one.style))
    level = _TALL * (1 - lane.budget_ratio)
    parts += [
        svg.line(0, _TALL, 100, _TALL, "ax"),
        svg.line(0, level, 100, level, "lim"),
        svg.text(0, level - 4, f"budget {words.percent(lane.budget_ratio)}", class_="ps"),
        svg.text(0, 10, "100 %", anchor="end", dx=-8),
        svg.text(0, _TALL, "0", anchor="end", dx=-8),
    ]
    title = f"{sentence.lane_name(lane)}: share of bad requests per minute, {_told(lane, base)}"
    return svg.plot(title, _TALL, *parts)


def _told(lane: Lane, base: ClockBase) -> str:
    bad = [
        f"{100 * ratio:.0f} percent at {words.clock_minute(lane.start_s + 60 * i, base)}"
        for i, ratio in enumerate(lane.bad_with)
        if ratio > lane.budget_ratio and i >= lane.first_counted()
    ]
    told = words.listed(bad[:5]) + (f" and {len(bad) - 5} more" if len(bad) > 5 else "")
    return told or "never above the budget"


def _strip(lane: Lane, axis: svg.TimeAxis, base: ClockBase) -> Markup:
    middle = _STRIP / 2
    parts = [svg.grid(axis, base, _STRIP), svg.line(0, middle, 100, middle, "ax")]
    found = minutes_of(lane, lane.bad_with, axis)
    parts += [
        svg.rect(one.x, 4, one.width, _STRIP - 8, "gap") for one in found if math.isnan(one.ratio)
    ]
    for style in ("past", "bad"):
        spans = [(one.x, one.width) for one in found if one.bad and one.style == style]
        parts.append(svg.boxes(spans, 2, _STRIP - 4, style))
    title = f"{sentence.lane_name(lane)}: {words.count(lane.minutes_with(), 'bad minute')}"
    return svg.plot(title, _STRIP, *parts)


def event_rows(incident: IncidentReport, axis: svg.TimeAxis, base: ClockBase) -> list[Row]:
    """Changes, the incident, what midwatch did, and the page that would have come."""
    rows = [_changes_row(incident, axis, base), _incident_row(incident, axis, base)]
    rows.append(_midwatch_row(incident, axis, base))
    if incident.page_at_s is not None:
        rows.append(_page_row(incident, incident.page_at_s, axis, base))
    return rows


def span_row(label: str, span_s: tuple[float, float], axis: svg.TimeAxis, base: ClockBase) -> Row:
    """Something that was not measured for a while, hatched."""
    start, stop = (axis.at(min(max(t, axis.start_s), axis.end_s)) for t in span_s)
    times = " to ".join(words.clock(t, base) for t in span_s)
    hatched = svg.rect(start, 3, stop - start, _STRIP - 6, "gap")
    plot = _track(f"{label}: no data {times}", axis, base, [hatched])
    return Row(label=label, plot=plot, value=words.span(span_s[1] - span_s[0]), style="strip")


def _track(title: str, axis: svg.TimeAxis, base: ClockBase, parts: list[Markup]) -> Markup:
    middle = _STRIP / 2
    grid = svg.grid(axis, base, _STRIP, below=21)  # these rows hold two lines of text
    return svg.plot(title, _STRIP, grid, svg.line(0, middle, 100, middle, "gl"), *parts)


def _beside(x: float, label: str, *, left: bool) -> Markup:
    """A label left or right of a mark; on the side that has room."""
    left = (left or x > 85) and x > 15
    side = -11 if left else 11
    return svg.text(
        x, _STRIP / 2 + 4, label, anchor="end" if left else "start", dx=side, class_="ps"
    )


def _changes_row(incident: IncidentReport, axis: svg.TimeAxis, base: ClockBase) -> Row:
    seen = [item for item in incident.changes if axis.holds(item.at_s)]
    # Labels first and short, so that no sign of another change is covered.
    parts = [_beside(axis.at(item.at_s), "suspect", left=True) for item in seen if item.suspect][:1]
    parts += [svg.marker(axis.at(item.at_s), _STRIP / 2, MarkKind.CHANGE) for item in seen]
    times = words.listed([words.clock(item.at_s, base) for item in seen]) or "none"
    return Row(
        label="Changes",
        plot=_track(f"Changes: {times}", axis, base, parts),
        value=words.count(len(seen), "change"),
        value_detail="in the 30 min before and since",
        style="strip",
    )


def _incident_row(incident: IncidentReport, axis: svg.TimeAxis, base: ClockBase) -> Row:
    end_s = incident.mitigated_at_s or incident.resolved_at_s
    began, middle = axis.at(incident.began_at_s), _STRIP / 2
    stop = axis.at(end_s if end_s is not None else axis.end_s)
    parts = [
        svg.rect(began, 3, stop - began, _STRIP - 6, "bad"),
        _beside(began, "began", left=True),
    ]
    if incident.mitigated_at_s is not None:
        close_s = incident.resolved_at_s
        close = axis.at(close_s if close_s is not None else axis.end_s)
        parts.append(svg.line(stop, middle, close, middle, "ink"))
        if close_s is not None:
            parts += [
                svg.line(close, 3, close, _STRIP - 3, "ink"),
                _beside(close, "resolved", left=False),
            ]
    length = words.span(end_s - incident.began_at_s) if end_s is not None else "not mitigated"
    ended = "" if end_s is None else f" to {words.clock(end_s, base)}"
    return Row(
        label="Incident",
        plot=_track(
            f"Incident from {words.clock(incident.began_at_s, base)}{ended}", axis, base, parts
        ),
        value=length,
        value_detail="so far" if end_s is None else "began to mitigated",
        style="strip",
    )


def _midwatch_row(incident: IncidentReport, axis: svg.TimeAxis, base: ClockBase) -> Row:
    middle = _STRIP / 2
    named_s = incident.diagnosed_at_s if incident.cause is not None else None
    moments = [(incident.detected_at_s, "detected")]
    moments += [] if named_s is None else [(named_s, "diagnosed")]
    moments += [(action.at_s, MarkKind.ACTION) for action in incident.done]
    checks = [
        (a.checked_at_s, a.verdict.value) for a in incident.done if a.checked_at_s is not None
    ]
    moments += [(at_s, "outcome") for at_s, _ in checks]
    xs = [axis.at(at_s) for at_s, _ in moments]
    parts = [svg.line(min(xs), middle, max(xs), middle, "act")]
    parts += [svg.marker(axis.at(at_s), middle, kind) for at_s, kind in moments]
    parts.append(_beside(min(xs), "noticed" if named_s is None else "cause named", left=True))
    if checks:
        parts.append(_beside(axis.at(checks[-1][0]), checks[-1][1], left=False))
    told = ", ".join(f"{kind} {words.clock(at_s, base)}" for at_s, kind in moments)
    since = incident.began_at_s
    return Row(
        label="midwatch",
        plot=_track(f"midwatch: {told}", axis, base, parts),
        value=words.span((incident.detected_at_s if named_s is None else named_s) - since),
        value_detail="began to noticed" if named_s is None else "began to cause named",
        style="strip",
    )


def _page_row(incident: IncidentReport, page_s: float, axis: svg.TimeAxis, base: ClockBase) -> Row:
    middle = _STRIP / 2
    start, end = axis.at(incident.first_miss_s), axis.at(page_s)
    parts = [
        svg.line(start, middle, end, middle, "dash"),
        svg.line(start, 4, start, _STRIP - 4, "dash"),
        svg.marker(end, middle, MarkKind.PAGE),
        _beside(end, words.clock(page_s, base), left=True),
    ]
    lead = None if incident.diagnosed_at_s is None else page_s - incident.diagnosed_at_s
    return Row(
        label="Page, without midwatch",
        plot=_track(f"The page would have fired at {words.clock(page_s, base)}", axis, base, parts),
        value=words.clock(page_s, base) if lead is None or lead < 0 else f"{words.span(lead)} lead",
        value_detail=incident.page_rule,
        style="strip",
    )


def pair_rows(lanes: tuple[Lane, ...], axis: svg.TimeAxis, base: ClockBase) -> list[Row]:
    """Bad minutes with the loop above those without it."""
    rows = []
    for lane in lanes:
        parts = [svg.grid(axis, base, _PAIR)]
        for top, name, ratios, style in (
            (0, "with", lane.bad_with, "bad"),
            (22, "without", lane.bad_without, "without"),
        ):
            parts.append(svg.line(0, top + 8, 100, top + 8, "ax"))
            parts.append(svg.text(0, top + 13, name, anchor="end", dx=-8, class_="ps"))
            found = minutes_of(lane, ratios, axis)
            bad = [(one.x, one.width) for one in found if one.bad and not one.past]
            parts.append(svg.boxes(bad, top + 1, 14, style))
        without = lane.minutes_without()
        told = words.count(without, "bad minute") if without is not None else "not run"
        told_with = words.count(lane.minutes_with(), "bad minute")
        rows.append(
            Row(
                label=sentence.lane_name(lane),
                detail=f"{words.percent(lane.traffic_ratio)} of traffic",
                plot=svg.plot(
                    f"{sentence.lane_name(lane)}: {told_with} with midwatch, {told} without",
                    _PAIR,
                    *parts,
                ),
                value=f"{lane.minutes_with()} with",
                value_detail="not run" if without is None else f"{without} without",
                style="pair",
            )
        )
    return rows
