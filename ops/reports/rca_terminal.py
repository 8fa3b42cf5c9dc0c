"""One ranking in at most 80 columns of plain text; styles are names that a terminal may draw."""

from __future__ import annotations

from dataclasses import dataclass

from ops.reports import rca_sentences as said
from ops.reports import rca_words, words
from ops.reports.rca_model import RankReport
from ops.reports.terminal import labelled, wrapped
from ops.reports.words import plain

EVIDENCE_MAX = 4
STRONG, CAUSE, QUIET, PLAIN = "strong", "cause", "quiet", ""


@dataclass(frozen=True, slots=True)
class Line:
    """One line; `style` is STRONG, CAUSE, QUIET or PLAIN."""

    text: str
    style: str = PLAIN


def rank_lines(report: RankReport, *, top: int, width: int = 80) -> list[Line]:
    """The whole answer, most needed first; no line is longer than `width` >= 40 columns."""
    head = f"{plain(report.incident_id)}  {said.state(report)}. {said.day(report)}"
    lines = [Line(text, QUIET) for text in wrapped(head, width)]
    style = STRONG if report.abstained else CAUSE
    lines += [Line(text, style) for text in wrapped(plain(report.headline), width)]
    lines += _confidence(report, width)
    rows = _abstained(report) if report.abstained else _named(report)
    rows += _context(report)
    lines += [Line(t) for label, text in rows for t in labelled(label, plain(text), width)]
    lines += [Line(""), *_ranking(report, top, width), Line(""), *_checked(report, top, width)]
    return lines


def _confidence(report: RankReport, width: int) -> list[Line]:
    low = ", low" if said.doubtful(report) else ""
    text = (
        f"confidence {said.confidence(report)}{low} ({said.meaning_short(report.calibration)}); "
        f"next: {plain(said.next_candidate(report))}"
    )
    if report.abstained:
        text = said.strength(report)
    return [Line(t) for t in wrapped(text, width)]


def _named(report: RankReport) -> list[tuple[str, str]]:
    rows = []
    for item in report.named():
        label = "evidence"
        most = EVIDENCE_MAX if len(report.accused) == 1 else 2
        for reading in item.readings[:most]:
            since = (
                "" if reading.onset_s is None else f", from {said.when(reading.onset_s, report)}"
            )
            tail = f", {reading.text}" if reading.text else ""
            figures = said.figures(reading)
            rows.append((label, f"{said.reading_name(reading)}  {figures}{tail}{since}"))
            label = ""
        if item.place:
            rows.append(("", f"{item.name}: {item.place}"))
        for n, reason in enumerate(item.speaks_against[:2]):
            rows.append(("doubt" if n == 0 else "", f"{item.name}: {reason}"))
    return rows


def _abstained(report: RankReport) -> list[tuple[str, str]]:
    rows = [("leads", f"{said.leader(report)}. Not named: this may be chance.")]
    rows += [("settles" if n == 0 else "", text) for n, text in enumerate(report.settles)]
    return rows


def _context(report: RankReport) -> list[tuple[str, str]]:
    users = "; ".join(f"{said.user_name(r)} {said.user_line(r)}" for r in report.users)
    note = report.users_note.removesuffix(".")
    rows = [("users", f"{users}. {note}".strip(". ") if users else note)]
    rows.append(("spread", report.moved_note))
    for at_s, text, mine in report.changes[-3:]:
        mark = " (of the accused)" if mine else ""
        rows.append(("changed", f"{said.moment(at_s, report)} {text}{mark}"))
    label = "next"
    for step in report.next_steps:
        rows.append((label, f"{step.title} {step.detail}"))
        label = ""
    return rows


def _ranking(report: RankReport, top: int, width: int) -> list[Line]:
    shown = [s for s in report.suspects if s.rank <= top or s.accused]
    lines = [Line(f"ranking   {len(shown)} of {report.num_services} services", STRONG)]
    for item in shown:
        name = plain(item.name)
        head = f"{item.rank:>3} {name}"
        share = words.percent(item.share)
        gap = max(width - len(head) - len(share), 1)
        lines.append(Line(f"{head}{' ' * gap}{share}"[:width], CAUSE if item.accused else PLAIN))
        text = said.ranking_line(item, report)
        lines += [Line(t) for t in labelled("", plain(text), width, indent=4)]
        if not item.accused:
            why = "  ".join(item.speaks_against[:2])
            lines += [
                Line(t, QUIET) for t in labelled("", plain(f"not it? {why}"), width, indent=4)
            ]
    return lines


def _checked(report: RankReport, top: int, width: int) -> list[Line]:
    used = [rca_words.channel_name(c.channel) for c in report.checked if c.used]
    rows = [("metrics", ", ".join(name for _, name, _ in report.metrics[:top]) or "none")]
    if report.instances:
        rows.append(("instances", ", ".join(report.instances[:top])))
    if len(report.graph.arcs):
        rows.append(("graph", _graph(report, top)))
    rows.append(("compared", said.compared(report)))
    rows.append(("used", ", ".join(used) or "nothing"))
    rows += [("granger", c.text) for c in report.checked if c.used and c.channel == "granger"]
    rows += [("not used", text) for text in _left_out(report)]
    rows += [("note", note) for note in report.notes]
    rows += [(command.label.lower(), command.text) for command in report.commands]
    return [Line(t, QUIET) for label, text in rows for t in labelled(label, plain(text), width)]


def _left_out(report: RankReport) -> list[str]:
    """Channels that said nothing, those with one reason together."""
    why: dict[str, list[str]] = {}
    for row in report.checked:
        if not row.used:
            why.setdefault(row.text, []).append(rca_words.channel_name(row.channel))
    return [f"{', '.join(names)}: {reason}" for reason, names in why.items()]


def _graph(report: RankReport, top: int) -> str:
    arcs = sorted(report.graph.arcs, key=lambda a: (-a.strength, a.cause, a.effect))
    shown = [f"{arc.cause} → {arc.effect} ({arc.kind.value})" for arc in arcs[:top]]
    more = len(arcs) - len(shown)
    return "; ".join(shown) + (f"; {more} more" if more else "")
