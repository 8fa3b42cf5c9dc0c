"""Who calls whom in a record: the calls that it names and those that its spans show."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping

import numpy as np

from rca.channels.trace_tables import parent_rows
from rca.incident import Incident, Spans

Calls = Mapping[str, frozenset[str]]  # caller -> callees


def calls_of(incident: Incident) -> dict[tuple[str, str], int]:
    """(caller, callee) -> calls counted in the spans; 0 where only the graph names the pair."""
    found = {pair: 0 for pair in incident.calls if pair[0] != pair[1]}
    for spans in (incident.spans, *incident.normal_spans):
        if spans is not None:
            for pair, count in _calls_of_spans(spans).items():
                found[pair] = found.get(pair, 0) + count
    return dict(sorted(found.items()))


def _calls_of_spans(spans: Spans) -> dict[tuple[str, str], int]:
    parent = parent_rows(spans)
    rows = np.flatnonzero(parent >= 0)
    num = max(len(spans.services), 1)
    pairs = spans.service[parent[rows]] * num + spans.service[rows]
    codes, counts = np.unique(pairs, return_counts=True)
    return {
        (spans.services[code // num], spans.services[code % num]): count
        for code, count in zip(codes.tolist(), counts.tolist(), strict=True)
        if code // num != code % num
    }


def callees(pairs: Iterable[tuple[str, str]]) -> dict[str, frozenset[str]]:
    """Caller -> services that it calls."""
    found: dict[str, set[str]] = {}
    for caller, callee in pairs:
        found.setdefault(caller, set()).add(callee)
    return {caller: frozenset(names) for caller, names in found.items()}


def callers(pairs: Iterable[tuple[str, str]]) -> dict[str, frozenset[str]]:
    """Callee -> services that call it."""
    return callees((callee, caller) for caller, callee in pairs)


def way(graph: Calls, start: str, end: str) -> tuple[str, ...]:
    """Shortest way from `start` to `end` along the graph, both included; empty without one."""
    came: dict[str, str] = {start: ""}
    todo = deque([start])
    while todo:
        name = todo.popleft()
        if name == end:
            path = [name]
            while came[path[-1]]:
                path.append(came[path[-1]])
            return tuple(reversed(path))
        for other in sorted(graph.get(name, ())):
            if other not in came:
                came[other] = name
                todo.append(other)
    return ()


def entry_of(incident: Incident, pairs: Iterable[tuple[str, str]]) -> str:
    """Service that users call: as the record says, else the only one that nobody calls."""
    if incident.entry:
        return incident.entry
    known = list(pairs)
    called = {callee for _, callee in known}
    roots = sorted({caller for caller, _ in known} - called)
    return roots[0] if len(roots) == 1 else ""
