"""What the call graph says of each service: whose trouble is passed on, who cannot have caused it.

A caller waits for its callees: what they explain of its latency and errors is not its own. What the
users' service neither calls nor is called by, however indirectly, cannot be what users feel.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from rca.channels.metric_table import MetricTable
from rca.incident import Incident
from rca.metric_kinds import Measured
from rca.state import FloatArray

EXPLAINED = 0.5  # at most this share of a caller's surprise is put down to its callees
UNRELATED = 0.5  # weight of services without a path to or from the users' one; graphs have gaps
_PASSED_ON = frozenset(
    {Measured.LATENCY, Measured.CLIENT_LATENCY, Measured.ERRORS, Measured.SUCCESS}
)


def discount_callers(incident: Incident, table: MetricTable) -> FloatArray:
    """Scores of the columns with the part taken off that callees explain, shape [N].

    A resource of the caller is its own whatever its callees do; only what a call passes on is
    discounted, and only as far as a callee moves in the same kind of metric.
    """
    callees = _callees(incident)
    if not callees:
        return table.score
    passed = np.array([s.kind in _PASSED_ON for s in table.columns.senses], dtype=bool)
    unrelated = _unrelated(incident, callees)
    strongest: dict[str, float] = {}
    services = [incident.service_of(name.owner) for name in table.columns.names]
    for column in np.flatnonzero(passed).tolist():
        value = float(table.score[column])
        strongest[services[column]] = max(strongest.get(services[column], 0.0), value)
    score = table.score.copy()
    for column in np.flatnonzero(passed).tolist():
        below = max((strongest.get(c, 0.0) for c in callees.get(services[column], ())), default=0.0)
        own = float(table.score[column])
        if own > 0.0:
            score[column] = own * (1.0 - EXPLAINED * min(below / own, 1.0))
    far = np.array([service in unrelated for service in services], dtype=bool)
    return np.where(far, UNRELATED * score, score)


def _callees(incident: Incident) -> dict[str, set[str]]:
    """Whom each service calls; who serves the users calls everybody where nothing else is said."""
    callees: dict[str, set[str]] = {}
    for caller, callee in incident.calls:
        if caller != callee:
            callees.setdefault(caller, set()).add(callee)
    if incident.entry and not callees.get(incident.entry):
        callees[incident.entry] = set(incident.services) - {incident.entry}
    return callees


def _unrelated(incident: Incident, callees: Mapping[str, set[str]]) -> set[str]:
    """Services that no chain of calls joins to the one that serves the users, if that is known."""
    if not callees.get(incident.entry):
        return set()
    callers: dict[str, set[str]] = {}
    for caller, called in callees.items():
        for callee in called:
            callers.setdefault(callee, set()).add(caller)
    joined = _reached(incident.entry, callees) | _reached(incident.entry, callers)
    return set(incident.services) - joined


def _reached(start: str, following: Mapping[str, set[str]]) -> set[str]:
    seen, ahead = {start}, [start]
    while ahead:
        for name in sorted(following.get(ahead.pop(), set()) - seen):
            seen.add(name)
            ahead.append(name)
    return seen
