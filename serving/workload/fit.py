"""Measures the laws of a workload from its requests.

Source: BurstGPT, arXiv 2401.17644: a gamma law of gaps per 20-minute window, streams by model
and service, failures in runs.
Differs: bursts are measured at every width at once, see `cascade`; the gamma shape comes from the
moments of all gaps; coarse stamps are smeared over their tick before either; lengths are
quantiles, the output in bands of the input, instead of Zipf laws.
"""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from serving.errors import ConfigError
from serving.workload.cascade import fit_splits
from serving.workload.clock import smeared, stamp_s
from serving.workload.curves import Curves, curves
from serving.workload.laws import HOURS, SHARES, Given, SessionLaw, StreamLaw, WorkloadLaw
from serving.workload.prefix_law import fit_prefixes
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
REGULAR_ALPHA = 1.25  # of the gaps: above it arrivals keep a distance, which splits cannot tell


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
    fails: Marks = table.status == Status.FAILED
    tick_s = stamp_s(table.arrival_s)
    if tick_s:
        table = replace(table, arrival_s=smeared(table.arrival_s))
    prefix = None
    if table.prefix_block_tokens:
        session, prefix = fit_prefixes(table)
        table = replace(table, session_index=session)
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
        stamp_s=tick_s,
        streams=tuple(streams),
        prefix=prefix,
    )


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
    found = _curves(arrival_s, duration_s, start_hour)
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
        splits=fit_splits(arrival_s, duration_s, window_s) if pooled < REGULAR_ALPHA else (),
        hours=found.hours,
        days=found.days,
        level=found.level,
        prompt=quantiles(prompt[known]),
        output=given(prompt[~failed], output[~failed]),
        failed_prompt=quantiles(prompt[failed]) if failed.any() else (),
        fail_after_ok=_share(failed, ~after),
        fail_after_fail=_share(failed, after) if after.any() else _share(failed, ~after),
        session=session,
    )


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


def _curves(arrival_s: Floats, duration_s: float, start_hour: float) -> Curves:
    """Curves of the whole hours, counted from midnight before the trace's start."""
    first, last = int(np.ceil(start_hour)), int(start_hour + duration_s / HOUR_S)
    if last - first < 2:
        return curves(np.zeros(0), first)
    edges_s = (np.arange(first, last + 1) - start_hour) * HOUR_S
    return curves(np.histogram(arrival_s, edges_s)[0].astype(np.float64), first)


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
    members = np.flatnonzero(session_index != NO_SESSION)
    first = members[np.unique(session_index[members], return_index=True)[1]]
    # Those of the second half may go on after the end of the trace: they would shorten the law.
    early = arrival_s[first] < arrival_s[-1] / 2
    if (turns[early] > 1).sum() < ROWS_MIN:
        early[:] = True
    soon = np.isin(session_index[before], session_index[first[early]])
    good = ~failed[before] & ~failed[row]
    good = good if good.any() else np.ones(len(row), dtype=np.bool_)
    law = SessionLaw(
        ratio=float(np.mean(session_index != NO_SESSION)),
        turns_mean=float(turns[early].mean()),
        turns=given(prompt[first[early]], turns[early].astype(np.float64)),
        think_s=quantiles(think_s[soon]),
        prompt=given(prompt[before[good]] + output[before[good]], prompt[row[good]]),
    )
    return law, opener
