"""Rows of the first screen that every format shows alike."""

from __future__ import annotations

from ops.reports import sentence, words
from ops.reports.model import IncidentReport
from ops.reports.parts import Change, ClockBase, Command, DoneAction, Lane, Step

_MEANS = (
    "No candidate stands out, so nobody is accused and nothing is changed for a guess",
    "No candidate stood out, so nobody was accused",
)


def now_label(at_s: float | None, base: ClockBase) -> str:
    """ "Now, 02:09:00"."""
    return "Now" if at_s is None else f"Now, {words.clock(at_s, base)}"


def tonight(step: Step) -> str:
    """ "Tonight: nothing."."""
    return f"Tonight: {words.small(step.title)}"


def morning(step: Step) -> str:
    """ "In the morning: find out why it slowed down."."""
    return f"In the morning: {words.small(step.title)}"


def steps(tonight_step: Step | None, morning_step: Step | None) -> list[Step]:
    """Both steps with the label in the title, in order; empty where there are none."""
    found = []
    if tonight_step is not None:
        found.append(_labelled(tonight(tonight_step), tonight_step))
    if morning_step is not None:
        found.append(_labelled(morning(morning_step), morning_step))
    return found


def _labelled(title: str, step: Step) -> Step:
    return Step(title=title, detail=step.detail, commands=step.commands)


def leads(commands: tuple[Command, ...]) -> bool:
    """Whether the first command is to be typed; a way back is not put forward."""
    return bool(commands) and commands[0].label != "Undo"


def no_cause(incident: IncidentReport) -> str:
    """What it means that no cause is named, for the place of the confidence."""
    best = incident.candidates[0] if incident.candidates else None
    means = _MEANS[incident.resolved_at_s is not None]
    if best is None or best.confidence is None:
        return f"{means}."
    return (
        f"{means}; the likeliest, {sentence.cause_noun(best)}, "
        f"has {sentence.confidence_text(best.confidence)}."
    )


def affected(lanes: tuple[Lane, ...]) -> list[tuple[str, str]]:
    """(who, how much and why) per lane that suffers, worst first, and one row for the others."""
    hit = sorted(
        (lane for lane in lanes if lane.minutes_with()),
        key=lambda n: (-n.minutes_with() * n.traffic_ratio, n.region, n.slo_class),
    )
    rows = []
    for lane in hit:
        much = words.count(lane.minutes_with(), "bad minute")
        if lane.requests_hit:
            much = f"{lane.requests_bad:,} of {lane.requests_hit:,} requests bad in {much}"
        much = f"{words.percent(lane.traffic_ratio)} of traffic, {much}"
        rows.append((sentence.lane_name(lane), f"{much}; {lane.tie}" if lane.tie else much))
    spared = [sentence.lane_name(lane) for lane in lanes if not lane.minutes_with()]
    if spared:
        rows.append((words.listed(spared), "none"))
    return rows


def changed(changes: tuple[Change, ...], base: ClockBase) -> list[tuple[str, str, str, bool]]:
    """(time, title, where and why, suspect) per change: suspects first, then the newest."""
    ordered = sorted(changes, key=lambda c: (not c.suspect, -c.at_s, c.title))
    rows = []
    for item in ordered:
        why = f"Suspect: {item.why}" if item.suspect else words.capital(item.why)
        text = f"{item.region}. {why}".rstrip(". ") + "."
        rows.append((words.clock(item.at_s, base), item.title, text, item.suspect))
    return rows


def done_text(action: DoneAction, base: ClockBase) -> str:
    """ "Judged 02:12:00: Effective: TTFT p99 3.1 → 0.64 s."."""
    text = action.verdict_text or action.verdict.value
    if action.verdict_reason:
        text += f": {action.verdict_reason}"
    if action.checked_at_s is not None:
        text = f"Judged {words.clock(action.checked_at_s, base)}: {words.small(text)}"
    text += "."
    if action.taken_back_s is not None:
        text += f" Taken back {words.clock(action.taken_back_s, base)}."
    return text
