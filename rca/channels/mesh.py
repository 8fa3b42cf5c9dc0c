"""Sums the counters of the mesh and of the entries into `rca.channels.red`, all in one pass."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from rca.channels.case import Case, link_ends, ratio
from rca.channels.red import (
    DESTINATION,
    FIELDS,
    SOURCE,
    LinkKey,
    Red,
    RedTree,
    ServiceKey,
    added,
    entry_services,
    known,
)
from rca.kinds import seconds_per_unit
from rca.state import FloatArray

_FIELDS = {
    ("edge_requests", ""): "requests",
    ("edge_errors", ""): "errors",
    ("edge_latency", "sum"): "total_s",
    ("edge_latency", "count"): "count",
    ("edge_retries", ""): "retries",
    ("edge_timeouts", ""): "timeouts",
    ("edge_connect_failures", ""): "connect_failures",
}


def build_red(case: Case) -> RedTree:
    """Sum the mesh's counters of a case."""
    tree = RedTree()
    links, pods_in, pods_out = _Sums(case), _Sums(case), _Sums(case)
    for (role_name, part), name in _FIELDS.items():
        for column in case.columns(role_name, part):
            role = case.roles[column]
            caller, callee = link_ends(role.entity)
            series = case.aligned.series[column]
            side = role.group or SOURCE
            links.put((role.entity.region, caller, callee, side), name, column)
            pod = series.label("pod")
            if pod and side == DESTINATION and name in ("requests", "errors"):
                tree.pod_answers.setdefault(pod, []).append(column)
            if pod and side == DESTINATION:
                pods_in.put((pod,), name, column)
            elif pod:
                pods_out.put((pod, callee), name, column)
    received: dict[ServiceKey, list[Red]] = defaultdict(list)
    for (region, caller, callee, side), red in links.made():
        if side == DESTINATION:
            tree.received[(region, caller, callee)] = red
            received[(region, callee)].append(red)
        else:
            tree.sent[(region, caller, callee)] = red
    for region, caller, callee in sorted({*tree.received, *tree.sent}):
        if caller:
            tree.callees.setdefault((region, caller), []).append(callee)
        tree.callers.setdefault((region, callee), []).append(caller)
        if not any(key[0] == region and key[2] == callee for key in tree.received):
            # Only callers report: their view stands in, and no gap can be told.
            received[(region, callee)].append(tree.sent[(region, caller, callee)])
    tree.inbound = {key: added(parts) for key, parts in sorted(received.items())}
    tree.pod_inbound = {pod: red for (pod,), red in pods_in.made()}
    for (pod, callee), red in pods_out.made():
        tree.pod_sent.setdefault(pod, {})[callee] = red
    _entries(case, tree)
    return tree


class _Sums:
    """Adds columns up by key and field, all in one pass."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._ids: dict[tuple[str, ...], int] = {}
        self._rows: list[int] = []
        self._columns: list[int] = []
        self._factors: list[float] = []

    def put(self, key: tuple[str, ...], name: str, column: int) -> None:
        """Let one column count for a key's field."""
        place = self._ids.setdefault(key, len(self._ids))
        self._rows.append(len(FIELDS) * place + FIELDS.index(name))
        self._columns.append(column)
        series = self._case.aligned.series[column]
        self._factors.append(seconds_per_unit(series.name) if name == "total_s" else 1.0)

    def made(self) -> list[tuple[tuple[str, ...], Red]]:
        """Each key with its sums, sorted by key."""
        blocks = self._case.num_blocks
        values = self._case.sums[:, self._columns].T * np.array(self._factors)[:, None]
        seen = np.isfinite(values)
        shape = (len(FIELDS) * len(self._ids), blocks)
        sums, counts = np.zeros(shape), np.zeros(shape)
        np.add.at(sums, self._rows, np.where(seen, values, 0.0))
        np.add.at(counts, self._rows, seen)
        sums[counts == 0] = np.nan
        cube = sums.reshape(len(self._ids), len(FIELDS), blocks)
        return [(key, Red(cube[place])) for key, place in sorted(self._ids.items())]


