"""SVG made in Python: tags that escape by construction, a time axis, the signs of the legends.

Positions along time are percent of the plot's width and heights are pixels, so that text keeps its
size at every width. Colours are CSS classes; no style attribute is used, so that the page's content
policy can forbid them.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

from markupsafe import Markup, escape

from ops.reports import words
from ops.reports.parts import ClockBase, MarkKind

_TICK_STEPS_S = (5, 10, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 43200, 86400)
_TICKS_MAX = 7
_LABEL_MAX = 44  # characters of a label inside a plot

# Shapes of 14 x 14 px around (0, 0): never told apart by colour alone.
_DIAMOND = "M0 -5.5 5.5 0 0 5.5 -5.5 0Z"
_TICK = "M-2.5 .2 -.6 2 2.7 -2.2"
_TRIANGLE = "M-5 -4H5L0 4Z"


def tag(name: str, *children: Markup | str, **attributes: object) -> Markup:
    """An element; `class_` and `stroke_width` become class and stroke-width; all is escaped."""
    pairs = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    inner = "".join(escape(child) for child in children)
    return Markup(f"<{name}{pairs}>{inner}</{name}>" if inner else f"<{name}{pairs}/>")


def percent(value: float) -> str:
    """A length in percent with two decimals."""
    return f"{value:.2f}%"


@dataclass(frozen=True, slots=True)
class TimeAxis:
    """The shared axis of all lanes of one figure."""

    start_s: float
    end_s: float

    def __post_init__(self) -> None:
        if not self.end_s > self.start_s:
            raise ValueError(f"axis needs end after start, got {self.start_s} to {self.end_s}")

    def at(self, at_s: float) -> float:
        """Position in percent, kept within the plot."""
        ratio = (at_s - self.start_s) / (self.end_s - self.start_s)
        return 100.0 * min(1.0, max(0.0, ratio))

    def holds(self, at_s: float) -> bool:
        """Whether the moment lies in the plot."""
        return self.start_s <= at_s <= self.end_s

    def ticks(self, base: ClockBase) -> list[float]:
        """Round clock times inside the axis, at most seven."""
        length = self.end_s - self.start_s
        fitting = [step for step in _TICK_STEPS_S if length / step <= _TICKS_MAX]
        step = fitting[0] if fitting else _TICK_STEPS_S[-1]
        first = math.ceil((base.epoch_s + self.start_s) / step) * step - base.epoch_s
        return [first + i * step for i in range(int((self.end_s - first) // step) + 1)]


def plot(title: str, height: int, *children: Markup) -> Markup:
    """A figure of full width and fixed height with its text alternative."""
    return tag(
        "svg",
        tag("title", title),
        *children,
        role="img",
        class_="plot",
        width="100%",
        height=height,
    )


def text(
    x: float, y: float, content: str, *, anchor: str = "start", dx: float = 0, **more: object
) -> Markup:
    """A label with a halo of paper, so that lines below do not cross it; long ones are cut."""
    if len(content) > _LABEL_MAX:
        content = content[: _LABEL_MAX - 1] + "…"
    return tag("text", content, x=percent(x), y=y, dx=dx or None, text_anchor=anchor, **more)


def line(x1: float, y1: object, x2: float, y2: object, class_: str) -> Markup:
    """A straight line; x in percent, y in pixels or percent text."""
    return tag("line", x1=percent(x1), y1=y1, x2=percent(x2), y2=y2, class_=class_)


def rect(x: float, y: float, width: float, height: float, class_: str) -> Markup:
    """A rectangle; x and width in percent, y and height in pixels."""
    return tag(
        "rect", x=percent(x), y=y, width=percent(max(width, 0.05)), height=height, class_=class_
    )


def grid(axis: TimeAxis, base: ClockBase, height: int, *, below: int = 8) -> Markup:
    """Hairlines at the ticks, a little beyond the plot, so that lanes join."""
    made = _hairlines(axis, base, -8, height + 8, "gl")
    if below > 8:  # "ps" is hidden where lanes stack
        made += _hairlines(axis, base, height + 8, height + below, "gl ps")
    return made


def _hairlines(axis: TimeAxis, base: ClockBase, top: int, bottom: int, class_: str) -> Markup:
    path = "".join(f"M{10 * axis.at(t):.1f} 0V1" for t in axis.ticks(base))
    return tag(
        "svg",
        tag("path", d=path, class_=class_),
        viewBox="0 0 1000 1",
        preserveAspectRatio="none",
        y=top,
        width="100%",
        height=bottom - top,
        overflow="visible",
    )


def time_axis(axis: TimeAxis, base: ClockBase, labels: list[tuple[float, str, str]]) -> Markup:
    """The row with clock times; `labels` are (time, text, class) above them."""
    ticks = axis.ticks(base)
    seconds = len(ticks) > 1 and ticks[1] - ticks[0] < 60
    name = words.clock if seconds else words.clock_minute
    parts = [
        text(
            axis.at(t),
            32,
            name(t, base),
            anchor=anchor_at(axis.at(t)),
            class_="ds" if i % 2 else None,
        )
        for i, t in enumerate(ticks)
    ]
    parts += [
        text(axis.at(t), 13, label, anchor=anchor_at(axis.at(t)), class_=name_)
        for t, label, name_ in labels
    ]
    title = f"Time axis from {words.clock(axis.start_s, base)} to {words.clock(axis.end_s, base)}"
    return plot(title, 38, *parts)


def anchor_at(x: float) -> str:
    """Side of a label's anchor that keeps it inside the plot."""
    return "start" if x < 4 else "end" if x > 96 else "middle"


