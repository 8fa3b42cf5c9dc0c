"""Recorded columns -> comparable levels: counters become rates, stamps are put in order.

The names of recorded columns seldom say whether a value is cumulative, so behaviour decides:
never falling but for a restart, nearly always rising, and named like a count. Missing stays NaN.
"""

from __future__ import annotations

import re

import numpy as np

from rca.align import clean_rows, increases
from rca.incident import Column, Incident
from rca.state import FloatArray
from rca.wide import MEASURABLE_MAX

_COUNTING = frozenset({"total", "count", "counter", "sum", "cumulative"})
RISING_SHARE_MIN = 0.5
FALLS_MAX = 2
ROWS_MIN = 8


def comparable_levels(incident: Incident) -> tuple[FloatArray, FloatArray]:
    """Times [T], strictly ascending, and levels [T, N]; the incident itself is left as it is."""
    times_s, values = clean_rows(incident.times_s, incident.values, now_s=np.inf)
    values = np.where(np.abs(values) <= MEASURABLE_MAX, values, np.nan)
    counting = _counters(values, incident.columns)
    if len(counting):
        values[:, counting] = increases(times_s, values[:, counting])[1]
    return times_s, values


def _counters(values: FloatArray, columns: tuple[Column, ...]) -> list[int]:
    named = [n for n, c in enumerate(columns) if _COUNTING & set(re.split(r"\W+", c.metric))]
    found = []
    for column in named:
        seen = values[np.isfinite(values[:, column]), column]
        steps = np.diff(seen)
        if len(steps) < ROWS_MIN or float((steps > 0.0).mean()) < RISING_SHARE_MIN:
            continue
        if int((steps < 0.0).sum()) <= FALLS_MAX and bool((seen >= 0.0).all()):
            found.append(column)
    return found
