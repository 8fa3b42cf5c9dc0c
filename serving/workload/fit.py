"""Measures the laws of a workload from its requests.

Source: BurstGPT, arXiv 2401.17644: a gamma law of gaps per 20-minute window, streams by model
and service, failures in runs.
Differs: the gamma shape comes from the moments of all gaps, zeros of coarse stamps included;
lengths are quantiles, the output in bands of the input, instead of Zipf laws.
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from serving.errors import ConfigError
from serving.workload.laws import (
    DAYS,
    HOURS,
    SHARES,
    Given,
    SessionLaw,
    StreamLaw,
    WorkloadLaw,
)  # fmt: skip
from serving.workload.table import NO_SESSION, Kind, RequestTable, Status

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Marks = NDArray[np.bool_]

WINDOW_S = 1200.0
WINDOWS_MIN = 6  # a shorter trace is cut into this many windows
ROWS_MIN = 50  # fewer requests are no workload
GAPS_MIN = 20  # in a window, for a gamma shape of its own
ALPHA_LIMITS = (0.01, 50.0)
BAND_ROWS, BANDS_MAX = 60, 16
HOUR_S, DAY_S = 3600.0, 86_400.0
LEVEL_SIGMA_MAX = 2.0
QUARTILE_Z = 0.6745
STAMPS_S = (3.0, 1.0)  # coarse clocks of public traces


def fit(table: RequestTable, *, start_hour: float = 0.0) -> WorkloadLaw:
    """The laws of a trace.

    Args:
        start_hour: hour of day at second 0 of the trace.

    Raises:
        ConfigError: too few requests, or all at one moment.
    """
    rows = len(table)
    if rows < ROWS_MIN or table.arrival_s[-1] <= table.arrival_s[0]:
        raise ConfigError(
            f"{table.trace_id}: {rows} requests; a fit needs {ROWS_MIN} or more at two moments at "
            "least, give a longer trace"
        )
    if not 0.0 <= start_hour < HOURS:
        raise ConfigError(f"start_hour is {start_hour}, expected 0 to 24")
    # The last gap is taken to be a mean one, so that the rate is rows over duration.
    duration_s = float(table.arrival_s[-1]) * (rows + 1) / rows
    window_s = min(WINDOW_S, duration_s / WINDOWS_MIN)
    fails = _fails(table)
    streams = []
    for model, name in enumerate(table.models):
        for kind in Kind:
            mask = (table.model == model) & (table.kind == kind)
            if mask.any():
                streams.append(
                    _stream(table, mask, name, kind, duration_s, window_s, start_hour, fails)
                )
    return WorkloadLaw(
        trace_id=table.trace_id,
        duration_s=duration_s,
        window_s=window_s,
        start_hour=start_hour,
        stamp_s=stamp_s(table.arrival_s),
        streams=tuple(streams),
    )


def stamp_s(arrival_s: Floats) -> float:
    """Seconds that all arrivals are multiples of; 0 when they are finer than those we know."""
    for step_s in STAMPS_S:
        if np.all(np.abs(arrival_s - np.rint(arrival_s / step_s) * step_s) < 1e-6):
            return step_s
    return 0.0


def gamma_shape(gaps_s: Floats) -> float:
    """Shape of the gamma law with the mean and spread of the gaps, kept within limits."""
    mean, spread = float(gaps_s.mean()), float(gaps_s.std())
    alpha = (mean / spread) ** 2 if spread > 0.0 else ALPHA_LIMITS[1]
    return float(np.clip(alpha, *ALPHA_LIMITS))


def given(at: Floats, values: Floats) -> Given:
    """Quantiles of `values` in bands of `at` with as many rows each, both [n]."""
    bands = max(1, min(BANDS_MAX, len(at) // BAND_ROWS))
    edges = np.unique(np.quantile(at, np.arange(1, bands) / bands)) if bands > 1 else np.zeros(0)
    edges = edges[edges > at.min()] if len(at) else edges
    band = np.searchsorted(edges, at, side="right")
    return Given(
        edges=tuple(edges.tolist()),
        quantiles=tuple(quantiles(values[band == index]) for index in range(len(edges) + 1)),
    )


def quantiles(values: Floats) -> tuple[float, ...]:
    """Quantiles at SHARES; zeros where there is no value."""
    if not len(values):
        return (0.0,) * len(SHARES)
    return tuple(np.round(np.quantile(values, SHARES), 3).tolist())


def _stream(
    table: RequestTable,
    mask: Marks,
    model: str,
    kind: Kind,
    duration_s: float,
    window_s: float,
    start_hour: float,
    fails: Marks,
) -> StreamLaw:
    arrival_s = table.arrival_s[mask]
    prompt = table.num_prompt_tokens[mask].astype(np.float64)
    output = table.num_output_tokens[mask].astype(np.float64)
    failed = fails[mask]
    edges = np.append(np.arange(0.0, duration_s - 1e-9, window_s), duration_s)
    counts = np.histogram(arrival_s, edges)[0]
    alphas, pooled = _shapes(arrival_s, edges)
    hours, days, sigma = _curves(arrival_s, duration_s, start_hour)
    session, opener = _sessions(table.session_index[mask], arrival_s, prompt, output, failed)
    known = ~failed & (opener if session else True)
    known = known if known.any() else ~failed
    after = np.concatenate(([False], fails[:-1]))[mask]
    return StreamLaw(
        model=model,
        kind=kind.name,
        num_requests=int(mask.sum()),
        rates_rps=tuple(float(f"{rate:.6g}") for rate in counts / np.diff(edges)),
        alphas=alphas,
        alpha=pooled,
        hours=hours,
        days=days,
        level_sigma=sigma,
        prompt=quantiles(prompt[known]),
        output=given(prompt[~failed], output[~failed]),
        failed_prompt=quantiles(prompt[failed]) if failed.any() else (),
        fail_after_ok=_share(failed, ~after),
        fail_after_fail=_share(failed, after) if after.any() else _share(failed, ~after),
        session=session,
    )


def _fails(table: RequestTable) -> Marks:
    marks: Marks = table.status == Status.FAILED
    return marks


def _share(marks: Marks, among: Marks) -> float:
    return float(marks[among].mean()) if among.any() else 0.0


def _shapes(arrival_s: Floats, edges: Floats) -> tuple[tuple[float | None, ...], float]:
    """Gamma shape of each window, and one for the windows with too few gaps."""
    bounds = np.searchsorted(arrival_s, edges)
    alphas: list[float | None] = []
    scaled = []
    for first, last in itertools.pairwise(bounds):
        gaps_s = np.diff(arrival_s[first:last])
        enough = len(gaps_s) >= GAPS_MIN and gaps_s.any()
        alphas.append(round(gamma_shape(gaps_s), 4) if enough else None)
        if len(gaps_s) > 1 and gaps_s.any():
            scaled.append(gaps_s / gaps_s.mean())
    pooled = np.concatenate(scaled) if scaled else np.zeros(0)
    return tuple(alphas), gamma_shape(pooled) if len(pooled) >= GAPS_MIN else 1.0


def _curves(
    arrival_s: Floats, duration_s: float, start_hour: float
) -> tuple[tuple[float | None, ...], tuple[float | None, ...], float]:
    """Rate by hour of day and by day of week over the mean, and the spread around both.

    Only whole hours count. Days are counted from midnight before the trace's start.
    """
    offset_s = start_hour * HOUR_S
    first, last = int(np.ceil(offset_s / HOUR_S)), int((offset_s + duration_s) // HOUR_S)
    if last - first < 2:
        return (None,) * HOURS, (None,) * DAYS, 0.0
    edges = np.arange(first, last + 1) * HOUR_S - offset_s
    counts = np.histogram(arrival_s, edges)[0].astype(np.float64)
    index = np.arange(first, last)
    mean = counts.mean() or 1.0
    hour_means = _means(counts, index % HOURS, HOURS)
    by_hour = [None if np.isnan(m) else round(float(m / mean), 4) for m in hour_means]
    shaped = np.maximum(hour_means[index % HOURS], 0.02 * mean)
    whole_weeks = last - first >= DAYS * HOURS
    day_means = _means(counts / shaped, index // HOURS % DAYS, DAYS)
    by_day = [round(float(m), 4) if whole_weeks else None for m in day_means]
    if whole_weeks:
        shaped = shaped * np.maximum(day_means[index // HOURS % DAYS], 0.02)
    low, high = np.quantile(np.log(np.maximum(counts, 0.5) / shaped), [0.25, 0.75])
    spread = (high - low) / (2 * QUARTILE_Z)
    noise = float(np.sqrt(np.mean(1.0 / np.maximum(shaped, 1.0))))  # of counting alone
    sigma = float(np.sqrt(max(spread**2 - noise**2, 0.0))) if last - first >= 2 * HOURS else 0.0
    return tuple(by_hour), tuple(by_day), min(round(sigma, 4), LEVEL_SIGMA_MAX)


def _means(values: Floats, index: Ints, size: int) -> Floats:
    """Mean of the values of each index, NaN where there is none, [size]."""
    counts = np.bincount(index, minlength=size).astype(np.float64)
    totals = np.bincount(index, values, minlength=size)
    means: Floats = np.where(counts > 0, totals / np.maximum(counts, 1), np.nan)
    return means


def turns_of(session_index: Ints, arrival_s: Floats) -> tuple[Ints, Floats, Ints]:
    """Turns of each session, time from a turn to the next, and (row before, row) of those [n, 2].

    Rows without a session have none.
    """
    rows = np.flatnonzero(session_index != NO_SESSION)
    order = rows[np.argsort(session_index[rows], kind="stable")]
    same = session_index[order[1:]] == session_index[order[:-1]]
    pairs = np.stack([order[:-1][same], order[1:][same]], axis=1)
    turns = np.unique(session_index[rows], return_counts=True)[1].astype(np.int64)
    return turns, arrival_s[pairs[:, 1]] - arrival_s[pairs[:, 0]], pairs


def _sessions(
    session_index: Ints, arrival_s: Floats, prompt: Floats, output: Floats, failed: Marks
) -> tuple[SessionLaw | None, Marks]:
    """The law of the sessions, None without any of two turns; and which rows open one or none."""
    opener = np.ones(len(arrival_s), dtype=np.bool_)
    turns, think_s, pairs = turns_of(session_index, arrival_s)
    if not len(pairs):
        return None, opener
    before, row = pairs[:, 0], pairs[:, 1]
    opener[row] = False
    good = ~failed[before] & ~failed[row]
    good = good if good.any() else np.ones(len(row), dtype=np.bool_)
    law = SessionLaw(
        ratio=float(np.mean(session_index != NO_SESSION)),
        turns_mean=float(turns.mean()),
        turns=quantiles(turns.astype(np.float64)),
        think_s=quantiles(think_s),
        prompt=given(prompt[before[good]] + output[before[good]], prompt[row[good]]),
    )
    return law, opener
