"""Figures of a simulated serving fleet: latencies and memory over time, distributions.

One line per variant in every figure, so that policies are compared at a glance.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from ops.reports import svg, words
from ops.reports.lanes import Row
from ops.reports.parts import ClockBase
from serving.sim.report import SimReport

Floats = NDArray[np.float64]

ELAPSED = ClockBase(epoch_s=0.0)
WINDOWS = 80  # stretches of arrival time with one percentile each
WINDOW_REQUESTS_MIN = 30  # fewer in a stretch would make noise of a percentile
CDF_POINTS = 161  # odd, so that the median is one of them
HEIGHT = 84
NAME_HEIGHT = 14  # a line of small text
_ROUND = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)


def over_time(reports: Sequence[SimReport]) -> tuple[svg.TimeAxis, list[Row]]:
    """The time axis, and a row each for TTFT, TPOT, queue, batches and KV memory."""
    axis = svg.TimeAxis(0.0, max(report.duration_s for report in reports))
    slo = reports[0].slo
    rows = []
    for name, percentile, column, limit in (
        ("TTFT", 50, "ttft_s", math.nan),
        ("TTFT", 99, "ttft_s", slo.ttft_s),
        ("TPOT", 50, "tpot_s", math.nan),
        ("TPOT", 99, "tpot_s", slo.tpot_s),
    ):
        lines = [windows(r.arrival_s, getattr(r, column), percentile) for r in reports]
        whole = [percentile_of(getattr(r, column), percentile) for r in reports]
        label = "median" if percentile == 50 else f"{percentile}th percentile"
        rows.append(_row(name, label, lines, whole, "s", axis, limit))
    for name, detail, column, unit, which in (
        ("Waiting", "requests in queues", "waiting", "", "most"),
        ("Running", "sequences in batches", "running", "", "mean"),
        ("KV memory", "in use, mean of instances", "kv_ratio_mean", "ratio", "mean"),
        ("KV memory", "in use, fullest instance", "kv_ratio_max", "ratio", "most"),
    ):
        fold = np.max if which == "most" else np.mean
        values = [getattr(r.timeline, column) for r in reports]
        lines = [(r.timeline.times_s, v) for r, v in zip(reports, values, strict=True)]
        whole = [float(fold(v)) if len(v) else math.nan for v in values]
        row = _row(name, detail, lines, whole, unit, axis, math.nan)
        rows.append(replace(row, value=f"{which} {row.value}"))
    return axis, rows


def windows(arrival_s: Floats, values: Floats, percentile: int) -> tuple[Floats, Floats]:
    """(middle of a stretch of arrivals, percentile of the defined values in it)."""
    known = ~np.isnan(values)
    arrival_s, values = arrival_s[known], values[known]
    num = max(1, min(WINDOWS, len(values) // WINDOW_REQUESTS_MIN))
    if not len(values):
        return np.zeros(0), np.zeros(0)
    parts = [part for part in np.array_split(np.arange(len(values)), num) if len(part)]
    times_s = np.array([(arrival_s[p[0]] + arrival_s[p[-1]]) / 2 for p in parts])
    return times_s, np.array([np.percentile(values[p], percentile) for p in parts])


def percentile_of(values: Floats, percentile: int) -> float:
    """Percentile of the defined values, NaN when there is none."""
    known = values[~np.isnan(values)]
    return float(np.percentile(known, percentile)) if len(known) else math.nan


def _row(
    name: str,
    detail: str,
    lines: Sequence[tuple[Floats, Floats]],
    whole: Sequence[float],
    unit: str,
    axis: svg.TimeAxis,
    limit: float,
) -> Row:
    seen = [float(v) for _, values in lines for v in values]
    top = round_up(max(seen, default=0.0)) or 1.0
    parts = [svg.grid(axis, ELAPSED, HEIGHT), svg.line(0, HEIGHT, 100, HEIGHT, "ax")]
    if limit <= top:
        y = round(HEIGHT * (1 - limit / top), 1)
        parts += [
            svg.line(0, y, 100, y, "lim"),
            svg.text(100, beside(y), f"limit {words.quantity(limit, unit)}", anchor="end"),
        ]
    for index, (times_s, values) in enumerate(lines):
        points = [(axis.at(t), v / top) for t, v in zip(times_s, values, strict=True)]
        parts.append(svg.curve(points, HEIGHT, f"v{index}"))
    parts += [
        svg.text(0, 10, words.quantity(top, unit), anchor="end", dx=-8),
        svg.text(0, HEIGHT, "0", anchor="end", dx=-8),
    ]
    readings = [words.quantity(value, unit) for value in whole]
    title = f"{name}, {detail}, over time: {'; '.join(readings)} over the whole run"
    return Row(
        label=name,
        detail=detail,
        plot=svg.plot(title, HEIGHT, *parts),
        value=readings[0],
        value_detail="; ".join(readings[1:]),
    )


class SpanAxis:
    """Logarithmic axis of durations."""

    def __init__(self, low_s: float, high_s: float) -> None:
        self.low = math.floor(math.log10(max(low_s, 1e-4)))
        self.high = max(math.ceil(math.log10(max(high_s, 1e-3))), self.low + 1)

    def at(self, span_s: float) -> float:
        """Position in percent, kept within the plot."""
        if span_s <= 0.0:
            return 0.0
        ratio = (math.log10(span_s) - self.low) / (self.high - self.low)
        return 100.0 * min(1.0, max(0.0, ratio))

    def ticks(self) -> list[float]:
        """Powers of ten."""
        return [10.0**power for power in range(self.low, self.high + 1)]

    def drawn(self) -> Markup:
        """The row of labels."""
        labels = [
            svg.text(self.at(t), 20, words.quantity(t, "s"), anchor=svg.anchor_at(self.at(t)))
            for t in self.ticks()
        ]
        return svg.plot("Axis of durations", 24, *labels)


def spreads(
    reports: Sequence[SimReport], others: Sequence[SimReport] = ()
) -> tuple[SpanAxis, list[Row]]:
    """The axis of durations, and a row each with the distribution of TTFT, TPOT and TBT.

    The axis is wide enough for the TTFT of `others` too.
    """
    slo = reports[0].slo
    found = [
        ("TTFT", "of requests", [cdf(r.ttft_s) for r in reports], slo.ttft_s),
        ("TPOT", "of requests", [cdf(r.tpot_s) for r in reports], slo.tpot_s),
        ("TBT", "of token gaps", [_gaps(r) for r in reports], math.nan),
    ]
    ends = [span for *_, lines, _ in found for spans, _ in lines for span in spans[[0, -1]]]
    ends += [span for other in others for span in cdf(other.ttft_s)[0][[0, -1]]]
    axis = SpanAxis(min(ends, default=0.01), max(ends, default=1.0))
    return axis, [spread_row(*item, axis=axis) for item in found]


def line_sign(index: int) -> Markup:
    """The line of a variant, for the legend; decoration, because its name stands beside it."""
    line = svg.tag("path", d="M-7 0H19", class_=f"v{index}")
    return svg.tag("svg", line, class_="sign", viewBox="-7 -7 26 14", aria_hidden="true")


def cdf(values: Floats) -> tuple[Floats, Floats]:
    """(value, share at or under it) at evenly spaced shares; at least two points."""
    known = values[~np.isnan(values)]
    if not len(known):
        return np.ones(2), np.zeros(2)
    share = np.linspace(0.0, 1.0, CDF_POINTS)
    return np.quantile(known, share), share


def _gaps(report: SimReport) -> tuple[Floats, Floats]:
    counts = np.array(report.tbt.counts[:-1], dtype=np.float64)
    total = report.tbt.count
    used = np.flatnonzero(counts)
    if not len(used):
        return np.ones(2), np.zeros(2)
    chosen = np.arange(max(used[0] - 1, 0), used[-1] + 1)
    return np.array(report.tbt.bounds)[chosen], np.cumsum(counts)[chosen] / total


def spread_row(
    name: str,
    what: str,
    lines: Sequence[tuple[Floats, Floats]],
    limit: float,
    *,
    axis: SpanAxis,
) -> Row:
    """Distributions (value, share at or under it), one line each; a limit unless it is NaN."""
    parts = [svg.line(axis.at(t), 0, axis.at(t), HEIGHT, "gl") for t in axis.ticks()]
    parts += [svg.line(0, y, 100, y, "gl") for y in (0, HEIGHT / 2)]
    parts.append(svg.line(0, HEIGHT, 100, HEIGHT, "ax"))
    if 0 < limit < math.inf:
        parts.append(svg.line(axis.at(limit), 0, axis.at(limit), HEIGHT, "lim"))
    for index, (spans, shares) in enumerate(lines):
        points = [(axis.at(s), p) for s, p in zip(spans, shares, strict=True)]
        parts.append(svg.curve(points, HEIGHT, f"v{index}"))
    parts += [
        svg.text(0, 10, "100 %", anchor="end", dx=-8),
        svg.text(0, HEIGHT, "0", anchor="end", dx=-8),
    ]
    median = [words.quantity(float(np.interp(0.5, p, s)), "s") for s, p in lines]
    title = f"Distribution of {name}: medians {'; '.join(median)}"
    return Row(
        label=name,
        detail=what,
        plot=svg.plot(title, HEIGHT, *parts),
        value=f"median {median[0]}",
        value_detail="; ".join(median[1:]),
    )


def beside(y: float) -> float:
    """Where the name of a level line stands: above it, or below one at the top of its plot."""
    return y - 4 if y >= NAME_HEIGHT else y + NAME_HEIGHT - 2


def round_up(value: float) -> float:
    """The next short number, so that an axis ends at a short label."""
    if not value > 0.0:
        return 0.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in _ROUND if step * power >= value * (1 - 1e-9))
