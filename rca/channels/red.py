"""Rate, errors, duration of every service, link and pod, block by block, as both sides report.

Only sums live here; what they mean is `rca.channels.topology`'s business.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from rca.channels.case import Case, link_ends, ratio
from rca.kinds import seconds_per_unit
from rca.state import FloatArray

SOURCE, DESTINATION = "source", "destination"
_FIELDS = {
    ("edge_requests", ""): "requests",
    ("edge_errors", ""): "errors",
    ("edge_latency", "sum"): "total_s",
    ("edge_latency", "count"): "count",
    ("edge_retries", ""): "retries",
    ("edge_timeouts", ""): "timeouts",
    ("edge_connect_failures", ""): "connect_failures",
}
FIELDS = tuple(_FIELDS.values())


@dataclass(slots=True)
class Red:
    """Sums per block, fault window last; every array has shape [B + 1], NaN where not reported."""

    requests: FloatArray
    errors: FloatArray
    total_s: FloatArray
    count: FloatArray
    retries: FloatArray
    timeouts: FloatArray
    connect_failures: FloatArray
    waited_s: FloatArray | None = None  # replaces total_s where a caller waits for less than all

    @classmethod
    def empty(cls, num_blocks: int) -> Red:
        """Nothing reported yet."""
        return cls(*(np.full(num_blocks, np.nan) for _ in FIELDS))

    @property
    def wait_s(self) -> FloatArray:
        """Seconds that the caller waited."""
        return self.total_s if self.waited_s is None else self.waited_s

    def add(self, name: str, values: FloatArray) -> None:
        """Add one series; a missing block stays missing only if missing everywhere."""
        mine = getattr(self, name)
        both = np.where(np.isfinite(mine), mine, 0.0) + np.where(np.isfinite(values), values, 0.0)
        setattr(self, name, np.where(np.isfinite(mine) | np.isfinite(values), both, np.nan))

    def merge(self, other: Red) -> None:
        """Add all of another's sums."""
        for name in FIELDS:
            self.add(name, getattr(other, name))

    @property
    def calls(self) -> FloatArray:
        """Answered calls per block, failed ones included."""
        both = np.nan_to_num(self.requests) + np.nan_to_num(self.errors)
        asked = np.where(np.isfinite(self.requests) | np.isfinite(self.errors), both, np.nan)
        return np.where(np.isfinite(self.count), self.count, asked)


ServiceKey = tuple[str, str]  # region, service
LinkKey = tuple[str, str, str]  # region, caller, callee


@dataclass(slots=True, kw_only=True)
class RedTree:
    """RED sums by who is measured and who reports."""

    inbound: dict[ServiceKey, Red] = field(default_factory=dict)  # as the callee reports
    sent: dict[LinkKey, Red] = field(default_factory=dict)  # as the caller reports
    received: dict[LinkKey, Red] = field(default_factory=dict)  # as the callee reports
    pod_inbound: dict[str, Red] = field(default_factory=dict)
    pod_sent: dict[str, dict[str, Red]] = field(default_factory=dict)  # pod -> callee -> sums
    callees: dict[ServiceKey, list[str]] = field(default_factory=dict)
    callers: dict[ServiceKey, list[str]] = field(default_factory=dict)
    streams: set[str] = field(default_factory=set)  # callees that answer token by token
    entry_requests: dict[str, FloatArray] = field(default_factory=dict)  # region -> [B + 1]
    entry_latency_s: dict[str, float] = field(default_factory=dict)  # region -> normal mean

    def services(self) -> list[ServiceKey]:
        """Every service that calls or is called, sorted."""
        return sorted({*self.inbound, *self.callees})

    def reachable(self, region: str, entries: Iterable[str]) -> set[str]:
        """Services on any path from the entries of a region, entries included."""
        found, todo = set(entries), list(entries)
        while todo:
            for callee in self.callees.get((region, todo.pop()), ()):
                if callee not in found:
                    found.add(callee)
                    todo.append(callee)
        return found