def _entries(case: Case, tree: RedTree) -> None:
    regions = {key[0] for key in tree.inbound} | {case.symptom.region}
    for region in sorted(regions):
        asked = case.total(
            c for c in case.columns("frontend_requests") if case.roles[c].entity.region == region
        )
        entries = entry_services(case, tree, region)
        for service in entries:
            if (region, service) not in tree.inbound:
                _entry_red(case, tree, (region, service))
        inbound = [tree.inbound[(region, s)].calls for s in entries if (region, s) in tree.inbound]
        if not np.isfinite(asked).any() and inbound:
            asked = np.nansum(inbound, axis=0)
        tree.entry_requests[region] = asked
        usual = [tree.inbound[(region, s)] for s in entries if (region, s) in tree.inbound]
        answered = sum(float(np.nansum(red.count[:-1])) for red in usual)
        if answered > 0.0:
            spent = sum(float(np.nansum(red.total_s[:-1])) for red in usual)
            tree.entry_latency_s[region] = spent / answered


def _entry_red(case: Case, tree: RedTree, key: ServiceKey) -> None:
    """No mesh edge leads to an entry: its users' time to the first token stands in.

    A callee that streams (its pods export a time to first token) is waited for until its first
    token only, so its edge's duration is replaced by that.
    """
    region, service = key
    whole, pods = _Sums(case), _Sums(case)
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
            whole.put((), "errors" if failed else name, column)
            pod = case.aligned.series[column].label("pod")
            if pod:
                pods.put((pod,), "errors" if failed else name, column)
    for _, red in whole.made():
        if not np.isfinite(red.count).any():
            return
        tree.inbound[key] = red
    tree.pod_inbound |= {pod: red for (pod,), red in pods.made()}
    for callee in tree.callees.get(key, ()):
        first_s = _first_token_s(case, tree, (region, callee))
        if first_s is None:
            continue
        first_s = first_s + _way_s(tree, (region, service, callee))
        _wait_for_first(tree.inbound[key], tree.sent.get((region, service, callee)), first_s)
        for pod, sent in tree.pod_sent.items():
            if callee in sent and case.pod_place.get(pod, ("", "", ""))[:2] == key:
                _wait_for_first(tree.pod_inbound.get(pod), sent[callee], first_s)


def _way_s(tree: RedTree, key: LinkKey) -> FloatArray | float:
    """Mean time a call spends on its way, which the callee's own first token does not hold.

    What the caller waits longer than the callee works, as far as both were told of; streams that
    began on a faster way are among those that ended, so it is the least that it can be.
    """
    sent, received = tree.sent.get(key), tree.received.get(key)
    if sent is None or received is None:
        return 0.0
    gap_s = ratio(sent.total_s, sent.count) - ratio(received.total_s, received.count)
    return np.maximum(known(gap_s), 0.0)


def _wait_for_first(inbound: Red | None, sent: Red | None, first_s: FloatArray) -> None:
    """Let each request wait for its first token, in the window in which the token comes.

    Streams are counted when they end, and in a queue they end much later.
    """
    if inbound is None or sent is None:
        return
    requests = float(np.nansum(inbound.count[:-1]))
    per_request = float(np.nansum(sent.calls[:-1])) / requests if requests > 0.0 else 1.0
    sent.waited_s = first_s * per_request * inbound.count


def _first_token_s(
    case: Case, tree: RedTree, key: ServiceKey, above: frozenset[ServiceKey] = frozenset()
) -> FloatArray | None:
    """Mean wait for the first token of a call, None where the callee does not stream.

    An engine tells it. A service that passes an engine's stream on answers as much earlier than
    its call ends as the first token comes before the end of the engine's call.
    """
    region, service = key
    pods = set(case.pods_of(region, service))
    sums, counts = (
        case.total(
            c for c in case.columns("engine_ttft", part) if case.roles[c].entity.name in pods
        )
        for part in ("sum", "count")
    )
    if np.isfinite(counts).any():
        return ratio(sums, counts)
    inbound, first_s = tree.inbound.get(key), None
    for callee in tree.callees.get(key, ()) if inbound is not None and key not in above else ():
        sent = tree.sent.get((region, service, callee))
        below_s = _first_token_s(case, tree, (region, callee), above | {key})
        if inbound is None or sent is None or below_s is None:
            continue
        if first_s is None:
            first_s = ratio(inbound.total_s, inbound.count)
        first_s = first_s - ratio(sent.total_s - below_s * sent.count, inbound.count)
    return first_s
