"""Series of one region as a wide table of levels, as recorded incidents have it.

What users get stands beside it as `sli_*`: a symptom that belongs to nobody.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ops.slo import GOOD_STATUSES
from rca.align import Aligned, align
from rca.incident import SYMPTOM_PREFIX
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
    found = {name: _joined(aligned, columns) for name, columns in grouped.items()}
    found |= _symptoms(aligned)
    names = tuple(sorted(found))
    values = np.full((len(aligned.times_s), len(names)), np.nan)
    for place, name in enumerate(names):
        values[:, place] = found[name]
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


def _joined(aligned: Aligned, columns: list[int]) -> FloatArray:
    """Sum of what is counted, mean of what is a level, shape [T]."""
    picked = aligned.levels[:, columns]
    seen = np.isfinite(picked)
    total = np.where(seen, picked, 0.0).sum(axis=1)
    if aligned.roles[columns[0]].kind not in _SUMMED:
        total = total / np.maximum(seen.sum(axis=1), 1)
    return np.where(seen.any(axis=1), total, np.nan)


def _symptoms(aligned: Aligned) -> dict[str, FloatArray]:
    """Share of the users' requests that were answered, and their time to a first token."""
    roles = list(enumerate(aligned.roles))
    asked = [k for k, r in roles if r.role == "frontend_requests"]
    good = [k for k in asked if aligned.roles[k].group.startswith(GOOD_STATUSES)]
    first = [k for k, r in roles if r.role == "frontend_ttft" and r.part != "count"]
    found = {}
    if good:
        every = _joined(aligned, asked)
        with np.errstate(invalid="ignore", divide="ignore"):
            share = _joined(aligned, good) / every
        found[f"{SYMPTOM_PREFIX}_success"] = np.where(every > 0.0, share, np.nan)
    if first:
        found[f"{SYMPTOM_PREFIX}_ttft"] = _joined(aligned, first)
    return found


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
