"""Raw scrapes -> comparable levels: counters become rates, rows are cleaned, windows are cut.

Missing stays NaN. A counter that falls was restarted: what it shows since then is new work.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rca.state import EntityKind, FloatArray, MetricFrame, MetricKind, MetricRole, Series

IntArray = npt.NDArray[np.intp]
BoolArray = npt.NDArray[np.bool_]

_EVERYWHERE = frozenset({EntityKind.REGISTRY, EntityKind.TELEMETRY})


@dataclass(slots=True, kw_only=True)
class Aligned:
    """Comparable series of a frame. Buckets, facts and unknown series are left out.

    Attributes:
        times_s: ascending, shape [T].
        levels: rate per second of counters, mean per event of the sums of histograms, value of
            gauges; NaN missing, shape [T, N].
        increases: growth of counters since the sample before, NaN for gauges, shape [T, N].
        series, roles: identities and meanings, length N.
        counter: which columns are counters, shape [N].
        step_s: nominal scrape interval.
    """

    times_s: FloatArray
    levels: FloatArray
    increases: FloatArray
    series: tuple[Series, ...]
    roles: tuple[MetricRole, ...]
    counter: BoolArray
    step_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """Rows before and since the onset, and equal blocks of the former as an empirical null.

    Attributes:
        onset_s: when the trouble began.
        normal_end: rows [0, normal_end) are normal.
        fault_start: rows [fault_start, T) are compared with them.
        cuts: ascending first rows of the blocks, of the guard rows and of the fault rows.
        keep: which of those pieces are blocks or the fault window (last), not guard rows.
    """

    onset_s: float
    normal_end: int
    fault_start: int
    cuts: IntArray
    keep: BoolArray


def clean_rows(
    times_s: FloatArray, values: FloatArray, *, now_s: float
) -> tuple[FloatArray, FloatArray]:
    """Sort by time, drop rows after `now_s`, merge rows of one stamp (the last finite value wins).

    Returns:
        times [T'] strictly ascending and values [T', N].
    """
    times = np.asarray(times_s, dtype=float)
    matrix = np.asarray(values, dtype=float)
    if len(times) == 0:
        return times, matrix
    if times[-1] <= now_s and bool(np.all(np.diff(times) > 0)):
        return times, matrix
    order = np.argsort(times, kind="stable")
    order = order[times[order] <= now_s]
    times, matrix = times[order], matrix[order]
    if len(times) == 0:
        return times, matrix
    first = np.flatnonzero(np.concatenate([[True], np.diff(times) > 0]))
    if len(first) == len(times):
        return times, matrix
    merged = np.empty((len(first), matrix.shape[1]))
    for place, (start, end) in enumerate(zip(first, [*first[1:], len(times)], strict=True)):
        row = matrix[start].copy()
        for other in matrix[start + 1 : end]:
            np.copyto(row, other, where=np.isfinite(other))
        merged[place] = row
    return times[first], merged


def increases(times_s: FloatArray, values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Growth of counters since their last sample, and the same per second.

    A fall is a restart: the new value is the growth. The first sample of a series and every
    missing one give NaN; the sample after a gap carries the growth over the whole gap.

    Args:
        times_s: shape [T].
        values: cumulative, shape [T, N].

    Returns:
        growth [T, N] and rate per second [T, N].
    """
    if len(times_s) == 0:
        return values.copy(), values.copy()
    growth = np.full(values.shape, np.nan)
    rate = growth.copy()
    growth[1:] = values[1:] - values[:-1]
    rate_steps = np.diff(times_s)[:, None]
    with np.errstate(invalid="ignore"):
        np.copyto(growth[1:], values[1:], where=growth[1:] < 0.0)
    rate[1:] = growth[1:] / rate_steps
    gappy = np.flatnonzero(np.isnan(growth[1:]).any(axis=0))
    if len(gappy):
        growth[:, gappy], rate[:, gappy] = _increases_over_gaps(times_s, values[:, gappy])
    return growth, rate


