"""The report as one HTML file: no network, no inline style, scripts and styles pinned by hash."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ops.reports import build_gaps, findings, lanes, screen, sentence, spread, svg, traces, words
from ops.reports.lanes import Row
from ops.reports.model import IncidentReport, RunReport
from ops.reports.parts import Calibration, ClockBase, Mark

_TEMPLATES = Path(__file__).parent / "templates"
# Bounds that keep the page under 400 KiB; what is left out is in the Markdown and the JSON.
_DETAILED_MAX = 4  # incidents with all sections
_INCIDENTS_MAX = 20  # incidents with their first screen
_POINTS_PAGE = 6_000  # points of all series together


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentView:
    """One incident with its figures drawn."""

    incident: IncidentReport
    slug: str  # unique within the page
    detailed: bool  # has sections below its first screen
    tenths: Markup
    marks: list[Mark]
    timeline_axis: Markup
    timeline: list[Row]
    spread_axis: Markup
    spread: list[Row]
    traces_axis: Markup
    traces_moved: list[Row]
    traces_still: list[Row]
    pairs_axis: Markup
    pairs: list[Row]
    lost: list[tuple[str, str, str, Markup]]

    @property
    def traces(self) -> bool:
        """Whether there is any series to show."""
        return bool(self.traces_moved or self.traces_still)

    @property
    def links(self) -> list[tuple[str, str]]:
        """(anchor, title) of the sections that the page has."""
        found = [("timeline", "Timeline")]
        found += [("spread", "Spread")] if self.spread else []
        found += [("evidence", "Evidence")] if self.traces else []
        found.append(("out", "Ruled out"))
        found += [("lost", "Lost minutes")] if self.incident.lost else []
        return [*found, ("missing", "Missing data")]


def render_html(run: RunReport) -> str:
    """The whole run as one self-contained page."""
    shown = run.incidents[:_DETAILED_MAX]
    points = _POINTS_PAGE // max(sum(len(item.series) for item in shown), 1)
    points = min(traces.POINTS_MAX, points)
    views = [
        _view(item, run, index, points)
        for index, item in enumerate(run.incidents[:_INCIDENTS_MAX], start=1)
    ]
    axis = lanes.run_axis(run.lanes, run.duration_s)
    worst = max(run.lanes, key=lambda n: (n.traffic_ratio, n.region, n.slo_class), default=None)
    return render_page(
        "page.html.j2",
        run=run,
        views=views,
        slugs={view.incident.incident_id: view.slug for view in views},
        left_out=len(run.incidents) - len(views),
        title=_title(run),
        run_state=_run_state(run),
        run_rows=[row for row in findings.run_rows(run) if row not in run.versions],
        lanes_axis=svg.time_axis(axis, run.clock, []),
        lanes=lanes.lane_rows(run.lanes, axis, run.clock, worst) + _gap_rows(run, axis),
        later_gaps=run.gaps if run.incidents else run.gaps[1:],
    )


def render_page(template: str, *styles: str, **fields: object) -> str:
    """A template with these fields, the shared script, and the shared style sheet before `styles`.

    Both are pinned by hash, so that the page runs nothing else.
    """
    style = "\n".join(read_asset(name) for name in ("style.css", *styles))
    script = read_asset("script.js")
    return (
        environment()
        .get_template(template)
        .render(
            **fields,
            style=Markup(style),
            script=Markup(script),
            style_hash=hashed(style),
            script_hash=hashed(script),
        )
    )


@cache
def environment() -> Environment:
    """Templates with escaping, and the words that all pages share."""
    made = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals.update(
        words=words,
        sentence=sentence,
        screen=screen,
        gaps=build_gaps,
        words_of=words_of,
        findings=findings,
        key_sign=key_sign,
    )
    made.filters["kept"] = words.kept
    return made


def key_sign(kind: str) -> Markup:
    """The sign of a legend or of a table row."""
    if kind in ("arc", "guess"):
        line = svg.tag("path", d="M-7 0H2", class_=f"arc {kind}")
        head = svg.tag(
            "path", d="M1 -3.5 7 0 1 3.5Z", class_="bad" if kind == "arc" else "guess-head"
        )
        return svg.tag("svg", line + head, class_="sign", viewBox="-7 -7 14 14", aria_hidden="true")
    shape = {
        "band": svg.tag("rect", x=-7, y=-4, width=14, height=8, class_="band"),
        "limit": svg.tag("path", d="M-7 0H7", class_="lim"),
        "gap": svg.tag("rect", x=-5.5, y=-5, width=11, height=10, class_="gap"),
        "without": svg.tag("rect", x=-5, y=-5, width=10, height=10, class_="without"),
    }.get(kind)
    if shape is None:
        return svg.sign(kind)
    return svg.tag("svg", shape, class_="sign", viewBox="-7 -7 14 14", aria_hidden="true")


def words_of(command: str) -> Markup:
    """A command of which no line ends between the hyphens and the name of an option."""
    return Markup(" ").join(
        svg.tag("span", word) if word.startswith("-") else word for word in command.split(" ")
    )


def read_asset(name: str) -> str:
    """A style sheet or script beside the templates."""
    return (_TEMPLATES / name).read_text(encoding="utf-8").strip()


def hashed(text: str) -> str:
    """The hash by which a content policy allows one inline style or script."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


