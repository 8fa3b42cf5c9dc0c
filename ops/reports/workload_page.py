"""The page of `midwatch serving workload check`: two workloads in one file without network."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from ops.reports import svg, words
from ops.reports.lanes import Row
from ops.reports.page import render_page
from ops.reports.parts import Command
from ops.reports.serving_figures import CDF_POINTS, HEIGHT, line_sign, round_up
from ops.reports.workload_words import differences, unknown
from serving.workload import RequestTable
from serving.workload.fidelity import Aspect, Verdict
from serving.workload.fit import HOUR_S
from serving.workload.measures import answered, scaled_gaps, talks

Floats = NDArray[np.float64]
Line = tuple[Floats, Floats]

SLICES = 60  # of the time in a rate figure
BANDS = 12  # of the prompt in the figure of outputs
DECADES_MAX = 7  # labels on an axis
FOOT = 18  # pixels below a plot for the labels of its axis


def render_workload(
    reference: RequestTable,
    candidate: RequestTable,
    aspects: Sequence[Aspect],
    *,
    names: tuple[str, str],
    command: str,
) -> str:
    """The whole page."""
    tables = (reference, candidate)
    return render_page(
        "workload.html.j2",
        "serving.css",
        title=summary(aspects),
        names=[
            (letter, line_sign(index), name)
            for index, (letter, name) in enumerate(zip("AB", names, strict=True))
        ],
        differences=differences(aspects),
        unknown=unknown(aspects),
        table=[_cells(a) for a in aspects if a.verdict != Verdict.UNKNOWN],
        figures=_figures(tables),
        facts=[
            (name, f"{len(t):,} requests, {t.origin.value}, first to last "
                   f"{words.quantity(float(t.arrival_s[-1] - t.arrival_s[0]), 's')}")
            for name, t in zip(names, tables, strict=True)
        ],
        commands=[Command(label="Repeat", text=command)],
    )  # fmt: skip


def summary(aspects: Sequence[Aspect]) -> str:
    """The answer in one sentence."""
    known = [aspect for aspect in aspects if aspect.verdict != Verdict.UNKNOWN]
    apart = [aspect.name for aspect in known if aspect.verdict == Verdict.DIFFERENT]
    if not apart:
        return f"Alike in all {len(known)} aspects that could be compared"
    return f"Alike in {len(known) - len(apart)} of {len(known)} aspects; apart: {', '.join(apart)}"


def _cells(aspect: Aspect) -> tuple[str, str, list[str], str]:
    numbers = (aspect.reference, aspect.candidate, aspect.figure, aspect.bound)
    cells = [words.number(n) for n in numbers]
    return aspect.name, aspect.meaning, cells, aspect.verdict.value


def _figures(tables: tuple[RequestTable, RequestTable]) -> list[Row]:
    """Rate over time, then the distributions that the aspects compare."""
    prompts, outputs = zip(*(answered(t) for t in tables), strict=True)
    turns, thinks = zip(*(talks(t) for t in tables), strict=True)
    rows = [
        _rate(tables),
        _spread(
            "Gaps", "over the mean of their window", [scaled_gaps(t.arrival_s) for t in tables]
        ),
        _spread("Prompt", "tokens", prompts),
        _spread("Output", "tokens", outputs),
        _outputs(prompts, outputs),
    ]
    if all(len(think) for think in thinks):
        rows += [_spread("Turns", "of a session", turns), _spread("Think time", "s", thinks)]
    return rows


def _rate(tables: Sequence[RequestTable]) -> Row:
    span_s = max(float(t.arrival_s[-1]) for t in tables)
    width_s = span_s / SLICES
    lines: list[Line] = []
    for table in tables:
        end_s = float(table.arrival_s[-1])
        edges = np.arange(max(1, int(end_s / width_s)) + 1) * width_s  # a rest is left out
        rates = np.histogram(table.arrival_s, edges)[0] / width_s
        lines.append(((edges[:-1] + width_s / 2).astype(np.float64), rates))
    hours = span_s >= 2 * HOUR_S
    scale, unit = (HOUR_S, "h") if hours else (1.0, "s")
    readings = [f"{words.number(len(t) / float(t.arrival_s[-1]))} /s" for t in tables]
    end = f"{words.number(span_s / scale)} {unit}"
    return _plot("Rate", "requests/s over time", lines, readings,
                 (0.0, span_s), [(0.0, "0"), (span_s, end)])  # fmt: skip


def _spread(name: str, detail: str, samples: Sequence[Floats]) -> Row:
    """Share of the values at or under each, on a logarithmic axis; zeros stand at its left end."""
    positive = np.concatenate([s[s > 0] for s in samples])
    if not len(positive):
        return Row(label=name, detail=detail, plot=Markup(""), value=words.NO_DATA)
    low, high = math.log10(np.quantile(positive, 0.001)), math.log10(positive.max())
    low, high = math.floor(low), max(math.ceil(high), math.floor(low) + 1)
    shares = np.linspace(0.0, 1.0, CDF_POINTS)
    lines = [
        (np.log10(np.maximum(np.quantile(s, shares), 10.0**low)), shares) if len(s)
        else (np.zeros(0), np.zeros(0))
        for s in samples
    ]  # fmt: skip
    readings = [f"median {words.number(float(np.median(s)))}" if len(s) else "" for s in samples]
    ticks = _decades(low, high)
    return _plot(name, f"{detail}, share at or under", lines, readings, (low, high), ticks, 1.0)


def _decades(low: int, high: int) -> list[tuple[float, str]]:
    """Powers of ten from low to high, as many as have room for their labels."""
    step = -(-(high - low) // DECADES_MAX)
    return [
        (float(p), f"{10**p:,}" if 0 <= p <= 3 else f"{10 ** (p - 3)}k" if 4 <= p <= 5
         else words.number(10.0**p) if -3 <= p < 0 else f"1e{p}")
        for p in range(low, high + 1, step)
    ]  # fmt: skip


def _outputs(prompts: Sequence[Floats], outputs: Sequence[Floats]) -> Row:
    """Median output of the requests of each band of prompt."""
    lines: list[Line] = []
    for prompt, output in zip(prompts, outputs, strict=True):
        if not len(prompt):
            lines.append((np.zeros(0), np.zeros(0)))
            continue
        edges = np.unique(np.quantile(prompt, np.arange(1, BANDS) / BANDS))
        band = np.searchsorted(edges, prompt, side="right")
        used = [i for i in range(len(edges) + 1) if (band == i).any()]
        at = np.array([np.log10(max(np.median(prompt[band == i]), 1.0)) for i in used])
        lines.append((at, np.array([np.median(output[band == i]) for i in used])))
    ends = np.concatenate([at for at, _ in lines])
    low, high = math.floor(ends.min(initial=0.0)), math.ceil(ends.max(initial=1.0))
    ticks = _decades(low, high)
    readings = ["", ""]
    return _plot("Output given prompt", "median tokens at a prompt of", lines, readings,
                 (low, high), ticks)  # fmt: skip


def _plot(
    name: str,
    detail: str,
    lines: Sequence[Line],
    readings: Sequence[str],
    span: tuple[float, float],
    ticks: Sequence[tuple[float, str]],
    top: float = 0.0,
) -> Row:
    """A row with one line per workload; positions in the unit of `span`."""
    top = top or round_up(max((float(v) for _, vs in lines for v in vs), default=0.0)) or 1.0
    axis = svg.TimeAxis(*span)
    parts = [svg.line(axis.at(at), 0, axis.at(at), HEIGHT, "gl") for at, _ in ticks]
    parts.append(svg.line(0, HEIGHT, 100, HEIGHT, "ax"))
    for index, (at, values) in enumerate(lines):
        points = [(axis.at(x), v / top) for x, v in zip(at, values, strict=True)]
        parts.append(svg.curve(points, HEIGHT, f"v{index}"))
    parts += [
        svg.text(0, 10, words.number(top), anchor="end", dx=-8),
        svg.text(0, HEIGHT, "0", anchor="end", dx=-8),
        *(
            svg.text(axis.at(at), HEIGHT + 14, label, anchor=svg.anchor_at(axis.at(at)))
            for at, label in ticks
        ),
    ]
    title = f"{name}, {detail}: {'; '.join(r for r in readings if r) or 'one line per workload'}"
    return Row(
        label=name,
        detail=detail,
        plot=svg.plot(title, HEIGHT + FOOT, *parts),
        value=readings[0],
        value_detail=readings[1],
    )
