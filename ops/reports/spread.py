"""Figure of the spread: one row per thing in order of onset, arrows from cause to victim."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from ops.reports import svg, words
from ops.reports.lanes import Row
from ops.reports.parts import ClockBase
from ops.reports.parts_spread import SpreadArc, SpreadNode, SpreadRole

_SIGN_Y = 15  # pixels from the top of a row to its sign
_LOOK_BACK_S = 180.0  # a change long before is drawn at the left edge, with its time
_SIGNS = {
    SpreadRole.CAUSE: "cause",
    SpreadRole.VICTIM: "victim",
    SpreadRole.MOVED: "moved",
    SpreadRole.SLO_MISS: "SLO miss",
    SpreadRole.CHANGE: "change",
}


def ordered(nodes: Sequence[SpreadNode]) -> list[SpreadNode]:
    """Nodes by onset, the cause first among equals, then by key."""
    return sorted(nodes, key=lambda n: (n.onset_s, n.role is not SpreadRole.CAUSE, n.key))


def axis_of(nodes: Sequence[SpreadNode]) -> svg.TimeAxis:
    """From shortly before the cause to shortly after the last onset."""
    onsets = [node.onset_s for node in nodes]
    causes = [n.onset_s for n in nodes if n.role is SpreadRole.CAUSE]
    first = max(min(onsets), min(causes or onsets) - _LOOK_BACK_S)
    length = max(max(onsets) - first, 30.0)
    return svg.TimeAxis(first - 0.08 * length, first + 1.3 * length)


def axis_drawn(nodes: Sequence[SpreadNode], base: ClockBase) -> Markup:
    """The row of clock times above the rows; nothing without nodes."""
    if not nodes:
        return Markup("")
    axis = axis_of(nodes)
    ticks = axis.ticks(base)
    name = words.clock if len(ticks) > 1 and ticks[1] - ticks[0] < 60 else words.clock_minute
    labels = [
        svg.text(
            axis.at(t),
            17,
            name(t, base),
            anchor=svg.anchor_at(axis.at(t)),
            class_="ds" if i != len(ticks) // 2 else None,
        )
        for i, t in enumerate(ticks)
    ]
    return svg.tag("svg", *labels, class_="spread-plot", width="100%", height="100%")


def rows(found: Sequence[SpreadNode], arrows: Sequence[SpreadArc], base: ClockBase) -> list[Row]:
    """label: name; detail: role; plot: signs and arrows; value: evidence of the arrows."""
    nodes, axis = ordered(found), axis_of(found)
    index = {node.key: place for place, node in enumerate(nodes)}
    arcs = [arc for arc in arrows if arc.cause in index and arc.effect in index]
    causes = [n.onset_s for n in nodes if n.role is SpreadRole.CAUSE]
    zero_s = min(causes) if causes else None
    made = []
    for place, node in enumerate(nodes):
        when = _when(node, zero_s, base)
        role = f"{node.role.value}: {node.detail}" if node.detail else node.role.value
        texts = [arc.text for arc in arcs if arc.effect == node.key and arc.text]
        made.append(
            Row(
                label=node.name,
                detail=f"{role}, {when}",
                plot=_row(place, nodes, arcs, index, axis, base, when),
                value=" ".join(texts),
            )
        )
    return made


def _when(node: SpreadNode, zero_s: float | None, base: ClockBase) -> str:
    if zero_s is None or node.role in (SpreadRole.CAUSE, SpreadRole.CHANGE):
        return words.clock(node.onset_s, base)
    return words.offset(node.onset_s - zero_s)


def _row(
    place: int,
    nodes: list[SpreadNode],
    arcs: list[SpreadArc],
    index: dict[str, int],
    axis: svg.TimeAxis,
    base: ClockBase,
    when: str,
) -> Markup:
    node = nodes[place]
    x = axis.at(node.onset_s)
    parts = [svg.line(axis.at(t), 0, axis.at(t), "100%", "gl") for t in axis.ticks(base)]
    for arc in arcs:
        parts += _arc(place, arc, nodes, index, axis)
    parts += [
        svg.marker(x, _SIGN_Y, _SIGNS[node.role]),
        svg.text(
            x,
            _SIGN_Y + 5,
            when,
            anchor="end" if x > 85 else "start",
            dx=-14 if x > 85 else 14,
            class_="strong ps" if node.role is SpreadRole.CAUSE else "ps",
        ),
    ]
    return svg.tag(
        "svg",
        svg.tag("title", f"{node.name}: {node.role.value}, {when}"),
        *parts,
        role="img",
        class_="spread-plot",
        width="100%",
        height="100%",
    )


def _arc(
    place: int,
    arc: SpreadArc,
    nodes: list[SpreadNode],
    index: dict[str, int],
    axis: svg.TimeAxis,
) -> list[Markup]:
    """The part of one arrow that crosses this row."""
    start, end = index[arc.cause], index[arc.effect]
    style = "arc" if arc.measured else "arc guess"
    x = axis.at(nodes[start].onset_s)
    if start == end or not min(start, end) <= place <= max(start, end):
        return []
    if place == start:
        ends = (_SIGN_Y, "100%") if end > start else (0, _SIGN_Y)
        return [svg.line(x, ends[0], x, ends[1], style)]
    if place != end:
        return [svg.line(x, 0, x, "100%", style)]
    target = axis.at(nodes[end].onset_s)
    ends = (0, _SIGN_Y) if end > start else (_SIGN_Y, "100%")
    parts = [svg.line(x, ends[0], x, ends[1], style)]
    if abs(target - x) > 0.3:
        side = 1 if target > x else -1
        head = f"M{-7 * side} 0 {-15 * side} -4.5 {-15 * side} 4.5Z"
        name = "bad" if arc.measured else "guess-head"
        parts.append(svg.line(x, _SIGN_Y, target, _SIGN_Y, style))
        parts.append(
            svg.tag(
                "svg",
                svg.tag("path", d=head, class_=name),
                x=svg.percent(target),
                y=_SIGN_Y,
                overflow="visible",
                width=1,
                height=1,
            )
        )
    return parts
