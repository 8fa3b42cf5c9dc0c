"""What a simulated fleet did: columns per request, a timeline, and the figures made of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.metrics import Histogram
from serving.sim.outcomes import CacheCounts, Outcome
from serving.state import Slo

Floats = NDArray[np.float64]
PERCENTILES = (50, 90, 95, 99)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Timeline:
    """The fleet sampled at regular times, every column [samples]."""

    times_s: Floats
    running: Floats  # sequences in batches, all instances
    waiting: Floats  # sequences in queues, all instances
    kv_ratio_mean: Floats  # KV blocks in use, mean over instances
    kv_ratio_max: Floats  # of the fullest instance


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SimReport:
    """Result of one simulation. Columns are [requests], in order of arrival, NaN = undefined."""

    label: str  # the policies, as the user named them
    num_instances: int
    num_gpus: int
    seed: int
    slo: Slo
    complete: bool  # False: stopped early; requests that had not arrived by then are left out
    duration_s: float  # from the first moment to the last arrival
    end_s: float  # when the last request ended
    arrival_s: Floats
    num_prompt_tokens: NDArray[np.int32]
    num_output_tokens: NDArray[np.int32]
    ttft_s: Floats
    e2e_s: Floats
    outcome: NDArray[np.uint8]  # codes of `Outcome`
    rank: NDArray[np.int32]  # which instance; -1 = none
    tbt: Histogram
    busy_ratio: float  # time in iterations up to the last arrival, mean over instances
    preemptions: int
    caches: tuple[CacheCounts, ...]  # prefix cache of each instance; empty = they have none
    iterations: int
    events: int
    timeline: Timeline

    @property
    def tpot_s(self) -> Floats:
        """Seconds per output token after the first; NaN for one token and for the unfinished."""
        with np.errstate(divide="ignore", invalid="ignore"):
            tpot_s: Floats = (self.e2e_s - self.ttft_s) / (self.num_output_tokens - 1)
        tpot_s[self.num_output_tokens < 2] = np.nan
        return tpot_s

    @property
    def good(self) -> NDArray[np.bool_]:
        """Which requests finished within both limits."""
        done = self.outcome == Outcome.DONE
        slow = (self.ttft_s > self.slo.ttft_s) | (self.tpot_s > self.slo.tpot_s)
        good: NDArray[np.bool_] = done & ~slow
        return good

    @property
    def attainment_ratio(self) -> float:
        """Share of all arrived requests that are good; those without an answer count as missed.

        After an early stop requests still in flight are not counted.
        """
        counted = len(self.outcome)
        if not self.complete:
            counted -= int(np.count_nonzero(self.outcome == Outcome.OPEN))
        return float(np.count_nonzero(self.good)) / counted if counted else math.nan

    @property
    def prefilled_tokens(self) -> NDArray[np.int64]:
        """Prompt tokens that each instance was given and had to compute, [instances].

        A recompute after a preemption is not counted again; prompts in queues are counted.
        """
        sent = self.rank >= 0
        tokens = np.bincount(
            self.rank[sent], weights=self.num_prompt_tokens[sent], minlength=self.num_instances
        ).astype(np.int64)
        if self.caches:
            tokens -= np.array([cache.num_hit_tokens for cache in self.caches])
        return tokens

    @property
    def prefill_imbalance_ratio(self) -> float:
        """Prompt tokens that the busiest instance computes, over the mean; NaN without any."""
        tokens = self.prefilled_tokens
        return float(tokens.max() / tokens.mean()) if tokens.any() else math.nan

    def figures(self) -> dict[str, Any]:
        """The figures that are printed, by name; units are in the names."""
        span_s = self.duration_s or math.nan
        num_done = int(np.count_nonzero(self.outcome == Outcome.DONE))
        return {
            "policies": self.label,
            "complete": self.complete,
            "seed": self.seed,
            "instances": self.num_instances,
            "gpus": self.num_gpus,
            "requests": len(self.outcome),
            "outcomes": {
                kind.name.lower(): int(np.count_nonzero(self.outcome == kind)) for kind in Outcome
            },
            "duration_s": self.duration_s,
            "rate_rps": len(self.outcome) / span_s,
            "done_rps": num_done / max(self.end_s, 1e-9),
            "ttft_s": percentiles(self.ttft_s),
            "tpot_s": percentiles(self.tpot_s),
            "tbt_s": histogram_percentiles(self.tbt),
            "e2e_s": percentiles(self.e2e_s),
            "slo": {
                "ttft_s": self.slo.ttft_s,
                "tpot_s": self.slo.tpot_s,
                "target_ratio": self.slo.target_ratio,
            },
            "attainment_ratio": self.attainment_ratio,
            "good_rps": int(np.count_nonzero(self.good)) / span_s,
            "busy_ratio": self.busy_ratio,
            "kv_ratio_mean": _mean(self.timeline.kv_ratio_mean),
            "kv_ratio_max": float(np.max(self.timeline.kv_ratio_max, initial=0.0)),
            "waiting_max": int(np.max(self.timeline.waiting, initial=0)),
            "preemptions": self.preemptions,
            "prefill_imbalance_ratio": self.prefill_imbalance_ratio,
            "prefix_cache": _cache_figures(self.caches) if self.caches else None,
            "iterations": self.iterations,
            "events": self.events,
        }


def _cache_figures(caches: Sequence[CacheCounts]) -> dict[str, Any]:
    def counts(cache: CacheCounts) -> dict[str, Any]:
        return {
            "hit_ratio": cache.hit_ratio,
            "queried_tokens": cache.num_queried_tokens,
            "hit_tokens": cache.num_hit_tokens,
            "evicted_tokens": cache.num_evicted_tokens,
        }

    total = counts(CacheCounts.together(caches))
    return {**total, "instances": [counts(cache) for cache in caches]}


def percentiles(values: Floats) -> Mapping[str, float]:
    """Mean and percentiles of the values that are defined; all NaN when none is."""
    known = values[~np.isnan(values)]
    if not len(known):
        return dict.fromkeys(("mean", *(f"p{p}" for p in PERCENTILES)), math.nan)
    found = np.percentile(known, PERCENTILES)
    return {
        "mean": float(known.mean()),
        **{f"p{p}": float(v) for p, v in zip(PERCENTILES, found, strict=True)},
    }


def histogram_percentiles(histogram: Histogram) -> Mapping[str, float]:
    """The same of a histogram: counts are exact, places inside a bucket interpolated."""
    if not histogram.count:
        return dict.fromkeys(("mean", *(f"p{p}" for p in PERCENTILES)), math.nan)
    edges = np.concatenate(([0.0], histogram.bounds, [histogram.bounds[-1]]))
    below = np.concatenate(([0.0], np.cumsum(histogram.counts)))
    wanted = np.array(PERCENTILES) / 100 * histogram.count
    bucket = np.searchsorted(below, wanted, side="left") - 1
    inside = (wanted - below[bucket]) / (below[bucket + 1] - below[bucket])
    found = edges[bucket] + inside * (edges[bucket + 1] - edges[bucket])
    return {
        "mean": histogram.sum / histogram.count,
        **{f"p{p}": float(v) for p, v in zip(PERCENTILES, found, strict=True)},
    }


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else math.nan