def build_red(case: Case) -> RedTree:
    """Sum the mesh's counters of a case."""
    tree = RedTree()
    blocks = case.num_blocks
    links: dict[tuple[str, str, str, str], Red] = defaultdict(lambda: Red.empty(blocks))
    pods_in: dict[str, Red] = defaultdict(lambda: Red.empty(blocks))
    pods_out: dict[tuple[str, str], Red] = defaultdict(lambda: Red.empty(blocks))
    for (role_name, part), name in _FIELDS.items():
        for column in case.columns(role_name, part):
            role = case.roles[column]
            caller, callee = link_ends(role.entity)
            values = case.sums[:, column]
            if name == "total_s":
                values = values * seconds_per_unit(case.aligned.series[column].name)
            pod = case.aligned.series[column].label("pod")
            side = role.group or SOURCE
            links[(role.entity.region, caller, callee, side)].add(name, values)
            if not pod:
                continue
            if side == DESTINATION:
                pods_in[pod].add(name, values)
            else:
                pods_out[(pod, callee)].add(name, values)
    for region, caller, callee, side in sorted(links):
        red = links[(region, caller, callee, side)]
        if side == DESTINATION:
            tree.received[(region, caller, callee)] = red
            tree.inbound.setdefault((region, callee), Red.empty(blocks)).merge(red)
        else:
            tree.sent[(region, caller, callee)] = red
    for region, caller, callee in sorted({*tree.received, *tree.sent}):
        if caller:
            tree.callees.setdefault((region, caller), []).append(callee)
        tree.callers.setdefault((region, callee), []).append(caller)
        if (region, callee) not in tree.inbound:
            # Only callers report: their view stands in, and no gap can be told.
            tree.inbound[(region, callee)] = Red.empty(blocks)
            tree.inbound[(region, callee)].merge(tree.sent[(region, caller, callee)])
    for (pod, callee), red in sorted(pods_out.items()):
        tree.pod_sent.setdefault(pod, {})[callee] = red
    _entries(case, tree, pods_in)
    tree.pod_inbound = dict(sorted(pods_in.items()))
    return tree


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


def _entries(case: Case, tree: RedTree, pods_in: dict[str, Red]) -> None:
    regions = {key[0] for key in tree.inbound} | {case.symptom.region}
    for region in sorted(regions):
        asked = case.total(
            c for c in case.columns("frontend_requests") if case.roles[c].entity.region == region
        )
        entries = entry_services(case, tree, region)
        for service in entries:
            if (region, service) not in tree.inbound:
                _entry_red(case, tree, (region, service), pods_in)
        inbound = [tree.inbound[(region, s)].calls for s in entries if (region, s) in tree.inbound]
        if not np.isfinite(asked).any() and inbound:
            asked = np.nansum(inbound, axis=0)
        tree.entry_requests[region] = asked
        usual = [tree.inbound[(region, s)] for s in entries if (region, s) in tree.inbound]
        answered = sum(float(np.nansum(red.count[:-1])) for red in usual)
        if answered > 0.0:
            spent = sum(float(np.nansum(red.total_s[:-1])) for red in usual)
            tree.entry_latency_s[region] = spent / answered


def _entry_red(case: Case, tree: RedTree, key: ServiceKey, pods_in: dict[str, Red]) -> None:
    """No mesh edge leads to an entry: its users' time to the first token stands in.

    A callee that streams (its pods export a time to first token) is waited for until its first
    token only, so its edge's duration is replaced by that.
    """
    region, service = key
    red = Red.empty(case.num_blocks)
    for role_name, part, name in (
        ("frontend_ttft", "sum", "total_s"),
        ("frontend_ttft", "count", "count"),
        ("frontend_requests", "", "requests"),
    ):
        for column in case.columns(role_name, part):
            role = case.roles[column]
            if (role.entity.region, role.entity.name) != key:
                continue
            failed = role_name == "frontend_requests" and role.group.startswith("5")
            target = "errors" if failed else name
            red.add(target, case.sums[:, column])
            pod = case.aligned.series[column].label("pod")
            if pod:
                pods_in[pod].add(target, case.sums[:, column])
    if not np.isfinite(red.count).any():
        return
    tree.inbound[key] = red
    for callee in tree.callees.get(key, ()):
        first_s = _first_token_s(case, region, callee)
        if first_s is None:
            continue
        tree.streams.add(callee)
        link = (region, service, callee)
        for sent in [tree.sent.get(link)] + [
            sent[callee]
            for pod, sent in tree.pod_sent.items()
            if callee in sent and case.pod_place.get(pod, ("", "", ""))[:2] == key
        ]:
            if sent is not None:
                sent.waited_s = first_s * sent.calls


def _first_token_s(case: Case, region: str, service: str) -> FloatArray | None:
    pods = set(case.pods_of(region, service))
    sums, counts = (
        case.total(
            c for c in case.columns("engine_ttft", part) if case.roles[c].entity.name in pods
        )
        for part in ("sum", "count")
    )
    return ratio(sums, counts) if np.isfinite(counts).any() else None
