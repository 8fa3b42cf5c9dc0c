"""Which pods give no metrics. Nothing that is missing counts as zero: who is silent is named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from ops.controller.metrics_watch.series import pod_of
from rca.state import MetricRole, Series

IntArray = npt.NDArray[np.int64]
# Told by somebody else about a pod, also while the pod itself is silent.
_ABOUT = frozenset({"pod_created_time", "pod_ready_time", "scrape_up"})


class PodSamples:
    """When each pod was last heard of by series of its own."""

    def __init__(self) -> None:
        self._place: dict[str, int] = {}
        self._seen_s = np.empty(0)  # per pod, -inf = never
        self._pod = np.empty(0, dtype=np.int64)  # per column, -1 = it is no pod's own

    def learn(self, series: Sequence[Series], roles: Sequence[MetricRole | None]) -> None:
        """Take the series of all columns; pods without a column any more are forgotten."""
        names = [
            pod_of(dict(one.labels)) if role is not None and role.role not in _ABOUT else ""
            for one, role in zip(series, roles, strict=True)
        ]
        known = {name: self._seen_s[k] for name, k in self._place.items()}
        self._place = {name: k for k, name in enumerate(dict.fromkeys(filter(None, names)))}
        self._seen_s = np.array([known.get(name, -np.inf) for name in self._place], dtype=float)
        self._pod = np.array([self._place.get(name, -1) for name in names], dtype=np.int64)

    def take(self, columns: IntArray, times_ms: IntArray, finite: npt.NDArray[np.bool_]) -> None:
        """Note samples, all three of shape [M]."""
        pod = self._pod[columns]
        own = np.flatnonzero((pod >= 0) & finite)
        np.maximum.at(self._seen_s, pod[own], times_ms[own] / 1000.0)

    def heard_s(self) -> dict[str, float]:
        """Unix seconds of the newest sample of each pod that ever gave one."""
        return {name: s for name, k in self._place.items() if (s := float(self._seen_s[k])) > 0.0}


def silent_pods(
    pods: Iterable[tuple[str, str, float]],
    heard_s: Mapping[str, float],
    *,
    since_s: float,
    now_s: float,
    grace_s: float,
) -> tuple[str, ...]:
    """Pods that should give metrics and do not, sorted.

    A pod that gave some once should; so should one that never did where most of its service do.
    Which of its pods a service instruments is else its own affair.

    Args:
        pods: name, service and start of each pod that is there.
        heard_s: newest sample of each pod that ever gave one.
        since_s: who was heard later is not silent.
        grace_s: a pod younger than this need not have been scraped yet.
    """
    known = [one for one in pods if one[0] in heard_s or now_s - one[2] > grace_s]
    there = Counter(service for _, service, _ in known)
    speaking = Counter(service for name, service, _ in known if heard_s.get(name, 0.0) > since_s)
    return tuple(
        sorted(
            name
            for name, service, _ in known
            if heard_s.get(name, 0.0) <= since_s
            and (name in heard_s or 2 * speaking[service] > there[service])
        )
    )
