"""One view of a fleet's metrics, as `ops.controller.metrics_watch.frame` gives it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ops.controller.metrics_watch.state import DataState
from rca.state import MetricFrame


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
    """

    frame: MetricFrame
    scrape_jobs: Mapping[str, float]
    state: DataState
    detail: str
    spelling: str
    server_now_s: float
    next_at_s: float
    num_samples: int = 0
