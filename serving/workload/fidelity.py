"""How alike two workloads are, aspect by aspect: a figure, what it means, its bound.

The first workload is the reference. An aspect that one of the two cannot show, or shows in too
few rows, is unknown, which is neither alike nor different.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from serving.errors import ConfigError
from serving.workload.clock import on_one_clock
from serving.workload.fit import DAY_S
from serving.workload.measures import (
    answered,
    apart,
    fano,
    gap_cv,
    ks,
    rank_correlation,
    rate_curve,
    scaled_gaps,
    span_s,
    talks,
)  # fmt: skip
from serving.workload.reuse import replay_reuse
from serving.workload.table import Kind, RequestTable, Status

Floats = NDArray[np.float64]

ROWS_MIN = 50
SLICES_MAX, SLICE_ROWS = 24, 100
BANDS = 8
Z_95 = 1.96
KS_MAX, KS_95 = 0.10, 1.36
CACHE_SHARE = 0.05


class Verdict(StrEnum):
    """Whether a figure keeps its bound."""

    ALIKE = "alike"
    DIFFERENT = "different"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Aspect:
    """One comparison; figures are NaN where they are unknown."""

    name: str
    meaning: str
    reference: float
    candidate: float
    figure: float
    bound: float

    @property
    def verdict(self) -> Verdict:
        """A figure at its bound is alike."""
        if math.isnan(self.figure):
            return Verdict.UNKNOWN
        return Verdict.ALIKE if self.figure <= self.bound else Verdict.DIFFERENT


def compare(reference: RequestTable, candidate: RequestTable) -> list[Aspect]:
    """All aspects, in reading order.

    Raises:
        ConfigError: one of the two has too few requests to compare, or no duration.
    """
    for table in (reference, candidate):
        if len(table) < ROWS_MIN or table.arrival_s[-1] <= table.arrival_s[0]:
            raise ConfigError(
                f"{table.trace_id}: {len(table)} requests; a comparison needs {ROWS_MIN} or more "
                "at two moments at least, give a longer trace"
            )
    reference, candidate = on_one_clock(reference, candidate)
    return [*_arrivals(reference, candidate), *_mix(reference, candidate),
            *_lengths(reference, candidate), *_talks(reference, candidate),
            *_failures(reference, candidate), *_reuse(reference, candidate)]  # fmt: skip


def ks_bound(*sizes: int) -> float:
    """KS_MAX, or what chance reaches in one of twenty pairs of equal laws, where that is more."""
    if min(sizes) == 0:
        return KS_MAX
    return max(KS_MAX, KS_95 * math.sqrt(sum(1.0 / size for size in sizes)))


def _arrivals(a: RequestTable, b: RequestTable) -> list[Aspect]:
    rates = [len(t) / span_s(t) for t in (a, b)]
    found = [
        Aspect(
            name="mean rate", meaning="requests/s, relative difference",
            reference=rates[0], candidate=rates[1], figure=apart(*rates), bound=0.10,
        ),
        _rate_curve(a, b),
    ]  # fmt: skip
    spreads = [gap_cv(t.arrival_s) for t in (a, b)]
    gaps = [scaled_gaps(t.arrival_s) for t in (a, b)]
    # A median of CVs of near-exponential gaps errs by 1.25 / sqrt(gaps).
    error = Z_95 * 1.25 * math.sqrt(sum(1.0 / max(len(g), 1) for g in gaps))
    found.append(
        Aspect(
            name="burstiness", bound=max(0.15, error), reference=spreads[0], candidate=spreads[1],
            meaning="CV of the gaps inside windows, median window, relative difference",
            figure=apart(*spreads),
        )
    )  # fmt: skip
    found.append(
        Aspect(
            name="gaps", bound=ks_bound(len(gaps[0]), len(gaps[1])),
            meaning="KS of the gaps over the mean gap of their window",
            reference=_median(gaps[0]), candidate=_median(gaps[1]), figure=ks(*gaps),
        )
    )  # fmt: skip
    for width_s in (1.0, 10.0, 60.0):
        fanos = [fano(t.arrival_s, width_s) for t in (a, b)]
        found.append(
            Aspect(
                name=f"Fano {width_s:g} s", bound=0.30, reference=fanos[0], candidate=fanos[1],
                meaning="variance over mean of the counts, relative difference",
                figure=apart(*fanos),
            )
        )  # fmt: skip
    return found


def _rate_curve(a: RequestTable, b: RequestTable) -> Aspect:
    """Share of the requests that another hour, or another part of the trace, would have to get."""
    by_day = min(span_s(a), span_s(b)) >= DAY_S
    slices = SLICES_MAX if by_day else min(SLICES_MAX, min(len(a), len(b)) // SLICE_ROWS)
    curves = [rate_curve(t, slices, by_day=by_day) for t in (a, b)]
    known = slices >= 2
    return Aspect(
        name="rate by hour" if by_day else "rate over time",
        meaning="share of requests in the wrong " + ("hour of day" if by_day else "part"),
        reference=float(curves[0].max()) * slices if known else math.nan,
        candidate=float(curves[1].max()) * slices if known else math.nan,
        figure=float(np.abs(curves[0] - curves[1]).sum() / 2) if known else math.nan,
        bound=0.10,
    )


def _mix(a: RequestTable, b: RequestTable) -> list[Aspect]:
    names = sorted({(name, kind) for t in (a, b) for name, kind in _streams(t)})
    if len(names) < 2:
        return []
    shares = [np.array([_streams(t).get(name, 0.0) for name in names]) for t in (a, b)]
    top = int(np.argmax(shares[0]))
    return [
        Aspect(
            name="mix", meaning="share of requests with another model or kind", bound=0.05,
            reference=float(shares[0][top]), candidate=float(shares[1][top]),
            figure=float(np.abs(shares[0] - shares[1]).sum() / 2),
        )
    ]  # fmt: skip


def _streams(table: RequestTable) -> dict[tuple[str, str], float]:
    code = table.model.astype(np.int64) * len(Kind) + table.kind
    values, counts = np.unique(code, return_counts=True)
    return {
        (table.models[int(v) // len(Kind)], Kind(int(v) % len(Kind)).name): float(c) / len(table)
        for v, c in zip(values, counts, strict=True)
    }


def _lengths(a: RequestTable, b: RequestTable) -> list[Aspect]:
    (a_prompt, a_output), (b_prompt, b_output) = answered(a), answered(b)
    found = [
        Aspect(
            name=name, meaning="KS of the tokens, failed requests left out",
            bound=ks_bound(len(x), len(y)),
            reference=_median(x), candidate=_median(y), figure=ks(x, y),
        )
        for name, x, y in (("prompt", a_prompt, b_prompt), ("output", a_output, b_output))
    ]  # fmt: skip
    figure = math.nan
    if min(len(a_prompt), len(b_prompt)) >= ROWS_MIN:
        figure = _given_prompt(a_prompt, a_output, b_prompt, b_output)
    orders = [rank_correlation(*answered(t)) for t in (a, b)]
    found.append(
        Aspect(
            name="output given prompt", reference=orders[0], candidate=orders[1],
            bound=ks_bound(len(a_prompt) // BANDS, len(b_prompt) // BANDS),
            meaning="KS of the output within bands of the prompt, mean of the bands; beside it "
            "the rank correlation",
            figure=figure,
        )
    )  # fmt: skip
    return found


def _given_prompt(ap: Floats, ao: Floats, bp: Floats, bo: Floats) -> float:
    edges = np.unique(np.quantile(ap, np.arange(1, BANDS) / BANDS))
    a_band, b_band = (np.searchsorted(edges, x, side="right") for x in (ap, bp))
    found = [ks(ao[a_band == i], bo[b_band == i]) for i in range(len(edges) + 1)]
    weights = np.bincount(a_band, minlength=len(found)).astype(np.float64)
    known = ~np.isnan(found)
    return float(np.average(np.array(found)[known], weights=weights[known]))


def _talks(a: RequestTable, b: RequestTable) -> list[Aspect]:
    (a_turns, a_think), (b_turns, b_think) = talks(a), talks(b)
    return [
        Aspect(
            name=name, meaning=meaning, bound=ks_bound(len(x), len(y)), figure=ks(x, y),
            reference=fold(x), candidate=fold(y),
        )
        for name, meaning, x, y, fold in (
            ("turns", "KS of the turns of a session; beside it the means", a_turns, b_turns, _mean),
            ("think time", "KS of the time from a turn to the next, s", a_think, b_think, _median),
        )
    ]  # fmt: skip


def _failures(a: RequestTable, b: RequestTable) -> list[Aspect]:
    marks = [t.status == Status.FAILED for t in (a, b)]
    every = [(m, np.ones(len(m), dtype=np.bool_)) for m in marks]
    after = [(m, np.concatenate(([False], m[:-1]))) for m in marks]
    found = []
    for name, meaning, pairs in (
        ("failures", "share that failed; difference over its 95 % error", every),
        ("failures in a row", "P(fail | fail); difference over its 95 % error", after),
    ):
        (p, n), (q, m) = (_ratio(marked, among) for marked, among in pairs)
        pooled = (p * n + q * m) / (n + m) if n and m else math.nan
        error = Z_95 * math.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m)) if n and m else math.nan
        gap = abs(p - q)
        figure = gap / error if error else gap
        found.append(
            Aspect(name=name, meaning=meaning, reference=p, candidate=q, figure=figure, bound=1.0)
        )
    return found


def _reuse(a: RequestTable, b: RequestTable) -> list[Aspect]:
    """Blocks that a prefix cache would hold; only where one of the two has block ids."""
    if not (a.prefix_block_tokens or b.prefix_block_tokens):
        return []
    found = []
    for name, share in (("prefix hits", None), ("prefix hits, small cache", CACHE_SHARE)):
        ratios = [_hit_ratio(t, share) for t in (a, b)]
        of = "an endless cache" if share is None else f"a cache of {share:.0%} of the blocks"
        found.append(
            Aspect(
                name=name, meaning=f"share of the blocks found in {of}, difference",
                reference=ratios[0], candidate=ratios[1], figure=abs(ratios[0] - ratios[1]),
                bound=0.05,
            )
        )  # fmt: skip
    return found


def _hit_ratio(table: RequestTable, share: float | None) -> float:
    if not table.prefix_block_tokens:
        return math.nan
    different = len(np.unique(table.prefix_ids))
    capacity = None if share is None else max(1, round(share * different))
    return replay_reuse(table, capacity_blocks=capacity).hit_ratio


def _ratio(marked: NDArray[np.bool_], among: NDArray[np.bool_]) -> tuple[float, int]:
    num = int(among.sum())
    return (float(marked[among].mean()) if num else math.nan), num


def _fold(of: Callable[[Floats], np.floating]) -> Callable[[Floats], float]:
    return lambda values: float(of(values)) if len(values) else math.nan


_median, _mean = _fold(np.median), _fold(np.mean)
