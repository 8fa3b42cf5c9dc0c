"""One case as every channel sees it: aligned series, block sums, change scores, indexes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rca.align import Aligned, Windows, block_sums
from rca.change import ChangeTable
from rca.channels.startup import started_by_rollouts
from rca.state import (
    ChangeEvent,
    ClusterEvent,
    Entity,
    EntityKind,
    FloatArray,
    MetricKind,
    MetricRole,
    ResourceClass,
    Series,
    Symptom,
    Topology,
)

LIVE_ROWS = 3
TOP_QUANTILE = 0.95
KILLED_S = 120.0  # a deliberate end counts from this long before the onset
# What a running process shows; the control plane goes on describing pods that are gone.
WORK = frozenset({MetricKind.RATE, MetricKind.SATURATION, MetricKind.LATENCY})


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One measured reason for (or, when negative, against) an entity."""

    entity: Entity
    channel: str
    strength: float  # 0..1; negative speaks against
    resource: ResourceClass
    text: str
    specificity: float = 0.5  # 0..1: how directly it names the resource class
    series: Series | None = None
    before: float | None = None
    after: float | None = None
    unit: str = ""
    onset_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """A derived quantity since the onset against the same quantity on normal blocks."""

    before: float
    after: float
    spread: float  # robust spread over the normal blocks, floored
    top: float = -np.inf  # what earlier windows of the same length reached, freak ones left out

    @property
    def shift(self) -> float:
        """After minus before."""
        return self.after - self.before

    @property
    def z(self) -> float:
        """Shift in spreads; 0 where unknown."""
        if not (np.isfinite(self.shift) and self.spread > 0.0):
            return 0.0
        return self.shift / self.spread


