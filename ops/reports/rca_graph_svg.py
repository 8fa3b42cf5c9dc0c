"""The causal graph as a picture: layers from cause to users, sizes in pixels, scrolls if wide."""

from __future__ import annotations

from collections.abc import Mapping

from markupsafe import Markup

from ops.reports import svg, words
from ops.reports.parts import ClockBase
from ops.reports.rca_model import ArcKind, Graph, GraphArc, GraphNode, NodeRole

_ROW, _TOP, _LEFT, _GAP = 50, 24, 36, 46  # pixels
_CHARACTER, _NAME_MAX = 7.2, 28
_SLOT_MIN, _NOTE_CHARACTER = 96.0, 6.3
_SIGNS = {
    NodeRole.ACCUSED: "cause",
    NodeRole.MOVED: "victim",
    NodeRole.STILL: "calm",
    NodeRole.UNKNOWN: "calm",
}


def graph_picture(graph: Graph, base: ClockBase) -> Markup:
    """Nothing where there are no nodes."""
    if not graph.nodes:
        return Markup("")
    places, width = _places(graph, base)
    height = _TOP + _ROW * (1 + max(node.row for node in graph.nodes))
    slots = {node.name: _slot(node) for node in graph.nodes}
    arcs = [_arc(arc, places, slots, graph) for arc in _drawn(graph)]
    nodes = [_node(node, places[node.name], base) for node in graph.nodes]
    told = "; ".join(arc.text for arc in graph.arcs[:12])
    return svg.tag(
        "svg",
        svg.tag("title", f"Graph of {len(graph.nodes)} services. {told}"),
        *arcs,
        *nodes,
        role="img",
        class_="graph",
        width=width,
        height=height,
        viewBox=f"0 0 {width} {height}",
    )


def _short(name: str) -> str:
    name = words.plain(name)
    return name if len(name) <= _NAME_MAX else f"{name[: _NAME_MAX - 1]}…"


def _slot(node: GraphNode) -> float:
    """Width of a node's sign and name."""
    return 16 + _CHARACTER * len(_short(node.name))


def _room(node: GraphNode, base: ClockBase) -> float:
    """Width that a node needs with the line below its name."""
    return max(_SLOT_MIN, _slot(node), 16 + _NOTE_CHARACTER * len(_note(node, base)))


def _places(graph: Graph, base: ClockBase) -> tuple[dict[str, tuple[float, float]], int]:
    """Middle of each node's sign, and the width of the picture."""
    widths: dict[int, float] = {}
    for node in graph.nodes:
        widths[node.layer] = max(widths.get(node.layer, 0.0), _room(node, base))
    left: dict[int, float] = {}
    x = float(_LEFT)
    for layer in sorted(widths):
        left[layer] = x
        x += widths[layer] + _GAP
    places = {n.name: (left[n.layer], float(_TOP + _ROW * n.row)) for n in graph.nodes}
    return places, round(x - _GAP + 8)


def _drawn(graph: Graph) -> list[GraphArc]:
    """Faint arrows first, so that the strong ones lie above them."""
    return sorted(graph.arcs, key=lambda a: (a.strength, a.cause, a.effect))


def _arc(
    arc: GraphArc,
    places: Mapping[str, tuple[float, float]],
    slots: Mapping[str, float],
    graph: Graph,
) -> Markup:
    (x1, y1), (x2, y2) = places[arc.cause], places[arc.effect]
    roles = {node.name: node.role for node in graph.nodes}
    hot = roles[arc.cause] is NodeRole.ACCUSED or (
        roles[arc.cause] is NodeRole.MOVED and roles[arc.effect] is NodeRole.MOVED
    )
    style = "g-lead" if arc.kind is ArcKind.LEAD else "g-call"
    style += " hot" if hot else ""
    if x2 > x1:
        start, end = (x1 + slots[arc.cause], y1), (x2 - 11, y2)
        bend = max((end[0] - start[0]) / 2, 12)
        path = f"M{_at(start)}C{_at((start[0] + bend, y1))} {_at((end[0] - bend, y2))} {_at(end)}"
        head = _head(end, 1, 0)
    else:  # within a layer or backwards: round the left side
        out = min(x1, x2) - (20 if x1 != x2 else 12 + 2 * abs(y2 - y1) / _ROW)
        start, end = (x1 - 7, y1), (x2 - 10, y2)
        path = f"M{_at(start)}C{_at((out - 8, y1))} {_at((out - 8, y2))} {_at(end)}"
        head = _head(end, 1, 0)
    width = round(1.0 + 1.6 * arc.strength, 2)
    line = svg.tag("path", svg.tag("title", arc.text), d=path, class_=style, stroke_width=width)
    return line + svg.tag("path", d=head, class_=f"{style} tip")


def _at(point: tuple[float, float]) -> str:
    return f"{point[0]:.1f} {point[1]:.1f}"


def _head(end: tuple[float, float], dx: int, dy: int) -> str:
    x, y = end
    return f"M{x + 4 * dx:.1f} {y:.1f}L{x - 4 * dx:.1f} {y - 4 + dy:.1f}V{y + 4 + dy:.1f}Z"


def _note(node: GraphNode, base: ClockBase) -> str:
    """Below the name: its part, since when, and whether users call it."""
    since = f" {words.clock(node.onset_s, base)}" if node.onset_s is not None else ""
    return f"{node.role.value}{since}{', users call it' if node.serves_users else ''}"


def _node(node: GraphNode, at: tuple[float, float], base: ClockBase) -> Markup:
    x, y = at
    strong = node.role is NodeRole.ACCUSED
    name = svg.tag(
        "text",
        svg.tag("title", node.name),
        _short(node.name),
        x=f"{x + 12:.1f}",
        y=y + 4,
        class_="strong" if strong or node.serves_users else None,
    )
    note = svg.tag("text", _note(node, base), x=f"{x + 12:.1f}", y=y + 19, class_="under")
    sign = svg.tag("g", svg.glyph(_SIGNS[node.role]), transform=f"translate({x:.1f} {y})")
    return sign + name + note
