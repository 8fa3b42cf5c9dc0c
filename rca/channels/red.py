"""Rate, errors, duration of every service, link and pod, block by block, as both sides report.

Only sums live here; what they mean is the business of `rca.channels.blame`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from rca.channels.case import Case
from rca.state import FloatArray

SOURCE, DESTINATION = "source", "destination"
FIELDS = (
    "requests", "errors", "total_s", "count", "retries", "timeouts", "connect_failures",
)  # fmt: skip


@dataclass(slots=True)
class Red:
    """Sums per block, fault window last; a value once made.

    Attributes:
        rows: one row per name in FIELDS, NaN where nobody reports, shape [7, B + 1].
        waited_s: replaces the total time where a caller waits for less than all of it.
    """

    rows: FloatArray
    waited_s: FloatArray | None = None

    @property
    def errors(self) -> FloatArray:
        """Failed calls per block, 0 where none was ever reported."""
        return known(self.rows[1])

    @property
    def total_s(self) -> FloatArray:
        """Seconds spent in answered calls."""
        total: FloatArray = self.rows[2]
        return total

    @property
    def count(self) -> FloatArray:
        """Answered calls, as the duration histogram counts them."""
        count: FloatArray = self.rows[3]
        return count

    @property
    def retries(self) -> FloatArray:
        """Calls that were repeated."""
        return known(self.rows[4])

    @property
    def lost(self) -> FloatArray:
        """Calls that failed before an answer came: timeouts and refused connections."""
        return known(self.rows[5]) + known(self.rows[6])

    @property
    def wait_s(self) -> FloatArray:
        """Seconds that the caller waited, 0 where unknown."""
        return known(self.rows[2] if self.waited_s is None else self.waited_s)

    @property
    def calls(self) -> FloatArray:
        """Answered calls per block, failed ones included."""
        seen = np.isfinite(self.rows[:2]).any(axis=0)
        return np.where(seen, known(self.rows[0]) + known(self.rows[1]), self.rows[3])


def known(values: FloatArray) -> FloatArray:
    """The values with 0 where they are missing; only for terms of a sum."""
    return np.where(np.isfinite(values), values, 0.0)


def added(parts: Sequence[Red]) -> Red:
    """Sum of several; a cell stays missing only where all miss it."""
    stack = np.stack([part.rows for part in parts])
    seen = np.isfinite(stack)
    return Red(np.where(seen.any(axis=0), np.where(seen, stack, 0.0).sum(axis=0), np.nan))


def lost_in_time(sent: Red, received: Red) -> float:
    """0..1: share of the good answers given in time that never reached the caller, at least.

    Source: by Markov's inequality at most mean / limit of the callee's answers took longer than
    the limit at which callers gave up.
    """
    failed = float(np.fmax(sent.errors, sent.lost)[-1])
    arrived = max(float(sent.calls[-1]) - failed, 0.0)
    answered = float(known(received.count)[-1])
    if failed <= arrived or answered <= 0.0:
        return 0.0  # the mean wait tells when callers gave up only where most of them did
    limit_s = float(known(sent.total_s)[-1]) / max(float(known(sent.count)[-1]), 1.0)
    late = min(float(known(received.total_s)[-1]) / answered / max(limit_s, 1e-9), 1.0)
    in_time = (float(received.calls[-1]) - float(received.errors[-1])) * (1.0 - late)
    return 1.0 - min(arrived / in_time, 1.0) if in_time > 0.0 else 0.0


ServiceKey = tuple[str, str]  # region, service
LinkKey = tuple[str, str, str]  # region, caller, callee


@dataclass(slots=True, kw_only=True)
class RedTree:
    """RED sums by who is measured and who reports."""

    inbound: dict[ServiceKey, Red] = field(default_factory=dict)  # as the callee reports
    sent: dict[LinkKey, Red] = field(default_factory=dict)  # as the caller reports
    received: dict[LinkKey, Red] = field(default_factory=dict)  # as the callee reports
    pod_inbound: dict[str, Red] = field(default_factory=dict)
    pod_answers: dict[str, list[int]] = field(default_factory=dict)  # columns of answered calls
    pod_sent: dict[str, dict[str, Red]] = field(default_factory=dict)  # pod -> callee -> sums
    callees: dict[ServiceKey, list[str]] = field(default_factory=dict)
    callers: dict[ServiceKey, list[str]] = field(default_factory=dict)
    entry_requests: dict[str, FloatArray] = field(default_factory=dict)  # region -> [B + 1]
    entry_latency_s: dict[str, float] = field(default_factory=dict)  # region -> normal mean

    def services(self) -> list[ServiceKey]:
        """Every service that calls or is called, sorted."""
        return sorted({*self.inbound, *self.callees})

    def depths(self, region: str, entries: Iterable[str]) -> dict[str, int]:
        """Calls on the longest way from the entries of a region to each service; cycles end."""
        depth = dict.fromkeys(entries, 0)
        todo = list(depth)
        while todo:
            caller = todo.pop(0)
            for callee in self.callees.get((region, caller), ()):
                further = depth[caller] + 1
                if depth.get(callee, -1) < further <= len(self.callees):
                    depth[callee] = further
                    todo.append(callee)
        return depth

    def reachable(self, region: str, entries: Iterable[str]) -> set[str]:
        """Services on any path from the entries of a region, entries included."""
        found, todo = set(entries), list(entries)
        while todo:
            for callee in self.callees.get((region, todo.pop()), ()):
                if callee not in found:
                    found.add(callee)
                    todo.append(callee)
        return found


def entry_services(case: Case, tree: RedTree, region: str) -> list[str]:
    """Services of a region that users call: as discovered, else those that nobody calls."""
    known = sorted(service for where, service in case.topology.entries if where == region)
    if known:
        return known
    return sorted(
        service
        for where, service in tree.callees
        if where == region and not any(tree.callers.get((where, service), ()))
    )
