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
    """A dispatch policy that counts outstanding requests itself."""

    def take(self) -> int:
        """Rank of the instance for the next request, one more outstanding; NOBODY: none accepts."""
        ...

    def give(self, rank: int, num: int = 1) -> None:
        """That many requests of one instance ended."""
        ...

    def close(self, rank: int) -> None:
        """One instance accepts no more."""
        ...


class LeastLoadedIndex:
    """`LeastLoaded` in a few operations on bit sets, one set of ranks per load.

    The lowest bit of the lowest set that is not empty is the answer, ties included.
    """

    __slots__ = ("_bits", "_loads", "_low", "_sets")

    def __init__(self, num_instances: int) -> None:
        self._bits = [1 << rank for rank in range(num_instances)]  # 0 = closed
        self._loads = [0] * num_instances
        self._sets = [(1 << num_instances) - 1, 0]  # by load; the last one is always empty
        self._low = 0  # no smaller load has anybody

    def take(self) -> int:
        """Rank of the least loaded instance."""
        sets, low = self._sets, self._low
        ranks = sets[low]
        while not ranks:
            low += 1
            if low == len(sets):
                return NOBODY
            ranks = sets[low]
        bit = ranks & -ranks
        sets[low] = ranks ^ bit
        self._low = low
        low += 1
        sets[low] |= bit
        if low == len(sets) - 1:
            sets.append(0)
        rank = bit.bit_length() - 1
        self._loads[rank] = low
        return rank

    def give(self, rank: int, num: int = 1) -> None:
        """Move an instance to the set of its smaller load."""
        before = self._loads[rank]
        self._loads[rank] = load = before - num
        bit, sets = self._bits[rank], self._sets
        if bit:
            sets[before] ^= bit
            sets[load] |= bit
            if load < self._low:
                self._low = load

    def close(self, rank: int) -> None:
        """Take an instance out of its set."""
        self._sets[self._loads[rank]] &= ~self._bits[rank]
        self._bits[rank] = 0


class RoundRobinIndex:
    """`RoundRobin` as a cursor over the ranks that accept."""

    __slots__ = ("_last", "_open")

    def __init__(self, num_instances: int) -> None:
        self._open = [True] * num_instances
        self._last = -1

    def take(self) -> int:
        """Rank after the last one chosen."""
        num = len(self._open)
        for step in range(1, num + 1):
            rank = (self._last + step) % num
            if self._open[rank]:
                self._last = rank
                return rank
        return NOBODY

    def give(self, rank: int, num: int = 1) -> None:
        """Loads do not matter here."""

    def close(self, rank: int) -> None:
        """Skip this rank from now on."""
        self._open[rank] = False


def dispatch_index(policy: DispatchPolicy, num_instances: int) -> DispatchIndex | None:
    """Index with the answers of a fresh `policy`; None when the policy has none."""
    if isinstance(policy, LeastLoaded):
        return LeastLoadedIndex(num_instances)
    if isinstance(policy, RoundRobin):
        return RoundRobinIndex(num_instances)
    return None
