"""What users ask for as one series, and whether the cause is usual again when the record ends."""

from __future__ import annotations

import numpy as np

from ops.reports.build_evidence import Measured, end_s, name_of, shown_from_s
from ops.reports.parts import EvidenceSeries
from ops.state import Incident
from rca.state import EntityKind, FloatArray, MetricKind, RankedCause

_ROWS = 6  # trailing rows of one value: arrivals of a few seconds are too few to show
_LAST_S = 60.0  # what the end of the record is judged by
_LATE_S = 180.0  # samples that end so much earlier say nothing of the end
_REST_RATIO = 0.25  # of the move may remain where the series counts as usual again


def demand_of(
    measured: Measured, incident: Incident, cause: RankedCause | None
) -> EvidenceSeries | None:
    """Requests per second that users of the accused traffic send; None for any other cause.

    Ended requests and the growth of those in flight, so that a queue does not hide the arrivals.
    The figures before and after are the diagnosis' own.
    """
    if cause is None or cause.entity.kind is not EntityKind.WORKLOAD:
        return None
    aligned, region = measured.aligned, cause.entity.region
    of_users = [
        (k, role)
        for k, (role, series) in enumerate(zip(aligned.roles, aligned.series, strict=True))
        if role.entity.region == region and series.label("slo_class")
    ]
    ended = [k for k, role in of_users if role.kind is MetricKind.RATE]
    if not ended:
        return None
    doors = {aligned.roles[k].entity for k in ended}
    flying = [k for k, r in of_users if r.kind is MetricKind.QUEUE and r.entity in doors]
    times = aligned.times_s
    step_s = float(np.median(np.diff(times))) if len(times) > 1 else 1.0
    asked = _total(aligned.levels, ended)
    waiting = _total(aligned.levels, flying)
    asked += np.nan_to_num(np.diff(waiting, prepend=waiting[:1])) / step_s
    levels = np.array([_mean(asked[max(0, i - _ROWS + 1) : i + 1]) for i in range(len(asked))])
    levels = np.maximum(levels, 0.0)
    shown = (times >= shown_from_s(incident)) & (times <= end_s(incident))
    before = levels[(times < incident.began_at_s) & np.isfinite(levels)][-360:]
    told = next((e for e in cause.evidence if e.after is not None), None)
    onset_s = incident.began_at_s if cause.onset_s is None else cause.onset_s
    return EvidenceSeries(
        label=name_of(cause.entity),
        detail="requests that users send",
        unit="/s",
        times_s=tuple(round(float(t), 3) for t in times[shown]),
        values=tuple(round(float(v), 6) for v in levels[shown]),
        normal_low=float(np.percentile(before, 5)) if len(before) else None,
        normal_high=float(np.percentile(before, 95)) if len(before) else None,
        onset_s=onset_s,
        before=told.before if told else None,
        after=told.after if told else None,
        own=True,
    )


def usual_again(series: tuple[EvidenceSeries, ...], end: float) -> bool | None:
    """Whether the series of the cause that moved lie near their usual values at the end.

    None where no series of the cause moved or none has samples near the end.
    """
    found = []
    for item in series:
        if not item.own or item.onset_s is None:
            continue
        if item.normal_low is None or item.normal_high is None:
            continue
        if not item.times_s or end - item.times_s[-1] > _LATE_S:
            continue
        last = [
            v
            for t, v in zip(item.times_s, item.values, strict=True)
            if t > item.times_s[-1] - _LAST_S and np.isfinite(v)
        ]
        if not last:
            continue
        value = float(np.median(last))
        back = item.normal_low <= value <= item.normal_high
        if item.before is not None and item.after is not None:
            back |= abs(value - item.before) <= _REST_RATIO * abs(item.after - item.before)
        found.append(back)
    return all(found) if found else None


def _total(levels: FloatArray, columns: list[int]) -> FloatArray:
    """Sum over columns; NaN where no column has a sample. Shape [T]."""
    if not columns:
        return np.zeros(len(levels))
    part = levels[:, columns]
    known = np.isfinite(part).any(axis=1)
    return np.where(known, np.nansum(part, axis=1), np.nan)


def _mean(values: FloatArray) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")
