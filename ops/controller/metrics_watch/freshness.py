"""When what users get was last seen, in all and per region, and how often it is scraped."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from statistics import median_low

import numpy as np
import numpy.typing as npt

from ops.controller.metrics_watch.roles import USER_ROLES
from ops.controller.metrics_watch.state import Seen
from rca.state import FloatArray, MetricRole

IntArray = npt.NDArray[np.int64]

SCRAPES = 9  # whose distances are the users' rhythm
SCRAPES_MIN = 2  # one distance alone may be a gap
FORGET_S = 3600.0  # a region that is silent for so long was taken away


class Freshness:
    """Newest samples by what they tell.

    Attributes:
        users: columns of what users get, shape [N].
    """

    def __init__(self) -> None:
        self.users = np.empty(0, dtype=bool)
        self._region = np.empty(0, dtype=np.int64)  # per column, a number
        self._numbers: dict[str, int] = {}
        self._distances_s: deque[float] = deque(maxlen=SCRAPES)
        self._measured_ms = -1  # scrapes up to here are among them
        self._newest_s = np.empty(0)  # per region, of what users get; NaN = never

    def learn(self, roles: Sequence[MetricRole | None]) -> None:
        """Take the roles of all columns; what is known of regions stays."""
        for role in roles:
            if role is not None:
                self._numbers.setdefault(role.entity.region, len(self._numbers))
        known = [role is not None and role.role in USER_ROLES for role in roles]
        self.users = np.array(known, dtype=bool)
        self._region = np.array(
            [self._numbers[role.entity.region] if role else 0 for role in roles], dtype=np.int64
        )
        more = len(self._numbers) - len(self._newest_s)
        self._newest_s = np.append(self._newest_s, np.full(more, np.nan))

    def take(self, seen: Seen, columns: IntArray, times_ms: IntArray, values: FloatArray) -> None:
        """Note samples, the last three of shape [M], a series' samples one after the other."""
        seen.num_series, seen.num_users = len(self.users), int(self.users.sum())
        finite, users = np.isfinite(values), self.users[columns]
        seen.any_s = _newest_s(times_ms[finite], seen.any_s)
        seen.users_nan_s = _newest_s(times_ms[users & ~finite], seen.users_nan_s)
        mine = np.flatnonzero(users & finite)
        seen.users_s = _newest_s(times_ms[mine], seen.users_s)
        np.fmax.at(self._newest_s, self._region[columns[mine]], times_ms[mine] / 1000.0)
        self._measure(times_ms[users], columns[users])
        if len(self._distances_s) >= SCRAPES_MIN:
            seen.interval_s = _rounded_s(median_low(self._distances_s))
        seen.blind = tuple(
            (region, float(self._newest_s[k]))
            for region, k in sorted(self._numbers.items())
            if seen.old_s < seen.now_s - self._newest_s[k] <= FORGET_S
        )

    def _measure(self, times_ms: IntArray, columns: IntArray) -> None:
        """Note how far each scrape was from the one before it, once however often it is read.

        A gap is one distance among others. Counted with each reading it would become the rhythm,
        by which what is missing is due later.
        """
        distance_ms, end_ms = np.diff(times_ms), times_ms[1:]
        new = (columns[1:] == columns[:-1]) & (distance_ms > 0) & (end_ms > self._measured_ms)
        distance_ms, end_ms = distance_ms[new], end_ms[new]
        for end in np.unique(end_ms)[-SCRAPES:]:
            self._distances_s.append(float(np.median(distance_ms[end_ms == end])) / 1000.0)
            self._measured_ms = int(end)


def _newest_s(times_ms: IntArray, known_s: float) -> float:
    return float(np.fmax(times_ms.max() / 1000.0, known_s)) if len(times_ms) else known_s


def _rounded_s(distance_s: float) -> float:
    """Jitter of a few milliseconds does not make 15.003 s of 15 s."""
    whole_s = float(round(distance_s))
    return whole_s if abs(whole_s - distance_s) < 0.02 * distance_s else distance_s
