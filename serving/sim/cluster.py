"""A fleet of simulated instances behind one dispatch policy: arrivals in, outcomes written down.

Outcomes are columns, one row a request; only requests in flight are objects.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from enum import IntEnum

from serving.policies.dispatch_index import NOBODY, dispatch_index
from serving.policies.protocols import DispatchPolicy
from serving.sim.instance import SimInstance
from serving.sim.kernel import Kernel
from serving.state import FinishReason, Request


class Outcome(IntEnum):
    """What became of a request."""

    OPEN = 0  # not arrived, or not finished yet
    DONE = 1
    REJECTED = 2
    ABORTED = 3
    FAILED = 4


_OUTCOMES = {
    FinishReason.STOP: Outcome.DONE,
    FinishReason.LENGTH: Outcome.DONE,
    FinishReason.ABORT: Outcome.ABORTED,
    FinishReason.ERROR: Outcome.FAILED,
}
NO_RANK = -1


class Arrivals:
    """What the users send: three columns of plain numbers, sorted by time."""

    __slots__ = ("at_s", "num_output_tokens", "num_prompt_tokens")

    def __init__(
        self, at_s: list[float], num_prompt_tokens: list[int], num_output_tokens: list[int]
    ) -> None:
        self.at_s = at_s
        self.num_prompt_tokens = num_prompt_tokens
        self.num_output_tokens = num_output_tokens

    def __len__(self) -> int:
        return len(self.at_s)


class Cluster:
    """Dispatches arrivals over instances and keeps first token, end and outcome of each request.

    `first_token_s` and `end_s` are NaN until known; `rank` tells the instance, in order of ids.
    """

    __slots__ = (
        "_arrivals",
        "_dispatch",
        "_index",
        "_kernel",
        "_loads",
        "_open",
        "_ranks",
        "end_s",
        "first_token_s",
        "instances",
        "num_arrived",
        "num_outstanding",
        "outcome",
        "rank",
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
        num = len(arrivals)
        self.first_token_s = array("d", [math.nan]) * num
        self.end_s = array("d", [math.nan]) * num
        self.rank = array("i", [NO_RANK]) * num
        self.outcome = bytearray(num)
        self.num_arrived = 0
        self.num_outstanding = 0  # dispatched and not ended
        self._kernel = kernel
        self._arrivals = arrivals
        self._dispatch = dispatch
        self._index = dispatch_index(dispatch, len(self.instances))
        self._loads = [0] * len(self.instances)
        self._ranks = {i.instance_id: rank for rank, i in enumerate(self.instances)}
        self._open = list(self.instances)  # those that accept
        if num:
            kernel.at(arrivals.at_s[0], self._arrive)

    @property
    def is_over(self) -> bool:
        """Whether every request has arrived and ended."""
        return self.num_arrived == len(self._arrivals) and self.num_outstanding == 0

    def abort(self, row: int) -> bool:
        """The user of one request gives up; False when it is not in flight."""
        rank = self.rank[row]
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
                self._index.close(rank, self._loads[rank])

    def _arrive(self) -> None:
        """Dispatch the next request and wait for the one after it."""
        arrivals, row = self._arrivals, self.num_arrived
        self.num_arrived = row + 1
        arrival_s = arrivals.at_s
        if row + 1 < len(arrival_s):
            self._kernel.at(arrival_s[row + 1], self._arrive)
        rank = self._choose()
        if rank == NOBODY:
            self.outcome[row] = Outcome.REJECTED
            return
        request = Request(
            request_id=row,
            arrival_s=arrival_s[row],
            num_prompt_tokens=arrivals.num_prompt_tokens[row],
            num_output_tokens=arrivals.num_output_tokens[row],
        )
        self.rank[row] = rank
        self._count(rank, 1)
        live = _Live(self, row, rank)
        if not self.instances[rank].submit(request, live.on_first_token, live.on_finish):
            self.outcome[row] = Outcome.REJECTED
            self._count(rank, -1)

    def _choose(self) -> int:
        if self._index is not None:
            return self._index.choose()
        if not self._open:
            return NOBODY
        return self._ranks[self._dispatch.choose(self._open).instance_id]

    def _count(self, rank: int, change: int) -> None:
        load_before = self._loads[rank]
        load = self._loads[rank] = load_before + change
        self.num_outstanding += change
        if self._index is not None:
            self._index.move(rank, load_before, load)


class _Live:
    """One request in flight: where its first token and its end are written."""

    __slots__ = ("cluster", "rank", "row")

    def __init__(self, cluster: Cluster, row: int, rank: int) -> None:
        self.cluster = cluster
        self.row = row
        self.rank = rank

    def on_first_token(self, now_s: float) -> None:
        self.cluster.first_token_s[self.row] = now_s

    def on_finish(self, now_s: float, reason: FinishReason) -> None:
        cluster = self.cluster
        cluster.end_s[self.row] = now_s
        cluster.outcome[self.row] = _OUTCOMES[reason]
        cluster._count(self.rank, -1)
