"""Series of one region as a wide table of levels, as recorded incidents have it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from rca.align import Aligned, align
from rca.state import EntityKind, FloatArray, MetricFrame, MetricKind

_SUMMED = frozenset({MetricKind.RATE, MetricKind.ERRORS})


@dataclass(frozen=True, slots=True, kw_only=True)
class WideTable:
    """Levels of one region.

    Attributes:
        times_s: shape [T].
        columns: `<owner>_<metric>`, sorted, length N.
        values: NaN missing, shape [T, N].
        instances: pod -> service, and each service to itself.
        nodes: pod -> node.
    """

    times_s: FloatArray
    columns: tuple[str, ...]
    values: FloatArray
    instances: dict[str, str]
    nodes: dict[str, str]


def wide_table(
    frame: MetricFrame, *, now_s: float, region: str, placed: Mapping[str, tuple[str, str, str]]
) -> WideTable:
    """All known series of one region as levels; counters are rates, sums are means per event.

    Args:
        placed: pod -> (region, service, node).
    """
    aligned = align(frame, now_s=now_s, region=region)
    grouped: dict[str, list[int]] = defaultdict(list)
    for column in range(len(aligned.roles)):
        name = _column(aligned, column)
        if name:
            grouped[name].append(column)
    names = tuple(sorted(grouped))
    values = np.full((len(aligned.times_s), len(names)), np.nan)
    for place, name in enumerate(names):
        columns = grouped[name]
        picked = aligned.levels[:, columns]
        seen = np.isfinite(picked)
        total = np.where(seen, picked, 0.0).sum(axis=1)
        if aligned.roles[columns[0]].kind not in _SUMMED:
            total = total / np.maximum(seen.sum(axis=1), 1)
        values[:, place] = np.where(seen.any(axis=1), total, np.nan)
    pods = {n: (service, node) for n, (r, service, node) in placed.items() if r == region}
    services = {service for service, _ in pods.values() if service}
    return WideTable(
        times_s=aligned.times_s,
        columns=names,
        values=values,
        instances={name: service for name, (service, _) in pods.items() if service}
        | {service: service for service in sorted(services)},
        nodes={name: node for name, (_, node) in pods.items() if node},
    )


def _column(aligned: Aligned, column: int) -> str:
    """Name in the table, empty for what it has no place for."""
    role, series = aligned.roles[column], aligned.series[column]
    if role.part == "count":
        return ""  # the sum is a mean already, and requests are counted elsewhere
    metric = role.role.replace("_", "-")
    if role.entity.kind is EntityKind.LINK:
        caller, _, callee = role.entity.name.partition("->")
        asked = series.label("reporter") == "source"
        return f"{caller}_client-{metric}" if asked else f"{callee}_{metric}"
    if role.entity.kind in (EntityKind.POD, EntityKind.SERVICE, EntityKind.NODE):
        return f"{role.entity.name}_{metric}"
    return ""
