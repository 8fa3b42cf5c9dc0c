"""Sentences that terminal, Markdown and HTML share for one ranking."""

from __future__ import annotations

from ops.reports import rca_words, words
from ops.reports.parts import Calibration
from ops.reports.rca_model import RankReport, Reading, SuspectReport
from ops.reports.sentence import confidence_text
from rca.incident import SYMPTOM_PREFIX

EVEN = 0.5


def state(report: RankReport) -> str:
    """What was decided and since when: "Cause named. Trouble since 22:27:57, 5 min of it seen"."""
    head = "No cause found" if report.abstained else "Cause named"
    if len(report.accused) > 1:
        head = f"{len(report.accused)} causes named"
    if doubtful(report):
        head += " with doubt"
    if report.accused and report.noticed is False:
        head += ", users notice nothing"
    if report.since_s is None:
        return head
    seen = report.compared.end_s - report.since_s
    what = "compared from" if report.abstained else "trouble since"
    return f"{head}, {what} {moment(report.since_s, report)}, {words.span(seen)} of it recorded"


def doubtful(report: RankReport) -> bool:
    """Whether the stated chance is below one half: confirm before acting."""
    return not report.abstained and report.confidence < EVEN


def moment(at_s: float, report: RankReport) -> str:
    """Clock time; of a record with a clock of its own, the time since its zero."""
    return words.clock(at_s, report.clock)


def when(at_s: float | None, report: RankReport) -> str:
    """A suspect's onset, or that it is not known."""
    return "unknown" if at_s is None else moment(at_s, report)


def day(report: RankReport) -> str:
    """The date, or that the clock is the record's own."""
    if report.clock.simulated:
        return "clock of the record"
    return f"{words.date(report.compared.start_s, report.clock)}, UTC"


def confidence(report: RankReport) -> str:
    """ "0.83"."""
    return confidence_text(report.confidence)


def how_sure(report: RankReport) -> str:
    """What the confidence means, and plainly where it is low."""
    low = "Low: confirm before you act. " if doubtful(report) else ""
    first = report.suspects[0].name if report.suspects else ""
    whose = f"It is of {first}, the first of the ranking. "
    if not report.accused or report.accused[0] == first:
        whose = ""
    return low + whose + words.capital(meaning(report.calibration))


def meaning(calibration: Calibration | None) -> str:
    """What the number is worth, measured."""
    if calibration is None or not calibration.cases:
        return "not measured on systems like this one: read it as an order, not a chance"
    low, high = words.wilson(calibration.hits, calibration.cases)
    return (
        f"with a confidence like this the first of the ranking was right in {calibration.hits} of "
        f"{calibration.cases} {calibration.source} (95 % interval {100 * low:.0f} to "
        f"{100 * high:.0f} %)"
    )


def meaning_short(calibration: Calibration | None) -> str:
    """The same in a few words."""
    if calibration is None or not calibration.cases:
        return "an order, not a chance"
    return f"right in {calibration.hits} of {calibration.cases} answers like it"


def next_candidate(report: RankReport) -> str:
    """The first that is not named, with its share of the first score."""
    rivals = report.rivals()
    if report.abstained:
        rivals = rivals[1:]
    if not rivals:
        return "none"
    return f"{rivals[0].name} with {words.percent(rivals[0].share)} of the first score"


def leader(report: RankReport) -> str:
    """Who leads a ranking that names nobody."""
    if not report.suspects or report.suspects[0].share <= 0.0:
        return "nobody: no score is above zero"
    first = report.suspects[0]
    return f"{first.name}{f': {first.found}' if first.found else ''}"


def strength(report: RankReport) -> str:
    """How much happened, beside what is needed to name somebody."""
    if report.presence >= report.presence_min or report.compared.fault_start_s is None:
        return f"{words.capital(report.reason)}."
    return (
        f"The strongest sign of trouble reaches {words.number(report.presence)}; a cause is named "
        f"from {words.number(report.presence_min)} on, as fault-free time reaches once in twenty."
    )


def reading_name(reading: Reading) -> str:
    """ "carts cpu"; of spans and logs the operation or line, then what of it is measured."""
    if reading.channel in ("metric", "users"):
        return f"{reading.detail} {reading.label}".strip()
    label = rca_words.cut(reading.label, 80)
    return f"{label}: {rca_words.cut(reading.detail, 90)}" if reading.detail else label


def user_name(reading: Reading) -> str:
    """Symptom columns need no owner: they are the users'."""
    return reading.label if reading.detail == SYMPTOM_PREFIX else reading_name(reading)


def user_line(reading: Reading) -> str:
    """Behind its name: before → after, and how that compares where it is worth saying."""
    return f"{figures(reading)}{f', {reading.text}' if reading.text else ''}"


def figures(reading: Reading) -> str:
    """ "1.3 → 96.1"; empty where neither is known."""
    if reading.before is None and reading.after is None:
        return ""
    return words.change(reading.before, reading.after, reading.unit)


def compared(report: RankReport) -> str:
    """Which rows stood for normal time and which for trouble."""
    it = report.compared
    if it.fault_start_s is None or it.normal_end_s is None:
        return f"Nothing could be compared: {report.notes[-1] if report.notes else 'no rows'}."
    text = (
        f"{words.count(it.normal_rows, 'row')} before {moment(it.normal_end_s, report)} stand for "
        f"normal time, {words.count(it.fault_rows, 'row')} from {moment(it.fault_start_s, report)} "
        f"on for the trouble; one row every {words.span(it.step_s)}"
    )
    return f"{text}. {split_source(report)}"


def split_source(report: RankReport) -> str:
    """Where the moment of the split comes from."""
    it = report.compared
    start = it.fault_start_s
    if it.given_s is None:
        return "No fault time was given: the metrics' own change point splits the record."
    if start is not None and abs(start - it.given_s) >= 0.5:
        side = "before" if start < it.given_s else "after"
        gap = words.span(start - it.given_s)
        return f"The metrics change {gap} {side} the given time {moment(it.given_s, report)}."
    if it.found_s is None:
        return "The split is the given fault time."
    off_s = it.found_s - it.given_s
    if abs(off_s) <= max(it.step_s, 0.5):
        return "The split is the given fault time; the metrics' own change point agrees."
    side = "after" if off_s > 0 else "before"
    return (
        f"The split is the given fault time; the metrics' own change point lies "
        f"{words.span(off_s)} {side} it, not clearly enough to replace it."
    )


def ranking_line(item: SuspectReport, report: RankReport) -> str:
    """What carried a suspect, in one line."""
    channels = words.listed([rca_words.channel_name(c) for c in item.channels])
    if not item.channels:
        return f"nothing unusual{f'; {item.found}' if item.found else ''}"
    onset = "" if item.onset_s is None else f", from {moment(item.onset_s, report)}"
    return f"{item.found or 'moved'}{onset} ({channels})"
