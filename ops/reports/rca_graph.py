"""The part of the causal graph that a page can show: around the cause, up to what users call."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence

from ops.reports import words
from ops.reports.rca_calls import callers, way
from ops.reports.rca_model import ArcKind, Graph, GraphArc, GraphNode, NodeRole
from rca.localisation import Localisation
from rca.state import Evidence

NODES_MAX = 16
ROWS_MAX = 6  # of one layer
CALM_MAX = 3  # neighbours of the cause that did not move
Pair = tuple[str, str]


def draw_graph(
    found: Localisation,
    calls: Mapping[Pair, int],
    *,
    first: Sequence[str],
    entry: str,
    moves: Mapping[str, Evidence],
) -> Graph:
    """Nodes in layers by the number of arrows from the cause, arrows from cause to effect.

    Args:
        calls: (caller, callee) -> calls counted, 0 = only known to exist.
        moves: what of each service moved first, where that is known.
        first: the accused, or the leader where nobody is accused.
    """
    arcs = _arcs(found, calls)
    moved = [s.name for s in found.services if s.channels]
    path = _path(found, calls, first, entry)
    chosen = _chosen(arcs, first, path, moved)
    layer = _layers(arcs, first, chosen)
    placed = _placed(layer, first, path, moved, arcs)
    if len(placed) < 2:
        return Graph(note=_nothing(found, calls))
    kept = [a for a in arcs if a.cause in placed and a.effect in placed]
    told = set(first) | set(path) | set(moved)
    kept = [a for a in kept if {a.cause, a.effect} <= told or a.cause in first or a.effect in first]
    touched = {name for arc in kept for name in (arc.cause, arc.effect)} | set(first)
    nodes = tuple(
        GraphNode(
            name=name,
            role=_role(name, found, first if found.accused else ()),
            layer=place[0],
            row=place[1],
            onset_s=moves[name].onset_s if name in moved and name in moves else None,
            serves_users=name == entry,
        )
        for name, place in placed.items()
        if name in touched
    )
    known = {s.name for s in found.services} | {name for pair in calls for name in pair}
    return Graph(nodes=nodes, arcs=tuple(kept), note=_left_out(nodes, known, moved))


def _arcs(found: Localisation, calls: Mapping[Pair, int]) -> list[GraphArc]:
    """Calls that a series confirms carry its strength; a lead without a call is its own kind."""
    leads = {(a.cause, a.effect): a for a in found.graph.services if a.strength > 0.0}
    most = max((a.strength for a in leads.values()), default=1.0) or 1.0
    arcs = []
    for (caller, callee), count in calls.items():
        lead = leads.pop((callee, caller), None)
        seen = f", {count:,} calls in the spans" if count else ""
        strength, text = 0.4, f"{caller} calls {callee}{seen}"
        if lead is not None:
            strength = 0.4 + 0.6 * lead.strength / most
            text += f"; its past forecasts {caller} ({words.number(lead.strength)} beyond chance)"
        arcs.append(
            GraphArc(cause=callee, effect=caller, kind=ArcKind.CALL, strength=strength, text=text)
        )
    for (cause, effect), lead in leads.items():
        arcs.append(
            GraphArc(
                cause=cause,
                effect=effect,
                kind=ArcKind.LEAD,
                strength=lead.strength / most,
                text=f"the past of {cause} forecasts {effect} "
                f"({words.number(lead.strength)} beyond chance)",
            )
        )
    return arcs


def _path(
    found: Localisation, calls: Mapping[Pair, int], first: Sequence[str], entry: str
) -> tuple[str, ...]:
    """From the cause to what users call: along calls where there is a way, else as found."""
    up = callers(calls)
    for name in first:
        path = way(up, name, entry) if entry else ()
        if len(path) > 1:
            return path
    return found.graph.path if set(found.graph.path) & set(first) else tuple(first)


def _chosen(
    arcs: Iterable[GraphArc], first: Sequence[str], path: Sequence[str], moved: Sequence[str]
) -> set[str]:
    """The cause, its way to the users, what moved, and the cause's neighbours, as many as fit."""
    near: list[str] = []
    for arc in sorted(arcs, key=lambda a: (-a.strength, a.cause, a.effect)):
        if arc.cause in first:
            near.append(arc.effect)
        if arc.effect in first:
            near.append(arc.cause)
    calm = [name for name in dict.fromkeys(near) if name not in moved]
    order = [*first, *path, *moved, *calm[:CALM_MAX]]
    return set(list(dict.fromkeys(order))[:NODES_MAX])


