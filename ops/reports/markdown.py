"""The report as Markdown: headings and two-column tables, the answer within 3,000 characters.

Names come from outside, so every one is escaped; control characters never get through.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ops.reports import findings, screen, sentence, words
from ops.reports.build_gaps import state_line
from ops.reports.model import IncidentReport, RunReport
from ops.reports.parts import Change, ClockBase, Command, Finding, Step
from ops.reports.parts_gap import GapReport

_SPECIAL = re.compile(r"([\\`*_\[\]<>|#~])")
_CHANGES_MAX = 6
_ROWS_MAX = 40  # rows of one table; the rest is counted


def escape(text: str) -> str:
    """Text that Markdown shows as it is."""
    return _SPECIAL.sub(r"\\\1", words.plain(text))


def render_markdown(run: RunReport) -> str:
    """The whole run, first incident first."""
    lines = []
    if not run.complete:
        lines += ["**Incomplete.** The run was stopped before its end; the rest is not known.", ""]
    if len(run.incidents) != 1:
        lines += [f"# {escape(sentence.run_headline(run))}", "", f"_{_facts_line(run)}_", ""]
    if len(run.incidents) > 1:
        lines += _index(run)
    for incident in run.incidents:
        lines += _first(run, incident) + _details(run, incident)
    for gap in run.gaps:
        lines += _gap(run, gap)
    if not run.incidents:
        lines += _healthy(run)
    lines += _run_facts(run)
    return "\n".join(lines).rstrip() + "\n"


def _facts_line(run: RunReport) -> str:
    kind = " (simulated clock)" if run.clock.simulated else ""
    day = words.date(0.0, run.clock)
    return f"midwatch, fleet {escape(run.fleet)}, {day}, times in UTC{kind}"


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    """A table of escaped cells with an empty line behind it; nothing without rows."""
    if not rows:
        return []
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    lines += [f"| {' | '.join(row)} |" for row in rows[:_ROWS_MAX]]
    if len(rows) > _ROWS_MAX:
        lines += ["", f"{len(rows) - _ROWS_MAX} more rows in the JSON."]
    return [*lines, ""]


def _index(run: RunReport) -> list[str]:
    rows = [
        (
            words.clock(item.began_at_s, run.clock),
            f"{escape(item.incident_id)}, {item.phase.value}",
            escape(sentence.headline(item)),
        )
        for item in run.incidents
    ]
    return table(("Began", "Incident", "What"), rows)


def code(command: Command) -> str:
    """A command with its label, between as many backticks as it needs."""
    text = words.plain(command.text)
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
    pad = " " if "`" in text else ""
    return f"{escape(command.label)} {fence}{pad}{text.replace('|', chr(92) + '|')}{pad}{fence}"


def _step(step: Step) -> str:
    text = f"**{escape(step.title)}**"
    if step.detail:
        text += f" {escape(step.detail)}"
    return "<br>".join([text, *(code(command) for command in step.commands)])


def _first(run: RunReport, incident: IncidentReport) -> list[str]:
    """What a person reads at 02:10; the order of the HTML's first screen."""
    base = run.clock
    depth = "#" if len(run.incidents) == 1 else "##"
    lines = [
        f"{depth} {escape(sentence.headline(incident))}",
        "",
        f"**{escape(incident.incident_id)}**: {sentence.state_line(incident, base)}. "
        f"{_facts_line(run)}.",
        "",
    ]
    rows: list[tuple[str, str]] = _now(incident, base)
    if incident.cause is not None:
        meaning = sentence.calibration_text(incident.cause.calibration)
        rows.append(
            (
                "Confidence",
                f"**{sentence.confidence_text(incident.cause.confidence)}**, {escape(meaning)}. "
                f"Next candidate: {escape(sentence.next_candidate(incident))}.",
            )
        )
        if incident.cause.against:
            rows.append(("Against it", f"{escape(incident.cause.against)}."))
    else:
        rows += _abstention_rows(incident)
    rows += [
        (
            "Evidence",
            f"{escape(item.label)}{_figure(item)}. {escape(item.text)}".rstrip(),
        )
        for item in incident.findings[:2]
    ]
    who = "; ".join(f"**{escape(a)}** {escape(b)}" for a, b in screen.affected(incident.lanes))
    rows.append(("Affected", who or "none"))
    rows.append(("Changed in 30 min", _changed(incident.changes, base)))
    rows.append(("Next safe step", _steps(incident.next_step, incident.morning)))
    rows.append(("Done", _done(incident, base)))
    if incident.stop is not None:
        rows.append(("Stop midwatch", _step(incident.stop)))
    return lines + table(("", ""), rows)


def _figure(finding: Finding) -> str:
    figure = sentence.finding_figure(finding)
    return f" **{figure}**" if figure else ""


def _abstention_rows(incident: IncidentReport) -> list[tuple[str, str]]:
    settle = "; ".join(map(escape, incident.would_settle))
    missing = "; ".join(escape(item.what) for item in incident.missing)
    return [
        ("Confidence", f"**No cause named.** {escape(screen.no_cause(incident))}"),
        ("Why not", escape(incident.abstained) or "no candidate stands out"),
        ("Checked", "; ".join(map(escape, incident.checked)) or "none"),
        ("Missing", missing or "none"),
        ("Would settle it", settle or "none known"),
        ("Likeliest", escape(sentence.next_candidate(incident))),
    ]