def _increases_over_gaps(times_s: FloatArray, values: FloatArray) -> tuple[FloatArray, FloatArray]:
    rows = np.arange(len(times_s))[:, None]
    seen = np.where(np.isfinite(values), rows, -1)
    last = np.maximum.accumulate(seen, axis=0)
    before = np.vstack([np.full((1, values.shape[1]), -1), last[:-1]])
    known = (before >= 0) & (seen >= 0)
    previous = np.take_along_axis(values, np.maximum(before, 0), axis=0)
    growth = values - previous
    with np.errstate(invalid="ignore"):
        growth = np.where(growth < 0.0, values, growth)
    elapsed = times_s[:, None] - times_s[np.maximum(before, 0)]
    growth = np.where(known, growth, np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        rate = np.where(known, growth / elapsed, np.nan)
    return growth, rate


def align(frame: MetricFrame, *, now_s: float, region: str = "") -> Aligned:
    """Make the known series of a frame comparable as of `now_s`.

    Args:
        region: where given, services, pods, nodes and links of other regions are left out; their
            registries and scrape jobs stay, as they are compared across regions.
    """
    columns = [
        place
        for place, role in enumerate(frame.roles)
        if role is not None
        and role.part != "bucket"
        and role.kind is not MetricKind.INFO
        and (not region or role.entity.region == region or role.entity.kind in _EVERYWHERE)
    ]
    roles = tuple(role for c in columns if (role := frame.roles[c]) is not None)
    raw = np.asarray(frame.values, dtype=float)[:, columns]
    times, values = clean_rows(frame.times_s, raw, now_s=now_s)  # a copy of the frame's
    counter = np.array([role.counter for role in roles], dtype=bool)
    growth = np.full(values.shape, np.nan)
    levels = np.array(values, dtype=float)
    series = tuple(frame.series[c] for c in columns)
    if counter.any():
        _start_at_zero(values, counter, series)
        growth[:, counter], levels[:, counter] = increases(times, values[:, counter])
    _means_for_sums(levels, series, roles)
    return Aligned(
        times_s=times,
        levels=levels,
        increases=growth,
        series=series,
        roles=roles,
        counter=counter,
        step_s=frame.step_s,
    )


def _start_at_zero(values: FloatArray, counter: BoolArray, series: tuple[Series, ...]) -> None:
    """Let a counter that a running pod shows for the first time grow from zero, in place.

    Exporters create a labelled counter at its first event (the first 503, the first retry). Where
    the pod was scraped one row before without it, its count was zero then: that is knowledge, not
    a filled gap.
    """
    if len(values) < 2:
        return
    finite = np.isfinite(values)
    first = np.argmax(finite, axis=0)
    late = np.flatnonzero(counter & (first > 0) & finite.any(axis=0))
    if not len(late):
        return
    shown: dict[tuple[str, str], list[int]] = {}
    for column, one in enumerate(series):
        shown.setdefault((one.name, one.label("pod")), []).append(column)
    for column in late.tolist():
        row = int(first[column])
        # The same metric of the same pod with other labels: the same exporter, the same scrape.
        others = shown[(series[column].name, series[column].label("pod"))]
        if series[column].label("pod") and finite[row - 1, others].any():
            values[row - 1, column] = 0.0


def _means_for_sums(
    levels: FloatArray, series: tuple[Series, ...], roles: tuple[MetricRole, ...]
) -> None:
    """Turn the level of each histogram's sum into a mean per event, in place."""
    counts = {
        (role.role, role.entity, role.group, series[c].labels): c
        for c, role in enumerate(roles)
        if role.part == "count"
    }
    pairs = [
        (c, counts[key])
        for c, role in enumerate(roles)
        if role.part == "sum"
        and (key := (role.role, role.entity, role.group, series[c].labels)) in counts
    ]
    if pairs:
        top, below = (list(places) for places in zip(*pairs, strict=True))
        events = levels[:, below]
        with np.errstate(invalid="ignore", divide="ignore"):
            levels[:, top] = np.where(
                events > 0.0, levels[:, top] / np.where(events > 0.0, events, 1.0), np.nan
            )


def cut_windows(
    times_s: FloatArray,
    onset_s: float,
    *,
    guard_rows: int = 2,
    fault_rows_max: int = 24,
    block_rows_min: int = 3,
    num_blocks_max: int = 40,
) -> Windows | None:
    """Cut the rows at `onset_s`.

    Returns:
        None when fewer than four normal blocks or two fault rows exist.
    """
    total = len(times_s)
    since = int(np.searchsorted(times_s, onset_s, side="left"))
    if total - since < 2:
        return None
    normal_end = since - guard_rows
    fault_start = max(since, total - fault_rows_max)
    rows = max(total - fault_start, block_rows_min)
    num_blocks = min(num_blocks_max, normal_end // rows)
    if num_blocks < 4:
        rows = max(block_rows_min, normal_end // 4)
        num_blocks = normal_end // rows
    if num_blocks < 4:
        return None
    cuts = normal_end - rows * np.arange(num_blocks, 0, -1)
    keep = np.ones(num_blocks, dtype=bool)
    # Guard rows right before the onset, and older fault rows beyond the window, count on no side.
    if fault_start > normal_end:
        cuts, keep = np.append(cuts, normal_end), np.append(keep, False)
    return Windows(
        onset_s=onset_s,
        normal_end=normal_end,
        fault_start=fault_start,
        cuts=np.append(cuts, fault_start).astype(np.intp),
        keep=np.append(keep, True),
    )


def block_sums(values: FloatArray, windows: Windows) -> tuple[FloatArray, FloatArray]:
    """Sum and number of the finite values of each block, the fault window last.

    Returns:
        sums [B + 1, N] (NaN where nothing was finite) and counts [B + 1, N].
    """
    start = windows.cuts[0]
    finite = np.isfinite(values[start:])
    filled = np.where(finite, values[start:], 0.0)
    cuts = windows.cuts - start
    sums = np.add.reduceat(filled, cuts, axis=0)[windows.keep]
    counts = np.add.reduceat(finite, cuts, axis=0, dtype=np.float64)[windows.keep]
    return np.where(counts > 0, sums, np.nan), counts
