"""Who moved when: the services in the order of their onsets, arrows along calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ops.reports import rca_words, words
from ops.reports.parts_spread import SpreadArc, SpreadNode, SpreadRole
from ops.reports.rca_calls import callees, way
from rca.channels.announced import AFTER_S
from rca.incident import Incident
from rca.localisation import Localisation, Suspect
from rca.state import Evidence

NODES_MAX = 12
CHANGES_MAX = 3
CLEAR = 3.0  # usual spreads that a metric must move to date a service that others accuse
Pair = tuple[str, str]


def first_moves(found: Localisation) -> dict[str, Evidence]:
    """Service -> the measurement of its own that moved first; without one it is absent.

    Evidence that carried its score counts, else the ranked metrics that moved clearly. The time of
    an announced change is not when a service moved.
    """
    moves: dict[str, list[Evidence]] = {}
    for suspect in found.services:
        for one in suspect.evidence:
            if one.onset_s is not None and one.channel != "change":
                moves.setdefault(suspect.name, []).append(one)
    carried = set(moves)
    for metric in found.metrics:
        far = rca_words.spreads(metric.evidence) or 0.0
        if metric.service not in carried and metric.evidence.onset_s is not None and far >= CLEAR:
            moves.setdefault(metric.service, []).append(metric.evidence)
    return {name: min(mine, key=lambda e: e.onset_s or 0.0) for name, mine in moves.items()}


def onset_order(
    found: Localisation,
    incident: Incident,
    calls: Mapping[Pair, int],
    moves: Mapping[str, Evidence],
) -> tuple[tuple[SpreadNode, ...], tuple[SpreadArc, ...], str]:
    """Nodes, arrows, and a sentence on what is left out."""
    at_s = {name: move.onset_s or 0.0 for name, move in moves.items()}
    moved = [s for s in found.services if s.channels and s.name in at_s]
    shown = [s for s in moved if s.name in found.accused]
    shown += [s for s in moved if s.name not in found.accused][: NODES_MAX - len(shown)]
    graph = callees(calls)
    nodes = [_node(s, found, graph, moves[s.name]) for s in shown]
    arcs = _arcs(shown, graph, at_s)
    nodes += _changes(incident, found, shown)
    if shown and len({at_s[s.name] for s in shown}) == 1 and len(shown) > 1:
        names = rca_words.shortened([s.name for s in shown], 6)
        return (
            (),
            (),
            (
                f"{len(moved)} services moved within one sample of {words.span(incident.step_s)}, "
                f"{names}: their order cannot be told."
            ),
        )
    silent = [s.name for s in found.services if s.channels and s.name not in at_s]
    notes = []
    if len(moved) > len(shown):
        notes.append(f"{len(moved) - len(shown)} more moved and are not shown.")
    if silent:
        who = rca_words.shortened(silent, 4)
        notes.append(f"Moved, onset not known: {who}.")
    if nodes:
        notes.append(f"Onsets are good to one sample, {words.span(incident.step_s)}.")
    return tuple(nodes), tuple(arcs), " ".join(notes)


def _node(
    suspect: Suspect, found: Localisation, graph: Mapping[str, frozenset[str]], move: Evidence
) -> SpreadNode:
    role = SpreadRole.MOVED
    if suspect.name in found.accused:
        role = SpreadRole.CAUSE
    elif any(way(graph, suspect.name, name) for name in found.accused):
        role = SpreadRole.VICTIM
    return SpreadNode(
        key=suspect.name,
        name=suspect.name,
        role=role,
        onset_s=move.onset_s or 0.0,
        detail=rca_words.found(move),
    )


def _arcs(
    shown: Sequence[Suspect], graph: Mapping[str, frozenset[str]], at_s: Mapping[str, float]
) -> list[SpreadArc]:
    """One arrow into each service: from the callee that moved first and not after it."""
    arcs = []
    for effect in shown:
        causes = [
            s
            for s in shown
            if s.name in graph.get(effect.name, ()) and at_s[s.name] <= at_s[effect.name]
        ]
        if causes:
            first = min(causes, key=lambda s: (at_s[s.name], s.rank))
            text = f"{effect.name} calls {first.name} and waits for it."
            arcs.append(SpreadArc(cause=first.name, effect=effect.name, text=text))
    return arcs


def _changes(incident: Incident, found: Localisation, shown: Sequence[Suspect]) -> list[SpreadNode]:
    if found.split is None or not shown:
        return []
    start_s = found.split.fault_start_s
    near = [c for c in sorted(incident.changes) if c.at_s <= start_s + AFTER_S][-CHANGES_MAX:]
    return [
        SpreadNode(
            key=f"change {n}",
            name=c.service,
            role=SpreadRole.CHANGE,
            onset_s=c.at_s,
            detail=f"{c.kind} {c.summary or c.revision_to}".strip(),
        )
        for n, c in enumerate(near)
    ]
