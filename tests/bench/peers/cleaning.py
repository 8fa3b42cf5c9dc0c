"""Incidents -> the cleaned frames that every peer gets; without labels."""

from __future__ import annotations

import numpy as np
from frame import Frame

from rca.incident import Incident

SEEN_MIN = 0.2  # a column needs more than this share of its normal cells


def clean(incident: Incident) -> Frame:
    """No symptoms of users, columns that were seen on both sides, gaps filled forward then back.

    Raises:
        ValueError: the fault time is not known.
    """
    if incident.fault_at_s is None:
        raise ValueError(f"{incident.incident_id}: the fault time is not known, peers need it")
    normal = incident.times_s < incident.fault_at_s
    seen = np.isfinite(incident.values)
    kept = [
        n
        for n, c in enumerate(incident.columns)
        if not c.is_symptom and seen[normal, n].mean() > SEEN_MIN and seen[~normal, n].any()
    ]
    columns = [incident.columns[n] for n in kept]
    return Frame(
        columns=tuple(str(c) for c in columns),
        services=tuple(incident.service_of(c.owner) for c in columns),
        times_s=incident.times_s,
        values=_filled(incident.values[:, kept]),
        fault_at_s=incident.fault_at_s,
    )


def _filled(values: np.ndarray) -> np.ndarray:
    """Each gap takes the value before it, the gap at the start the first value."""
    rows = np.arange(len(values))[:, None]
    seen = np.isfinite(values)
    before = np.maximum.accumulate(np.where(seen, rows, -1), axis=0)
    first = seen.argmax(axis=0)
    return np.take_along_axis(values, np.where(before < 0, first, before), axis=0)
