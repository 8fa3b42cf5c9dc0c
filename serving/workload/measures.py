"""Figures of a table of requests that tell workloads apart, and distances between samples."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from serving.workload.clock import smeared
from serving.workload.fit import HOUR_S, turns_of
from serving.workload.prefix_law import fit_prefixes
from serving.workload.table import NO_SESSION, RequestTable, Status

Floats = NDArray[np.float64]

WINDOW_GAPS = 20  # gaps that a window needs to tell its burstiness
WINDOW_S, WINDOWS_MIN = 1200.0, 6
FANO_WINDOWS = (10, 50_000_000)  # fewest and most


def ks(a: Floats, b: Floats) -> float:
    """Kolmogorov distance of two samples; NaN when one is empty."""
    if not len(a) or not len(b):
        return math.nan
    at = np.unique(np.concatenate([a, b]))
    a_share = np.searchsorted(np.sort(a), at, side="right") / len(a)
    b_share = np.searchsorted(np.sort(b), at, side="right") / len(b)
    return float(np.abs(a_share - b_share).max())


def apart(a: float, b: float) -> float:
    """Relative difference of b from a; NaN when a is 0 or one is unknown."""
    return abs(b - a) / abs(a) if a and not math.isnan(a + b) else math.nan


def span_s(table: RequestTable) -> float:
    """Time from the first arrival to the last."""
    return float(table.arrival_s[-1] - table.arrival_s[0])


def rate_curve(table: RequestTable, slices: int, *, by_day: bool) -> Floats:
    """Share of the requests in each hour of day, or in each slice of the trace, [slices]."""
    if by_day:
        part = (table.arrival_s / HOUR_S).astype(np.int64) % 24
    else:
        since = (table.arrival_s - table.arrival_s[0]) / span_s(table)
        part = np.minimum((since * max(slices, 1)).astype(np.int64), max(slices, 1) - 1)
    shares: Floats = np.bincount(part, minlength=max(slices, 1)) / len(table)
    return shares


def _windows(arrival_s: Floats) -> list[Floats]:
    """Gaps of each window that has enough of them."""
    length_s = float(arrival_s[-1] - arrival_s[0])
    num = max(WINDOWS_MIN, math.ceil(length_s / WINDOW_S))
    edges = arrival_s[0] + np.arange(1, num) * length_s / num
    parts = np.split(arrival_s, np.searchsorted(arrival_s, edges))
    gaps = [np.diff(part) for part in parts]
    return [g for g in gaps if len(g) >= WINDOW_GAPS and g.any()]


def scaled_gaps(arrival_s: Floats) -> Floats:
    """Gaps inside windows over the mean of their window.

    Stamps of a coarse clock are spread over their ticks: on a few whole values the distance of
    two samples would hang on where those values fall.
    """
    windows = _windows(smeared(arrival_s))
    return np.concatenate([g / g.mean() for g in windows]) if windows else np.zeros(0)


def gap_cv(arrival_s: Floats) -> float:
    """Coefficient of variation of the gaps inside a window, median over the windows."""
    windows = _windows(arrival_s)
    return float(np.median([g.std() / g.mean() for g in windows])) if windows else math.nan


def fano(arrival_s: Floats, width_s: float) -> float:
    """Variance over mean of the counts of consecutive full windows; NaN under ten of them."""
    num = int((arrival_s[-1] - arrival_s[0]) // width_s)
    if not FANO_WINDOWS[0] <= num <= FANO_WINDOWS[1]:
        return math.nan
    index = ((arrival_s - arrival_s[0]) / width_s).astype(np.int64)
    counts = np.bincount(index[index < num], minlength=num)
    return float(counts.var() / counts.mean())


def answered(table: RequestTable) -> tuple[Floats, Floats]:
    """Prompt and output tokens of the requests that did not fail."""
    ok = table.status != Status.FAILED
    return (
        table.num_prompt_tokens[ok].astype(np.float64),
        table.num_output_tokens[ok].astype(np.float64),
    )


def rank_correlation(x: Floats, y: Floats) -> float:
    """Spearman's; NaN when one of the two does not vary."""
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return math.nan
    ranks = [_ranks(v) for v in (x, y)]
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def _ranks(values: Floats) -> Floats:
    """Mean ranks, equal values sharing one."""
    _, index, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks: Floats = (ends - (counts - 1) / 2)[index]
    return ranks


def talks(table: RequestTable) -> tuple[Floats, Floats]:
    """Turns of each session, and the times from a turn to the next.

    Block ids tell the sessions of a table that names none.
    """
    session = table.session_index
    if table.prefix_block_tokens and (session == NO_SESSION).all():
        session = fit_prefixes(table)[0]
    turns, think_s, _ = turns_of(session, table.arrival_s)
    return turns.astype(np.float64), think_s
