"""Words for channels, kinds of metrics and what was found, shared by the three renderers."""

from __future__ import annotations

import re

from ops.reports import words
from ops.reports.rca_model import Reading
from rca.metric_kinds import Measured, sense
from rca.state import Evidence, Series

_SPREADS = re.compile(r"(\d[\d.]*(?:e[+-]?\d+)?) times its usual spread")
PLAIN = "plain"  # unit of a number whose unit the record does not tell
# How a channel is called, and what it looks at.
_CHANNELS = {
    "metric": ("metrics", "every column against its own normal rows"),
    "self-time": ("own time", "time that an operation spends by itself, without its calls"),
    "edges": ("call gaps", "time that a call takes outside the callee: network or queue"),
    "structure": ("calls made", "which calls an operation makes, and how often"),
    "sequences": ("log patterns", "which log lines come together within one request"),
    "errors": ("error lines", "log lines that speak of a failure, per request"),
    "change": ("changes", "announced changes shortly before"),
    "granger": ("granger", "which series leads which"),
    "topology": ("call graph", "callers are discounted by the services that they wait for"),
}
_NEEDS = {
    "self-time": "spans",
    "edges": "spans",
    "structure": "spans",
    "sequences": "log lines",
    "errors": "log lines",
}


def channel_name(channel: str) -> str:
    """A short noun; a channel that is new here keeps its own name."""
    return _CHANNELS.get(channel, (channel, ""))[0]


def channel_text(channel: str) -> str:
    """What the channel looks at, as a clause; empty for one that is new here."""
    return _CHANNELS.get(channel, ("", ""))[1]


def channel_needs(channel: str) -> str:
    """What it reads beside the metrics; empty for nothing."""
    return _NEEDS.get(channel, "")


def found(evidence: Evidence) -> str:
    """What one piece of evidence shows, as a clause behind the name of its service."""
    about = evidence.series
    label = about.label if about is not None else lambda _key: ""
    match evidence.channel:
        case "metric":
            return _metric_found(evidence)
        case "self-time":
            figures = words.change(evidence.before, evidence.after, "s")
            return f"{cut(label('operation'))} takes {figures} by itself"
        case "edges":
            figures = words.change(evidence.before, evidence.after, "s")
            return f"calls {label('caller')} → {label('callee')} wait {figures} on the way"
        case "structure":
            often = " more than once" if label("often") else ""
            figures = words.change(evidence.before, evidence.after, "ratio")
            what = called(about) if about is not None else ""
            return f"{cut(label('operation'))} calls {what}{often} in {figures} of its runs"
        case "sequences":
            return _visits_found(cut(label("line")), evidence)
        case "errors":
            return f"writes the error line “{cut(label('line'))}” {_more(evidence)}"
    return words.plain(evidence.text)


def _visits_found(line: str, evidence: Evidence) -> str:
    before, after = evidence.before or 0.0, evidence.after or 0.0
    if before <= 0.0 < after:
        return f"writes “{line}” in {words.quantity(after, 'ratio')} of its visits, never before"
    if after <= 0.0 < before:
        return f"no longer writes “{line}”, in {words.quantity(before, 'ratio')} of visits before"
    figures = words.change(before, after, "ratio")
    return f"writes “{line}” in {figures} of its visits"


def called(about: Series) -> str:
    """The call that a structure channel looks at; its service only where it is another one."""
    callee = about.label("callee") if about.label("callee") != about.label("service") else ""
    return f"{callee} {cut(about.label('called'))}".strip()


def _metric_found(evidence: Evidence) -> str:
    name = evidence.series.name if evidence.series is not None else ""
    metric = name.rpartition("_")[2] or name
    if evidence.before is None or evidence.after is None:
        return words.plain(evidence.text)
    way = "rose" if evidence.after > evidence.before else "fell"
    before, after = (words.quantity(v, PLAIN) for v in (evidence.before, evidence.after))
    return f"{metric} {way} from {before} to {after}"


def _more(evidence: Evidence) -> str:
    before, after = evidence.before or 0.0, evidence.after or 0.0
    times = counts(evidence)
    if before <= 0.0:
        return f"{times}, never before" if times else "and never did before"
    return f"{words.number(before)} → {words.number(after)} times a request"


def counts(evidence: Evidence) -> str:
    """The counts behind the figures of spans and log lines, from the evidence's own sentence."""
    text = words.plain(evidence.text)
    match evidence.channel:
        case "self-time":
            head, found, tail = text.rpartition("(")
            return tail.removesuffix(")") if found and head else ""
        case "structure" | "sequences":
            return text.rpartition(" in ")[2]
        case "errors":
            return text.rpartition("' ")[2].partition(",")[0]
        case "metric" | "edges":
            return ""
    return text


def cut(text: str, most: int = 60) -> str:
    """A name or a log line in at most `most` characters, cut where a word ends if it can be."""
    text = words.plain(text)
    if len(text) <= most:
        return text
    head = text[: most - 1]
    space = head.rfind(" ")
    return f"{head[:space] if space > most // 2 else head}…"


def unusual(evidence: Evidence) -> str:
    """How unusual a metric's change is: the part of its text behind the two levels."""
    _, _, tail = evidence.text.rpartition(" to ")
    return tail.partition(", ")[2].replace(" times its usual spread", " × its usual spread")


def spreads(evidence: Evidence) -> float | None:
    """How many usual spreads a metric moved, as its text says."""
    found = _SPREADS.search(evidence.text)
    return float(found[1]) if found else None


def harm(metric: str, before: float | None, after: float | None) -> int:
    """1 for a change in the direction that is bad for this kind of metric, -1 against it."""
    if before is None or after is None or before == after:
        return 0
    bad = sense(metric).bad
    return bad if after > before else -bad


def kind_of(reading: Reading) -> Measured:
    """What a metric's reading measures."""
    return sense(reading.label).kind


def shortened(names: list[str] | tuple[str, ...], most: int) -> str:
    """ "a, b and 7 more"."""
    if len(names) <= most:
        return words.listed(list(names))
    return f"{', '.join(names[:most])} and {len(names) - most} more"
