"""Pods that were ended on purpose: how long they answered nobody."""

from __future__ import annotations

import numpy as np

from rca.channels.case import Case
from rca.channels.red import RedTree
from rca.kinds import plain

AWAY_MIN, AWAY_ROWS = 0.5, 3  # share of the time since its end, and rows, to be missed


def missed_since_end(case: Case, tree: RedTree) -> dict[str, tuple[float, str]]:
    """Pods that were ended on purpose and were away for most of the time since: strength, text.

    Also where they are back by now: what piled up at their siblings takes as long to go.
    """
    out = {}
    times = case.aligned.times_s
    for pod, at_s in sorted(case.killed.items()):
        if pod not in case.pod_place or pod not in tree.pod_answers:
            continue
        # The first row after it still counts answers given before it.
        row = int(np.searchsorted(times, at_s, side="right")) + 1
        rows = np.nansum(case.aligned.increases[row:, tree.pod_answers[pod]], axis=1)
        back = np.flatnonzero(rows > 0.0)
        until_s = float(times[row + back[0]]) if len(back) else case.now_s
        away = (until_s - at_s) / max(case.now_s - at_s, 1e-9)
        missed = away >= AWAY_MIN and until_s - at_s > AWAY_ROWS * case.aligned.step_s
        if missed or not len(back):
            since = f"was away {plain(until_s - at_s)} s" if len(back) else "answers nobody since"
            out[pod] = away, f"was ended {plain(case.now_s - at_s)} s ago and {since}"
    return out


def answers(case: Case, tree: RedTree, pod: str, row: int) -> float:
    """Calls that a pod answered from a row on."""
    return float(np.nansum(case.aligned.increases[row:, tree.pod_answers[pod]]))