def glyph(kind: str) -> Markup:
    """The sign of a mark, drawn around (0, 0)."""
    if kind == MarkKind.CHANGE:
        return tag("path", d=_DIAMOND, class_="g-change")
    if kind in (MarkKind.BEGAN, "onset"):
        return tag("path", d=_TRIANGLE, class_="bad")
    if kind == MarkKind.SLO_MISS:
        return tag("rect", x=-5, y=-5, width=10, height=10, class_="bad")
    if kind == MarkKind.ACTION:
        box = tag("rect", x=-5, y=-5, width=10, height=10, class_="g-act")
        return box + tag("path", d=_TICK, class_="g-tick")
    if kind == MarkKind.PAGE:
        return tag("circle", r=4.7, class_="g-page")
    if kind == "cause":
        return tag("circle", r=6, class_="bad")
    if kind == "victim":
        return tag("circle", r=5, class_="g-victim")
    if kind == "moved":
        return tag("circle", r=4.5, class_="g-moved")
    if kind == "calm":
        return tag("circle", r=3, class_="g-calm")
    return tag("rect", x=-4.3, y=-4.3, width=8.6, height=8.6, class_="g-note")


def sign(kind: str) -> Markup:
    """The sign as a small picture inside text; decoration, because its word stands beside it."""
    return tag("svg", glyph(kind), class_="sign", viewBox="-7 -7 14 14", aria_hidden="true")


def marker(x: float, y: object, kind: str) -> Markup:
    """The sign at a place of a plot."""
    return tag("svg", glyph(kind), x=percent(x), y=y, overflow="visible", width=1, height=1)


def curve(points: list[tuple[float, float]], height: int, class_: str) -> Markup:
    """A line through (percent, ratio of height from the bottom) points; stretches with the page."""
    if not points:
        return Markup("")
    if len(points) == 1:
        x, level = points[0]
        return tag("circle", cx=percent(x), cy=f"{height * (1 - level):.1f}", r=1.5, class_="dot")
    dots = [(round(10 * x), round(1000 * (1 - level))) for x, level in points]
    steps = [f"{b[0] - a[0]} {b[1] - a[1]}" for a, b in itertools.pairwise(dots)]
    path = f"M{dots[0][0]} {dots[0][1]}l{' '.join(steps)}"
    return tag(
        "svg",
        tag("path", d=path, class_=class_),
        viewBox="0 0 1000 1000",
        preserveAspectRatio="none",
        width="100%",
        height=height,
        overflow="visible",
    )


def boxes(spans: list[tuple[float, float]], y: float, height: float, class_: str) -> Markup:
    """Rectangles of one height as one path; (x, width) in percent, y and height in pixels.

    For plain colours: a pattern would be stretched with the path.
    """
    if not spans:
        return Markup("")
    path = "".join(f"M{10 * x:.1f} 0h{10 * w:.1f}v1h-{10 * w:.1f}z" for x, w in spans)
    return tag(
        "svg",
        tag("path", d=path, class_=class_),
        viewBox="0 0 1000 1",
        preserveAspectRatio="none",
        y=y,
        width="100%",
        height=height,
        overflow="visible",
    )
