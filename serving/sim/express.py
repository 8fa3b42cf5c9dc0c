"""The express fleet: a fused event loop for chunked prefill without faults.

Arrivals come from a sorted column and segment ends from one heap, so that a request costs about
three heap operations. See `express_lane` for what an instance does.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator
from heapq import heappop, heappush, heapreplace
from itertools import count

import numpy as np
from numpy.typing import NDArray

from serving.metrics import Histogram
from serving.policies.dispatch_index import NOBODY, DispatchIndex
from serving.sim.express_blocks import num_used
from serving.sim.express_events import REFUSED, RESUMED, arrive, end
from serving.sim.express_lane import IDLE, Lane
from serving.sim.outcomes import Arrivals, Look, Outcome, Outcomes, Totals
from serving.sim.step_times import StepTimes
from serving.state import InstanceConfig

REJECTED = int(Outcome.REJECTED)
LOG_MAX = 20_000  # segments that wait to be counted
GAPS_AT_ONCE = 1_000_000  # spelled out at a time for the histogram

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]


class ExpressFleet:
    """Equal instances behind one dispatch index; advances to any moment."""

    __slots__ = (
        "_arrivals", "_busy_s", "_heap", "_index", "_log", "_now_s", "_num_events",
        "_num_gone", "_num_iterations", "_tbt", "lanes", "num_arrived", "outcomes",
    )  # fmt: skip

    def __init__(
        self,
        num_instances: int,
        *,
        config: InstanceConfig,
        times: StepTimes,
        token_budget: int,
        index: DispatchIndex,
        arrivals: Arrivals,
        tbt: Histogram,
    ) -> None:
        self.outcomes = Outcomes(len(arrivals))
        self.num_arrived = 0
        self._arrivals = arrivals
        self._index = index
        self._tbt = tbt
        self._log = array("d")
        orders = count(IDLE + 1)
        self.lanes = [
            Lane(
                rank,
                config=config,
                times=times,
                token_budget=token_budget,
                arrivals=arrivals,
                outcomes=self.outcomes,
                log=self._log,
                orders=orders,
            )
            for rank in range(num_instances)
        ]
        # (end, number, lane) of segments; a stale number means that the segment was cut.
        self._heap: list[tuple[float, int, Lane | None]] = [(math.inf, IDLE, None)]
        self._now_s = 0.0
        self._num_gone = 0  # requests that ended or were rejected
        self._num_events = 0
        self._num_iterations = 0
        self._busy_s = 0.0

    @property
    def is_over(self) -> bool:
        """Whether every request has arrived and ended."""
        return self._num_gone == len(self._arrivals)

    def run_until(self, until_s: float) -> None:
        """Run every event up to and including `until_s`."""
        heap, lanes, take, give = self._heap, self.lanes, self._index.take, self._index.give
        stamps, ranks, outcome = self._arrivals.at_s, self.outcomes.rank, self.outcomes.outcome
        row, num_rows, num_events = self.num_arrived, len(self._arrivals), 0
        num_gone = 0
        arrival_s = stamps[row] if row < num_rows else math.inf
        while True:
            at_s, order, lane = heap[0]
            if arrival_s <= at_s:
                if arrival_s > until_s or row == num_rows:
                    break
                num_events += 1
                rank = take()
                if rank == NOBODY:
                    outcome[row] = REJECTED
                    num_gone += 1
                else:
                    ranks[row] = rank
                    lane = lanes[rank]
                    end_s = arrive(lane, row, arrival_s)
                    if end_s > 0.0:
                        heappush(heap, (end_s, lane.order, lane))
                    elif end_s == REFUSED:
                        outcome[row] = REJECTED
                        num_gone += 1
                        give(rank)
                row += 1
                arrival_s = stamps[row] if row < num_rows else math.inf
                continue
            if at_s > until_s or lane is None:
                break
            if lane.order != order:
                heappop(heap)
                continue
            num_events += 1
            end_s = end(lane, at_s)
            if end_s:
                heapreplace(heap, (end_s, lane.order, lane))
            else:
                heappop(heap)
            num_ended = lane.num_ended
            if num_ended:
                num_gone += num_ended
                give(lane.rank, num_ended)
        self.num_arrived = row
        self._num_gone += num_gone
        self._num_events += num_events
        self._now_s = until_s
        if len(self._log) > 4 * LOG_MAX:
            self._count_segments()

    def look(self) -> Look:
        """The fleet now; KV in use lags by the decode steps of the segments in flight."""
        lanes = self.lanes
        return Look(
            num_running=sum(lane.num_decoding + len(lane.prefilling) for lane in lanes),
            num_waiting=sum(len(lane.waiting) for lane in lanes),
            kv_ratios=[num_used(lane) / lane.num_blocks for lane in lanes],
        )

    def totals(self) -> Totals:
        """Work of the iterations that have ended by now."""
        now_s = self._now_s
        self._count_segments()
        busy_s, num_iterations = self._busy_s, self._num_iterations
        for lane in self.lanes:
            if lane.order != IDLE:
                num_ended, seconds = lane.ended_by(now_s)
                busy_s += seconds
                num_iterations += num_ended
        return Totals(
            busy_s=busy_s,
            num_iterations=num_iterations,
            num_preemptions=sum(lane.num_preemptions for lane in self.lanes),
            num_events=self._num_events,
        )

    def _count_segments(self) -> None:
        """Work and token gaps of the segments that ended since the last look."""
        if not self._log:
            return
        table = np.array(self._log).reshape(-1, 4)
        del self._log[:]
        ran = table[table[:, 3] != RESUMED]
        first_s, slope_s, steps, _ = ran.T
        self._busy_s += float((steps * first_s + slope_s * (steps * (steps - 1) / 2)).sum())
        self._num_iterations += int(steps.sum())
        # Ramps inside one bucket, most of them, are counted whole; the others are spelled out.
        first_s, slope_s, steps, num = table[table[:, 3] != 0].T
        num = np.abs(num)  # a resumed gap is one token's
        last_s = first_s + slope_s * (steps - 1)
        bounds = self._tbt.bounds
        buckets = np.searchsorted(bounds, first_s)
        inside = buckets == np.searchsorted(bounds, last_s)
        found = np.zeros(len(bounds) + 1)
        np.add.at(found, buckets[inside], (steps * num)[inside])
        for part in _parts(np.flatnonzero(~inside), steps):
            times = steps[part].astype(np.int64)
            begin = np.repeat(np.cumsum(times) - times, times)
            number = np.arange(len(begin)) - begin
            gaps = np.repeat(first_s[part], times) + np.repeat(slope_s[part], times) * number
            found += np.bincount(
                np.searchsorted(bounds, gaps),
                weights=np.repeat(num[part], times),
                minlength=len(bounds) + 1,
            )
        tbt = self._tbt
        tbt.counts = [a + int(b) for a, b in zip(tbt.counts, found, strict=True)]
        tbt.sum += float((steps * num * (first_s + last_s) / 2).sum())
        tbt.count += int((steps * num).sum())


def _parts(rows: Rows, steps: Floats) -> Iterator[Rows]:
    """Stretches of the rows with about GAPS_AT_ONCE steps each; none when there are no rows."""
    if len(rows):
        bounds = np.arange(GAPS_AT_ONCE, float(steps[rows].sum()), GAPS_AT_ONCE)
        yield from np.split(rows, np.searchsorted(np.cumsum(steps[rows]), bounds))
