"""The page of `midwatch serving workload closed-loop`, and the words that it shares with stdout."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ops.reports import svg, words
from ops.reports.lanes import Row
from ops.reports.page import render_page
from ops.reports.parts import Command
from ops.reports.serving_figures import ELAPSED, HEIGHT, line_sign, round_up
from serving.workload.attempts import ONE_MINUTE, TWO_MINUTES, Floats
from serving.workload.storm import AFTER, BEFORE, CUT, Storm, spread

FOOT = 22  # pixels below the last plot for the labels of the time axis
NEVER = "never"
ROOM_RATIO = 1.2  # of a plot above its highest value, so that the name of a line has room


def render_storm(storms: Sequence[Storm], *, command: str) -> str:
    """The whole page; the first storm is the one asked for."""
    return render_page(
        "storm.html.j2",
        "serving.css",
        title=headline(storms[0]),
        names=[(line_sign(index), storm.name) for index, storm in enumerate(storms)],
        table=figure_rows(storms),
        figures=[
            _over_time("Goodput", "answered in time, 1/s", storms, "slice_goodput_rps"),
            _over_time("Tries", "offered, 1/s", storms, "slice_tries_rps"),
        ],
        facts=facts(storms[0]),
        commands=[Command(label="Repeat", text=command)],
    )


def headline(storm: Storm) -> str:
    """The answer in one sentence."""
    after_s = storm.duration_s - storm.server.cut_from_s - storm.server.cut_s
    tries = spread(storm.amplification[AFTER])["median"]
    if storm.never == len(storm.seeds):
        return f"Does not recover within {after_s:g} s; {_times(tries)} tries per request"
    if storm.never:
        return f"Does not recover within {after_s:g} s in {storm.never} of {len(storm.seeds)} runs"
    recovery = spread(storm.recovery_s[ONE_MINUTE])
    if recovery["max"] == 0.0:
        return f"Recovers at once; {_times(tries)} tries per request"
    return f"Recovers {_span(recovery)} s after the cut; {_times(tries)} tries per request"


def figure_rows(storms: Sequence[Storm]) -> list[tuple[str, list[str]]]:
    """(figure, least / median / largest over the seeds of each storm)."""
    whens = (("before", BEFORE), ("in", CUT), ("after", AFTER))
    rules = (("a minute at 90 %", ONE_MINUTE), ("two minutes at 95 %", TWO_MINUTES))
    return [
        *(
            (f"Goodput {name} the cut, 1/s", [_three(s.goodput_rps[when]) for s in storms])
            for name, when in whens
        ),
        *(
            (f"Tries per request {name} the cut", [_three(s.amplification[when]) for s in storms])
            for name, when in whens
        ),
        *(
            (f"Recovery, {name}, s", [_three(s.recovery_s[rule]) for s in storms])
            for name, rule in rules
        ),
    ]


def facts(storm: Storm) -> list[tuple[str, str]]:
    """What the run rests on."""
    crowd, server = storm.crowd, storm.server
    budget = "none" if crowd.budget_ratio is None else f"{crowd.budget_ratio:g} per request"
    users = (
        f"{crowd.population:,} who think {crowd.think_s:g} s" if crowd.population
        else f"new ones, {crowd.rate_rps:g} per s"
    )  # fmt: skip
    queue = "any queue" if server.queue_max is None else f"at most {server.queue_max} waiting"
    return [
        ("Users", users),
        ("Patience", f"{crowd.timeout_s:g} s, {crowd.tries_max} tries, first pause "
                     f"{crowd.backoff_s:g} s, jitter {crowd.jitter_ratio:g}, budget {budget}"),
        ("Server", f"{server.slots} slots of {server.service_s:g} s, {queue}; "
                   f"{100 * server.cut_ratio:g} % of them for {server.cut_s:g} s from "
                   f"{server.cut_from_s:g} s on"),
        ("Runs", f"seeds {storm.seeds[0]} to {storm.seeds[-1]}, {storm.duration_s:g} s each; "
                 "simulated"),
    ]  # fmt: skip


def _over_time(name: str, detail: str, storms: Sequence[Storm], column: str) -> Row:
    axis = svg.TimeAxis(0.0, storms[0].duration_s)
    server = storms[0].server
    lines = [getattr(storm, column) for storm in storms]
    highest = max([server.capacity_rps, *(float(v.max()) for v in lines)])
    top = round_up(ROOM_RATIO * highest) or 1.0
    start = axis.at(server.cut_from_s)
    y = round(HEIGHT * (1 - server.capacity_rps / top), 1)
    parts = [
        svg.grid(axis, ELAPSED, HEIGHT),
        svg.rect(start, 0, axis.at(server.cut_from_s + server.cut_s) - start, HEIGHT, "band"),
        svg.line(0, HEIGHT, 100, HEIGHT, "ax"),
        svg.line(0, y, 100, y, "lim"),
        svg.text(100, y - 4, f"capacity {server.capacity_rps:g} /s", anchor="end"),
    ]
    for index, (storm, values) in enumerate(zip(storms, lines, strict=True)):
        points = [
            (axis.at(t), float(v) / top) for t, v in zip(storm.slice_at_s, values, strict=True)
        ]
        parts.append(svg.curve(points, HEIGHT, f"v{index}"))
    ticks = np.arange(0, storms[0].duration_s + 1, 600.0)
    parts += [
        svg.text(0, 10, words.number(top), anchor="end", dx=-8),
        svg.text(0, HEIGHT, "0", anchor="end", dx=-8),
        *(
            svg.text(axis.at(t), HEIGHT + 14, f"{t:g} s", anchor=svg.anchor_at(axis.at(t)))
            for t in ticks.tolist()
        ),
    ]
    readings = [words.number(float(values[-1])) for values in lines]
    title = f"{name}, {detail}, over time, mean of the seeds; at the end {'; '.join(readings)}"
    return Row(
        label=name, detail=detail, plot=svg.plot(title, HEIGHT + FOOT, *parts),
        value=f"{readings[0]} at the end", value_detail="; ".join(readings[1:]),
    )  # fmt: skip


def _three(values: Floats) -> str:
    return " / ".join(_number(v) for v in spread(values).values())


def _number(value: float | None) -> str:
    return NEVER if value is None else f"{value:.3g}"


def _span(found: dict[str, float | None]) -> str:
    low, high = _number(found["min"]), _number(found["max"])
    return low if low == high else f"{low} to {high}"


def _times(value: float | None) -> str:
    return "?" if value is None or math.isnan(value) else f"{value:.1f}"
