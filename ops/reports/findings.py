"""The sentence that opens each section, and the rows that several formats share."""

from __future__ import annotations

from ops.reports import sentence, words
from ops.reports.model import IncidentReport, RunReport
from ops.reports.parts import (
    EvidenceSeries,
    Lane,
)
from ops.reports.parts_spread import SpreadRole


def timeline(incident: IncidentReport) -> str:
    """How long users suffered, when the cause was named, how far ahead of the page."""
    most = max((lane.minutes_with() for lane in incident.lanes), default=0)
    parts = (
        [f"The users hit worst had {words.count(most, 'bad minute')}."]
        if most
        else ["No region and class had a bad minute."]
    )
    if incident.diagnosed_at_s is None or incident.cause is None:
        parts.append("No cause was named.")
    else:
        gap = incident.diagnosed_at_s - incident.first_miss_s
        side = "after" if gap >= 0 else "before"
        text = f"The cause was named {words.span(gap)} {side} the first miss"
        if incident.page_at_s is not None:
            lead = incident.page_at_s - incident.diagnosed_at_s
            side = "before" if lead >= 0 else "after"
            text += f", {words.span(lead)} {side} the page would have fired"
        parts.append(f"{text}.")
    return " ".join(parts)


def spread(incident: IncidentReport) -> str:
    """Where it began and how far it went."""
    victims = sum(node.role is SpreadRole.VICTIM for node in incident.nodes)
    misses = sum(node.role is SpreadRole.SLO_MISS for node in incident.nodes)
    causes = [node.name for node in incident.nodes if node.role is SpreadRole.CAUSE]
    start = f"{words.listed(causes)} moved first" if causes else "The moves have no common start"
    reach = [words.count(victims, "victim")] if victims else []
    reach += [words.count(misses, "SLO miss", "SLO misses")] if misses else []
    tail = f"; {words.listed(reach)} followed" if reach and causes else ""
    return f"{start}{tail}. Position is the time of onset; arrows run from cause to victim."


def spread_rows(incident: IncidentReport) -> list[tuple[float, str, str]]:
    """(onset, name with its role, evidence of the arrows that end there), by onset."""
    rows = []
    for node in sorted(incident.nodes, key=lambda n: (n.onset_s, _ORDER.index(n.role), n.key)):
        role = f"{node.role.value}: {node.detail}" if node.detail else node.role.value
        texts = [arc.text for arc in incident.arcs if arc.effect == node.key and arc.text]
        rows.append((node.onset_s, f"{node.name} ({role})", " ".join(texts)))
    return rows


def ordered_series(incident: IncidentReport) -> list[EvidenceSeries]:
    """The cause's own series, others with an onset, then those without, changed ones first."""
    moved = [item for item in incident.series if item.onset_s is not None]
    rest = [item for item in incident.series if item.onset_s is None]
    rest.sort(key=lambda s: not s.undated)
    return sorted(moved, key=lambda s: (not s.own, s.onset_s or 0.0, s.label, s.detail)) + rest


def without_onset(item: EvidenceSeries) -> str:
    """What is known of a series without an onset: that none was found is not that none is there."""
    if item.undated:
        return "changed, onset not found"
    if item.after is None:
        return "not measured since"
    if item.normal_low is None or item.normal_high is None:
        return "no clear change"
    return f"{'outside' if _is_outside(item) else 'in'} its normal range"


