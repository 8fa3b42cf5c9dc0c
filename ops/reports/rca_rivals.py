"""Why this and why not that: what speaks for each service of the ranking, and what against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ops.reports import rca_words, words
from ops.reports.rca_calls import Calls, way
from ops.reports.rca_model import Reading
from rca.localisation import Suspect
from rca.metric_kinds import Measured

_CARRIED = {Measured.TRAFFIC, Measured.NETWORK}
REASONS_MAX = 5
CLEARLY = 0.85  # of another's strength; what is nearer is not told apart


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """What every suspect is held against.

    Attributes:
        first: the accused, or the leader where nobody is accused.
        callees: caller -> callees.
        entry: service that users call, empty if unknown.
        step_s: onsets that differ by less are the same.
        at_s: when each service moved, where that is known.
        num_used: channels that looked, whether or not they found anything.
    """

    first: Sequence[Suspect]
    callees: Calls
    entry: str
    step_s: float
    at_s: Mapping[str, float]
    num_used: int


def speaks_for(item: Suspect, readings: Sequence[Reading], field: Field) -> tuple[str, ...]:
    """Reasons to suspect it, strongest first."""
    reasons = []
    if item.channels:
        named = [_beyond(channel, item) for channel in item.channels]
        reasons.append(f"More than usual in {words.listed(named)}.")
    for reading in readings[:2]:
        reasons.append(f"{told(reading)}.")
    changes = [e.text for e in item.evidence if e.channel == "change"]
    reasons += [f"Announced: {words.plain(text)}." for text in changes]
    earlier = [
        other.name
        for other in field.first
        if other.name != item.name and _later(other, item, field) > 0.0
    ]
    if earlier:
        gap = max(_later(other, item, field) for other in field.first)
        reasons.append(f"It moved {words.span(gap)} before {words.listed(earlier)}.")
    waiting = [
        other.name
        for other in field.first
        if other.name != item.name and item.name in field.callees.get(other.name, ())
    ]
    if waiting and item.channels:
        reasons.append(f"{words.listed(waiting)} calls it, so its trouble would show there too.")
    others = [other.name for other in field.first if other.name != item.name]
    apart = not any(
        way(field.callees, item.name, name) or way(field.callees, name, item.name)
        for name in others
    )
    if others and apart and field.callees and item.channels:
        reasons.append(f"No call joins it to {words.listed(others)}: it may be a second fault.")
    return tuple(reasons[:REASONS_MAX])


def speaks_against(item: Suspect, readings: Sequence[Reading], field: Field) -> tuple[str, ...]:
    """Reasons to doubt it; for the accused, what a careful reader would object."""
    reasons = []
    others = [other for other in field.first if other.name != item.name]
    accused = any(other.name == item.name for other in field.first)
    if not item.channels:
        reasons.append("No channel shows more than usual.")
    for other in others:
        gap = _later(item, other, field)
        if gap > 0.0 and item.channels:
            reasons.append(f"It moved {words.span(gap)} after {other.name}.")
            break
    reasons += _explained(item, others, field)
    if not accused:
        most = max((len(other.channels) for other in others), default=0)
        if 0 < len(item.channels) < most:
            reasons.append(f"Fewer channels speak: {len(item.channels)} against {most}.")
        reasons += _weaker(item, others)
    elif len(item.channels) == 1 and field.num_used == 1:
        reasons.append("Only metrics could be looked at: no spans or log lines confirm it.")
    elif len(item.channels) == 1:
        name = rca_words.channel_name(item.channels[0])
        reasons.append(f"Only one channel speaks: {name}.")
    if item.name == field.entry:
        reasons.append("Users call it: everybody's fault shows there.")
    reasons += _of_readings(readings)
    if not reasons and not accused:
        reasons.append("Nothing but its lower score.")
    return tuple(dict.fromkeys(reasons))[:REASONS_MAX]


def waited_for(accused: Sequence[str], callees: Calls) -> str:
    """The one of several accused that all others wait for; empty where there is none."""
    found = [
        name
        for name in accused
        if all(
            way(callees, other, name) and not way(callees, name, other)
            for other in accused
            if other != name
        )
    ]
    return found[0] if len(accused) > 1 and len(found) == 1 else ""


def told(reading: Reading) -> str:
    """One measurement as a clause: "cpu 1.3 → 96.1, 224 × its usual spread"."""
    figures = words.change(reading.before, reading.after, reading.unit)
    what = reading.label
    if reading.channel != "metric":
        what = rca_words.cut(reading.label, 70)
        what = f"{what}: {rca_words.cut(reading.detail, 70)}" if reading.detail else what
    text = f"{what} {figures}"
    return f"{text}, {reading.text}" if reading.text else text


def _strength(channel: str, item: Suspect) -> float:
    """In units of the most that is usual; 0 where the channel left no evidence."""
    return max((e.strength for e in item.evidence if e.channel == channel), default=0.0)


def _beyond(channel: str, item: Suspect) -> str:
    """ "metrics (1.9 ×)"."""
    strength = _strength(channel, item)
    name = rca_words.channel_name(channel)
    return f"{name} ({words.number(strength)} ×)" if strength > 0.0 else name


def _weaker(item: Suspect, others: Sequence[Suspect]) -> list[str]:
    """Its strongest channel beside the same channel of the first that it loses to."""
    if not item.channels:
        return []
    channel = item.channels[0]
    mine = _strength(channel, item)
    for other in others:
        theirs = _strength(channel, other)
        if CLEARLY * theirs >= mine > 0.0:
            name = rca_words.channel_name(channel)
            return [
                f"Weaker in {name}: {words.number(mine)} times what is usual, "
                f"{other.name} {words.number(theirs)} times."
            ]
    return []


def _later(item: Suspect, other: Suspect, field: Field) -> float:
    """Seconds by which `item` moved after `other`; 0 where that cannot be told apart."""
    mine, theirs = field.at_s.get(item.name), field.at_s.get(other.name)
    if mine is None or theirs is None:
        return 0.0
    gap = mine - theirs
    return gap if gap >= field.step_s else 0.0


def _explained(item: Suspect, others: Sequence[Suspect], field: Field) -> list[str]:
    for other in others:
        path = way(field.callees, item.name, other.name)
        if len(path) == 2:
            return [f"It calls {other.name} and waits for it: that may explain what it shows."]
        if path:
            through = words.listed(path[1:-1])
            return [f"It reaches {other.name} through {through}: that may explain what it shows."]
    return []


def _of_readings(readings: Sequence[Reading]) -> list[str]:
    """What the moved metrics are worth as a whole."""
    own = [reading for reading in readings if reading.channel == "metric"]
    if not own or len(own) < len(readings):
        return []
    kinds = {rca_words.kind_of(reading) for reading in own}
    names = rca_words.shortened(sorted({reading.label for reading in own}), 3)
    if kinds <= _CARRIED:
        return [f"Only traffic moved ({names}): somebody else may send more or less."]
    if kinds == {Measured.CLIENT_LATENCY}:
        return [f"Only the calls that it sends are slower ({names}): look at whom it calls."]
    if kinds == {Measured.NODE}:
        return [f"Only its machine moved ({names}): neighbours share it."]
    if all(reading.harm < 0 for reading in own):
        return [f"What moved went the harmless way ({names})."]
    return []
