"""When users suffer: bad share, failures or silence of a (region, SLO class) against its own past.

Pure detection over the counts of `ops.slo`. Causes are not looked for here.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from ops import symptoms_scan
from ops.config import DetectConfig
from ops.slo import NUM_COUNTS, BoolArray, Count, SloMeter, bad_ratios, bads, totals, window_counts
from ops.slo_keys import Key
from rca.state import FloatArray, Symptom


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Watch:
    """What is usual per key, learnt only while the key is quiet. A value.

    Attributes:
        sums: decayed counts of quiet rows, shape [K, NUM_COUNTS].
        seconds: decayed time that `sums` covers, shape [K].
        until_s: rows up to here were learnt or skipped.
        streak: consecutive steps in which a slow symptom was seen, shape [K].
    """

    sums: FloatArray = field(default_factory=lambda: np.zeros((0, NUM_COUNTS)))
    seconds: FloatArray = field(default_factory=lambda: np.zeros(0))
    until_s: float = -np.inf
    streak: FloatArray = field(default_factory=lambda: np.zeros(0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One key in which users suffer now."""

    key: Key
    symptom: Symptom
    significance: float  # standard errors; orders findings of one step


def learn(watch: Watch, meter: SloMeter, *, quiet: BoolArray, config: DetectConfig) -> Watch:
    """Watch with the rows that have become older than the lag, for the keys that are quiet."""
    num_keys = len(meter.keys)
    if len(watch.seconds) < num_keys:
        grow = num_keys - len(watch.seconds)
        watch = replace(
            watch,
            sums=np.concatenate((watch.sums, np.zeros((grow, NUM_COUNTS)))),
            seconds=np.concatenate((watch.seconds, np.zeros(grow))),
            streak=np.concatenate((watch.streak, np.zeros(grow))),
        )
    if not len(meter.times_s):
        return watch
    until_s = float(meter.times_s[-1]) - config.baseline_lag_s
    since_s = max(watch.until_s, float(meter.times_s[0]))
    if until_s <= since_s:
        return watch
    span_s = until_s - since_s
    fresh = window_counts(meter, span_s=span_s, until_s=until_s)
    decay = np.where(quiet, np.exp(-span_s / config.baseline_tau_s), 1.0)
    return replace(
        watch,
        sums=watch.sums * decay[:, None] + fresh * quiet[:, None],
        seconds=watch.seconds * decay + span_s * quiet,
        until_s=until_s,
    )


