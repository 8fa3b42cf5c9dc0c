"""Dispatch kept up to date by changes of load, for fleets too large to look through per request.

Each index answers as the policy of the same name in `dispatch`; instances go by their rank in the
order of their ids.
"""

from __future__ import annotations

from typing import Protocol

from serving.policies.dispatch import LeastLoaded, RoundRobin
from serving.policies.protocols import DispatchPolicy

NOBODY = -1


class DispatchIndex(Protocol):
    """A dispatch policy that is told what changes."""

    def choose(self) -> int:
        """Rank of the instance for the next request, NOBODY when none accepts."""
        ...

    def move(self, rank: int, load_before: int, load: int) -> None:
        """An instance's number of outstanding requests changed."""
        ...

    def close(self, rank: int, load: int) -> None:
        """An instance with `load` outstanding requests accepts no more."""
        ...


class LeastLoadedIndex:
    """`LeastLoaded` in a few operations on bit sets, one set of ranks per load.

    The lowest bit of the lowest set that is not empty is the answer, ties included.
    """

    __slots__ = ("_bits", "_low", "_sets")

    def __init__(self, num_instances: int) -> None:
        self._bits = [1 << rank for rank in range(num_instances)]
        self._sets = [(1 << num_instances) - 1]  # by load
        self._low = 0  # no smaller load has anybody

    def choose(self) -> int:
        """Rank of the least loaded instance."""
        sets, low = self._sets, self._low
        while not sets[low]:
            low += 1
            if low == len(sets):
                return NOBODY
        self._low = low
        ranks = sets[low]
        return (ranks & -ranks).bit_length() - 1

    def move(self, rank: int, load_before: int, load: int) -> None:
        """Move an open instance between sets; a closed one is in none and stays so."""
        sets, bit = self._sets, self._bits[rank]
        if not sets[load_before] & bit:
            return
        while load >= len(sets):
            sets.append(0)
        sets[load_before] ^= bit
        sets[load] |= bit
        if load < self._low:
            self._low = load

    def close(self, rank: int, load: int) -> None:
        """Take an instance out of its set."""
        self._sets[load] &= ~self._bits[rank]


class RoundRobinIndex:
    """`RoundRobin` as a cursor over the ranks that accept."""

    __slots__ = ("_last", "_open")

    def __init__(self, num_instances: int) -> None:
        self._open = [True] * num_instances
        self._last = -1

    def choose(self) -> int:
        """Rank after the last one chosen."""
        num = len(self._open)
        for step in range(1, num + 1):
            rank = (self._last + step) % num
            if self._open[rank]:
                self._last = rank
                return rank
        return NOBODY

    def move(self, rank: int, load_before: int, load: int) -> None:
        """Loads do not matter here."""

    def close(self, rank: int, load: int) -> None:  # noqa: ARG002 - Protocol
        """Skip this rank from now on."""
        self._open[rank] = False


def dispatch_index(policy: DispatchPolicy, num_instances: int) -> DispatchIndex | None:
    """Index with the answers of a fresh `policy`; None when the policy has none."""
    if isinstance(policy, LeastLoaded):
        return LeastLoadedIndex(num_instances)
    if isinstance(policy, RoundRobin):
        return RoundRobinIndex(num_instances)
    return None
