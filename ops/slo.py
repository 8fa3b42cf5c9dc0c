"""Good and bad requests per (region, SLO class), counted from scraped frames alone.

Holds the counting and the burn rates. What counts as a symptom lives in `ops.symptoms`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from ops.slo_first import ScrapedTargets, levels_before, scraped_targets
from ops.slo_keys import Key, room_for
from ops.state import SloTarget
from rca.state import FloatArray, MetricFrame, MetricRole, Series

IntArray = npt.NDArray[np.intp]
BoolArray = npt.NDArray[np.bool_]

# A status is bad for the user by its class, or by its code where the code is kept. Turned away
# (429), gone (499) and timed out (408) are 4xx, so the class as a whole counts: real bad requests
# of clients raise the baseline, against which every comparison is made.
GOOD_STATUSES = ("1", "2", "3", "400", "401", "403", "404", "409", "413", "422")


class Count(IntEnum):
    """Columns of the counts."""

    FINISHED = 0
    FAILED = 1
    TTFT_SEEN = 2
    TTFT_OVER = 3
    TPOT_OVER = 4
    IN_FLIGHT = 5  # sum of the gauge over rows; divide by FLIGHT_KNOWN for its mean
    KNOWN = 6  # rows in which the key was scraped
    FLIGHT_KNOWN = 7  # rows in which both the gauge and what was answered are known


NUM_COUNTS = len(Count)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SloIndex:
    """Which columns of a frame feed which count. Valid while `roles` is the frame's own tuple."""

    roles: tuple[MetricRole | None, ...]
    slos: tuple[SloTarget, ...]
    columns: IntArray  # [M] frame columns, repeated where one feeds two counts
    slots: IntArray  # [M] key position * NUM_COUNTS + count
    signs: FloatArray  # [M] +1 or -1
    series: tuple[Series, ...]  # [M]
    gauge_columns: IntArray  # [G] requests in flight
    gauge_slots: IntArray  # [G]
    entries: tuple[tuple[str, str], ...]  # (region, service) that report users' requests
    scraped: ScrapedTargets  # tells where a series begins at zero


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SloMeter:
    """Counts since the loop began to watch. A value: `advance` returns a new one.

    Attributes:
        keys: (region, class) pairs, append-only, length K.
        target_ratios: share of requests that must be good, shape [K].
        last: last finite sample per index column, NaN where none, shape [M].
        times_s: rows counted so far, shape [H].
        cumulative: counts up to and with each row, shape [H, K, NUM_COUNTS].
    """

    keys: tuple[Key, ...] = ()
    target_ratios: FloatArray = field(default_factory=lambda: np.empty(0))
    index: SloIndex | None = None
    last: FloatArray = field(default_factory=lambda: np.empty(0))
    times_s: FloatArray = field(default_factory=lambda: np.empty(0))
    cumulative: FloatArray = field(default_factory=lambda: np.empty((0, 0, NUM_COUNTS)))


def advance(
    meter: SloMeter, frame: MetricFrame, slos: tuple[SloTarget, ...], *, history_s: float
) -> SloMeter:
    """Count the rows of `frame` that are newer than what the meter has seen."""
    if meter.index is None or meter.index.roles is not frame.roles or meter.index.slos != slos:
        meter = _reindexed(meter, frame, slos)
    assert meter.index is not None
    seen_until_s = meter.times_s[-1] if len(meter.times_s) else -np.inf
    start = int(np.searchsorted(frame.times_s, seen_until_s, side="right"))
    if start == len(frame.times_s) or not meter.keys:
        return meter
    new_rows = []
    last = meter.last
    for row in range(start, len(frame.times_s)):
        counts, last = _row_counts(meter.index, frame, row, last, num_keys=len(meter.keys))
        new_rows.append(counts)
    added = np.cumsum(np.stack(new_rows), axis=0)  # [R, K, NUM_COUNTS]
    if len(meter.times_s):
        added += meter.cumulative[-1]
    newest_s = frame.times_s[-1]
    keep = int(np.searchsorted(meter.times_s, newest_s - history_s))
    return replace(
        meter,
        last=last,
        times_s=np.concatenate((meter.times_s[keep:], frame.times_s[start:])),
        cumulative=np.concatenate((meter.cumulative[keep:], added)),
    )