def contrast(values: FloatArray, *, floor_ratio: float = 0.05, floor: float = 0.0) -> Contrast:
    """Compare the last entry (fault window) with the ones before (normal blocks).

    Args:
        values: shape [B + 1], NaN where a block has no data.
        floor_ratio: the spread is at least this share of the normal level.
        floor: and at least this.
    """
    normal = values[:-1]
    normal = normal[np.isfinite(normal)]
    after = float(values[-1])
    if normal.size == 0:
        return Contrast(before=np.nan, after=after, spread=0.0)
    normal = np.sort(normal)
    before = float(normal[normal.size // 2] + normal[(normal.size - 1) // 2]) / 2.0
    low, high = normal[int(0.1 * (normal.size - 1))], normal[int(np.ceil(0.9 * (normal.size - 1)))]
    spread = max(float(high - low) / 2.56, floor_ratio * abs(before), floor, 1e-12)
    top = float(normal[int(TOP_QUANTILE * (normal.size - 1))])
    return Contrast(before=before, after=after, spread=spread, top=top)


def ratio(top: FloatArray, bottom: FloatArray) -> FloatArray:
    """top / bottom, NaN where bottom is not positive."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(bottom > 0.0, top / np.where(bottom > 0.0, bottom, 1.0), np.nan)


@dataclass(slots=True, kw_only=True)
class Case:
    """Everything the channels share.

    Attributes:
        sums: growth of each counter per block, fault window last, shape [B + 1, N].
        means: mean level per block, shape [B + 1, N].
        block_s: length of each block in seconds, shape [B + 1].
    """

    aligned: Aligned
    windows: Windows
    changes: ChangeTable
    topology: Topology
    symptom: Symptom
    now_s: float
    sums: FloatArray
    means: FloatArray
    block_s: FloatArray
    by_role: Mapping[str, tuple[int, ...]]
    pod_place: Mapping[str, tuple[str, str, str]]
    service_pods: Mapping[tuple[str, str], tuple[str, ...]]
    live: frozenset[str]  # pods that were at work right before the onset
    earlier: frozenset[str]  # pods that were at work halfway through the normal rows
    working: frozenset[str]  # pods that show work in the newest row
    young: frozenset[str]  # pods that a roll-out of their service started
    killed: Mapping[str, float]  # pod -> when it was last ended on purpose, around the onset

    @property
    def roles(self) -> tuple[MetricRole, ...]:
        """Catalogue entries of the aligned columns."""
        return self.aligned.roles

    @property
    def num_blocks(self) -> int:
        """Normal blocks plus the fault window."""
        return int(self.sums.shape[0])

    @property
    def onset_s(self) -> float:
        """When the trouble began."""
        return self.windows.onset_s

    def columns(self, role: str, part: str | None = None) -> tuple[int, ...]:
        """Columns of one role, of one histogram part if given."""
        found = self.by_role.get(role, ())
        if part is None:
            return found
        return tuple(c for c in found if self.roles[c].part == part)

    def total(self, columns: Iterable[int]) -> FloatArray:
        """Growth per block summed over columns; NaN only where every column is missing."""
        chosen = list(columns)
        if not chosen:
            return np.full(self.num_blocks, np.nan)
        picked = self.sums[:, chosen]
        seen = np.isfinite(picked)
        return np.where(seen.any(axis=1), np.where(seen, picked, 0.0).sum(axis=1), np.nan)

    def has_role(self, role: str) -> bool:
        """Whether any series of a role is collected."""
        return role in self.by_role

    def pods_of(self, region: str, service: str) -> tuple[str, ...]:
        """Pods known of one service in one region, sorted."""
        return self.service_pods.get((region, service), ())

    def extra(self, pod: str) -> bool:
        """Whether a pod was added to a service that lacks none of those that it had."""
        region, service, _ = self.pod_place.get(pod, ("", "", ""))
        before = set(self.pods_of(region, service)) & (self.live | self.killed.keys())
        return pod not in self.live | self.earlier and bool(before) and before <= self.working

    def replaced(self, pod: str) -> bool:
        """Whether a pod that is gone left no hole: its service has as many at work as usual.

        During a roll-out old and new pods overlap, so usual is the smaller of two earlier counts.
        """
        region, service, _ = self.pod_place.get(pod, ("", "", ""))
        pods = set(self.pods_of(region, service))
        before = pods & (self.live | self.killed.keys())
        usual = min(len(before), len(pods & self.earlier) or len(pods))
        return pod not in self.working and len(pods & self.working) >= max(1, usual)


def make_case(
    aligned: Aligned,
    windows: Windows,
    changes: ChangeTable,
    *,
    topology: Topology,
    symptom: Symptom,
    now_s: float,
    events: Sequence[ClusterEvent] = (),
    announced: Sequence[ChangeEvent] = (),
) -> Case:
    """Compute what the channels share."""
    sums, _ = block_sums(aligned.increases, windows)
    level_sums, seen = block_sums(aligned.levels, windows)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = level_sums / np.where(seen > 0, seen, np.nan)
    bounds = np.append(windows.cuts, len(aligned.times_s))
    lengths = np.diff(bounds)[windows.keep] * aligned.step_s
    by_role: dict[str, list[int]] = defaultdict(list)
    for column, role in enumerate(aligned.roles):
        by_role[role.role].append(column)
    places = _places(aligned, topology)
    pods: dict[tuple[str, str], list[str]] = defaultdict(list)
    for pod, (region, service, _) in sorted(places.items()):
        pods[(region, service)].append(pod)
    return Case(
        aligned=aligned,
        windows=windows,
        changes=changes,
        topology=topology,
        symptom=symptom,
        now_s=now_s,
        sums=sums,
        means=means,
        block_s=lengths.astype(float),
        by_role={name: tuple(found) for name, found in by_role.items()},
        pod_place=places,
        live=_showing_work(aligned, windows.normal_end, rows=LIVE_ROWS),
        earlier=_showing_work(aligned, windows.normal_end // 2, rows=LIVE_ROWS),
        working=_showing_work(aligned, len(aligned.times_s), rows=1),
        service_pods={key: tuple(found) for key, found in pods.items()},
        young=started_by_rollouts(aligned, places, announced, events, now_s),
        killed={
            event.entity.name: event.at_s
            for event in sorted(events)
            if event.reason == "Killing" and windows.onset_s - KILLED_S <= event.at_s <= now_s
        },
    )


def _showing_work(aligned: Aligned, end: int, *, rows: int) -> frozenset[str]:
    """Pods that showed work in the last rows before `end`."""
    finite = np.isfinite(aligned.levels[max(end - rows, 0) : end])
    seen: list[bool] = np.logical_or.reduce(finite, axis=0).tolist()
    return frozenset(
        role.entity.name
        for column, role in enumerate(aligned.roles)
        if seen[column] and role.entity.kind is EntityKind.POD and role.kind in WORK
    )


def _places(aligned: Aligned, topology: Topology) -> dict[str, tuple[str, str, str]]:
    """Where each pod runs: from the topology, else from the labels of its series."""
    places = dict(topology.pods)
    for series, role in zip(aligned.series, aligned.roles, strict=True):
        if role.entity.kind is EntityKind.POD and role.entity.name not in places:
            places[role.entity.name] = (
                role.entity.region,
                series.label("service"),
                series.label("node"),
            )
    return places


def link_ends(entity: Entity) -> tuple[str, str]:
    """Caller and callee service of a link entity."""
    caller, _, callee = entity.name.partition("->")
    return caller, callee


def service_of(case: Case, entity: Entity) -> str:
    """Service that an entity belongs to; the caller of a link; empty for the rest."""
    if entity.kind is EntityKind.SERVICE:
        return entity.name
    if entity.kind is EntityKind.LINK:
        return entity.name.partition("->")[0]
    if entity.kind is EntityKind.POD:
        return case.pod_place.get(entity.name, ("", "", ""))[1]
    return ""
