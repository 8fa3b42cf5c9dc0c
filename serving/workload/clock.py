"""Coarse clocks: what tick stamped the arrivals of a trace, and arrivals spread over it again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from serving.workload.table import RequestTable

Floats = NDArray[np.float64]

STAMPS_S = (3.0, 1.0)  # ticks of public traces
STAMP_SLACK_S = 2.5e-3  # by which stamps may miss them
SMEAR_SEED = 0  # whoever measures has no seed of his own: same trace, same figures


def stamp_s(arrival_s: Floats) -> float:
    """Tick of the clock that stamped the arrivals, s; 0 when it is finer than those we know."""
    since_s = arrival_s - arrival_s[0]
    for step_s in STAMPS_S:
        if np.all(np.abs(since_s - np.rint(since_s / step_s) * step_s) < STAMP_SLACK_S):
            return step_s
    return 0.0


def smeared(arrival_s: Floats) -> Floats:
    """Stamps of a coarse clock anywhere inside their ticks, order kept; others as they are."""
    tick_s = stamp_s(arrival_s)
    if not tick_s:
        return arrival_s
    first_s = arrival_s[0]
    ticks = np.rint((arrival_s - first_s) / tick_s)
    rng = np.random.default_rng([SMEAR_SEED, *b"workload/clock"])
    spread: Floats = np.sort(first_s + (ticks + rng.random(len(ticks))) * tick_s)
    return spread


def on_one_clock(a: RequestTable, b: RequestTable) -> tuple[RequestTable, RequestTable]:
    """Both as the coarser of their two clocks would have stamped them."""
    ticks_s = stamp_s(a.arrival_s), stamp_s(b.arrival_s)
    tick_s = max(ticks_s)
    a, b = (
        t if own == tick_s else replace(t, arrival_s=np.floor(t.arrival_s / tick_s) * tick_s)
        for t, own in zip((a, b), ticks_s, strict=True)
    )
    return a, b
