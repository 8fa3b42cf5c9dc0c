"""Figure of aligned series: normal band, onset, limit, gaps, and the reading at the right edge."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from ops.reports import findings, svg, words
from ops.reports.lanes import Row
from ops.reports.model import IncidentReport
from ops.reports.parts import ClockBase, EvidenceSeries

POINTS_MAX = 240  # per series; more is not seen and makes the page large
_TALL, _LOW = 68, 36
_CALM_SAMPLES = 3  # samples in a row inside the normal band that end the coloured part
_ROUND_STEPS = (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 20.0)
_GAP_LABEL = 20.0  # percent of the width that the label of a gap needs, so that no curve is hidden
_ZOOM_RATIO = 0.25  # a swing smaller than this share of the level is shown on a cut axis


def axis_of(incident: IncidentReport) -> svg.TimeAxis | None:
    """From the first to the last sample of any series; None without samples."""
    times = [t for item in incident.series for t in (item.times_s[:1] + item.times_s[-1:])]
    return svg.TimeAxis(min(times), max(times)) if times and max(times) > min(times) else None


def rows(
    incident: IncidentReport, axis: svg.TimeAxis, base: ClockBase, *, points: int = POINTS_MAX
) -> list[Row]:
    """One row per series: those that moved by onset, then those without one.

    Args:
        points: most points that one series is drawn with.
    """
    made = []
    for item in findings.ordered_series(incident):
        moved = item.onset_s is not None
        note = [] if item.score is None else [f"score {words.number(item.score)}"]
        note.append(_when(item, base))
        made.append(
            Row(
                label=item.label,
                detail=item.detail,
                plot=_plot(item, incident, axis, base, _TALL if moved else _LOW, points),
                value=reading(item),
                value_detail=", ".join(note),
                style="" if moved else "low",
            )
        )
    return made


def reading(item: EvidenceSeries) -> str:
    """Before and after, for the right edge."""
    if item.before is None and item.after is None:
        return words.NO_DATA
    return words.change(item.before, item.after, item.unit)


def gaps(item: EvidenceSeries) -> list[tuple[float, float]]:
    """(from, to) of each stretch without samples, from the last good sample to the next one."""
    found = []
    open_s: float | None = None
    previous_s = item.times_s[0] if item.times_s else 0.0
    for at_s, value in zip(item.times_s, item.values, strict=True):
        if math.isnan(value):
            open_s = previous_s if open_s is None else open_s
        else:
            if open_s is not None:
                found.append((open_s, at_s))
            open_s, previous_s = None, at_s
    if open_s is not None:
        found.append((open_s, item.times_s[-1]))
    return found


def decimate(points: list[tuple[float, float]], limit: int) -> list[tuple[float, float]]:
    """At most `limit` points, the lowest and the highest of each bucket in their order."""
    if len(points) <= limit:
        return points
    buckets = max(limit // 2, 1)
    kept: list[tuple[float, float]] = []
    for index in range(buckets):
        part = points[index * len(points) // buckets : (index + 1) * len(points) // buckets]
        ends = {min(part, key=lambda p: p[1]), max(part, key=lambda p: p[1])}
        kept += sorted(ends)
    return kept


def segments(
    item: EvidenceSeries, since_s: float | None = None
) -> list[tuple[list[tuple[float, float]], bool]]:
    """Runs of samples without gaps, split where the series leaves and re-enters its normal band.

    Args:
        since_s: stands in for an onset that is not known.
    """
    start_s = item.onset_s if item.onset_s is not None else since_s
    back_s = _back_to_normal_s(item, start_s)
    parts: list[tuple[list[tuple[float, float]], bool]] = []
    current: list[tuple[float, float]] = []
    state = False
    for at_s, value in zip(item.times_s, item.values, strict=True):
        if math.isnan(value):
            if current:
                parts.append((current, state))
            current = []
            continue
        coloured = start_s is not None and start_s <= at_s < back_s
        if current and coloured is not state:
            parts.append((current, state))
            current = [current[-1]]  # the two lines share a point
        state = coloured
        current.append((at_s, value))
    if current:
        parts.append((current, state))
    return parts


def _back_to_normal_s(item: EvidenceSeries, start_s: float | None) -> float:
    if start_s is None or item.normal_low is None or item.normal_high is None:
        return math.inf
    calm = 0
    left = False
    for at_s, value in zip(item.times_s, item.values, strict=True):
        if at_s < start_s or math.isnan(value):
            continue
        inside = item.normal_low <= value <= item.normal_high
        left = left or not inside
        calm = calm + 1 if inside and left else 0
        if calm >= _CALM_SAMPLES:
            return at_s
    return math.inf


def value_range(item: EvidenceSeries) -> tuple[float, float]:
    """(bottom, top) of the y axis: from zero unless the swing is small beside the level."""
    seen = [v for v in item.values if math.isfinite(v)]
    seen += [v for v in (item.normal_low, item.normal_high) if v is not None]
    if not seen:
        return 0.0, 1.0
    low, high = min(seen), max(seen)
    if item.limit is not None and (low - (high - low)) <= item.limit <= high * 2 + 1e-12:
        low, high = min(low, item.limit), max(high, item.limit)
    swing = high - low
    if item.onset_s is not None and 0 < swing < _ZOOM_RATIO * abs(high):
        return low - 0.15 * swing, high + 0.15 * swing
    bottom, top = -_round_up(-min(low, 0.0)), _round_up(max(high, 0.0))
    return (bottom, top) if top > bottom else (0.0, 1.0)


def _round_up(value: float) -> float:
    """The next number of one or two round digits, so that the axis ends at a short label."""
    if value <= 0:
        return 0.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in _ROUND_STEPS if step * power >= value)


def _plot(
    item: EvidenceSeries,
    incident: IncidentReport,
    axis: svg.TimeAxis,
    base: ClockBase,
    height: int,
    most: int,
) -> Markup:
    marks = [(c.at_s, "chg") for c in incident.changes if c.suspect]
    marks += [(action.at_s, "act") for action in incident.done]
    since_s = incident.began_at_s if item.undated else None
    return plot_of(item, marks, axis, base, height=height, points=most, since_s=since_s)


def plot_of(
    item: EvidenceSeries,
    marks: Sequence[tuple[float, str]],
    axis: svg.TimeAxis,
    base: ClockBase,
    *,
    height: int = _TALL,
    points: int = POINTS_MAX,
    since_s: float | None = None,
) -> Markup:
    """One series with its band, gaps, limit and onset.

    Args:
        marks: (time, class of the line).
        since_s: the series is coloured from here on where it has no onset.
    """
    bottom, top = value_range(item)

    def level(value: float) -> float:
        return min(1.0, max(0.0, (value - bottom) / (top - bottom)))

    def y(value: float) -> float:
        return round(height * (1 - level(value)), 1)

    parts = [svg.grid(axis, base, height)]
    if item.normal_low is not None and item.normal_high is not None:
        upper, lower = y(item.normal_high), y(item.normal_low)
        parts.append(svg.rect(0, upper, 100, max(lower - upper, 1.5), "band"))
    parts.append(svg.line(0, height, 100, height, "gl"))
    parts += _gaps(item, axis, height)
    parts += [
        svg.line(axis.at(at_s), -8, axis.at(at_s), height + 8, name)
        for at_s, name in marks
        if axis.holds(at_s)
    ]
    places: dict[str, float] = {}
    if item.limit is not None and bottom <= item.limit <= top:
        places["limit"] = y(item.limit)
        parts.append(svg.line(0, y(item.limit), 100, y(item.limit), "lim"))
    runs = segments(item, since_s)
    samples = sum(len(run) for run, _ in runs)
    for run, coloured in runs:
        share = max(2, points * len(run) // max(samples, 1))
        drawn = [(axis.at(t), level(v)) for t, v in decimate(run, share)]
        parts.append(svg.curve(drawn, height, "moved" if coloured else "still"))
    parts += _labels(item, axis, base, height, places)
    return svg.plot(_title(item, base), height, *parts)


def _gaps(item: EvidenceSeries, axis: svg.TimeAxis, height: int) -> list[Markup]:
    found = [(axis.at(a), axis.at(b), b - a) for a, b in gaps(item)]
    parts = [svg.rect(left, 0, right - left, height, "gap") for left, right, _ in found]
    for left, right, length_s in found:
        if right - left >= _GAP_LABEL:
            label = f"no data {words.span(length_s)}"
            middle = (left + right) / 2
            parts.append(svg.text(middle, height - 4, label, anchor="middle", class_="ps"))
    return parts


def _labels(
    item: EvidenceSeries, axis: svg.TimeAxis, base: ClockBase, height: int, ys: dict[str, float]
) -> list[Markup]:
    """Ends of the y axis, the limit's name and the onset with its time."""
    bottom, top = value_range(item)
    parts = [
        svg.text(0, 10, words.quantity(top, item.unit), anchor="end", dx=-8),
        svg.text(
            0, height, words.quantity(bottom, item.unit) if bottom else "0", anchor="end", dx=-8
        ),
    ]
    if height < _TALL:
        parts = parts[:1]
    if item.limit is not None and "limit" in ys:
        parts.append(
            svg.text(100, _limit_label_y(item, ys["limit"], height), item.limit_label, anchor="end")
        )
    if item.onset_s is not None and axis.holds(item.onset_s):
        x = axis.at(item.onset_s)
        left = x > 15
        parts += [
            svg.line(x, 0, x, height, "on"),
            svg.marker(x, 3, "onset"),
            svg.text(
                x,
                9,
                words.clock(item.onset_s, base),
                anchor="end" if left else "start",
                dx=-9 if left else 9,
                class_="onset ps",
            ),
        ]
    return parts


def _limit_label_y(item: EvidenceSeries, at_y: float, height: int) -> float:
    """Above or below the limit: the side where the series is not, at the right edge."""
    last = [v for v in item.values[-len(item.values) // 4 :] if not math.isnan(v)]
    above, below = at_y - 4, at_y + 14
    if item.limit is not None and last and sum(last) / len(last) >= item.limit:
        return below if below <= height else above
    return above if above >= 10 else below


def _title(item: EvidenceSeries, base: ClockBase) -> str:
    name = f"{item.label}, {item.detail}".rstrip(", ")
    spans = [words.span(until_s - from_s) for from_s, until_s in gaps(item)]
    missing = f"; no data {words.listed(spans[:3])}" if spans else ""
    missing += f" and {len(spans) - 3} more times" if len(spans) > 3 else ""
    return f"{name}: {reading(item)}, {_when(item, base)}{missing}"


def _when(item: EvidenceSeries, base: ClockBase) -> str:
    """Its onset, or what is known without one."""
    if item.onset_s is None:
        return findings.without_onset(item)
    return f"onset {words.clock(item.onset_s, base)}"
