"""When each scrape job last brought samples, from its `up` series."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from rca.state import FloatArray, MetricRole

IntArray = npt.NDArray[np.int64]


class ScrapeJobs:
    """Last good scrape per "region/job", in the form of `ops.state.Snapshot.scrape_jobs`."""

    def __init__(self, forget_s: float) -> None:
        """Forget a job whose series are gone for so long: it was taken away, it is not silent."""
        self._forget_s = forget_s
        self._place: dict[str, int] = {}
        self._good_s, self._seen_s = np.empty(0), np.empty(0)  # per job, -inf = never
        self._job = np.empty(0, dtype=np.int64)  # per column, -1 = it is no `up`

    def learn(self, roles: Sequence[MetricRole | None]) -> None:
        """Take the roles of all columns; what is known of jobs stays."""
        names = [
            f"{role.entity.region}/{role.entity.name}" if role and role.role == "scrape_up" else ""
            for role in roles
        ]
        for name in names:
            if name and name not in self._place:
                self._place[name] = len(self._place)
        self._job = np.array([self._place.get(name, -1) for name in names], dtype=np.int64)
        lacking = len(self._place) - len(self._good_s)
        self._good_s = np.append(self._good_s, np.full(lacking, -np.inf))
        self._seen_s = np.append(self._seen_s, np.full(lacking, -np.inf))

    def take(self, columns: IntArray, times_s: FloatArray, values: FloatArray) -> None:
        """Note samples, all three of shape [M]; those that are no `up` are ignored."""
        job = self._job[columns]
        mine = np.flatnonzero(job >= 0)
        np.maximum.at(self._seen_s, job[mine], times_s[mine])
        good = mine[values[mine] > 0.0]
        np.maximum.at(self._good_s, job[good], times_s[good])

    def last_good_s(self, *, now_s: float) -> dict[str, float]:
        """Jobs that ever answered and are still there, and when they last did."""
        there = (now_s - self._seen_s <= self._forget_s) & np.isfinite(self._good_s)
        return {name: float(self._good_s[k]) for name, k in self._place.items() if there[k]}
