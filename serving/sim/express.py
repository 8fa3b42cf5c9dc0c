"""The express fleet: a fused event loop for batch policies that have a lane, without faults.

Arrivals come from a sorted column and segment ends from one heap, so that a request costs about
three heap operations. See `express_lane` for what an instance does.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator
from heapq import heappop, heappush, heapreplace

import numpy as np
from numpy.typing import NDArray

from serving.metrics import Histogram
from serving.policies.dispatch_index import NOBODY, DispatchIndex
from serving.sim.express_blocks import num_prefill_blocks, num_used
from serving.sim.express_lane import REFUSED, Lane
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
        lane_type: type[Lane],
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
        self._log: list[float] = []
        row_blocks = peak_blocks(arrivals, config)
        self.lanes: list[Lane] = [
            lane_type(
                config=config,
                times=times,
                token_budget=token_budget,
                arrivals=arrivals,
                row_blocks=row_blocks,
                outcomes=self.outcomes,
                log=self._log,
            )
            for _ in range(num_instances)
        ]
        # (end, rank) of segments; one that is not the lane's end any more was cut.
        self._heap: list[tuple[float, int]] = [(math.inf, NOBODY)]
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
            at_s, rank = heap[0]
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
                    end_s = lanes[rank].arrive(row, arrival_s)
                    if end_s > 0.0:
                        heappush(heap, (end_s, rank))
                    elif end_s == REFUSED:
                        outcome[row] = REJECTED
                        num_gone += 1
                        give(rank)
                row += 1
                arrival_s = stamps[row] if row < num_rows else math.inf
                continue
            if at_s > until_s or rank == NOBODY:
                break
            lane = lanes[rank]
            if lane.end_s != at_s:
                heappop(heap)
                continue
            num_events += 1
            end_s = lane.end(at_s)
            if end_s:
                heapreplace(heap, (end_s, rank))
            else:
                heappop(heap)
            num_ended = lane.num_ended
            if num_ended:
                num_gone += num_ended
                give(rank, num_ended)
        self.num_arrived = row
        self._num_gone += num_gone
        self._num_events += num_events
        self._now_s = until_s
        if len(self._log) > 4 * LOG_MAX:
            self._count_segments()

    def look(self) -> Look:
        """The fleet now; KV in use lags by the decode steps of the segments in flight."""
        num_running = num_waiting = 0
        kv_ratios = []
        now_s = self._now_s
        for lane in self.lanes:
            num_blocks = num_used(lane)
            num_running += lane.num_decoding
            num_waiting += len(lane.waiting)
            if now_s < lane.start_s:  # who was admitted ahead of time waits still
                num_waiting += len(lane.prefilling)
                num_blocks -= num_prefill_blocks(lane)
            else:
                num_running += len(lane.prefilling)
            kv_ratios.append(num_blocks / lane.num_blocks)
        return Look(num_running=num_running, num_waiting=num_waiting, kv_ratios=kv_ratios)

    def totals(self) -> Totals:
        """Work of the iterations that have ended by now."""
        now_s = self._now_s
        self._count_segments()
        busy_s, num_iterations = self._busy_s, self._num_iterations
        for lane in self.lanes:
            if lane.end_s != math.inf:
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
        log = self._log
        columns = np.fromiter(log, np.float64, len(log)).reshape(-1, 4).T
        log.clear()
        first_s, slope_s, steps, num = np.ascontiguousarray(columns)
        last_s = first_s + slope_s * (steps - 1)
        seconds = steps * (first_s + last_s) / 2
        ran = num >= 0
        self._busy_s += float(seconds @ ran)
        self._num_iterations += int(steps @ ran)
        num = np.abs(num)
        # Ramps inside one bucket, most of them, are counted whole; the others are spelled out.
        tbt = self._tbt
        bounds = np.array(tbt.bounds)
        num_buckets = len(bounds) + 1
        buckets = np.searchsorted(bounds, first_s)
        inside = buckets == np.searchsorted(bounds, last_s)
        found = np.bincount(buckets, weights=steps * num * inside, minlength=num_buckets)
        for part in _parts(np.flatnonzero(~inside & (num > 0)), steps):
            times = steps[part].astype(np.int64)
            begin = np.repeat(np.cumsum(times) - times, times)
            number = np.arange(len(begin)) - begin
            gaps = np.repeat(first_s[part], times) + np.repeat(slope_s[part], times) * number
            found += np.bincount(
                np.searchsorted(bounds, gaps),
                weights=np.repeat(num[part], times),
                minlength=num_buckets,
            )
        tbt.counts = [a + int(b) for a, b in zip(tbt.counts, found, strict=True)]
        tbt.sum += float(seconds @ num)
        tbt.count += int(steps @ num)


def _parts(rows: Rows, steps: Floats) -> Iterator[Rows]:
    """Stretches of the rows with about GAPS_AT_ONCE steps each; none when there are no rows."""
    if len(rows):
        bounds = np.arange(GAPS_AT_ONCE, float(steps[rows].sum()), GAPS_AT_ONCE)
        yield from np.split(rows, np.searchsorted(np.cumsum(steps[rows]), bounds))


def peak_blocks(arrivals: Arrivals, config: InstanceConfig) -> array[int]:
    """Most KV blocks that each request can hold, [requests]: all its tokens but the last one.

    At least what admission asks for: room for one token beyond the prompt.
    """
    prompt, output = (
        np.array(column, dtype=np.int64)
        for column in (arrivals.num_prompt_tokens, arrivals.num_output_tokens)
    )
    tokens = np.minimum(prompt + np.maximum(output - 1, 1), config.context_limit)
    return array("q", (-(-tokens // config.block_tokens)).tobytes())
