"""A caller waits for its callees: what they explain of its latency and errors is not its own."""

from __future__ import annotations

import numpy as np

from rca.channels.metric_table import MetricTable
from rca.incident import Incident
from rca.metric_kinds import Measured
from rca.state import FloatArray

EXPLAINED = 0.5  # at most this share of a caller's surprise is put down to its callees
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
    return score


def _callees(incident: Incident) -> dict[str, set[str]]:
    """Whom each service calls; who serves the users calls everybody where nothing else is said."""
    callees: dict[str, set[str]] = {}
    for caller, callee in incident.calls:
        if caller != callee:
            callees.setdefault(caller, set()).add(callee)
    if incident.entry and not callees.get(incident.entry):
        callees[incident.entry] = set(incident.services) - {incident.entry}
    return callees
