"""Arrivals whose gaps follow a law, at a rate that changes from window to window."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from serving.workload.burstiness import BURN_IN_GAPS

Floats = NDArray[np.float64]
GapLaw = Callable[[int, int], Floats]  # (window, number) -> gaps of mean 1


def renewal(rng: np.random.Generator, edges: Floats, rates: Floats, gaps: GapLaw) -> Floats:
    """Unit-mean gaps, each with the law of the window it starts in, stepped through the
    cumulative rate. Restarting at each window would add requests where gaps are bursty.

    Args:
        edges: of the windows, s, [windows + 1].
        rates: requests/s, [windows].
    """
    cumulative = np.concatenate(([0.0], np.cumsum(rates * np.diff(edges))))
    reached = -BURN_IN_GAPS * float(rng.uniform(0.5, 1.0))
    found = []
    for window, end in enumerate(cumulative[1:].tolist()):
        while reached < end:
            steps = reached + np.cumsum(gaps(window, int((end - reached) * 1.1) + 16))
            # The gap that crosses the end belongs to this window, the next ones do not.
            used = steps[: int(np.searchsorted(steps, end)) + 1]
            found.append(used)
            reached = float(used[-1])
    steps = np.concatenate(found) if found else np.zeros(0)
    steps = steps[(steps >= 0.0) & (steps < cumulative[-1])]
    # Idle windows hold no arrival: a step on their border belongs to the window after them.
    window_of = np.minimum(np.searchsorted(cumulative, steps, side="right") - 1, len(edges) - 2)
    width = cumulative[window_of + 1] - cumulative[window_of]
    part = (steps - cumulative[window_of]) / np.where(width > 0.0, width, 1.0)
    arrival_s = edges[window_of] + part * (edges[window_of + 1] - edges[window_of])
    inside: Floats = arrival_s[arrival_s < edges[-1]]
    return inside
