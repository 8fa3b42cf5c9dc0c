"""First forecasts: quantiles of demand a few minutes ahead and of the time a cold pod needs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from coldstart.state import ColdStart

FloatArray = npt.NDArray[np.float64]

TREND_DAMPING = 0.5  # a trend seen over one horizon is believed half over the next
FORECASTS_MIN = 8  # past forecasts needed before their errors give a quantile


def demand_quantile(
    rates: FloatArray, *, step_s: float, horizon_s: float, quantile: float
) -> float:
    """Upper bound of the rate `horizon_s` after the last sample, kept with chance `quantile`.

    The forecast is the recent level plus a damped trend; its own past errors over the same
    horizon give the quantile. Never below the recent level: a forecast can only add capacity.

    Args:
        rates: requests/s per step, NaN where unknown, oldest first, shape [T].

    Returns:
        Requests/s; NaN when nothing is known.

    Source: split conformal prediction, one-sided.
    Differs: errors of neighbouring origins are dependent; no correction is made for that.
    """
    known = rates[~np.isnan(rates)]
    if not len(known):
        return float("nan")
    span = max(1, round(horizon_s / step_s))
    width = min(max(1, span // 2), len(known))
    kernel = np.ones(width) / width
    levels = np.convolve(known, kernel, mode="valid")  # [T - width + 1]
    trend = np.zeros_like(levels)
    trend[span:] = levels[span:] - levels[:-span]
    forecasts = np.maximum(levels + TREND_DAMPING * trend, 0.0)
    errors = levels[span:] - forecasts[:-span]
    margin = float(np.quantile(errors, quantile)) if len(errors) >= FORECASTS_MIN else 0.0
    return float(max(levels[-1], forecasts[-1] + max(margin, 0.0)))


def cold_start_quantile_s(
    starts: Sequence[ColdStart], *, quantile: float, default_s: float
) -> float:
    """Time within which a cold pod serves, with chance `quantile`; the default when none was seen.

    The default counts as one more observation, so that a single lucky start does not decide.
    """
    spans = [start.cold_start_s for start in starts if start.cold_start_s > 0]
    return float(np.quantile([*spans, default_s], quantile)) if spans else default_s
