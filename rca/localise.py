"""Rank services, instances and metrics of one recorded incident.

Reads any wide table, with or without fault time, spans, logs, call graph or changes. A further
channel is a function `(incident, split) -> surprises`: pass it in `channels`. Labels, folder names
and fault kinds are unknown here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from rca.abstention import abstained_because, checks_of, wanted_data
from rca.causal import draw_causes
from rca.channels.announced import change_surprise
from rca.channels.metric_table import MetricTable
from rca.channels.metrics import metric_order, metric_surprise, tell
from rca.channels.surprise import Split, Surprise, fuse_surprises
from rca.channels.traces import trace_surprises
from rca.felt import felt_of, unfelt_note
from rca.forecasters import Forecaster
from rca.granger_linear import LinearForecaster
from rca.incident import Incident
from rca.instances import rank_instances
from rca.knobs import LocaliseConfig
from rca.leads import Leads, find_leads
from rca.localisation import GrangerUse, Localisation, MetricSuspect, Suspect
from rca.prepare import Channels, Prepared, measure, prepare
from rca.presence import accused, confidence_of, metric_presence, presence_of
from rca.splits import Found
from rca.state import Evidence, FloatArray

METRICS_MAX = 50
EVIDENCE_MAX = 4
GRANGER_WEIGHT = 0.1  # of a forecast's surprise beside the change itself, when a metric is named

LINEAR = LinearForecaster()
CHANNELS: tuple[Channels, ...] = (trace_surprises,)


def localise(
    incident: Incident,
    *,
    config: LocaliseConfig | None = None,
    channels: Sequence[Channels] = CHANNELS,
    without: Collection[str] = (),
    granger: Forecaster | None = LINEAR,
    repair: bool = True,
    seed: int = 0,
) -> Localisation:
    """Rank who and what is at fault.

    Args:
        channels: beside the metrics and the announced changes.
        without: channels that are left out, by name; "topology" leaves calls unused.
        granger: re-ranks metrics by what their past and the others do not forecast, and draws
            the causal graph; `rca.granger_choice` makes one. None skips.
        repair: whether a given fault time is checked against the metrics' own change point.

    Raises:
        FrameError: parts of the incident do not fit together.
    """
    prepared = prepare(incident, channels=channels, without=without, repair=repair)
    return decide(prepared, config or LocaliseConfig(), granger=granger, seed=seed)


def decide(
    prepared: Prepared,
    config: LocaliseConfig,
    *,
    granger: Forecaster | None = LINEAR,
    seed: int = 0,
) -> Localisation:
    """Rank a prepared incident with these settings."""
    split = prepared.found.split
    if split is None:
        return _unsplit(prepared.incident, prepared.found)
    table = measure(prepared, split, config)
    surprises = _surprises(prepared, split, table)
    leads = find_leads(table, prepared, split, granger, seed=seed)
    moved = metric_presence(table, prepared.times_s, prepared.levels, split, config)
    felt = felt_of(prepared.incident, split)
    return _answer(prepared, table, surprises, leads, moved, felt)


def service_ranking(prepared: Prepared, config: LocaliseConfig) -> list[tuple[str, float]]:
    """The service level of `decide` alone, for comparing many settings."""
    split = prepared.found.split
    if split is None:
        return [(name, 0.0) for name in prepared.incident.services]
    table = measure(prepared, split, config)
    return _ranked(prepared, _surprises(prepared, split, table))


def _surprises(prepared: Prepared, split: Split, table: MetricTable) -> list[Surprise]:
    found = [metric_surprise(prepared.incident, table), *prepared.surprises]
    used = [s for s in found if not s.skipped]
    if "change" not in prepared.without:
        moved = {
            service: max((s.relative(service) for s in used), default=0.0)
            for service in prepared.incident.services
        }
        found.append(change_surprise(prepared.incident, split, moved=moved))
    return found


def _ranked(prepared: Prepared, surprises: Sequence[Surprise]) -> list[tuple[str, float]]:
    scores = fuse_surprises(surprises, candidates=prepared.incident.services)
    return sorted(scores.items(), key=lambda pair: (-pair[1], pair[0]))


def _answer(
    prepared: Prepared,
    table: MetricTable,
    surprises: Sequence[Surprise],
    leads: Leads,
    moved: float,
    felt: float | None,
) -> Localisation:
    incident, found = prepared.incident, prepared.found
    skipped = {s.name: s.skipped for s in surprises if s.skipped}
    if leads.result.skipped:
        skipped["granger"] = leads.result.skipped
    ranked = _ranked(prepared, surprises)
    scores = dict(ranked)
    services = tuple(
        _suspect(rank, name, score, surprises) for rank, (name, score) in enumerate(ranked, 1)
    )
    presence = presence_of(surprises, moved)
    named = accused(ranked, presence)
    checks = checks_of(surprises, moved)
    wanted = wanted_data(incident, checks, table.num_rows)
    return Localisation(
        incident_id=incident.incident_id,
        services=services,
        instances=rank_instances(incident, table, scores),
        metrics=_metrics(incident, table, scores, leads.exogenous),
        accused=named,
        presence=presence,
        felt=felt,
        confidence=confidence_of(presence, scores),
        abstained=not named,
        reason=_reason(services, named, abstained_because(checks, wanted)),
        split=found.split,
        change_at_s=found.change_at_s,
        checked=checks,
        wanted=wanted,
        used=tuple(s.name for s in surprises if not s.skipped),
        skipped=skipped,
        granger=leads.use,
        graph=draw_causes(prepared, table, leads, ranked),
        notes=(*incident.notes, *found.notes, *unfelt_note(felt)),
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
        granger=GrangerUse(why="nothing can be compared"),
        notes=(*incident.notes, *found.notes),
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


def _reason(services: Sequence[Suspect], named: Sequence[str], abstained: str) -> str:
    if not services:
        return "no column belongs to a service"
    if not named:
        return abstained
    first = services[0]
    said = first.evidence[0].text if first.evidence else "strongest change of all"
    return f"{', '.join(named)}: {said}"


def _metrics(
    incident: Incident, table: MetricTable, scores: Mapping[str, float], exogenous: FloatArray
) -> tuple[MetricSuspect, ...]:
    order = metric_order(incident, table, scores, extra=GRANGER_WEIGHT * exogenous)
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