def _row_counts(
    index: SloIndex, frame: MetricFrame, row: int, last: FloatArray, *, num_keys: int
) -> tuple[FloatArray, FloatArray]:
    """Increase per key and count in one row, and the new last samples.

    A missing sample adds nothing now; its increase arrives with the next one. A fall is a
    restarted process, which has counted from zero.
    """
    sample = frame.values[row, index.columns].astype(np.float64)
    present = ~np.isnan(sample)
    first = present & np.isnan(last)
    if first.any():
        last = last.copy()
        last[first] = levels_before(frame, row, index.columns[first], index.scraped)
    rise = sample - last
    rise = np.where(rise < 0, sample, rise)
    rise[np.isnan(rise)] = 0.0
    size = num_keys * NUM_COUNTS
    summed = np.bincount(index.slots, weights=rise * index.signs, minlength=size)
    counts: FloatArray = np.asarray(summed, dtype=np.float64).reshape(num_keys, NUM_COUNTS)
    known = np.bincount(index.slots[present] // NUM_COUNTS, minlength=num_keys) > 0
    counts[:, Count.KNOWN] = known
    if len(index.gauge_columns):
        gauge = frame.values[row, index.gauge_columns].astype(np.float64)
        seen, slots = ~np.isnan(gauge), index.gauge_slots
        both = known & (np.bincount(slots[seen], minlength=num_keys) > 0)
        flight = np.bincount(slots[seen], weights=gauge[seen], minlength=num_keys)
        counts[:, Count.IN_FLIGHT] = np.where(both, flight, 0.0)
        counts[:, Count.FLIGHT_KNOWN] = both
    return counts, np.where(present, sample, last)


def _reindexed(meter: SloMeter, frame: MetricFrame, slos: tuple[SloTarget, ...]) -> SloMeter:
    """Meter whose index fits `frame`; history and last samples are kept by identity."""
    found = sorted(
        {
            (role.entity.region, series.label("slo_class"))
            for role, series in zip(frame.roles, frame.series, strict=True)
            if role is not None and role.role == "frontend_requests"
        }
    )
    keys = meter.keys + room_for(set(found) - set(meter.keys), slos, num_known=len(meter.keys))
    index = _build_index(frame, slos, keys)
    known = dict(zip(meter.index.series, meter.last, strict=True)) if meter.index else {}
    last = np.array([known.get(series, np.nan) for series in index.series], dtype=np.float64)
    cumulative = np.zeros((len(meter.times_s), len(keys), NUM_COUNTS))
    cumulative[:, : len(meter.keys)] = meter.cumulative
    by_class = {slo.name: slo.target_ratio for slo in slos}
    return replace(
        meter,
        keys=keys,
        index=index,
        last=last,
        cumulative=cumulative,
        target_ratios=np.array([by_class.get(slo_class, 0.99) for _, slo_class in keys]),
    )


def _build_index(frame: MetricFrame, slos: tuple[SloTarget, ...], keys: Sequence[Key]) -> SloIndex:
    position = {key: i for i, key in enumerate(keys)}
    limits = {slo.name: slo for slo in slos}
    bounds: dict[tuple[str, str], list[float]] = {}
    entries = set()
    for role in frame.roles:
        if role is not None and role.role.startswith("frontend_"):
            entries.add((role.entity.region, role.entity.name))
            if role.part == "bucket" and role.upper_bound is not None:
                bounds.setdefault((role.role, role.group), []).append(role.upper_bound)
    picked: list[tuple[int, int, float]] = []  # column, slot, sign
    gauges: list[tuple[int, int]] = []
    for column, (role, series) in enumerate(zip(frame.roles, frame.series, strict=True)):
        if role is None or not role.role.startswith("frontend_"):
            continue
        slo_class = series.label("slo_class") or role.group.rpartition("/")[2]
        key = (role.entity.region, slo_class)
        if role.role == "frontend_in_flight":
            # A gauge without a class counts for every class of its region.
            gauges += [
                (column, i)
                for k, i in position.items()
                if k == key or (k[0] == key[0] and slo_class not in limits)
            ]
        elif key in position:
            base = position[key] * NUM_COUNTS
            known_bounds = bounds.get((role.role, role.group), [])
            for count, sign in _feeds(role, limits.get(slo_class), known_bounds):
                picked.append((column, base + count, sign))
    columns, slots, signs = ([entry[i] for entry in picked] for i in range(3))
    return SloIndex(
        roles=frame.roles,
        slos=slos,
        columns=np.array(columns, dtype=np.intp),
        slots=np.array(slots, dtype=np.intp),
        signs=np.array(signs, dtype=np.float64),
        series=tuple(frame.series[int(c)] for c in columns),
        gauge_columns=np.array([c for c, _ in gauges], dtype=np.intp),
        gauge_slots=np.array([s for _, s in gauges], dtype=np.intp),
        entries=tuple(sorted(entries)),
        scraped=scraped_targets(frame),
    )


def _feeds(
    role: MetricRole, slo: SloTarget | None, bounds: Sequence[float]
) -> list[tuple[Count, float]]:
    """Which counts one series feeds, with its sign; over a limit = all minus those within it."""
    if role.role == "frontend_requests":
        failed = not role.group.startswith(GOOD_STATUSES)
        return [(Count.FINISHED, 1.0), *([(Count.FAILED, 1.0)] if failed else [])]
    if slo is None or role.role not in ("frontend_ttft", "frontend_tpot"):
        return []
    ttft = role.role == "frontend_ttft"
    over = Count.TTFT_OVER if ttft else Count.TPOT_OVER
    limit_s = slo.ttft_s if ttft else slo.tpot_s
    bound = min((b for b in bounds if b >= limit_s * (1 - 1e-6)), default=None)
    if role.part == "bucket":
        return [(over, -1.0)] if role.upper_bound == bound else []
    if role.part != "count":
        return []
    # Without a bucket at or above the limit nobody can tell what missed it: nothing is counted.
    return [*([(Count.TTFT_SEEN, 1.0)] if ttft else []), *([(over, 1.0)] if bound else [])]


def window_counts(meter: SloMeter, *, span_s: float, until_s: float | None = None) -> FloatArray:
    """Counts of the rows in (until - span, until], shape [K, NUM_COUNTS]; until = newest row."""
    if not len(meter.times_s):
        return np.zeros((len(meter.keys), NUM_COUNTS))
    end_s = meter.times_s[-1] if until_s is None else until_s
    last = int(np.searchsorted(meter.times_s, end_s, side="right")) - 1
    first = int(np.searchsorted(meter.times_s, end_s - span_s + 1e-6, side="right")) - 1
    if last < 0:
        return np.zeros((len(meter.keys), NUM_COUNTS))
    counts: FloatArray = meter.cumulative[last].copy()
    if first >= 0:
        counts -= meter.cumulative[first]
    return counts


def totals(counts: FloatArray) -> FloatArray:
    """Requests that a window knows of, shape of `counts` without its last axis.

    A first token is seen long before its request ends, so the larger of both numbers counts.
    """
    larger: FloatArray = np.maximum(counts[..., Count.FINISHED], counts[..., Count.TTFT_SEEN])
    return larger


def bads(counts: FloatArray) -> FloatArray:
    """Bad requests of a window: failed ones plus those over a limit, at most all of them.

    Differs: two histograms do not say how many requests missed both limits; the larger of both
    numbers is taken, which is the least that it can be.
    """
    over = np.maximum(counts[..., Count.TTFT_OVER], counts[..., Count.TPOT_OVER])
    bad: FloatArray = np.minimum(totals(counts), counts[..., Count.FAILED] + np.maximum(over, 0.0))
    return bad


def bad_ratios(counts: FloatArray) -> FloatArray:
    """Share of bad requests, NaN where no request is known."""
    total = totals(counts)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio: FloatArray = np.where(total > 0, bads(counts) / total, np.nan)
    return ratio


def burn_rates(meter: SloMeter, *, span_s: float) -> FloatArray:
    """Speed at which each key spends its error budget, shape [K]; NaN where nothing is known.

    Source: Google SRE Workbook, "Alerting on SLOs".
    """
    budget = 1.0 - meter.target_ratios
    rates: FloatArray = bad_ratios(window_counts(meter, span_s=span_s)) / budget
    return rates


def pages(
    meter: SloMeter, *, burn_rate: float, span_s_long: float, span_s_short: float
) -> BoolArray:
    """Which keys would page: both windows burn faster than `burn_rate`, shape [K]."""
    long = burn_rates(meter, span_s=span_s_long)
    short = burn_rates(meter, span_s=span_s_short)
    paged: BoolArray = (long > burn_rate) & (short > burn_rate)  # NaN compares as False
    return paged
