"""How bad an open incident is now, and when that is worth a write. Pure.

Detection measured it once; here the same counts are read again while the incident is open. Writes
are bounded per incident, however often metrics are scraped.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ops.controller.conditions import cut
from ops.controller.incidents.size import fitted
from ops.controller.moments import rfc3339, seconds
from ops.controller.resources.incident import CurrentStatus, IncidentStatus
from ops.pipeline_state import Case
from ops.slo import Count, SloMeter, bad_ratios, totals, window_counts

WINDOW_S = 60.0
REQUESTS_MIN = 20.0  # below it a share is luck: a key with more of them is told
EVERY_S = 60.0  # between two writes at least
ALIVE_S = 300.0  # between two writes at most, so that an old value is not taken for a steady one
MOVED, MOVED_MIN = 0.2, 0.01  # of the larger share, and of all requests: less is no news


def current_of(
    case: Case, meter: SloMeter, *, now_s: float, stale_after_s: float
) -> CurrentStatus | None:
    """The worst of the incident's (region, class) pairs in the newest minute.

    Args:
        meter: counts of the fleet, on the clock of `now_s`.
        stale_after_s: a newest sample older than this says nothing of now.

    Returns:
        None where nobody measures it now; never a zero in its place.
    """
    if not len(meter.times_s) or now_s - float(meter.times_s[-1]) > stale_after_s:
        return None
    span_s = _counted_s(meter)
    counts = window_counts(meter, span_s=WINDOW_S)
    wanted = set(case.keys)
    rows = [
        i
        for i, key in enumerate(meter.keys)
        if key in wanted and counts[i, Count.KNOWN] > 0 and span_s > 0.0
    ]
    if not rows:
        return None
    ratios, requests = bad_ratios(counts), totals(counts)
    many = [i for i in rows if requests[i] >= REQUESTS_MIN]
    worst = (
        max(many, key=lambda i: (ratios[i], requests[i]))
        if many
        else max(rows, key=lambda i: requests[i])
    )
    # Of what is not answered at all no share tells: the few that come through may all be good.
    unanswered = case.incident.symptom.reason == "missing" and case.calm_since_s is None
    ratio = float("nan") if unanswered else float(ratios[worst])
    return CurrentStatus(
        at=rfc3339(float(meter.times_s[-1])),
        key=cut("/".join(meter.keys[worst]), 130),
        bad_ratio=None if np.isnan(ratio) else round(min(max(ratio, 0.0), 1.0), 4),
        requests=round(float(requests[worst])),
        seconds=round(span_s, 1),
    )


def _counted_s(meter: SloMeter) -> float:
    """Length of what a window of `WINDOW_S` counts: less at the start, more of rare scrapes."""
    end_s = float(meter.times_s[-1])
    before = int(np.searchsorted(meter.times_s, end_s - WINDOW_S + 1e-6, side="right")) - 1
    return end_s - float(meter.times_s[max(before, 0)])


def with_current(
    status: IncidentStatus, current: CurrentStatus | None, *, anyway: bool
) -> IncidentStatus:
    """The status with what was measured now, where that is worth a write; else as it was.

    Args:
        current: None keeps what was measured last: its time says how old it is.
        anyway: the status is written for another reason.
    """
    if current is None or not (anyway or _worth_writing(current, status.current)):
        return status
    return fitted(replace(status, current=current))


def _worth_writing(new: CurrentStatus, old: CurrentStatus | None) -> bool:
    if old is None:
        return True
    age_s = seconds(new.at) - seconds(old.at)
    return age_s >= ALIVE_S or (age_s >= EVERY_S and _moved(new, old))


def _moved(new: CurrentStatus, old: CurrentStatus) -> bool:
    if new.bad_ratio is None or old.bad_ratio is None:
        return new.bad_ratio is not old.bad_ratio
    larger = max(new.bad_ratio, old.bad_ratio)
    return abs(new.bad_ratio - old.bad_ratio) >= max(MOVED_MIN, MOVED * larger)
