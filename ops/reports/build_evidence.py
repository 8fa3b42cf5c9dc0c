"""Series of a report from a frame: which ones, their labels and units, what moved and when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ops.catalogue import Catalogue
from ops.reports.parts import EvidenceSeries
from ops.state import Incident
from rca.align import Aligned, align, cut_windows
from rca.change import measure_changes
from rca.state import (
    Entity,
    EntityKind,
    FloatArray,
    MetricFrame,
    MetricKind,
    MetricRole,
    RankedCause,
    Series,
)

_BEFORE_S, _AFTER_S = 900.0, 600.0  # shown around the onset
_JUDGE_S = 240.0  # rows after the onset that decide whether a series moved
_PER_ENTITY = 2  # series shown of each thing on the way from the cause to the user
_SERIES_MAX = 10
_MEAN_ROWS = 6
_SCORE_MIN = 1.4  # log(1 + 3 scales); below it a series has not moved
_ACRONYMS = frozenset({"cpu", "gpu", "sm", "kv", "ttft", "tpot", "fb", "itl", "e2e", "hpa", "xid"})
# Unit as the catalogue stores it -> unit of a report and factor; others are counts.
_UNITS = {
    "seconds": ("s", 1.0),
    "milliseconds": ("s", 1e-3),
    "microseconds": ("s", 1e-6),
    "bytes": ("bytes", 1.0),
    "MiB": ("MiB", 1.0),
    "MHz": ("MHz", 1.0),
    "ratio": ("ratio", 1.0),
    "percent": ("ratio", 0.01),
    "celsius": ("°C", 1.0),
    "watts": ("W", 1.0),
    "cores": ("cores", 1.0),
    "millijoules": ("J", 1e-3),
}


@dataclass(slots=True, kw_only=True)
class Measured:
    """Comparable levels of one frame with their changes since an onset; columns as in `aligned`."""

    aligned: Aligned
    before: FloatArray  # [N]
    after: FloatArray
    onset_s: FloatArray  # NaN where none
    score: FloatArray
    acted_s: float  # first action of midwatch; what moved only after it does not tell of the cause
    columns: dict[Series, int]

    def onset_of(self, entity: Entity) -> float | None:
        """Onset of the series that moved most among those of an entity and of calls into it."""
        found = [
            (-abs(float(self.score[k])), float(self.onset_s[k]))
            for k, role in enumerate(self.aligned.roles)
            if role.entity == entity or _calls_into(role.entity, entity)
            if abs(self.score[k]) >= _SCORE_MIN and self.onset_s[k] <= self.acted_s
        ]
        return min(found)[1] if found else None


def measure(frame: MetricFrame, incident: Incident) -> Measured | None:
    """Levels and changes of all known series; None where too little came before the onset."""
    began_s = incident.began_at_s
    until_s = began_s + _JUDGE_S
    if incident.mitigated_at_s is not None:
        until_s = min(until_s, incident.mitigated_at_s)
    judged = align(frame, now_s=max(until_s, incident.detected_at_s))
    windows = cut_windows(judged.times_s, began_s)
    if windows is None and incident.result is not None:
        # A page made within seconds of the onset; the diagnosis has found an earlier one.
        windows = cut_windows(judged.times_s, min(began_s, incident.result.began_at_s))
    if windows is None:
        return None
    table = measure_changes(judged, windows)
    whole = align(frame, now_s=float(frame.times_s[-1]))
    _smooth_means(whole)
    acted_s = min((r.decided_at_s for r in incident.actions), default=np.inf)
    return Measured(
        aligned=whole,
        before=table.before,
        after=table.after,
        onset_s=table.onset_s,
        acted_s=acted_s,
        score=table.score,
        columns={series: k for k, series in enumerate(whole.series)},
    )


def _smooth_means(aligned: Aligned) -> None:
    """Means of histograms over `_MEAN_ROWS` rows, in place: few requests end in one row."""
    counts = {
        (r.role, r.entity, r.group, aligned.series[k].labels): k
        for k, r in enumerate(aligned.roles)
        if r.part == "count"
    }
    for k, role in enumerate(aligned.roles):
        below = counts.get((role.role, role.entity, role.group, aligned.series[k].labels))
        if role.part != "sum" or below is None:
            continue
        events = _trailing(aligned.increases[:, below])
        total = _trailing(aligned.increases[:, k])
        known = np.isfinite(aligned.increases[:, below]) & (events > 0.0)
        aligned.levels[:, k] = np.where(known, total / np.where(events > 0.0, events, 1.0), np.nan)


def _trailing(values: FloatArray) -> FloatArray:
    summed = np.cumsum(np.nan_to_num(values))
    before = np.concatenate([np.zeros(_MEAN_ROWS), summed])[: len(summed)]
    return np.asarray(summed - before)


def label_of(role: MetricRole) -> str:
    """A role as a noun: "GPU SM clock", "edge latency"."""
    return label_of_name(role.role)


def label_of_name(role: str) -> str:
    """A role's name as a noun."""
    return " ".join(w.upper() if w in _ACRONYMS else w for w in role.split("_"))