def _title(run: RunReport) -> str:
    if len(run.incidents) == 1:
        return sentence.headline(run.incidents[0])
    if run.gaps and not run.incidents:
        return run.gaps[0].headline
    return sentence.run_headline(run)


def _gap_rows(run: RunReport, axis: svg.TimeAxis) -> list[Row]:
    return [
        lanes.span_row(
            sentence.entity_noun(gap.job),
            (gap.since_s, run.duration_s if gap.until_s is None else gap.until_s),
            axis,
            run.clock,
        )
        for gap in run.gaps
    ]


def _run_state(run: RunReport) -> str:
    start, end = (words.clock(at_s, run.clock) for at_s in (0.0, run.duration_s))
    return f"{'Healthy' if not run.incidents else 'Run'}, {start} to {end}"


def _view(incident: IncidentReport, run: RunReport, index: int, points: int) -> IncidentView:
    detailed = index <= _DETAILED_MAX
    if not detailed:  # its first screen needs no figure
        incident = replace(incident, series=(), nodes=(), arcs=(), marks=())
    base = run.clock
    axis = lanes.incident_axis(incident)
    figure = traces.axis_of(incident)
    series = [] if figure is None else traces.rows(incident, figure, base, points=points)
    compare = any(lane.bad_without for lane in incident.lanes)
    whole = lanes.run_axis(incident.lanes, axis.end_s)
    pairs_axis = svg.TimeAxis(max(axis.start_s, whole.start_s), whole.end_s)
    return IncidentView(
        incident=incident,
        slug=f"incident-{index}",
        detailed=detailed,
        tenths=tenths(incident.cause.calibration if incident.cause else None),
        marks=sorted(incident.marks, key=lambda m: m.at_s),
        timeline_axis=svg.time_axis(axis, base, []),
        timeline=lanes.lane_rows(incident.lanes, axis, base, incident.first_lane())
        + lanes.event_rows(incident, axis, base),
        spread_axis=spread.axis_drawn(incident.nodes, base),
        spread=spread.rows(incident.nodes, incident.arcs, base) if incident.nodes else [],
        traces_axis=_traces_axis(incident, figure, base),
        traces_moved=[row for row in series if row.style != "low"],
        traces_still=[row for row in series if row.style == "low"],
        pairs_axis=svg.time_axis(pairs_axis, base, []),
        pairs=lanes.pair_rows(incident.lanes, pairs_axis, base) if compare else [],
        lost=_lost(incident),
    )


def tenths(calibration: Calibration | None) -> Markup:
    """Ten blocks, as many filled as cases of ten were right; nothing where not calibrated."""
    if calibration is None or not calibration.cases:
        return Markup("")
    right = round(10 * calibration.hits / calibration.cases)
    blocks = [
        svg.tag(
            "rect",
            x=0.75 + 12 * i,
            y=0.75,
            width=8.5,
            height=10.5,
            class_="full" if i < right else "empty",
        )
        for i in range(10)
    ]
    title = svg.tag("title", f"{right} of 10")
    return svg.tag("svg", title, *blocks, class_="tenths", viewBox="0 0 118 12", role="img")


def _traces_axis(incident: IncidentReport, axis: svg.TimeAxis | None, base: ClockBase) -> Markup:
    if axis is None:
        return Markup("")
    labels = [(c.at_s, "suspect change", "ps") for c in incident.changes if c.suspect][:1]
    labels += [(a.at_s, "midwatch acted", "t-act") for a in incident.done][:1]
    return svg.time_axis(axis, base, [item for item in labels if axis.holds(item[0])])


def _lost(incident: IncidentReport) -> list[tuple[str, str, str, Markup]]:
    rows = findings.lost_rows(incident)
    values = [float(value.replace(",", "")) for _, value, _ in rows]
    most = max(values, default=0.0) or 1.0
    bars = [
        svg.tag(
            "svg",
            svg.tag(
                "rect",
                x=0,
                y=0.5,
                width=round(99 * value / most + 0.3, 1),
                height=11,
                class_="bad" if i == 0 else "without",
            ),
            class_="bar",
            viewBox="0 0 100 12",
            preserveAspectRatio="none",
            aria_hidden="true",
        )
        for i, value in enumerate(values)
    ]
    return [(*row, bar) for row, bar in zip(rows, bars, strict=True)]
