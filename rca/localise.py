"""Rank services, instances and metrics of one recorded incident.

Reads any wide table, with or without fault time, spans, logs, call graph or changes. A further
channel is a function `(incident, split) -> surprises`: pass it in `channels`. Labels, folder names
and fault kinds are unknown here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from rca.channels.announced import change_surprise
from rca.channels.callers import discount_callers
from rca.channels.metric_table import (
    MetricTable,
    candidate_columns,
    measure_metrics,
    owner_scores,
)
from rca.channels.metrics import metric_order, metric_surprise, tell
from rca.channels.surprise import Split, Surprise, fuse_surprises
from rca.channels.traces import trace_surprises
from rca.granger_linear import GrangerConfig, GrangerResult, fit
from rca.incident import Incident
from rca.knobs import LocaliseConfig
from rca.levels import comparable_levels
from rca.localisation import Localisation, MetricSuspect, Suspect
from rca.presence import PRESENCE_MIN, accused, presence_of, trust
from rca.splits import Found, split_record
from rca.state import Evidence, FloatArray

METRICS_MAX = 50
EVIDENCE_MAX = 4
GRANGER_COLUMNS_MAX = 32
GRANGER_WEIGHT = 0.1  # of a forecast's surprise beside the change itself, when a metric is named

Channels = Callable[[Incident, Split], Sequence[Surprise]]
Granger = Callable[..., GrangerResult]  # called as `rca.granger_linear.fit` is


def localise(
    incident: Incident,
    *,
    config: LocaliseConfig | None = None,
    channels: Sequence[Channels] = (trace_surprises,),
    without: Collection[str] = (),
    granger: Granger | None = fit,
    repair: bool = True,
    seed: int = 0,
) -> Localisation:
    """Rank who and what is at fault.

    Args:
        channels: beside the metrics and the announced changes.
        without: names of channels that are left out.
        granger: re-ranks metrics by what their past and the others do not forecast; None skips.
        repair: whether a given fault time is checked against the metrics' own change point.

    Raises:
        FrameError: parts of the incident do not fit together.
    """
    incident.check()
    config = config or LocaliseConfig()
    columns = candidate_columns(incident)
    times_s, levels = comparable_levels(incident)
    levels = np.ascontiguousarray(levels[:, columns.place])
    found = split_record(
        times_s, levels, fault_at_s=incident.fault_at_s, step_s=incident.step_s,
        owner=columns.owner, metric=[name.metric for name in columns.names],
        weight=columns.weight, bad=columns.bad, repair=repair,
    )  # fmt: skip
    if found.split is None:
        return _unsplit(incident, found)
    table = measure_metrics(columns, times_s, levels, found.split, config)
    if "topology" not in without:
        table = replace(table, score=discount_callers(incident, table))
    surprises = [metric_surprise(incident, table, config)]
    for channel in channels:
        surprises += channel(incident, found.split)
    surprises = [s for s in surprises if s.name not in without]
    moved = {s: max(c.relative(s) for c in surprises if not c.skipped)
             for s in incident.services if any(not c.skipped for c in surprises)}  # fmt: skip
    if "change" not in without:
        surprises.append(change_surprise(incident, found.split, moved=moved))
    innovation, why = _innovation(table, times_s, levels, found.split, incident, granger, seed)
    skipped = {s.name: s.skipped for s in surprises if s.skipped}
    if why:
        skipped["granger"] = why
    return _answer(incident, table, surprises, found, config, innovation, skipped)


def _answer(
    incident: Incident,
    table: MetricTable,
    surprises: Sequence[Surprise],
    found: Found,
    config: LocaliseConfig,
    innovation: FloatArray,
    skipped: Mapping[str, str],
) -> Localisation:
    scores = fuse_surprises(
        surprises, candidates=incident.services, threshold=config.threshold, power=config.power
    )
    ranked = sorted(scores.items(), key=lambda pair: (-pair[1], pair[0]))
    services = tuple(
        _suspect(rank, name, score, surprises) for rank, (name, score) in enumerate(ranked, 1)
    )
    presence = presence_of(surprises, table.presence)
    sure = trust(presence, scores, agreeing=len(services[0].channels) if services else 0)
    named = accused(ranked, presence)
    return Localisation(
        incident_id=incident.incident_id,
        services=services,
        instances=_instances(incident, table, scores, config),
        metrics=_metrics(incident, table, scores, innovation),
        accused=named,
        presence=presence,
        confidence=sure.confidence,
        abstained=not named,
        reason=_reason(services, presence, named),
        split=found.split,
        change_at_s=found.change_at_s,
        used=tuple(s.name for s in surprises if not s.skipped),
        skipped=skipped,
        notes=found.notes,
    )


def _unsplit(incident: Incident, found: Found) -> Localisation:
    """Nothing to compare: candidates in the order of their names, and the reason."""
    return Localisation(
        incident_id=incident.incident_id,
        services=tuple(
            Suspect(rank=rank, name=name, score=0.0)
            for rank, name in enumerate(incident.services, 1)
        ),
        reason=f"nothing can be compared: {found.notes[-1]}",
        notes=found.notes,
    )


def _suspect(rank: int, name: str, score: float, surprises: Sequence[Surprise]) -> Suspect:
    heard = sorted(
        (s for s in surprises if not s.skipped and s.relative(name) >= 1.0),
        key=lambda s: (-s.relative(name), s.name),
    )
    evidence: list[Evidence] = []
    for surprise in heard or [s for s in surprises if not s.skipped]:
        mine = surprise.evidence.get(name, ())
        evidence += [replace(e, strength=round(surprise.relative(name), 3)) for e in mine[:3]]
    onsets = [e.onset_s for e in evidence if e.onset_s is not None]
    return Suspect(
        rank=rank,
        name=name,
        score=score,
        onset_s=min(onsets) if onsets else None,
        channels=tuple(s.name for s in heard),
        evidence=tuple(evidence[:EVIDENCE_MAX]),
    )


def _reason(services: Sequence[Suspect], presence: float, named: Sequence[str]) -> str:
    if not services:
        return "no column belongs to a service"
    if not named:
        return (f"nothing stands out: the strongest change is {presence:.2f} times what quiet time "
                f"shows, {PRESENCE_MIN} are needed")  # fmt: skip
    first = services[0]
    said = first.evidence[0].text if first.evidence else "strongest change of all"
    return f"{', '.join(named)}: {said}"


def _instances(
    incident: Incident, table: MetricTable, scores: Mapping[str, float], config: LocaliseConfig
) -> tuple[Suspect, ...]:
    """Pods (or whatever owns columns) by own change, within the order that services have."""
    top = max(scores.values(), default=0.0)
    own = owner_scores(table.score, table.columns, config)
    rows = []
    for owner, value in zip(table.columns.owners, own.tolist(), strict=True):
        share = scores.get(incident.service_of(owner), 0.0) / top if top > 0.0 else 0.0
        rows.append((round(value * (0.2 + 0.8 * share), 6), owner))
    rows += _machines(incident, {name: score for score, name in rows})
    rows.sort(key=lambda pair: (-pair[0], pair[1]))
    return tuple(
        Suspect(rank=rank, name=owner, score=score) for rank, (score, owner) in enumerate(rows, 1)
    )


def _machines(incident: Incident, own: Mapping[str, float]) -> list[tuple[float, str]]:
    """Machines whose every inhabitant moves: as suspect as the calmest of them, at least two."""
    living: dict[str, list[float]] = {}
    for owner, node in sorted(incident.nodes.items()):
        if owner in own:
            living.setdefault(node, []).append(own[owner])
    return [(min(values), node) for node, values in living.items()
            if len(values) >= 2 and node not in own]  # fmt: skip


def _metrics(
    incident: Incident, table: MetricTable, scores: Mapping[str, float], innovation: FloatArray
) -> tuple[MetricSuspect, ...]:
    order = metric_order(incident, table, scores, extra=GRANGER_WEIGHT * innovation)
    return tuple(
        MetricSuspect(
            rank=rank,
            name=str(table.columns.names[column]),
            service=incident.service_of(table.columns.names[column].owner),
            score=score,
            evidence=tell(table, column),
        )
        for rank, (column, score) in enumerate(order[:METRICS_MAX], 1)
    )


def _innovation(
    table: MetricTable,
    times_s: FloatArray,
    levels: FloatArray,
    split: Split,
    incident: Incident,
    granger: Granger | None,
    seed: int,
) -> tuple[FloatArray, str]:
    """log(1 + |z|) of the forecast error of the strongest columns, 0 elsewhere; why skipped."""
    out = np.zeros(len(table.score))
    if granger is None:
        return out, "switched off"
    rounded = np.round(table.score, 6)
    chosen = np.lexsort((np.arange(len(rounded)), -rounded))[:GRANGER_COLUMNS_MAX]
    chosen = np.sort(chosen[rounded[chosen] > 0.0])
    result = granger(
        levels[:, chosen],
        normal_end=int(np.searchsorted(times_s, split.normal_end_s)),
        fault_start=int(np.searchsorted(times_s, split.fault_start_s)),
        step_s=incident.step_s,
        rng=np.random.default_rng([seed, 5]),
        config=GrangerConfig(num_series_max=GRANGER_COLUMNS_MAX),
    )
    if not result.skipped:
        out[chosen] = np.log1p(np.abs(result.innovation))
    return out, result.skipped
