"""Sequential test for a risen share of bad requests: every window that ends now, at one threshold.

Neither how much worse it became nor since when is known beforehand, so both are fitted: a window's
gain is the log likelihood ratio of its own bad share against one share for window and past. The
threshold is no tuned number: it follows from how often a healthy fleet may be called ill.

Source: Lorden, "Procedures for reacting to a change in distribution" (1971), generalised likelihood
ratio over all starting points; Hoeffding (1963), theorem 1: with the usual share known, one window
gains h by chance with probability at most exp(-h), so all windows, keys and rows of a span together
raise fewer false alarms than their number times exp(-h).
Differs: the past is a sample with an error of its own, not a known share. Bad requests come in
bursts that pass, which the bound does not know of: a part of the threshold must be left without
the bad requests of the worst rows, so that no two scrapes alone carry an alarm.
"""

from __future__ import annotations

import numpy as np

from ops.config import DetectConfig
from ops.slo import BoolArray, SloMeter, bads, totals, window_counts
from rca.state import FloatArray

REST_RATIO = 0.25  # of the threshold, left without the two worst rows


def gains(
    bad: FloatArray, total: FloatArray, bad_usual: FloatArray, total_usual: FloatArray
) -> FloatArray:
    """Log likelihood ratio in nats of two shares against a common one; 0 where it did not rise.

    Half a bad request is added to the past, as in `ops.symptoms.z_scores`.
    """
    bad_usual, total_usual = bad_usual + 0.5, total_usual + 1.0
    with np.errstate(invalid="ignore", divide="ignore"):
        common = (bad + bad_usual) / (total + total_usual)
        gain = _log_likelihood(bad, total, bad / total)
        gain += _log_likelihood(bad_usual, total_usual, bad_usual / total_usual)
        gain -= _log_likelihood(bad, total, common)
        gain -= _log_likelihood(bad_usual, total_usual, common)
        risen: FloatArray = np.where(bad * total_usual > bad_usual * total, gain, 0.0)
    return risen


def threshold(*, num_windows: int, step_s: float, every_s: float) -> float:
    """Gain that chance exceeds in any of so many windows a row at most once in `every_s`."""
    return float(np.log(max(num_windows, 1) * every_s / step_s))


def risen(
    meter: SloMeter, *, bad_usual: FloatArray, total_usual: FloatArray, config: DetectConfig
) -> tuple[BoolArray, FloatArray]:
    """Keys whose bad share has risen and stays so, and the square root of twice their best gain.

    The second is on the scale of standard errors. Both have shape [K].
    """
    windows = _windows(meter, config.window_s_long)  # [W, K, NUM_COUNTS], shortest first
    if not len(windows):
        return np.zeros(len(meter.keys), dtype=bool), np.zeros(len(meter.keys))
    bad, total = bads(windows), totals(windows)  # [W, K]
    gain = gains(bad, total, bad_usual, total_usual)
    worst = _two_worst(windows)
    rest = gains(
        np.maximum(bad - worst, 0.0), np.maximum(total - worst, 0.0), bad_usual, total_usual
    )
    newest = window_counts(meter, span_s=config.window_s_fast)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio, usual = bad / total, bad_usual / total_usual
        felt = ratio - usual >= np.maximum(config.rise_ratio_min_long, 1.0 - meter.target_ratios)
        # A burst that is over already leaves the newest rows clean.
        lasts = bads(newest) / totals(newest) >= usual + 0.5 * (ratio - usual)
    step_s = float(meter.times_s[-1] - meter.times_s[-1 - len(windows)]) / len(windows)
    least = threshold(num_windows=gain.size, step_s=step_s, every_s=config.false_alarm_every_s)
    enough = (bad >= config.bad_min) & (total >= config.requests_min)
    hit = enough & felt & lasts & (gain >= least) & (rest >= REST_RATIO * least)
    known = total_usual >= config.baseline_requests_min
    best = np.max(np.where(hit, gain, 0.0), axis=0, initial=0.0)
    return hit.any(axis=0) & known, np.sqrt(2.0 * best)


def _windows(meter: SloMeter, span_s: float) -> FloatArray:
    """Counts of the last row, the last two and so on within a span, shape [W, K, NUM_COUNTS]."""
    first = int(np.searchsorted(meter.times_s, meter.times_s[-1] - span_s - 1e-6))
    counts: FloatArray = meter.cumulative[-1] - meter.cumulative[first:-1][::-1]
    return counts


def _two_worst(windows: FloatArray) -> FloatArray:
    """Bad requests of the two worst rows of each window, shape [W, K]."""
    rows = windows.copy()
    rows[1:] -= windows[:-1]  # the newest row first
    first = second = np.zeros(windows.shape[1])
    both = []
    for bad in np.maximum(bads(rows), 0.0):
        second = np.maximum(second, np.minimum(first, bad))
        first = np.maximum(first, bad)
        both.append(first + second)
    return np.stack(both)


def _log_likelihood(bad: FloatArray, total: FloatArray, share: FloatArray) -> FloatArray:
    """Of `bad` out of `total` at a share, without the binomial coefficient; 0 log 0 is 0."""
    good = total - bad
    of_bad: FloatArray = np.where(bad > 0, bad * np.log(share), 0.0)
    of_good: FloatArray = np.where(good > 0, good * np.log1p(-share), 0.0)
    return of_bad + of_good
