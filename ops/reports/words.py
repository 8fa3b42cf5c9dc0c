"""Numbers, times and names in the report's words: 3 significant digits, units always, UTC."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime

from ops.reports.parts import ClockBase

# unit -> (factor, unit) steps upward; the largest step whose value is at least 1 is taken.
_SCALES: dict[str, tuple[tuple[float, str], ...]] = {
    "s": ((1e-3, "ms"), (1.0, "s")),
    "MHz": ((1.0, "MHz"), (1e3, "GHz")),
    "bytes": ((1.0, "B"), (2.0**10, "KiB"), (2.0**20, "MiB"), (2.0**30, "GiB")),
    "MiB": ((1.0, "MiB"), (2.0**10, "GiB")),
    "bytes/s": ((1.0, "B/s"), (2.0**10, "KiB/s"), (2.0**20, "MiB/s"), (2.0**30, "GiB/s")),
    "ratio": ((0.01, "%"),),
    "": ((1.0, ""),),
    "plain": ((1.0, ""), (1e6, "M"), (1e9, "G"), (1e12, "T")),  # a number of unknown unit
}
NO_DATA = "no data"
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")
# Before and behind an arrow, and between a number and what looks like its unit.
_TOGETHER = re.compile(r" (?=→)|(?<=→) |(?<=\d) (?=(?:s|ms|min|h|%|[MG]Hz|[KMG]?i?B)(?!\w)|/s)")
_WILSON_Z = 1.959963984540054  # two-sided 95 %


def number(value: float) -> str:
    """Three significant digits without an exponent; whole numbers up to 9,999 exactly."""
    if math.isnan(value):
        return NO_DATA
    if math.isinf(value):
        return "unbounded"
    if value == 0:
        return "0"
    if value == int(value) and abs(value) < 10_000:
        return f"{int(value):,}"
    digits = 2 - math.floor(math.log10(abs(value)))
    rounded = round(value, digits)
    text = f"{rounded:,.{max(digits, 0)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _scale(size: float, unit: str) -> tuple[float, str]:
    steps = _SCALES.get(unit, ((1.0, unit),))
    size = float(f"{size:.3g}")  # 0.9999 s is shown as 1 s, not as 1,000 ms
    if unit == "plain" and not size:
        return steps[0]
    fitting = [step for step in steps if size >= step[0]]
    return fitting[-1] if fitting and size > 0 else (steps[0] if size > 0 else steps[-1])


def quantity(value: float, unit: str) -> str:
    """A value with its unit, scaled: 1410 MHz becomes "1.41 GHz", 0.2 of ratio "20 %"."""
    if math.isnan(value):
        return NO_DATA
    factor, name = _scale(abs(value), unit)
    return f"{number(value / factor)} {name}".rstrip()


def step_of(before: float | None, after: float | None, unit: str) -> tuple[str, str]:
    """ "0.21 → 2.4" and its unit, on one scale where both fit; for a large figure and its unit."""
    known = [v for v in (before, after) if v is not None and not math.isnan(v)]
    if not known:
        return NO_DATA, ""
    if len(known) == 1:
        left = quantity(before, unit) if before is not None else NO_DATA
        right = quantity(after, unit) if after is not None else NO_DATA
        return f"{left} → {right}", ""
    largest, smallest = max(map(abs, known)), min(map(abs, known))
    factor, name = _scale(largest, unit)
    # 29 ms beside 2.4 s: each in its own unit
    if smallest and smallest / factor < 0.1 and _scale(smallest, unit)[1] != name:
        return f"{quantity(known[0], unit)} → {quantity(known[1], unit)}", ""
    return f"{number(known[0] / factor)} → {number(known[1] / factor)}", name


def change(before: float | None, after: float | None, unit: str) -> str:
    """ "0.21 → 2.4 s"."""
    figure, name = step_of(before, after, unit)
    return f"{figure} {name}".rstrip()


def span(seconds: float) -> str:
    """ "40 s", "2 min 45 s", "1 h 20 min". Seconds are dropped beside hours."""
    whole = round(abs(seconds))
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def offset(seconds: float) -> str:
    """ "+40 s", "−2 min 5 s", "0 s"."""
    sign = "" if round(seconds) == 0 else "+" if seconds > 0 else "−"
    return sign + span(seconds)


def clock(at_s: float, base: ClockBase) -> str:
    """UTC clock time, "02:05:35"."""
    return _moment(at_s, base).strftime("%H:%M:%S")


def clock_minute(at_s: float, base: ClockBase) -> str:
    """UTC clock time without seconds, for an axis: "02:05"."""
    return _moment(at_s, base).strftime("%H:%M")


def iso(at_s: float, base: ClockBase) -> str:
    """UTC moment as commands take it, "2026-03-17T02:05:35Z"."""
    return _moment(at_s, base).strftime("%Y-%m-%dT%H:%M:%SZ")


def date(at_s: float, base: ClockBase) -> str:
    """ "17 Mar 2026"."""
    moment = _moment(at_s, base)
    return f"{moment.day} {moment.strftime('%b %Y')}"


def _moment(at_s: float, base: ClockBase) -> datetime:
    return datetime.fromtimestamp(round(base.epoch_s + at_s), tz=UTC)


def percent(ratio: float) -> str:
    """ "46 %", "none" for zero; below one percent with 2 digits."""
    if math.isnan(ratio):
        return NO_DATA
    if ratio == 0:
        return "none"
    if ratio < 0.0001:
        return "under 0.01 %"
    return f"{number(float(f'{100 * ratio:.2g}'))} %"


def count(value: int, singular: str, plural: str = "") -> str:
    """ "none", "1 bad minute", "3 bad minutes"."""
    if value == 0:
        return "none"
    return f"{value:,} {singular if value == 1 else plural or singular + 's'}"


def wilson(hits: int, cases: int) -> tuple[float, float]:
    """95 % interval of a share. Source: Wilson 1927, score interval.

    Raises:
        ValueError: no cases.
    """
    if cases <= 0:
        raise ValueError(f"an interval needs at least one case, got {cases}")
    z2 = _WILSON_Z**2
    share = hits / cases
    centre = (share + z2 / (2 * cases)) / (1 + z2 / cases)
    half = (
        _WILSON_Z * math.sqrt(share * (1 - share) / cases + z2 / (4 * cases**2)) / (1 + z2 / cases)
    )
    return max(0.0, centre - half), min(1.0, centre + half)


def listed(parts: list[str] | tuple[str, ...]) -> str:
    """ "a", "a and b", "a, b and c"."""
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])} and {parts[-1]}"


def capital(text: str) -> str:
    """First letter of a sentence; a name keeps its spelling because sentences pass it apart."""
    return text[:1].upper() + text[1:]


def small(text: str) -> str:
    """First letter as behind a colon."""
    return text[:1].lower() + text[1:]


def arrows(text: str) -> str:
    """Arrows of a measurement's text as the report draws them: "5.6 s → 12 s"."""
    return text.replace(" -> ", " → ")


def kept(text: str) -> str:
    """Text of which no line ends within "a → b" or between a number and its unit."""
    return _TOGETHER.sub("\u00a0", text)


def plain(text: str) -> str:
    """Text on one line without control or direction-changing characters."""
    return _CONTROL.sub(" ", text).strip()
