"""Figures of crowds against one server over seeds: goodput, amplification, recovery, over time."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from serving.workload.attempts import (
    ONE_MINUTE,
    TWO_MINUTES,
    Attempts,
    Fate,
    Floats,
    Recovered,
    Server,
)
from serving.workload.closed_loop import Crowd, play

SLICE_S = 20.0  # of the timeline
BEFORE, CUT, AFTER = "before", "cut", "after"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Storm:
    """One crowd's runs; columns of the timeline are [slices], means over the seeds."""

    name: str
    crowd: Crowd
    server: Server
    duration_s: float
    seeds: tuple[int, ...]
    goodput_rps: dict[str, Floats]  # [seeds]: before, during and after the cut
    amplification: dict[str, Floats]  # tries per request, likewise
    recovery_s: dict[Recovered, Floats]  # [seeds]; NaN = not within the run
    slice_at_s: Floats  # middle of each slice
    slice_goodput_rps: Floats
    slice_tries_rps: Floats

    @property
    def never(self) -> int:
        """Seeds whose run ends before the goodput is back for one minute."""
        return int(np.isnan(self.recovery_s[ONE_MINUTE]).sum())


def replaying(crowd: Crowd, server: Server) -> Crowd:
    """The same demand as a replay would send it: by a clock, each request once."""
    rate_rps = crowd.rate_rps or crowd.population / (crowd.think_s + server.service_s)
    return replace(crowd, rate_rps=rate_rps, population=0, tries_max=1)


def measure(
    name: str, crowd: Crowd, server: Server, *, seeds: Sequence[int], duration_s: float
) -> Storm:
    """Play the crowd once per seed.

    Raises:
        ConfigError: a value outside its domain (`play`).
    """
    runs = [play(crowd, server, seed=seed, duration_s=duration_s) for seed in seeds]
    end_s = server.cut_from_s + server.cut_s
    spans = {
        BEFORE: (server.cut_from_s / 2, server.cut_from_s),
        CUT: (server.cut_from_s, end_s),
        AFTER: (end_s, duration_s),
    }
    edges: Floats = np.arange(int(duration_s // SLICE_S) + 1, dtype=np.float64) * SLICE_S
    return Storm(
        name=name,
        crowd=crowd,
        server=server,
        duration_s=duration_s,
        seeds=tuple(seeds),
        goodput_rps={k: _over(runs, Attempts.goodput_rps, span) for k, span in spans.items()},
        amplification={k: _over(runs, Attempts.amplification, span) for k, span in spans.items()},
        recovery_s={
            rule: np.array([run.recovery_s(rule) for run in runs])
            for rule in (ONE_MINUTE, TWO_MINUTES)
        },
        slice_at_s=edges[:-1] + SLICE_S / 2,
        slice_goodput_rps=_mean_rate([run.end_s[run.fate == Fate.ANSWERED] for run in runs], edges),
        slice_tries_rps=_mean_rate([run.at_s for run in runs], edges),
    )


def spread(values: Floats) -> dict[str, float | None]:
    """Least, median and largest; a NaN counts as larger than all, and is None."""
    known = np.nan_to_num(values, nan=math.inf)
    picks = {"min": known.min(), "median": np.median(known), "max": known.max()}
    return {name: None if math.isinf(v) else float(v) for name, v in picks.items()}


def _over(
    runs: Sequence[Attempts],
    figure: Callable[[Attempts, float, float], float],
    span: tuple[float, float],
) -> Floats:
    return np.array([figure(run, *span) for run in runs])


def _mean_rate(times_s: Sequence[Floats], edges: Floats) -> Floats:
    counts = np.mean([np.histogram(at_s, edges)[0] for at_s in times_s], axis=0)
    rates: Floats = counts / SLICE_S
    return rates