def name_of(entity: Entity) -> str:
    """An entity as a row of a figure names it."""
    if entity.kind is EntityKind.LINK:
        return entity.name.replace("->", " → ")
    if entity.name:
        return entity.name
    noun = "users" if entity.kind is EntityKind.WORKLOAD else str(entity.kind)
    return f"{noun} of {entity.region}"


def unit_of(stored: str, role: MetricRole) -> tuple[str, float]:
    """Unit of a role's level and the factor that brings the level to it."""
    unit, factor = _UNITS.get(stored, ("", 1.0))
    if role.counter and role.part != "sum":
        unit = f"{unit}/s" if role.part != "count" else "/s"
    return unit, factor


def series_of(
    measured: Measured, incident: Incident, catalogue: Catalogue
) -> tuple[EvidenceSeries, ...]:
    """Series of the cause's evidence, then what moved most on the way to the users.

    The traffic of the users is always among them: that it is as usual is an answer as well.
    """
    result = incident.result
    cause = result.causes[0] if result and result.causes else None
    chosen: list[int] = []
    for evidence in cause.evidence if cause else ():
        if evidence.series is not None and evidence.series in measured.columns:
            chosen.append(measured.columns[evidence.series])
    path = cause.path if cause else ()
    for text in path:
        chosen += _strongest(measured, Entity.parse(text), chosen)
    traffic = cause is not None and cause.entity.kind is EntityKind.WORKLOAD
    chosen += _of_users(measured, incident, rate=not traffic)  # the demand is a series of its own
    chosen = _once(measured, chosen)[:_SERIES_MAX]
    return tuple(_series(measured, k, incident, catalogue, cause) for k in chosen)


def _once(measured: Measured, chosen: Sequence[int]) -> list[int]:
    """One series of each name that a reader sees: pods of a service measure the same of it."""
    seen: dict[object, int] = {}
    for k in chosen:
        role, series = measured.aligned.roles[k], measured.aligned.series[k]
        gpu = series.label("gpu")
        seen.setdefault((role.role, role.part, role.entity, series.label("slo_class"), gpu), k)
    return list(seen.values())


def _strongest(measured: Measured, entity: Entity, chosen: Sequence[int]) -> list[int]:
    """Series of an entity that moved most, one per role, those of its callers' links included."""
    roles = measured.aligned.roles
    shown = {(roles[k].role, roles[k].entity) for k in chosen}
    kinds = (MetricKind.LATENCY, MetricKind.SATURATION, MetricKind.QUEUE, MetricKind.ERRORS,
             MetricKind.AVAILABILITY)  # fmt: skip
    candidates = [
        (-abs(float(measured.score[k])), role.role, k)
        for k, role in enumerate(roles)
        if (role.entity == entity or _calls_into(role.entity, entity))
        if role.kind in kinds and role.part != "count"
        if abs(measured.score[k]) >= _SCORE_MIN and measured.onset_s[k] <= measured.acted_s
    ]
    found: list[int] = []
    for _, name, k in sorted(candidates):
        if (name, roles[k].entity) in shown or len(found) == _PER_ENTITY:
            continue
        shown.add((name, roles[k].entity))
        found.append(k)
    return found


