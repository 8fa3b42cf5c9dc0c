"""What a Prometheus answered, and the view that `metrics_watch.frame` makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ops.adapters.prometheus_answers import RawAnswer
from ops.controller.metrics_watch.state import DataState
from rca.state import MetricFrame


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What one round of questions brought; only the frame that asked can take it in.

    Attributes:
        url: of the server; now_s, skew_s: its clock, and how far it is ahead of ours.
        answers: empty where it failed; error: why.
    """

    url: str
    now_s: float
    skew_s: float = 0.0
    answers: tuple[RawAnswer, ...] = ()
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchReading:
    """One view of the fleet's metrics. Do not keep it: its frame is a copy, megabytes of it.

    Attributes:
        frame: rows on the scrape grid, float64; empty where nothing was read yet.
        scrape_jobs: as `ops.state.Snapshot` wants them.
        state, detail: whether to trust it; the value seen and the next step, "" where all is well.
        spelling: how the engine's metrics are stored, e.g. "vllm:"; "" = not known.
        server_now_s: the server's clock, which samples are stamped by.
        next_at_s: moment on that clock at which the next row can be read.
        num_samples: new and old ones that the answers held.
        heard_s: newest sample of each pod whose own series ever brought one, unix seconds.
        old_s: age from which on samples are old.
        scraped_at_s: newest sample of any series, None before the first.
        unplaced: pods of series in the newest answers that the cluster did not show.
    """

    frame: MetricFrame
    scrape_jobs: Mapping[str, float]
    state: DataState
    detail: str
    spelling: str
    server_now_s: float
    next_at_s: float
    num_samples: int = 0
    heard_s: Mapping[str, float] = field(default_factory=dict)
    old_s: float = 0.0
    scraped_at_s: float | None = None
    unplaced: frozenset[str] = frozenset()
