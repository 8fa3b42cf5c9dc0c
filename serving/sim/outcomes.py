"""Requests as columns: what users send, and what becomes of each; shared by all fleets."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum

from serving.state import Prefix

NO_RANK = -1


class Outcome(IntEnum):
    """What became of a request."""

    OPEN = 0  # not arrived, or not finished yet
    DONE = 1
    REJECTED = 2
    ABORTED = 3
    FAILED = 4


class Arrivals:
    """What the users send: three columns of plain numbers, sorted by time, and prefixes if any."""

    __slots__ = ("at_s", "num_output_tokens", "num_prompt_tokens", "prefix_of")

    def __init__(
        self,
        at_s: list[float],
        num_prompt_tokens: list[int],
        num_output_tokens: list[int],
        *,
        prefix_of: Callable[[int], Prefix | None] = lambda row: None,  # noqa: ARG005 - none
    ) -> None:
        self.at_s = at_s
        self.num_prompt_tokens = num_prompt_tokens
        self.num_output_tokens = num_output_tokens
        self.prefix_of = prefix_of  # by row

    def __len__(self) -> int:
        return len(self.at_s)


class Outcomes:
    """First token, end, instance and outcome of each request; NaN and NO_RANK until known."""

    __slots__ = ("end_s", "first_token_s", "outcome", "rank")

    def __init__(self, num: int) -> None:
        self.first_token_s = array("d", [math.nan]) * num
        self.end_s = array("d", [math.nan]) * num
        self.rank = array("i", [NO_RANK]) * num  # instances in order of their ids
        self.outcome = bytearray(num)  # codes of `Outcome`


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """A fleet at one moment."""

    num_running: int  # sequences in batches
    num_waiting: int  # sequences in queues
    kv_ratios: list[float]  # share of KV blocks in use, by instance


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheCounts:
    """What one prefix cache did, or several together."""

    num_queried_tokens: int  # prompt tokens of the requests that began to run
    num_hit_tokens: int  # of these, found
    num_evicted_tokens: int  # cached tokens that gave way to somebody's need

    @property
    def hit_ratio(self) -> float:
        """Found over looked up; NaN when nothing was looked up."""
        num = self.num_queried_tokens
        return self.num_hit_tokens / num if num else math.nan

    @classmethod
    def together(cls, caches: Iterable[CacheCounts]) -> CacheCounts:
        """The sums of several."""
        caches = list(caches)
        return cls(
            num_queried_tokens=sum(c.num_queried_tokens for c in caches),
            num_hit_tokens=sum(c.num_hit_tokens for c in caches),
            num_evicted_tokens=sum(c.num_evicted_tokens for c in caches),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Work done from the start to one moment, over all instances."""

    busy_s: float
    num_iterations: int
    num_preemptions: int
    num_events: int
    caches: tuple[CacheCounts, ...] = ()  # by instance; empty without prefix caches
