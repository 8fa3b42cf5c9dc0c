"""One incident in at most 80 columns of plain text."""

from __future__ import annotations

import textwrap

from ops.reports import screen, sentence, words
from ops.reports.build_gaps import state_line
from ops.reports.model import IncidentReport, RunReport
from ops.reports.parts import Step
from ops.reports.parts_gap import GapReport
from ops.reports.words import plain

_LABEL = 10  # columns of the label at the left


def render_terminal(run: RunReport, incident: IncidentReport, *, width: int = 80) -> str:
    """The incident's first screen; no line is longer than `width` >= 40 columns."""
    base = run.clock
    state = sentence.state_line(incident, base)
    phase, _, rest = state.partition(" ")
    top = f"{plain(incident.incident_id)}  {phase.upper()} {rest}"
    fleet = f"fleet {plain(run.fleet)}"
    gap = width - len(top) - len(fleet)
    lines = [top + " " * gap + fleet] if gap >= 2 else [*wrapped(top, width), fleet[:width]]
    lines += wrapped(plain(sentence.headline(incident)).removesuffix("."), width)
    if incident.now:
        at = incident.now_at_s
        moment = "" if at is None else f"{words.clock(at, base)} "
        related = "".join(f" {r.text} See {r.incident_id}." for r in incident.related)
        lines += labelled("now", plain(f"{moment}{incident.now}{related}"), width)
    cause = incident.cause
    if cause is not None:
        lines += wrapped(
            f"confidence {sentence.confidence_text(cause.confidence)} "
            f"({sentence.calibration_short(cause.calibration)}); "
            f"next: {plain(sentence.next_candidate(incident))}",
            width,
        )
        if cause.against:
            lines += labelled("against", plain(cause.against), width)
    for item in incident.findings[:2]:
        figure = f"  {found}" if (found := sentence.finding_figure(item)) else ""
        text = plain(f"{item.label}{figure}. {item.text}").removesuffix(".")
        lines += labelled("", text, width, indent=2)
    if cause is None:
        lines += _abstention(incident, width)
    who = "; ".join(f"{plain(a)} {plain(b)}" for a, b in screen.affected(incident.lanes))
    lines += labelled("affected", who or "none", width)
    for time, title, why, mark in screen.changed(incident.changes, base):
        if mark:
            lines += labelled("changed", f"{time} {plain(title)}, {plain(why)}", width)
    if incident.done_note:
        lines += labelled("done", plain(incident.done_note), width)
    for action in incident.done:
        text = (
            f"{words.clock(action.at_s, base)} {plain(action.title)}. "
            f"{plain(screen.done_text(action, base))}"
        )
        lines += labelled("done", text, width)
    if not incident.done:
        lines += labelled("done", "none", width)
    lines += _steps(incident.next_step, incident.morning, width)
    if run.report_path:
        lines += labelled("report", plain(run.report_path), width)
    return "\n".join(lines) + "\n"


def render_gap(run: RunReport, gap: GapReport, *, width: int = 80) -> str:
    """A gap in the measurements; no line is longer than `width` >= 40 columns."""
    phase, _, rest = state_line(gap, run.clock).partition(" ")
    lines = wrapped(f"gap  {phase.upper()} {rest}", width) + wrapped(plain(gap.headline), width)
    rows = (
        ("now", gap.now),
        *(("", f"{figure} {text}") for figure, text in gap.figures),
        ("not seen", " ".join(gap.hidden)),
        ("seen", " ".join(gap.seen)),
        ("checked", "; ".join(gap.checked)),
        ("settles", " ".join(gap.would_settle)),
        ("done", gap.done),
        *(
            ("changed", f"{at} {title}, {why}")
            for at, title, why, _ in screen.changed(gap.changes, run.clock)
        ),
    )
    for label, text in rows:
        lines += labelled(label, plain(text) or "none", width)
    lines += _steps(gap.next_step, gap.morning, width)
    return "\n".join(lines) + "\n"


def _steps(tonight: Step | None, morning: Step | None, width: int) -> list[str]:
    lines = []
    for step in screen.steps(tonight, morning):
        lines += labelled("next", plain(f"{step.title} {step.detail}"), width)
        for command in step.commands:
            lines += labelled(f"  {plain(command.label).lower()}"[:9], plain(command.text), width)
    return lines


def _abstention(incident: IncidentReport, width: int) -> list[str]:
    rows = (
        ("cause", f"No cause named. {screen.no_cause(incident)}"),
        ("why", incident.abstained),
        ("checked", "; ".join(incident.checked)),
        ("missing", "; ".join(item.what for item in incident.missing)),
        ("settles", "; ".join(incident.would_settle)),
        ("likeliest", sentence.next_candidate(incident)),
    )
    return [line for label, text in rows for line in labelled(label, plain(text) or "none", width)]


def labelled(label: str, text: str, width: int, indent: int = _LABEL) -> list[str]:
    """Lines of a text beside its label, at most `width` columns each."""
    body = wrapped(text, width - indent)
    return [
        (f"{label:<{indent}}" if index == 0 else " " * indent) + line
        for index, line in enumerate(body)
    ]


def wrapped(text: str, width: int) -> list[str]:
    """Lines of at most `width` columns; no line ends between a number and its unit."""
    lines = textwrap.wrap(words.kept(text), width, break_on_hyphens=False)
    return [line.replace("\u00a0", " ") for line in lines] or [""]