def _now(incident: IncidentReport, base: ClockBase) -> list[tuple[str, str]]:
    if not incident.now:
        return []
    related = "".join(f" {escape(r.text)} See {escape(r.incident_id)}." for r in incident.related)
    return [(screen.now_label(incident.now_at_s, base), f"**{escape(incident.now)}**{related}")]


def _steps(tonight: Step | None, morning: Step | None) -> str:
    return "<br>".join(map(_step, screen.steps(tonight, morning))) or "none"


def _changed(changes: Sequence[Change], base: ClockBase) -> str:
    rows = [
        f"{time} {'**' + escape(title) + '**' if mark else escape(title)}, {escape(why)}"
        for time, title, why, mark in screen.changed(tuple(changes), base)
    ]
    return "<br>".join(rows[:_CHANGES_MAX]) or "none"


def _done(incident: IncidentReport, base: ClockBase) -> str:
    parts = [escape(incident.done_note)] if incident.done_note else []
    parts += [
        f"{words.clock(action.at_s, base)} **{escape(action.title)}**. "
        f"{escape(screen.done_text(action, base))}"
        for action in incident.done
    ]
    return "<br>".join(parts) or "none"


def _details(run: RunReport, incident: IncidentReport) -> list[str]:
    base, depth = run.clock, "##" if len(run.incidents) == 1 else "###"
    lines: list[str] = []

    def section(name: str, text: str, table: list[str]) -> None:
        lines.extend([f"{depth} {name}", "", escape(text), "", *table])

    marks = [
        (
            words.clock(mark.at_s, base),
            words.offset(mark.at_s - incident.first_miss_s),
            mark.kind.value,
            escape(mark.text),
        )
        for mark in sorted(incident.marks, key=lambda m: m.at_s)
    ]
    head = ("UTC", "from first miss", "what", "detail")
    section("Timeline", findings.timeline(incident), table(head, marks))
    if incident.nodes:
        rows = [
            (words.offset(at_s - incident.first_miss_s), escape(name), escape(why))
            for at_s, name, why in findings.spread_rows(incident)
        ]
        section("Spread", findings.spread(incident), table(("Onset", "What", "Evidence"), rows))
    if incident.series:
        series = [
            (
                escape(f"{item.label}, {item.detail}".rstrip(", ")),
                words.change(item.before, item.after, item.unit),
                findings.without_onset(item)
                if item.onset_s is None
                else words.clock(item.onset_s, base),
            )
            for item in findings.ordered_series(incident)
        ]
        head3 = ("Series", "Before → after", "Onset")
        section("Evidence", findings.evidence(incident), table(head3, series))
    out = [
        (
            escape(sentence.cause_noun(item)),
            "none" if item.confidence is None else sentence.confidence_text(item.confidence),
            escape(item.suspected),
            escape(sentence.why_not(item)),
        )
        for item in incident.candidates
    ]
    head = ("Candidate", "Confidence", "Why suspected", "Why not")
    section("Ruled out", findings.ruled_out(incident), table(head, out))
    if incident.lost is not None:
        lost = [(escape(name), value, gain) for name, value, gain in findings.lost_rows(incident)]
        compared = [] if run.live else table(("Run", "Lost", ""), lost)
        section("Lost minutes", findings.lost(incident, live=run.live), compared)
    missing = [
        (escape(m.what), escape(m.since), escape(m.cost), escape(m.settles))
        for m in incident.missing
    ]
    head = ("Missing", "Since", "What it costs", "What would settle it")
    section("Missing data", findings.missing(incident), table(head, missing))
    return lines


def _gap(run: RunReport, gap: GapReport) -> list[str]:
    """A gap in the measurements, in the order of the HTML's first screen."""
    figures = [("Evidence", f"**{escape(figure)}** {escape(text)}") for figure, text in gap.figures]
    rows = [
        (screen.now_label(gap.until_s, run.clock), f"**{escape(gap.now)}**"),
        *figures,
        ("Not seen", escape(" ".join(gap.hidden)) or "none"),
        ("Still seen", escape(" ".join(gap.seen)) or "none"),
        ("Checked", escape("; ".join(gap.checked)) or "none"),
        ("Would settle it", escape(" ".join(gap.would_settle)) or "none known"),
        ("Next safe step", _steps(gap.next_step, gap.morning)),
        ("Done", escape(gap.done)),
        ("Changed in 30 min", _changed(gap.changes, run.clock)),
    ]
    head = [f"## {escape(gap.headline)}", "", f"{state_line(gap, run.clock)}.", ""]
    return head + table(("", ""), rows)


def _healthy(run: RunReport) -> list[str]:
    rows = [
        ("Watched", "; ".join(map(escape, run.watched)) or "none"),
        *(
            (f"**{escape(who)}**", escape(much))
            for who, much in findings.lane_rows(run.lanes, loop=run.loop)
        ),
        *(
            (f"{time} change", f"{escape(title)}, {escape(why)}")
            for time, title, why, _ in screen.changed(run.changes, run.clock)
        ),
    ]
    return table(("", ""), rows)


def _run_facts(run: RunReport) -> list[str]:
    rows = [(escape(name), escape(text)) for name, text in findings.run_rows(run)]
    lines = ["## Run", "", *table(("", ""), rows)]
    for command in run.commands:
        lines += [f"{escape(command.label)}:", "", f"    {words.plain(command.text)}", ""]
    if run.replay_note:
        lines += [escape(run.replay_note), ""]
    words_used = [(name, escape(text)) for name, text in findings.GLOSSARY]
    return [*lines, "## Words", "", *table(("", ""), words_used)]
