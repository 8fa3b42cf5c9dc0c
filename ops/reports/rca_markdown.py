"""One ranking as Markdown: the answer within 3,000 characters, then the rest in tables."""

from __future__ import annotations

from collections.abc import Sequence

from ops.reports import rca_sentences as said
from ops.reports import rca_words, words
from ops.reports.markdown import code, escape, table
from ops.reports.rca_model import RankReport, SuspectReport

EVIDENCE_MAX = 3
CELL_MAX = 400  # characters of one cell on the first screen


def render_rank_markdown(report: RankReport, *, top: int = 5) -> str:
    """The whole answer; names and log lines are escaped."""
    lines = [
        f"# {escape(report.headline)}",
        "",
        f"**{escape(report.incident_id)}**: {said.state(report)}. {said.day(report)}.",
        "",
        *table(("", ""), _first(report)),
    ]
    lines += _section("Evidence", "What moved, before and after.", _evidence(report))
    lines += _section("Order of onset", escape(report.onsets_note), _onsets(report))
    lines += _section("Causal graph", escape(report.graph.note), _graph(report))
    lines += _section("Why this, why not that", "Score: share of the first.", _why(report, top))
    lines += _section("Checked and left out", escape(said.compared(report)), _checked(report))
    if report.notes:
        notes = [(escape(words.capital(note)),) for note in report.notes]
        lines += _section("Repaired or assumed", "", table(("Note",), notes))
    if report.missing:
        rows = [(escape(words.capital(part)), escape(tells)) for part, tells in report.missing]
        head = ("Missing", "What it would tell")
        lines += _section("Missing in this record", "", table(head, rows))
    ranked = ", ".join(escape(name) for _, name, _ in report.metrics) or "none"
    lines += _section("Ranked metrics", ranked, [])
    if report.instances:
        lines += _section("Pods and machines", ", ".join(map(escape, report.instances)), [])
    lines += _section("Run", f"Record: {escape(report.source)}", [])
    lines += [line for command in report.commands for line in (code(command), "")]
    return "\n".join(lines).rstrip() + "\n"


def _section(name: str, text: str, rows: Sequence[str]) -> list[str]:
    lines = [f"## {name}", ""]
    return [*lines, *([text, ""] if text else []), *rows]


def _cell(text: str) -> str:
    text = words.plain(text)
    return escape(text if len(text) <= CELL_MAX else f"{text[: CELL_MAX - 1]}…")


def _first(report: RankReport) -> list[tuple[str, str]]:
    rows = []
    if report.abstained:
        rows.append(("Why", _cell(said.strength(report))))
        rows.append(("Leads", f"{_cell(said.leader(report))}. Not named: this may be chance."))
        rows.append(("Would settle it", "<br>".join(_cell(t) for t in report.settles) or "none"))
    else:
        meaning = escape(said.how_sure(report))
        rows.append(
            (
                "Confidence",
                f"**{said.confidence(report)}**. {meaning}. "
                f"Next candidate: {_cell(said.next_candidate(report))}.",
            )
        )
        each = EVIDENCE_MAX if len(report.accused) == 1 else 1
        rows += [row for item in report.named() for row in _evidence_first(item, each)]
        doubts = [f"{s.name}: {text}" for s in report.named() for text in s.speaks_against]
        rows.append(("Doubts", "<br>".join(_cell(text) for text in doubts) or "none found"))
    users = [f"**{_cell(said.user_name(r))}** {said.user_line(r)}." for r in report.users]
    rows.append(("Users", "<br>".join([*users, escape(report.users_note)]).removesuffix("<br>")))
    rows.append(("Spread", _cell(report.moved_note)))
    for at_s, text, mine in report.changes[-3:]:
        mark = ", of the accused" if mine else ""
        rows.append(("Changed", f"{said.moment(at_s, report)} {_cell(text)}{mark}"))
    steps = [f"{n}. **{_cell(s.title)}** {_cell(s.detail)}" for n, s in
             enumerate(report.next_steps, start=1)]  # fmt: skip
    rows.append(("Next", "<br>".join(steps) or "nothing to do"))
    return rows


def _evidence_first(item: SuspectReport, most: int) -> list[tuple[str, str]]:
    rows = []
    for reading in item.readings[:most]:
        text = f", {escape(reading.text)}" if reading.text else ""
        name = _cell(said.reading_name(reading))
        rows.append(("Evidence", f"**{escape(said.figures(reading))}** {name}{text}"))
    if item.place:
        rows.append(("Where", f"{_cell(item.name)}: {_cell(item.place)}"))
    return rows


def _evidence(report: RankReport) -> list[str]:
    rows = [
        (
            escape(item.name),
            escape(rca_words.channel_name(reading.channel)),
            escape(said.reading_name(reading)),
            escape(said.figures(reading)),
            escape(reading.text),
            said.when(reading.onset_s, report),
        )
        for item in (report.named() or report.suspects[:2])
        for reading in item.readings
    ]
    return table(("Service", "Channel", "What", "Before → after", "How unusual", "Onset"), rows)


def _onsets(report: RankReport) -> list[str]:
    arcs = {arc.effect: arc.text for arc in report.onset_arcs}
    rows = [
        (
            said.moment(node.onset_s, report),
            escape(node.name),
            node.role.value,
            escape(f"{node.detail}. {arcs.get(node.key, '')}".strip()),
        )
        for node in sorted(report.onsets, key=lambda n: (n.onset_s, n.key))
    ]
    return table(("Onset", "What", "Part", "Evidence"), rows)


def _graph(report: RankReport) -> list[str]:
    arcs = sorted(report.graph.arcs, key=lambda a: (-a.strength, a.cause, a.effect))
    rows = [(escape(a.cause), escape(a.effect), a.kind.value, escape(a.text)) for a in arcs]
    return table(("From", "To", "Kind", "Evidence"), rows)


def _why(report: RankReport, top: int) -> list[str]:
    rows = [
        (
            f"{item.rank} {escape(item.name)}{', **named**' if item.accused else ''}",
            words.percent(item.share),
            escape(" ".join(item.speaks_for)) or "nothing",
            escape(" ".join(item.speaks_against)) or "nothing found",
        )
        for item in report.suspects
        if item.rank <= top or item.accused
    ]
    return table(("Service", "Score", "For", "Against"), rows)


def _checked(report: RankReport) -> list[str]:
    rows = [
        (escape(rca_words.channel_name(c.channel)), "yes" if c.used else "no", escape(c.text))
        for c in report.checked
    ]
    return table(("Channel", "Used", "On what, or why not"), rows)
