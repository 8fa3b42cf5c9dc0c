"""What a workload was measured to be: rates, bursts, lengths, sessions, failures.

`fit` makes one from requests, `resample` makes requests from one; `law_file` holds its file.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Shares at which laws are kept: close at both ends, where load and limits are decided.
SHARES = tuple(
    round(float(share), 4)
    for share in np.concatenate(
        ([0.0, 0.005, 0.01, 0.02], np.linspace(0.04, 0.96, 47), [0.98, 0.99, 0.995, 0.999, 1.0])
    )
)
HOURS, DAYS = 24, 7
MEDIAN_GRID = 201  # odd, so that 0.5 is on it


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """Law of a length in bands of another: the outputs at an input, the input at a history."""

    edges: tuple[float, ...]  # between neighbouring bands
    quantiles: tuple[tuple[float, ...], ...]  # a band each, at SHARES; one more than edges

    def draw(self, given: Floats, uniform: Floats) -> Floats:
        """One value per given value, [n]; quantiles are straight between SHARES."""
        band = np.searchsorted(np.asarray(self.edges), given, side="right")
        drawn = np.zeros(len(given))
        for index, quantiles in enumerate(self.quantiles):
            rows = band == index
            drawn[rows] = np.interp(uniform[rows], SHARES, quantiles)
        return drawn


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionLaw:
    """Conversations: how many requests belong to one, how long they are, the time between."""

    ratio: float  # of the stream's requests
    turns_mean: float
    turns: Given  # at the prompt of the first
    think_s: tuple[float, ...]  # from arrival to arrival, at SHARES
    prompt: Given  # of a later turn, at the prompt and output of the turn before it


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelLaw:
    """How busy an hour is beyond what its hour of day and day of week tell."""

    active: tuple[float, ...]  # share of the hours with any request, by hour of day
    quantiles: tuple[float, ...]  # of the active ones over their mean, at SHARES
    day_share: float  # of the variance of its normal score that a whole day has in common
    hold: float  # correlation of the rest from an hour to the next


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamLaw:
    """Requests of one model and kind."""

    model: str
    kind: str  # name of a `Kind`
    num_requests: int
    rates_rps: tuple[float, ...]  # of each window
    alphas: tuple[float | None, ...]  # gamma shape of the gaps in each; None = too few gaps
    alpha: float  # where a window has none
    splits: tuple[tuple[float, ...], ...]  # law of bursts, see `cascade`; empty = gamma gaps
    hours: tuple[float | None, ...]  # rate by hour of day over the mean rate; None = not seen
    days: tuple[float | None, ...]  # by day of week, counted from the trace's first day
    level: LevelLaw | None  # around the two; None = none was seen
    prompt: tuple[float, ...]  # at SHARES; where sessions are known, of their first turns
    output: Given  # at the prompt
    failed_prompt: tuple[float, ...]  # at SHARES; empty = none failed
    fail_after_ok: float  # chance to fail when the request before, of any stream, did not
    fail_after_fail: float
    session: SessionLaw | None = None

    @property
    def fail_ratio(self) -> float:
        """Long-run share of failures were the stream alone."""
        away = 1.0 - self.fail_after_fail + self.fail_after_ok
        return self.fail_after_ok / away if away > 0.0 else 1.0

    def median_tokens(self) -> tuple[float, float]:
        """Medians of the prompts (of first turns where sessions are known) and of their outputs."""
        shares = (np.arange(MEDIAN_GRID) + 0.5) / MEDIAN_GRID
        prompts = np.interp(shares, SHARES, self.prompt)
        outputs = self.output.draw(np.repeat(prompts, MEDIAN_GRID), np.tile(shares, MEDIAN_GRID))
        return float(np.median(prompts)), float(np.median(outputs))


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefixLaw:
    """Which prompts begin alike, in blocks."""

    block_tokens: int
    head_shares: tuple[float, ...]  # of the requests, by common beginning; the rest has none
    head_blocks: tuple[int, ...]  # length of each
    lost_blocks: tuple[float, ...]  # of the turn before that a later turn lacks, at SHARES


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadLaw:
    """A fitted workload."""

    trace_id: str
    duration_s: float
    window_s: float
    start_hour: float  # hour of day at trace start
    stamp_s: float  # arrivals are multiples of it; 0 = continuous
    streams: tuple[StreamLaw, ...]
    prefix: PrefixLaw | None = None  # None = the source had no block ids

    @property
    def num_requests(self) -> int:
        """Requests that it was fitted to."""
        return sum(stream.num_requests for stream in self.streams)