def _calls_into(link: Entity, entity: Entity) -> bool:
    return (
        link.kind is EntityKind.LINK
        and entity.kind is EntityKind.SERVICE
        and link.region == entity.region
        and link.name.endswith(f"->{entity.name}")
    )


def _of_users(measured: Measured, incident: Incident, *, rate: bool) -> list[int]:
    """What the suffering users got and how many they are: time to first token, request rate."""
    region, slo_class = incident.symptom.region, incident.symptom.slo_class
    wanted: dict[str, int] = {}
    for k, (role, series) in enumerate(
        zip(measured.aligned.roles, measured.aligned.series, strict=True)
    ):
        if role.entity.region != region or series.label("slo_class") != slo_class:
            continue
        mean = role.kind is MetricKind.LATENCY and role.part == "sum"
        if mean or (rate and role.kind is MetricKind.RATE):
            wanted.setdefault(role.role, k)
    return [wanted[name] for name in sorted(wanted, reverse=True)]


def _series(
    measured: Measured,
    k: int,
    incident: Incident,
    catalogue: Catalogue,
    cause: RankedCause | None,
) -> EvidenceSeries:
    """One series; what the diagnosis cites has its figures, so that no number is told twice."""
    aligned, role = measured.aligned, measured.aligned.roles[k]
    info = catalogue.info(aligned.series[k])
    unit, factor = unit_of(info.unit if info else "", role)
    times = aligned.times_s
    shown = (times >= shown_from_s(incident)) & (times <= end_s(incident))
    levels = aligned.levels[:, k] * factor
    normal = levels[(times >= incident.began_at_s - 1800.0) & (times < incident.began_at_s)]
    normal = normal[np.isfinite(normal)]
    since = levels[(times >= incident.began_at_s) & shown]
    since = since[np.isfinite(since)]
    median = float(np.median(normal)) if len(normal) else None
    onset_s = float(measured.onset_s[k])
    moved = bool(np.isfinite(onset_s)) and abs(measured.score[k]) >= _SCORE_MIN
    cited = [e for e in cause.evidence if e.series == aligned.series[k]] if cause else []
    told = next((e for e in cited if e.after is not None), None)
    before, after = median, _extreme(since, median) if moved else _middle(since)
    if told is not None and told.after is not None:
        before = None if told.before is None else told.before * factor
        after = told.after * factor
        if not moved and told.onset_s is not None:
            onset_s, moved = told.onset_s, True
    slo_class = aligned.series[k].label("slo_class")
    detail = label_of(role) + (f", {slo_class}" if slo_class else "")
    return EvidenceSeries(
        label=name_of(role.entity),
        detail=f"{detail}, mean" if role.part == "sum" else detail,
        unit=unit,
        times_s=tuple(round(float(t), 3) for t in times[shown]),
        values=tuple(round(float(v), 6) for v in levels[shown]),
        normal_low=float(np.percentile(normal, 5)) if len(normal) else None,
        normal_high=float(np.percentile(normal, 95)) if len(normal) else None,
        onset_s=onset_s if moved else None,
        before=before,
        after=after,
        score=round(abs(float(measured.score[k])), 2),
        own=bool(cited) or (cause is not None and role.entity == cause.entity),
        undated=not moved and abs(float(measured.score[k])) >= _SCORE_MIN,
    )


def shown_from_s(incident: Incident) -> float:
    """Where the series of an incident begin."""
    return incident.began_at_s - _BEFORE_S


def end_s(incident: Incident) -> float:
    """Where the series of an incident end."""
    last_s = incident.mitigated_at_s or incident.diagnosed_at_s or incident.detected_at_s
    return max(last_s + 120.0, min(incident.began_at_s + _AFTER_S, last_s + 300.0))


def _middle(values: FloatArray) -> float | None:
    return float(np.median(values)) if len(values) else None


def _extreme(values: FloatArray, median: float | None) -> float | None:
    """The value farthest from the normal median."""
    if not len(values):
        return None
    centre = 0.0 if median is None else median
    return float(values[int(np.argmax(np.abs(values - centre)))])
