"""Whether each owner reports at all, as a series of its own: a dead target leaves no values.

Missing is unknown, not healthy, and a single missing scrape is nothing. But where an owner that
used to report says nothing for long while the others go on, that silence is a measurement.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rca.incident import Column, Incident
from rca.law import BoolArray
from rca.state import FloatArray

METRIC = "availability-of-samples"
LATE_S = 60.0  # what comes so late, or one row late, is a late scrape and no silence
OTHERS_SHARE = 0.5  # of the owners must report: else the collector failed, not they


def with_reporting(
    incident: Incident, times_s: FloatArray, levels: FloatArray
) -> tuple[Incident, FloatArray]:
    """The incident and its levels [T, N] with one column more for each owner that fell silent.

    The column is 1 where the owner reports, 0 within a long silence, and unknown (NaN) before its
    first sample, in short gaps and where most others are missing as well.
    """
    owners = sorted({c.owner for c in incident.columns if c.owner and not c.is_symptom})
    finite = np.isfinite(levels)
    if not owners or bool(finite.all()) or not bool(finite.any()):
        return incident, levels
    mine = {owner: [] for owner in owners}  # type: dict[str, list[int]]
    for place, column in enumerate(incident.columns):
        if column.owner in mine:
            mine[column.owner].append(place)
    present = np.stack([finite[:, mine[o]].any(axis=1) for o in owners], axis=1)  # [T, owners]
    ever = present.any(axis=0)
    if not ever.any():
        return incident, levels
    collected = present[:, ever].mean(axis=1) >= OTHERS_SHARE
    names, found = [], []
    for number in np.flatnonzero(ever & ~present.all(axis=0)).tolist():
        series = _silences(present[:, number], collected, times_s, incident.step_s)
        if (series == 0.0).any():
            names.append(Column(owners[number], METRIC))
            found.append(series)
    if not names:
        return incident, levels
    grown = replace(
        incident,
        columns=(*incident.columns, *names),
        values=np.hstack([incident.values, np.full((len(incident.values), len(names)), np.nan)]),
    )
    return grown, np.hstack([levels, np.stack(found, axis=1)])


def _silences(
    present: BoolArray, collected: BoolArray, times_s: FloatArray, step_s: float
) -> FloatArray:
    series = np.where(present, 1.0, np.nan)
    first = int(np.argmax(present))
    absent = ~present & collected
    absent[:first] = False
    edges = np.flatnonzero(np.diff(absent, prepend=False, append=False))
    for start, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        lasted_s = float(times_s[end - 1] - times_s[start]) + step_s
        if end - start > 1 and lasted_s > LATE_S:
            series[start:end] = 0.0
    return series
