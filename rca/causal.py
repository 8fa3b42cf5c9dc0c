"""The causal graph of one answer: arcs between series and services, a walk, a path to users.

Arcs come from a Granger model, calls confirm them. The ranking of services does not depend on
this graph: it explains the answer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from rca.channels.metric_table import MetricTable
from rca.graph import without_cycles
from rca.leads import Leads
from rca.localisation import Arc, CausalGraph
from rca.prepare import Prepared
from rca.rank import rank_series
from rca.state import FloatArray

ARCS_MAX = 200  # of one level; more is no drawing
Pair = tuple[str, str]  # cause, effect


def draw_causes(
    prepared: Prepared, table: MetricTable, leads: Leads, ranked: Sequence[tuple[str, float]]
) -> CausalGraph:
    """Graph of an answer.

    Args:
        ranked: services with their scores, best first; the path begins at the first.
    """
    incident = prepared.incident
    calls = {(callee, caller) for caller, callee in prepared.calls if caller != callee}
    columns = [table.columns.names[place] for place in leads.columns.tolist()]
    names = [str(column) for column in columns]
    owner = [incident.service_of(column.owner) for column in columns]
    of = dict(zip(names, owner, strict=True))
    series = _arcs(leads.result.granger, names)
    by_service, services = _collapsed(leads.result.granger, owner)
    between = _arcs(by_service, services)
    path = _path(incident.entry, between, calls, ranked)
    drawn = dict(between)
    for step in pairwise(path):
        drawn.setdefault(step, 0.0)
    return CausalGraph(
        metrics=_told(series, {pair: _called(of[pair[0]], of[pair[1]], calls) for pair in series}),
        services=_told(drawn, {pair: _called(*pair, calls) for pair in drawn}),
        visits=_visits(by_service, services, owner, table, leads),
        path=path,
    )


def _arcs(granger: FloatArray, names: Sequence[str]) -> dict[Pair, float]:
    """(cause, effect) -> strength of a matrix whose cycles are cut."""
    left = without_cycles(granger, names)
    return {
        (names[cause], names[effect]): round(float(left[effect, cause]), 6)
        for effect, cause in np.argwhere(left > 0.0).tolist()
    }


def _collapsed(granger: FloatArray, owner: Sequence[str]) -> tuple[FloatArray, list[str]]:
    """Strongest arc between any two series of two services, [S, S], and the services."""
    services = sorted(set(owner))
    place = np.array([services.index(name) for name in owner], dtype=np.int64)
    out = np.zeros((len(services), len(services)))
    if len(place):
        np.maximum.at(out, (place[:, None], place[None, :]), granger)
        np.fill_diagonal(out, 0.0)
    return out, services


def _visits(
    granger: FloatArray,
    services: Sequence[str],
    owner: Sequence[str],
    table: MetricTable,
    leads: Leads,
) -> tuple[tuple[str, float], ...]:
    """Personalised PageRank over the services: restart where it hurts, stay where it began."""
    if not granger.any():
        return ()
    number = {name: n for n, name in enumerate(services)}
    change, outside = np.zeros(len(services)), np.zeros(len(services))
    for name, column in zip(owner, leads.columns.tolist(), strict=True):
        n = number[name]
        change[n] = max(change[n], float(table.score[column]))
        outside[n] = max(outside[n], float(leads.exogenous[column]))
    dag = without_cycles(granger, services)
    found = rank_series(dag, restart=change, prior=outside, names=services)
    touched = dag.sum(axis=0) + dag.sum(axis=1) > 0.0
    return tuple(
        (services[n], round(float(found.scores[n]), 6)) for n in found.order if bool(touched[n])
    )


def _called(cause: str, effect: str, calls: set[Pair]) -> bool | None:
    return (cause, effect) in calls if calls and cause != effect else None


def _told(arcs: Mapping[Pair, float], called: Mapping[Pair, bool | None]) -> tuple[Arc, ...]:
    order = sorted(arcs, key=lambda pair: (-arcs[pair], pair))[:ARCS_MAX]
    return tuple(
        Arc(cause=pair[0], effect=pair[1], strength=arcs[pair], called=called[pair])
        for pair in order
    )


def _path(
    entry: str,
    arcs: Mapping[Pair, float],
    calls: set[Pair],
    ranked: Sequence[tuple[str, float]],
) -> tuple[str, ...]:
    """Fewest arcs from the first suspect to the entry; at equal length calls, then strength.

    Without an entry: to the nearest caller that nobody calls, else to the most changed service.
    """
    if not ranked or ranked[0][1] <= 0.0:
        return ()
    first = ranked[0][0]
    onward: dict[str, list[str]] = {}
    steps = set(arcs) | calls
    for cause, effect in sorted(steps, key=lambda p: (p not in calls, -arcs.get(p, 0.0), p)):
        onward.setdefault(cause, []).append(effect)
    came: dict[str, str] = {first: ""}
    todo = deque([first])
    while todo:
        name = todo.popleft()
        for effect in onward.get(name, ()):
            if effect not in came:
                came[effect] = name
                todo.append(effect)
    scores = dict(ranked)
    called = {cause for cause, _ in calls}
    tops = [name for name in came if calls and name != first and name not in called]
    end = entry if entry in came else next(iter(tops), "")
    if not end:
        end = min(came, key=lambda name: (name == first, -scores.get(name, 0.0), name))
    path = [end]
    while came[path[-1]]:
        path.append(came[path[-1]])
    return tuple(reversed(path))