def z_scores(
    bad: FloatArray, total: FloatArray, bad_usual: FloatArray, total_usual: FloatArray
) -> FloatArray:
    """Two-proportion test of a window against the past, in standard errors; NaN without data.

    Source: pooled two-proportion z-test.
    Differs: half a bad request is added to the past, so that a past without any gives no
    infinite certainty.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        pooled = (bad + bad_usual + 0.5) / (total + total_usual + 1.0)
        error = np.sqrt(pooled * (1 - pooled) * (1 / total + 1 / total_usual))
        z: FloatArray = (bad / total - bad_usual / total_usual) / error
    return z


def find(
    watch: Watch, meter: SloMeter, *, now_s: float, config: DetectConfig
) -> tuple[Watch, tuple[Finding, ...]]:
    """Keys in which users suffer, most significant first."""
    if not len(meter.times_s):
        return watch, ()
    learnt = totals(watch.sums) >= config.baseline_requests_min
    long = window_counts(meter, span_s=config.window_s_long)
    # Every other window lies within the long one: without enough bad requests there, a quiet
    # step ends here. It is run for weeks of simulated time.
    if not (bads(long) >= config.bad_min).any() and not _behind(watch, meter, config).any():
        return (
            replace(watch, streak=np.zeros_like(watch.streak)) if watch.streak.any() else watch
        ), ()
    short = window_counts(meter, span_s=config.window_s_short)
    newest = window_counts(meter, span_s=config.window_s_fast)
    slow, best = _raised(
        watch,
        meter,
        short,
        rise_min=config.rise_ratio_min,
        bad_min=config.bad_min,
        config=config,
    )
    # A burst that is over already leaves the newest rows clean.
    slow &= bads(newest) >= 0.5 * config.rise_ratio_min * totals(newest)
    drawn_out, z_long = _raised(
        watch,
        meter,
        long,
        rise_min=config.rise_ratio_min_long,
        bad_min=config.bad_min_long,
        config=config,
    )
    # The long window remembers what is over; only what is still going on counts.
    slow |= drawn_out & _uneasy(watch, meter, short, config=config)
    best = np.fmax(best, z_long)
    silent, silent_z = _silent(watch, meter, learnt=learnt, config=config)
    fast, fast_z = _failing_fast(watch, meter, learnt=learnt, config=config)
    streak = np.where(slow | silent, watch.streak + 1, 0.0)
    # Windows of a fixed length see losses that come at once; this sees sooner what goes on.
    risen, risen_z = symptoms_scan.risen(
        meter, bad_usual=bads(watch.sums), total_usual=totals(watch.sums), config=config
    )
    suffering = (streak >= config.persist_steps) | fast | risen
    best = np.fmax(best, risen_z)
    best = np.fmax(best, np.fmax(np.where(silent, silent_z, 0.0), np.where(fast, fast_z, 0.0)))
    found = tuple(
        _finding(watch, meter, int(i), now_s=now_s, silent=bool(silent[i]), z=float(best[i]))
        for i in np.flatnonzero(suffering)
    )
    # Names come last in the key: they must not decide which symptom leads an incident.
    ordered = sorted(found, key=lambda f: (-f.significance, f.symptom.began_at_s, f.key))
    return replace(watch, streak=streak), tuple(ordered)


def _raised(
    watch: Watch,
    meter: SloMeter,
    counts: FloatArray,
    *,
    rise_min: float,
    bad_min: float,
    config: DetectConfig,
) -> tuple[BoolArray, FloatArray]:
    """Keys whose bad share of one window is beyond chance and beyond what matters."""
    bad, total = bads(counts), totals(counts)
    bad_usual, total_usual = bads(watch.sums), totals(watch.sums)
    z = z_scores(bad, total, bad_usual, total_usual)
    with np.errstate(invalid="ignore", divide="ignore"):
        rise = bad / total - bad_usual / total_usual
        hit: BoolArray = (total >= config.requests_min) & (bad >= bad_min)
        hit &= (z >= config.z_min) & (total_usual >= config.baseline_requests_min)
        hit &= rise >= np.maximum(rise_min, 1.0 - meter.target_ratios)
    return hit, np.where(hit, z, 0.0)


def _uneasy(
    watch: Watch, meter: SloMeter, counts: FloatArray, *, config: DetectConfig
) -> BoolArray:
    """Keys whose newest window is not back at its usual level."""
    bad, total = bads(counts), totals(counts)
    bad_usual, total_usual = bads(watch.sums), totals(watch.sums)
    z = z_scores(bad, total, bad_usual, total_usual)
    with np.errstate(invalid="ignore", divide="ignore"):
        rise = bad / total - bad_usual / total_usual
    limit = np.maximum(config.calm_rise_ratio, 1.0 - meter.target_ratios)
    uneasy: BoolArray = (z >= config.calm_z) & (rise > limit)
    return uneasy


def _failing_fast(
    watch: Watch, meter: SloMeter, *, learnt: BoolArray, config: DetectConfig
) -> tuple[BoolArray, FloatArray]:
    """Keys with so many failures at once that no second look is needed."""
    counts = window_counts(meter, span_s=config.window_s_fast)
    failed, total = counts[:, Count.FAILED], totals(counts)
    usual_failed, usual = watch.sums[:, Count.FAILED], totals(watch.sums)
    z = z_scores(failed, total, usual_failed, usual)
    with np.errstate(invalid="ignore", divide="ignore"):
        rise = failed / total - usual_failed / usual
        hit: BoolArray = (failed >= config.failures_min_fast) & (rise >= config.failed_ratio_fast)
    return hit & learnt & (z >= config.z_min), z


def _behind(watch: Watch, meter: SloMeter, config: DetectConfig) -> BoolArray:
    """Keys that finish less than half of what is usual; only these can be silent."""
    done = totals(window_counts(meter, span_s=config.window_s_missing))
    expected = watch.sums[:, Count.FINISHED] * config.window_s_missing
    behind: BoolArray = done * watch.seconds <= 0.5 * expected
    return behind


def _silent(
    watch: Watch, meter: SloMeter, *, learnt: BoolArray, config: DetectConfig
) -> tuple[BoolArray, FloatArray]:
    """Keys whose requests pile up unfinished, or that stopped answering though scraped."""
    span_s = config.window_s_missing
    counts = window_counts(meter, span_s=span_s)
    known_rows = counts[:, Count.KNOWN]
    rows = float(np.sum(meter.times_s > meter.times_s[-1] - span_s + 1e-6))
    scraped = known_rows >= np.maximum(0.5 * rows, 1.0)  # silence of the scraper is no symptom
    with np.errstate(invalid="ignore", divide="ignore"):
        expected = watch.sums[:, Count.FINISHED] / watch.seconds * span_s
        usual_flight = watch.sums[:, Count.IN_FLIGHT] / watch.sums[:, Count.FLIGHT_KNOWN]
        newest = window_counts(meter, span_s=config.window_s_fast)
        flight = newest[:, Count.IN_FLIGHT] / newest[:, Count.FLIGHT_KNOWN]
        piled = flight >= config.pile_up_factor * usual_flight + config.pile_up_min
        done = totals(counts)
        # Users who were sent elsewhere leave nothing in flight: that is no silence.
        waiting = flight >= np.maximum(0.5 * usual_flight, 1.0)
        gone = (expected >= config.expected_min) & (done <= config.missing_ratio * expected)
        gone &= waiting
        slowed = piled & (done <= 0.5 * expected) & (expected >= config.requests_min)
        z = (expected - done) / np.sqrt(np.maximum(expected, 1.0))
    hit: BoolArray = learnt & scraped & (gone | slowed)
    return hit, z


def _finding(
    watch: Watch, meter: SloMeter, key_index: int, *, now_s: float, silent: bool, z: float
) -> Finding:
    region, slo_class = key = meter.keys[key_index]
    usual = float(np.nan_to_num(bad_ratios(watch.sums)[key_index]))
    began_at_s = change_point_s(meter, key_index, usual_ratio=usual)
    since = window_counts(meter, span_s=float(meter.times_s[-1]) - began_at_s + 1e-3)[key_index]
    ratio = float(np.nan_to_num(bad_ratios(since)))
    failed = since[Count.FAILED] > 0.5 * max(float(bads(since)), 1.0)
    if silent and ratio <= usual + 0.1:
        reason, ratio = "missing", 1.0
        began_at_s = _silence_began_s(watch, meter, key_index)
    else:
        reason = "errors" if failed else "latency"
    symptom = Symptom(
        region=region,
        slo_class=slo_class,
        began_at_s=began_at_s,
        detected_at_s=now_s,
        bad_ratio=ratio,
        reason=reason,
    )
    return Finding(key=key, symptom=symptom, significance=z)


def change_point_s(
    meter: SloMeter, key_index: int, *, usual_ratio: float, span_s: float = 300.0
) -> float:
    """Moment at which the bad share left its usual level, within the last `span_s`.

    The low point of the cumulative excess over half way between usual and present level.
    Source: Page (1954), cumulative sum scheme.
    """
    first = int(np.searchsorted(meter.times_s, meter.times_s[-1] - span_s))
    rows = np.diff(meter.cumulative[first:, key_index], axis=0)  # [R, NUM_COUNTS]
    if not len(rows):
        return float(meter.times_s[-1])
    present = float(np.nan_to_num(bad_ratios(rows[-6:].sum(axis=0))))
    middle = 0.5 * (usual_ratio + max(present, usual_ratio))
    excess = np.concatenate(([0.0], np.cumsum(bads(rows) - middle * totals(rows))))
    low = len(excess) - 1 - int(np.argmin(excess[::-1]))  # the last of equal low points
    return float(meter.times_s[first + low])


def _silence_began_s(watch: Watch, meter: SloMeter, key_index: int) -> float:
    """Last row after which fewer requests finished than usual."""
    per_s = watch.sums[key_index, Count.FINISHED] / max(watch.seconds[key_index], 1e-9)
    first = int(np.searchsorted(meter.times_s, meter.times_s[-1] - 300.0))
    rows = np.diff(meter.cumulative[first:, key_index], axis=0)
    if not len(rows):
        return float(meter.times_s[-1])
    spans_s = np.diff(meter.times_s[first:])
    excess = np.concatenate(([0.0], np.cumsum(0.5 * per_s * spans_s - totals(rows))))
    low = len(excess) - 1 - int(np.argmin(excess[::-1]))
    return float(meter.times_s[first + low])


def calm(watch: Watch, meter: SloMeter, *, config: DetectConfig) -> BoolArray:
    """Keys that are back to their usual level, or about which nothing bad is known, shape [K]."""
    counts = window_counts(meter, span_s=config.window_s_short)
    learnt = totals(watch.sums) >= config.baseline_requests_min
    silent, _ = _silent(watch, meter, learnt=learnt, config=config)
    quiet: BoolArray = ~_uneasy(watch, meter, counts, config=config) & ~silent
    return quiet