def _layers(
    arcs: Sequence[GraphArc], first: Sequence[str], chosen: Collection[str]
) -> dict[str, int]:
    """Arrows from the cause (positive) or to it (negative); who is not connected has no place."""
    forward: dict[str, list[str]] = {}
    backward: dict[str, list[str]] = {}
    for arc in arcs:
        if arc.cause in chosen and arc.effect in chosen:
            forward.setdefault(arc.cause, []).append(arc.effect)
            backward.setdefault(arc.effect, []).append(arc.cause)
    layer = {name: 0 for name in _sources(first, forward) if name in chosen}
    for links, step in ((forward, 1), (backward, -1)):
        todo = deque(sorted(layer, key=lambda name: (abs(layer[name]), name)))
        while todo:
            name = todo.popleft()
            for other in sorted(links.get(name, ())):
                if other not in layer:
                    layer[other] = layer[name] + step
                    todo.append(other)
    return layer


def _sources(first: Sequence[str], forward: Mapping[str, list[str]]) -> list[str]:
    """The accused that no other one reaches; all of them where they reach each other."""
    steps = {name: frozenset(others) for name, others in forward.items()}
    free = [n for n in first if not any(m != n and way(steps, m, n) for m in first)]
    return free or list(first)


def _placed(
    layer: Mapping[str, int],
    first: Sequence[str],
    path: Sequence[str],
    moved: Sequence[str],
    arcs: Sequence[GraphArc],
) -> dict[str, tuple[int, int]]:
    """(layer from 0, row) of each service that fits: the way to the users first, then movers."""
    shift = min(layer.values(), default=0)
    rank = {name: n for n, name in enumerate(moved)}
    linked: dict[str, list[str]] = {}
    for arc in arcs:
        linked.setdefault(arc.effect, []).append(arc.cause)
        linked.setdefault(arc.cause, []).append(arc.effect)
    placed: dict[str, tuple[int, int]] = {}
    for number in sorted(set(layer.values())):
        names = [name for name in layer if layer[name] == number]
        names.sort(key=lambda n: (n not in first, n not in path, rank.get(n, len(rank)), n))
        names = names[:ROWS_MAX]

        def height(name: str) -> float:
            rows = [placed[other][1] for other in linked.get(name, ()) if other in placed]
            return sum(rows) / len(rows) if rows else 0.0

        lead = names[:1]
        rest = sorted(names[1:], key=lambda n: (height(n), rank.get(n, len(rank)), n))
        for row, name in enumerate([*lead, *rest]):
            placed[name] = (number - shift, row)
    return placed


def _role(name: str, found: Localisation, accused: Sequence[str]) -> NodeRole:
    if name in accused:
        return NodeRole.ACCUSED
    for suspect in found.services:
        if suspect.name == name:
            return NodeRole.MOVED if suspect.channels else NodeRole.STILL
    return NodeRole.UNKNOWN


def _left_out(nodes: Sequence[GraphNode], known: set[str], moved: Sequence[str]) -> str:
    shown = {node.name for node in nodes}
    hidden = len(known - shown)
    if not hidden:
        return "All services are shown."
    also = [name for name in moved if name not in shown]
    text = f"{len(shown)} of {len(known)} services are shown"
    if also:
        return f"{text}; {len(also)} of the others moved too, without an arrow or without room."
    return f"{text}; none of the others moved more than usual."


def _nothing(found: Localisation, calls: Mapping[Pair, int]) -> str:
    if calls:
        return "No call joins the services that moved."
    why = found.granger.why if not found.granger.used else "no series leads another beyond chance"
    return f"The record names no calls and has no spans, and what leads what is not known: {why}."
