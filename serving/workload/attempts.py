"""Every try of users against a server, and what is read from them: goodput, recovery.

The users themselves live in `closed_loop`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

WINDOW_S = 60.0  # goodput is held against the time before the cut in such windows


@dataclass(frozen=True, slots=True)
class Recovered:
    """What counts as recovered: so many windows in a row with this share of the goodput before."""

    ratio: float
    windows: int


ONE_MINUTE = Recovered(0.9, 1)
TWO_MINUTES = Recovered(0.95, 2)  # stricter: one lucky minute is not enough


class Fate(IntEnum):
    """How one try ended for the user who made it."""

    OPEN = 0  # the run ended first
    ANSWERED = 1
    TIMED_OUT = 2
    REJECTED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """First come, first served slots; during the cut only a share of them takes new work."""

    slots: int = 40
    service_s: float = 4.0  # mean
    queue_max: int | None = None  # waiting tries beyond it are rejected
    drop_expired: bool = False  # take no try whose user has stopped waiting
    cut_from_s: float = 600.0
    cut_s: float = 120.0
    cut_ratio: float = 0.25

    @property
    def capacity_rps(self) -> float:
        """Requests per second that whole capacity answers."""
        return self.slots / self.service_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempts:
    """Every try of a run in order of time, a column each, [n]."""

    at_s: Floats
    user: Ints
    number: Ints  # 1 = first try of a request
    fate: NDArray[np.uint8]  # codes of `Fate`
    end_s: Floats  # when the user learned it; NaN = open
    server: Server
    duration_s: float

    def __len__(self) -> int:
        return len(self.at_s)

    def goodput_rps(self, from_s: float, to_s: float) -> float:
        """Answers within the users' patience per second, by the time of the answer."""
        good = (self.fate == Fate.ANSWERED) & (self.end_s >= from_s) & (self.end_s < to_s)
        return float(good.sum()) / (to_s - from_s)

    def offered_ratio(self, from_s: float, to_s: float) -> float:
        """Tries per second over the server's capacity."""
        tries = float(((self.at_s >= from_s) & (self.at_s < to_s)).sum()) / (to_s - from_s)
        return tries / self.server.capacity_rps

    def amplification(self, from_s: float, to_s: float) -> float:
        """Tries per request: all tries over the first ones; NaN without a first one."""
        seen = (self.at_s >= from_s) & (self.at_s < to_s)
        first = int((seen & (self.number == 1)).sum())
        return float(seen.sum()) / first if first else math.nan

    def recovery_s(self, wanted: Recovered = ONE_MINUTE) -> float:
        """From the end of the cut to the first window from which on goodput is as before.

        NaN when there is none: the storm feeds itself, or the run was too short to tell.
        """
        cut_from_s, end_s = self.server.cut_from_s, self.server.cut_from_s + self.server.cut_s
        least = wanted.ratio * self.goodput_rps(cut_from_s / 2, cut_from_s)
        if not least:
            return math.nan  # nothing worked before
        in_a_row = 0
        for index in range(int((self.duration_s - end_s) // WINDOW_S)):
            begin_s = end_s + index * WINDOW_S
            good = self.goodput_rps(begin_s, begin_s + WINDOW_S) >= least
            in_a_row = in_a_row + 1 if good else 0
            if in_a_row == wanted.windows:
                return (index + 1 - wanted.windows) * WINDOW_S
        return math.nan