def evidence(incident: IncidentReport) -> str:
    """What moved first, what changed at an unknown moment, and what shows no change."""
    series = ordered_series(incident)
    moved = [item for item in series if item.onset_s is not None]
    labels = {item.label for item in moved}  # one series of a thing may move and another not
    rest: dict[tuple[str, str], list[str]] = {}
    for item in series:
        if item.onset_s is None:
            name = f"{item.label} ({item.detail})" if item.label in labels else item.label
            rest.setdefault(_course(item), []).append(name)
    text = "No onset was found."
    causes = [node.name for node in incident.nodes if node.role is SpreadRole.CAUSE]
    if moved and causes:
        text = f"{words.listed(causes)} moved first"
        text += "." if moved[0].own else f"; of the series below, {moved[0].label} did."
    elif moved:
        text = f"{moved[0].label} moved first."
    for (of_one, of_many), found in rest.items():
        names = list(dict.fromkeys(found))
        verb = of_many if len(names) > 1 else of_one
        names = names if len(names) <= 3 else [*names[:2], f"{len(names) - 2} more"]
        text += f" {words.listed(names)} {verb}."
    return text


def _course(item: EvidenceSeries) -> tuple[str, str]:
    """What one or several series without an onset did."""
    if item.undated:
        return _CHANGED
    if item.after is None:
        return _UNMEASURED
    return _OUTSIDE if _is_outside(item) else _CALM


def _is_outside(item: EvidenceSeries) -> bool:
    if item.after is None or item.normal_low is None or item.normal_high is None:
        return False
    return not item.normal_low <= item.after <= item.normal_high


def ruled_out(incident: IncidentReport) -> str:
    """How many other explanations were looked at and how many are excluded."""
    if not incident.candidates:
        return "No other explanation was found."
    out = sum(bool(item.ruled_out) for item in incident.candidates)
    total = words.count(
        len(incident.candidates), "other explanation was", "other explanations were"
    )
    if out == len(incident.candidates):
        rest = "It is ruled out." if out == 1 else "Every one is ruled out."
    else:
        rest = f"{words.capital(words.count(out, 'is', 'are'))} ruled out; the rest is less likely."
    if incident.cause is None and out < len(incident.candidates):
        rest = f"{words.capital(words.count(out, 'is', 'are'))} ruled out; none stands out."
    return f"{total} checked. {rest}"


def lost(incident: IncidentReport, *, live: bool = False) -> str:
    """What the loop was worth, as a share where the world without it is known.

    Args:
        live: a real cluster, where only one world ever happens.
    """
    numbers = incident.lost
    if live:
        much = f"{words.number(numbers.with_loop)} so far. " if numbers else ""
        return f"{much}What they would have been without midwatch cannot be known here."
    if numbers is None:
        return "The run without midwatch was not made."
    text = f"{words.number(numbers.with_loop)} lost minutes with midwatch"
    if numbers.without is None:
        return f"{text}. The run without midwatch was not made."
    text += f", {words.number(numbers.without)} without"
    if numbers.without > 0:
        cut = 1 - numbers.with_loop / numbers.without
        share = round(100 * abs(cut))
        text += f": {share} % {'fewer' if cut >= 0 else 'more'}" if share else ": no difference"
        if numbers.oracle is not None and numbers.without > numbers.oracle:
            part = (numbers.without - numbers.with_loop) / (numbers.without - numbers.oracle)
            text += f", {round(100 * part)} % of what an oracle saves"
    return f"{text}."


def lost_rows(incident: IncidentReport) -> list[tuple[str, str, str]]:
    """(run, lost minutes, change against the run without midwatch)."""
    numbers = incident.lost
    if numbers is None:
        return []

    def gain(value: float) -> str:
        if not numbers.without or value == numbers.without:
            return ""
        ratio = round(100 * (value / numbers.without - 1))
        return f"{'+' if ratio > 0 else '−' if ratio < 0 else ''}{abs(ratio)} %"

    runs = [("With midwatch", numbers.with_loop)]
    if numbers.without is not None:
        runs.append(("Without: plain Kubernetes", numbers.without))
    runs += numbers.references
    if numbers.oracle is not None:
        runs.append(("Oracle: acts at fault start", numbers.oracle))
    return [(name, words.number(value), gain(value)) for name, value in runs]


def missing(incident: IncidentReport) -> str:
    """Whether anything was missing that the answer would have used."""
    number = len(incident.missing)
    if not number:
        return "Nothing that the answer uses was missing."
    verb = "was" if number == 1 else "were"
    text = f"{words.count(number, 'measurement')} {verb} missing."
    return words.capital(text)


