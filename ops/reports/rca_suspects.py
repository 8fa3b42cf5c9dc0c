"""The services of a ranking with their measurements, their pods, and reasons for and against."""

from __future__ import annotations

from ops.reports import rca_rivals, rca_words
from ops.reports.rca_model import Reading, SuspectReport
from ops.reports.rca_record import Record
from ops.reports.rca_spans import SpanRecord
from rca.incident import Incident
from rca.localisation import Localisation, Suspect
from rca.state import Evidence

SUSPECTS_MIN = 6
READINGS_MAX = 6
METRICS_EACH_MAX = 4
CONTRAST = 2.0  # a pod that moved so many times as much as the next one moved alone


def suspect_reports(
    found: Localisation, record: Record, field: rca_rivals.Field, top: int
) -> list[SuspectReport]:
    """The first `top` services, at least six, and every accused one."""
    shown = found.services[: max(top, SUSPECTS_MIN)]
    shown += tuple(s for s in found.services[len(shown) :] if s.name in found.accused)
    best = max((s.score for s in found.services), default=0.0)
    spans = None
    if found.split is not None and (record.incident.spans or record.incident.logs):
        spans = SpanRecord(record.incident, found.split)
    made = []
    for suspect in shown:
        readings = _readings(suspect, found, record, spans)
        pod, place = _pods(suspect.name, found, record.incident)
        made.append(
            SuspectReport(
                rank=suspect.rank,
                name=suspect.name,
                share=suspect.score / best if best > 0.0 else 0.0,
                accused=suspect.name in found.accused,
                onset_s=field.at_s.get(suspect.name) if suspect.channels else None,
                channels=suspect.channels,
                pod=pod,
                place=place,
                found=_found(suspect),
                readings=readings,
                speaks_for=rca_rivals.speaks_for(suspect, readings, field),
                speaks_against=rca_rivals.speaks_against(suspect, readings, field),
            )
        )
    return made


def _found(suspect: Suspect) -> str:
    """What its strongest measurement shows; a change alone is no measurement."""
    measured = [e for e in suspect.evidence if e.channel != "change"]
    return rca_words.found(measured[0]) if measured else ""


def _readings(
    suspect: Suspect, found: Localisation, record: Record, spans: SpanRecord | None
) -> tuple[Reading, ...]:
    """What carried its score, then more of its columns from the metric ranking."""
    readings: list[Reading] = []
    columns: set[str] = set()
    lines: set[str] = set()
    errors = {_line(e) for e in suspect.evidence if e.channel == "errors"}

    def add(evidence: Evidence) -> None:
        name = evidence.series.name if evidence.series is not None else ""
        if evidence.channel == "change":
            return  # told among the reasons and in the order of onsets
        if evidence.channel != "metric":
            line = _line(evidence)
            if line and (line in lines or (evidence.channel == "sequences" and line in errors)):
                return  # the same line in other company says the same
            lines.add(line)
            if spans is not None and evidence.series is not None:
                readings.append(spans.reading_of(evidence))
            else:
                readings.append(Reading(channel=evidence.channel, label=evidence.text,
                                        onset_s=evidence.onset_s))  # fmt: skip
        elif name in record.place and name not in columns:
            columns.add(name)
            readings.append(record.reading_of(name, evidence))

    for evidence in suspect.evidence:
        add(evidence)
    for metric in found.metrics:
        if metric.service == suspect.name and len(columns) < METRICS_EACH_MAX:
            add(metric.evidence)
    # A column that stayed where it was is no evidence; the first is shown in any case.
    return tuple([*readings[:1], *(r for r in readings[1:] if r.moved())][:READINGS_MAX])


def _line(evidence: Evidence) -> str:
    return evidence.series.label("line") if evidence.series is not None else ""


def _pods(service: str, found: Localisation, incident: Incident) -> tuple[str, str]:
    """(the pod that moved alone among several, pods and machines in words)."""
    pods = {p for p, owner in incident.instances.items() if owner == service and p != service}
    ranked = [s for s in found.instances if s.name in pods]
    if not ranked:
        node = incident.nodes.get(service, "")
        return "", f"on {node}" if node else ""
    first = ranked[0]
    node = incident.nodes.get(first.name) or incident.nodes.get(service, "")
    where = f"{first.name} on {node}" if node else first.name
    if len(ranked) == 1:
        return "", f"its only pod {where}"
    if first.score > 0.0 and first.score >= CONTRAST * ranked[1].score:
        return first.name, f"{where} moved, not the other {len(ranked) - 1}"
    return "", f"{len(ranked)} pods moved alike, {where} most"
