"""When each scrape job last brought samples, from its `up` series."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rca.state import FloatArray, MetricRole

IntArray = npt.NDArray[np.int64]


class ScrapeJobs:
    """Last good scrape per "region/job", in the form of `ops.state.Snapshot.scrape_jobs`."""

    def __init__(self, forget_s: float) -> None:
        """Forget a job whose series are gone for so long: it was taken away, it is not silent."""
        self._forget_s = forget_s
        self._good_s: dict[str, float] = {}
        self._seen_s: dict[str, float] = {}

    def take(
        self,
        roles: tuple[MetricRole | None, ...],
        columns: IntArray,
        times_s: FloatArray,
        values: FloatArray,
    ) -> None:
        """Note samples, each of the last three of shape [M]; those that are no `up` are ignored."""
        mine = [c for c in np.unique(columns).tolist() if (r := roles[c]) and r.role == "scrape_up"]
        for k in np.flatnonzero(np.isin(columns, mine)).tolist() if mine else ():
            role = roles[columns[k]]
            assert role is not None
            job, at_s = f"{role.entity.region}/{role.entity.name}", float(times_s[k])
            self._seen_s[job] = max(at_s, self._seen_s.get(job, at_s))
            if values[k] > 0.0:
                self._good_s[job] = max(at_s, self._good_s.get(job, at_s))

    def last_good_s(self, *, now_s: float) -> dict[str, float]:
        """Jobs that ever answered, and when they last did."""
        gone = [job for job, at_s in self._seen_s.items() if now_s - at_s > self._forget_s]
        for job in gone:
            del self._seen_s[job]
            self._good_s.pop(job, None)
        return dict(self._good_s)
