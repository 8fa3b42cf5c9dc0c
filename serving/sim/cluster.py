"""A fleet of simulated instances behind one dispatch policy: arrivals in, outcomes written down.

The general form: any policies, drains, deaths, aborts, and each engine's own faults and meters.
Only requests in flight are objects.
"""

from __future__ import annotations

from collections.abc import Sequence

from serving.kvcache import CachingPool
from serving.policies.dispatch_index import NOBODY, dispatch_index
from serving.policies.protocols import DispatchPolicy
from serving.sim.instance import SimInstance
from serving.sim.kernel import Kernel
from serving.sim.outcomes import NO_RANK, Arrivals, CacheCounts, Look, Outcome, Outcomes, Totals
from serving.state import FinishReason, Request

_OUTCOMES = {
    FinishReason.STOP: Outcome.DONE,
    FinishReason.LENGTH: Outcome.DONE,
    FinishReason.ABORT: Outcome.ABORTED,
    FinishReason.ERROR: Outcome.FAILED,
}


class Cluster:
    """Dispatches arrivals over instances and writes down what becomes of each request."""

    __slots__ = (
        "_arrivals",
        "_dispatch",
        "_index",
        "_kernel",
        "_open",
        "_ranks",
        "instances",
        "num_arrived",
        "num_outstanding",
        "outcomes",
    )

    def __init__(
        self,
        kernel: Kernel,
        instances: Sequence[SimInstance],
        *,
        dispatch: DispatchPolicy,
        arrivals: Arrivals,
    ) -> None:
        self.instances = sorted(instances, key=lambda instance: instance.instance_id)
        self.outcomes = Outcomes(len(arrivals))
        self.num_arrived = 0
        self.num_outstanding = 0  # dispatched and not ended
        self._kernel = kernel
        self._arrivals = arrivals
        self._dispatch = dispatch
        self._index = dispatch_index(dispatch, len(self.instances))
        self._ranks = {i.instance_id: rank for rank, i in enumerate(self.instances)}
        self._open = list(self.instances)  # those that accept
        if len(arrivals):
            kernel.at(arrivals.at_s[0], self._arrive)

    @property
    def is_over(self) -> bool:
        """Whether every request has arrived and ended."""
        return self.num_arrived == len(self._arrivals) and self.num_outstanding == 0

    def run_until(self, until_s: float) -> None:
        """Run every event up to and including `until_s`."""
        self._kernel.run_until(until_s)

    def look(self) -> Look:
        """The fleet now; KV in use lags by the decode steps of the segments in flight."""
        pools = [instance.instance.pool for instance in self.instances]
        return Look(
            num_running=sum(instance.num_running for instance in self.instances),
            num_waiting=sum(instance.num_waiting for instance in self.instances),
            kv_ratios=[pool.num_used / pool.num_blocks for pool in pools],
        )

    def totals(self) -> Totals:
        """Work of the iterations that have ended by now."""
        now_s = self._kernel.now_s
        for instance in self.instances:
            instance.refresh(now_s)
        meters = [instance.meters for instance in self.instances]
        return Totals(
            busy_s=sum(m.busy_s for m in meters),
            num_iterations=sum(m.iterations for m in meters),
            num_preemptions=sum(i.instance.num_preemptions for i in self.instances),
            num_events=self._kernel.num_events,
            caches=tuple(filter(None, map(_cache_counts, self.instances))),
        )

    def abort(self, row: int) -> bool:
        """The user of one request gives up; False when it is not in flight."""
        rank = self.outcomes.rank[row]
        return rank != NO_RANK and self.instances[rank].abort(row)

    def drain(self, rank: int) -> None:
        """Send one instance nothing more; what it has runs to its end."""
        self._close(rank)
        self.instances[rank].drain()

    def kill(self, rank: int) -> None:
        """One instance dies with all that it has."""
        self._close(rank)
        self.instances[rank].kill()

    def _close(self, rank: int) -> None:
        instance = self.instances[rank]
        if instance in self._open:
            self._open.remove(instance)
            if self._index is not None:
                self._index.close(rank)

    def _arrive(self) -> None:
        """Dispatch the next request and wait for the one after it."""
        arrivals, row = self._arrivals, self.num_arrived
        self.num_arrived = row + 1
        arrival_s = arrivals.at_s
        if row + 1 < len(arrival_s):
            self._kernel.at(arrival_s[row + 1], self._arrive)
        request = Request(
            request_id=row,
            arrival_s=arrival_s[row],
            num_prompt_tokens=arrivals.num_prompt_tokens[row],
            num_output_tokens=arrivals.num_output_tokens[row],
            prefix=arrivals.prefix_of(row),
        )
        rank = self._take(request)
        if rank == NOBODY:
            self.outcomes.outcome[row] = Outcome.REJECTED
            return
        self.outcomes.rank[row] = rank
        self.num_outstanding += 1
        live = _Live(self, row, rank)
        if not self.instances[rank].submit(request, live.on_first_token, live.on_finish):
            self.outcomes.outcome[row] = Outcome.REJECTED
            self.give(rank)

    def give(self, rank: int) -> None:
        """A request that was dispatched to `rank` ended."""
        self.num_outstanding -= 1
        if self._index is not None:
            self._index.give(rank)

    def _take(self, request: Request) -> int:
        if self._index is not None:
            return self._index.take()
        if not self._open:
            return NOBODY
        return self._ranks[self._dispatch.choose(self._open, request).instance_id]


def _cache_counts(instance: SimInstance) -> CacheCounts | None:
    pool, meters = instance.instance.pool, instance.meters
    if not isinstance(pool, CachingPool):
        return None
    return CacheCounts(
        num_queried_tokens=meters.prefix_cache_queries,
        num_hit_tokens=meters.prefix_cache_hits,
        num_evicted_tokens=pool.num_evicted * instance.instance.block_tokens,
    )


class _Live:
    """One request in flight: where its first token and its end are written."""

    __slots__ = ("cluster", "rank", "row")

    def __init__(self, cluster: Cluster, row: int, rank: int) -> None:
        self.cluster = cluster
        self.row = row
        self.rank = rank

    def on_first_token(self, now_s: float) -> None:
        self.cluster.outcomes.first_token_s[self.row] = now_s

    def on_finish(self, now_s: float, reason: FinishReason) -> None:
        cluster = self.cluster
        outcomes = cluster.outcomes
        outcomes.end_s[self.row] = now_s
        outcomes.outcome[self.row] = _OUTCOMES[reason]
        cluster.give(self.rank)
