"""Who calls whom, read off spans where no call graph is given."""

from __future__ import annotations

import numpy as np

from rca.channels.trace_tables import parent_rows
from rca.incident import Incident


def known_calls(incident: Incident) -> tuple[tuple[str, str], ...]:
    """(caller, callee) pairs of services: the given ones, else those of all spans, sorted.

    A call that was seen once is a call: whether it matters is not asked here.
    """
    if incident.calls:
        return incident.calls
    found: set[tuple[str, str]] = set()
    for spans in (incident.spans, *incident.normal_spans):
        if spans is None or not len(spans):
            continue
        parent = parent_rows(spans)
        rows = np.flatnonzero(parent >= 0)
        pairs = np.stack([spans.service[parent[rows]], spans.service[rows]], axis=1)
        for caller, callee in np.unique(pairs, axis=0).tolist():
            if caller != callee:
                found.add((spans.services[caller], spans.services[callee]))
    return tuple(sorted(found))
