"""What the loop knew before a restart, learnt again from stored samples. Pure.

Incidents that are open come from their objects. The baseline comes from the metrics before the
oldest of them began: learnt from all of the past, the trouble itself would be called usual.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ops.config import DetectConfig
from ops.pipeline_state import LoopState
from ops.slo import SloMeter, advance
from ops.state import SloTarget
from ops.symptoms import Watch, learn
from rca.state import MetricFrame

MARGIN_S = 30.0  # an onset is known to a few scrapes


def remembered(
    state: LoopState,
    frame: MetricFrame,
    *,
    slos: tuple[SloTarget, ...],
    config: DetectConfig,
) -> LoopState:
    """State of a loop with the cases of `state` that had watched `frame`.

    What it counted itself meanwhile is left out: it is the newest part of `frame`, or counted again
    from the rows after it.
    """
    cases = state.cases
    began_s = min((c.incident.began_at_s for c in cases if c.open), default=np.inf) - MARGIN_S
    quiet_rows = int(np.searchsorted(frame.times_s, began_s))
    meter, watch = SloMeter(), Watch()
    for rows in (quiet_rows, len(frame.times_s)):
        if rows == 0:
            continue
        meter = advance(meter, _first(frame, rows), slos, history_s=config.history_s)
        ill = {key for case in cases if case.open for key in case.keys}
        quiet = np.array([rows == quiet_rows or key not in ill for key in meter.keys], dtype=bool)
        # The rows next to the onset are as quiet as the others: no lag where we know better.
        lag_s = 0.0 if rows == quiet_rows < len(frame.times_s) else config.baseline_lag_s
        watch = learn(watch, meter, quiet=quiet, config=replace(config, baseline_lag_s=lag_s))
    return replace(state, meter=meter, watch=watch)


def _first(frame: MetricFrame, rows: int) -> MetricFrame:
    """The first rows, with the same series and roles: an index into them stays valid."""
    return replace(frame, times_s=frame.times_s[:rows], values=frame.values[:rows])
