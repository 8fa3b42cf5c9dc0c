"""Telemetry: the scrapes of the simulated fleet, with phase, jitter, delay and gaps.

Row k of the buffer holds what was scraped in (t(k-1), t(k)], as a range query at t(k) would find
it; it becomes visible at t(k) + delay. Nothing here knows of faults.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType

import numpy as np

from ops.catalogue import Catalogue
from ops.replay.buffer import FrameBuffer, IntArray
from ops.replay.exporters import EXPORTERS, Exporter, Target, target_labels
from ops.replay.fleet_view import FleetView
from ops.replay.probes import Labels, Named
from ops.replay.samples import Block, TargetSamples
from ops.replay.scenario import TelemetrySpec
from rca.state import MetricFrame, MetricRole, Series
from serving.sim.kernel import Kernel, stream

_DRAWS = 256  # draws of one target made at once


class _Draws:
    """Uniform draws of one concern, addressed by tick: no other draw can shift them."""

    __slots__ = ("_block", "_name", "_seed", "_values")

    def __init__(self, seed: int, name: str) -> None:
        self._seed, self._name = seed, name
        self._block = -1
        self._values: list[float] = []

    def at(self, tick: int) -> float:
        """Return the draw of one tick, uniform in [0, 1)."""
        block, index = divmod(tick, _DRAWS)
        if block != self._block:
            self._block = block
            self._values = stream(self._seed, f"{self._name}/{block}").random(_DRAWS).tolist()
        return self._values[index]


@dataclass(slots=True, eq=False)
class _TargetState:
    """What telemetry keeps of one target."""

    draws: _Draws
    samples: TargetSamples | None = None  # None = its columns are to be asked for
    seen_row: int = -1


@dataclass(slots=True, eq=False)
class _JobState:
    """One scrape job of one region."""

    exporter: Exporter
    region: str
    name: str  # stream name; by position, so that renaming regions changes no draw
    phase: float
    jitter: _Draws
    good_s: deque[float]
    targets: dict[str, _TargetState] = field(default_factory=dict)
    groups: dict[str, tuple[int, int]] = field(default_factory=dict)  # index, targets so far
    used: list[Block] = field(default_factory=list)  # the blocks that the cached columns are of
    columns: IntArray = field(default_factory=lambda: np.empty(0, dtype=np.intp))
    kept: IntArray | None = None  # positions of collected samples, None = all
    epoch: int = 0

    def forget_columns(self, epoch: int) -> None:
        """Drop column numbers that a renewal of the buffer made void; scrapes ask anew."""
        self.epoch = epoch
        self.used = []
        for state in self.targets.values():
            state.samples = None


class Telemetry:
    """Scrapes a fleet into a columnar buffer and shows what is visible."""

    def __init__(
        self,
        spec: TelemetrySpec,
        *,
        regions: tuple[str, ...],
        catalogue: Catalogue,
        seed: int,
        window_s: float = 2700.0,
        attach: Labels | None = None,
    ) -> None:
        self.spec = spec
        # As a Prometheus stores them, all series of a target carry its labels and these, too.
        self._attach = attach
        self._catalogue = catalogue
        self._seed = seed
        self._window_s = window_s
        self._not_collected = frozenset(spec.not_collected)
        self._delay_rows = math.ceil(spec.delay_s / spec.scrape_s)
        self._jobs = [
            self._job(exporter, index, region)
            for index, region in enumerate(regions)
            for exporter in EXPORTERS
        ]
        self._buffer = self._make_buffer(0.0)
        self._end_s = 0.0

    def start(self, kernel: Kernel, view: FleetView, end_s: float) -> None:
        """Schedule the scrapes from now on until `end_s`; the first row is one interval away."""
        self._buffer = self._make_buffer(kernel.now_s + self.spec.scrape_s)
        self._end_s = end_s
        self._open_row(kernel, view)

    def stop(self) -> None:
        """Open no further row; scrapes of the present one are still made."""
        self._end_s = -math.inf

    def frame(self, now_s: float, window_s: float) -> MetricFrame:
        """Return the visible rows of (now - window, now], without copying their values."""
        first_s = self._buffer.row_time_s(0)
        step_s = self.spec.scrape_s
        # The tolerance absorbs rounding of row times, far below any delay.
        last = math.floor((now_s - self.spec.delay_s - first_s) / step_s + 1e-9)
        first = math.floor((now_s - window_s - first_s) / step_s + 1e-9) + 1
        return self._buffer.frame(max(first, 0), last)

    def last_good(self, now_s: float) -> dict[str, float]:
        """Return, per `region/job`, the row of the last visible scrape that brought samples.

        A job that never did is NaN.
        """
        visible_s = now_s - self.spec.delay_s + 1e-9
        return {
            f"{job.region}/{job.exporter.job}": next(
                (t for t in reversed(job.good_s) if t <= visible_s), math.nan
            )
            for job in self._jobs
        }

    def _make_buffer(self, origin_s: float) -> FrameBuffer:
        rows = math.ceil(self._window_s / self.spec.scrape_s) + self._delay_rows + 2
        return FrameBuffer(rows_min=rows, step_s=self.spec.scrape_s, origin_s=origin_s)

    def _job(self, exporter: Exporter, index: int, region: str) -> _JobState:
        name = f"telemetry/{index}/{exporter.job}"
        return _JobState(
            exporter=exporter,
            region=region,
            name=name,
            phase=float(stream(self._seed, f"{name}/phase").random()),
            jitter=_Draws(self._seed, f"{name}/jitter"),
            good_s=deque(maxlen=self._delay_rows + 2),
        )

    def _open_row(self, kernel: Kernel, view: FleetView) -> None:
        """Begin the row of the interval that starts now and schedule its scrapes."""
        buffer, step_s = self._buffer, self.spec.scrape_s
        row_s = buffer.row_time_s(buffer.num_rows)
        if row_s > self._end_s:
            return
        row = buffer.open_row()
        for job in self._jobs:
            offset_s = job.phase * step_s + self.spec.jitter_s * (job.jitter.at(row) - 0.5)
            offset_s = min(max(offset_s, 0.0), 0.999 * step_s)
            kernel.at(row_s - step_s + offset_s, self._scrape, kernel, view, job, row)
        kernel.at(row_s, self._open_row, kernel, view)

    def _scrape(self, kernel: Kernel, view: FleetView, job: _JobState, row: int) -> None:
        """Scrape every target of one job into the open row."""
        if view.silenced(job.region, job.exporter.job):
            return
        view.refresh(job.region, kernel.now_s)
        buffer = self._buffer
        if job.epoch != buffer.epoch:
            job.forget_columns(buffer.epoch)
        collection = self._collection(job, kernel.now_s)
        used: list[Block] = []
        num_targets = num_good = 0
        gap_ratio = self.spec.gap_ratio
        for target in job.exporter.targets(view, job.region):
            state = job.targets.get(target.name) or self._add_target(job, target)
            state.seen_row = row
            num_targets += 1
            samples = state.samples
            if samples is None:
                columns_of = self._columns
                if self._attach is not None:
                    attached = target_labels(target, job.exporter.job, self._attach)
                    columns_of = partial(self._columns, attached=attached)
                samples = TargetSamples(columns_of, target, job=job.exporter.job)
                state.samples = samples
            if target.up and state.draws.at(row) >= gap_ratio:
                num_good += 1
                used.append(samples.read(target, collection=collection))
            else:
                used.append(samples.down)
        if num_good:
            job.good_s.append(buffer.row_time_s(row))
        if used:
            self._write(job, used)
        if num_targets < len(job.targets):
            job.targets = {n: state for n, state in job.targets.items() if state.seen_row == row}

    def _write(self, job: _JobState, used: list[Block]) -> None:
        # Most scrapes bring the same meters as the one before: then the columns are known.
        if used != job.used:
            columns = np.concatenate([block.columns for block in used])
            kept = np.flatnonzero(columns >= 0)
            job.used = used
            job.kept = None if len(kept) == len(columns) else kept
            job.columns = columns[kept]
        samples = np.concatenate([block.samples for block in used])
        self._buffer.write(job.columns, samples if job.kept is None else samples[job.kept])

    def _collection(self, job: _JobState, now_s: float) -> int | None:
        """Number of the exporter's own collection that a scrape finds; None = always fresh."""
        period_s = self.spec.gpu_collect_s
        if not job.exporter.collects or period_s <= 0.0:
            return None
        return math.floor(now_s / period_s + job.phase)

    def _columns(
        self, named: Named, labels: Labels, *, attached: Labels = MappingProxyType({})
    ) -> IntArray:
        columns = np.empty(len(named), dtype=np.intp)
        told = self._attach or {}
        for index, (name, own) in enumerate(named):
            series = Series(name, tuple(sorted({**attached, **own, **labels, **told}.items())))
            role = self._catalogue.resolve(series)
            columns[index] = -1 if self._left_out(role) else self._buffer.column(series, role)
        return columns

    def _left_out(self, role: MetricRole | None) -> bool:
        return role is not None and role.role in self._not_collected

    def _add_target(self, job: _JobState, target: Target) -> _TargetState:
        group, count = job.groups.get(target.group, (len(job.groups), 0))
        job.groups[target.group] = (group, count + 1)
        state = _TargetState(_Draws(self._seed, f"{job.name}/{group}/{count}"))
        job.targets[target.name] = state
        return state