_CHANGED = ("changed too, its onset was not found", "changed too, their onset was not found")
_OUTSIDE = ("is outside its normal range", "are outside their normal ranges")
_UNMEASURED = ("was not measured since", "were not measured since")
_CALM = ("shows no clear change", "show no clear change")
_ORDER = (
    SpreadRole.CHANGE,
    SpreadRole.CAUSE,
    SpreadRole.VICTIM,
    SpreadRole.MOVED,
    SpreadRole.SLO_MISS,
)
GLOSSARY = (
    ("Bad request", "missed a limit of its class, failed, was rejected or timed out"),
    ("Bad minute", "one in which a larger share of requests was bad than the SLO allows"),
    ("Lost minutes", "bad minutes, each weighted by its region and class's share of traffic"),
    (
        "Users were hurt",
        "when the share of bad requests rose; the first miss is the first bad minute since",
    ),
    ("TTFT", "time to first token, as the user waits for it"),
    ("TPOT", "time per output token after the first"),
    ("Weight", "how much of the diagnosis goes along an arrow, 0 to 1"),
    ("What users lost", "time and errors that their requests gained against the usual"),
)


def lane_rows(lanes: tuple[Lane, ...], *, loop: bool = True) -> list[tuple[str, str]]:
    """(lane, share of traffic and bad minutes) for every lane, in the order given.

    Args:
        loop: midwatch watched; False = the lanes are those of the world without it.
    """
    rows = []
    for lane in lanes:
        text = f"{words.percent(lane.traffic_ratio)} of traffic, bad minutes: "
        text += f"{_bare(lane.minutes_with())} {_world(loop)}"
        without = lane.minutes_without()
        if without is not None:
            text += f", {_bare(without)} without"
        rows.append((sentence.lane_name(lane), text))
    return rows


def run_rows(run: RunReport) -> list[tuple[str, str]]:
    """Facts of the run: ledger, load, seed, bad minutes, versions."""
    rows = []
    ledger = run.ledger
    if ledger is not None:
        parts = (
            (ledger.ok, "ok"),
            (ledger.failed, "failed"),
            (ledger.timed_out, "timed out"),
            (ledger.rejected, "rejected"),
            (ledger.cancelled, "cancelled"),
            (ledger.in_flight, "in flight"),
        )
        told = ", ".join(f"{value:,} {name}" for value, name in parts if value)
        rows.append(("Requests", f"{ledger.arrived:,} arrived: {told or 'none'}"))
        rows.append(("Attempts", f"{ledger.attempts:,}, {ledger.retries:,} of them retries"))
    if run.lanes:
        text = _bare(run.minutes_with()) + ("" if run.live else f" {_world(run.loop)}")
        without = run.minutes_without()
        if without is not None:
            text += f", {_bare(without)} without"
        rows.append(("Bad minutes", f"{text}, all regions and classes together"))
    rows.append(("Window" if run.live else "Length", words.span(run.duration_s)))
    if run.load is not None:
        rows.append(("Load", f"{words.number(run.load)} of the healthy fleet's capacity"))
    rows.append(("Seed", f"{run.seed}, of the diagnosis" if run.live else str(run.seed)))
    return rows + list(run.versions)


def run_rows_short(run: RunReport) -> list[tuple[str, str]]:
    """The same facts in as few lines as they need, without the versions."""
    rows = [row for row in run_rows(run) if row not in run.versions]
    facts = {name: text for name, text in rows if name in ("Window", "Length", "Load", "Seed")}
    told = ", ".join(f"{name.lower()} {text}" for name, text in facts.items())
    return [*(row for row in rows if row[0] not in facts), ("Run", words.capital(told))]


def _world(loop: bool) -> str:
    return "with midwatch" if loop else "without midwatch"


def _bare(value: int) -> str:
    return f"{value:,}" if value else "none"
