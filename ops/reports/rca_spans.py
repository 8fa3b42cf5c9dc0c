"""Evidence of spans and log lines as series: own time, call gaps, calls made, lines, per bucket.

Drawn against the same reading of the fault-free records, whose clocks are their own: only the
height of the normal band comes from there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ops.reports import rca_words
from ops.reports.parts import EvidenceSeries
from ops.reports.rca_model import Reading
from rca.channels.surprise import Split
from rca.channels.trace_tables import TraceTables, build_tables, template
from rca.incident import Incident, IntArray, Logs
from rca.state import Evidence, FloatArray, Series

BUCKETS_MAX = 30
_WIDTHS_S = (1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0)
BAND = (5.0, 95.0)
LOOSE_S = 10.0
FILLED_MIN = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """Values at moments of one block of records."""

    at_s: FloatArray
    values: FloatArray


class SpanRecord:
    """Spans and logs of an incident and of its fault-free blocks, indexed once."""

    def __init__(self, incident: Incident, split: Split) -> None:
        self._incident = incident
        self._tables: TraceTables = build_tables(incident, split)
        starts, parts = [], []
        blocks = [incident.spans, *incident.normal_spans]
        for number, spans in enumerate(blocks):
            if spans is not None:
                starts.append(spans.start_s)
                parts.append(np.full(len(spans), number))
        self._start_s = np.concatenate(starts) if starts else np.empty(0)
        self._part = np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)
        self._split = split

    def reading_of(self, evidence: Evidence) -> Reading:
        """One piece of evidence with its samples where there are any."""
        about = evidence.series or Series(evidence.channel)
        reading = Reading(
            channel=evidence.channel,
            label=_label(about),
            detail=_detail(about),
            before=evidence.before,
            after=evidence.after,
            unit="a request" if evidence.unit == "a trace" else evidence.unit,
            text=rca_words.counts(evidence),
            onset_s=evidence.onset_s,
        )
        blocks = self._samples(about)
        series = _drawn(reading, blocks, spread=evidence.unit == "s", split=self._split)
        return replace(reading, series=series)

    def _samples(self, about: Series) -> list[Samples]:
        match about.name:
            case "self-time":
                return self._own_time(about)
            case "edges":
                return self._gaps(about)
            case "structure":
                return self._calls(about)
            case "errors" | "sequences":
                return self._lines(about)
        return []

    def _kind(self, service: str, operation: str) -> int:
        tables = self._tables
        for kind, text in enumerate(tables.operations):
            if text == operation and tables.services[tables.kind_service[kind]] == service:
                return kind
        return -1

    def _split_by_part(self, rows: IntArray, values: FloatArray) -> list[Samples]:
        part, at_s = self._part[rows], self._start_s[rows]
        return [
            Samples(at_s=at_s[part == n], values=values[part == n])
            for n in range(1 + len(self._incident.normal_spans))
        ]

    def _own_time(self, about: Series) -> list[Samples]:
        kind = self._kind(about.label("service"), about.label("operation"))
        rows = np.flatnonzero(self._tables.span_kind == kind)
        return self._split_by_part(rows, self._tables.self_s[rows])

    def _gaps(self, about: Series) -> list[Samples]:
        tables = self._tables
        names = np.array([*tables.services, ""])
        rows = np.flatnonzero(tables.span_parent >= 0)
        parents = tables.span_parent[rows]
        mine = names[tables.span_service[rows]] == about.label("callee")
        mine &= names[tables.span_service[parents]] == about.label("caller")
        rows, parents = rows[mine], parents[mine]
        gap = np.maximum(tables.span_s[parents] - tables.span_s[rows], 0.0)
        return self._split_by_part(parents, gap)

    def _calls(self, about: Series) -> list[Samples]:
        tables = self._tables
        parent = self._kind(about.label("service"), about.label("operation"))
        child = self._kind(about.label("callee"), about.label("called"))
        tries = np.flatnonzero(tables.span_kind == parent)
        made = tables.span_parent[(tables.span_kind == child) & (tables.span_parent >= 0)]
        times = np.bincount(made, minlength=len(tables.span_kind))[tries]
        hit = times >= (2 if about.label("often") else 1)
        return self._split_by_part(tries, hit.astype(float))

    def _lines(self, about: Series) -> list[Samples]:
        blocks = [self._incident.logs, *self._incident.normal_logs]
        return [_line_samples(logs, about) for logs in blocks if logs is not None]


def _line_samples(logs: Logs, about: Series) -> Samples:
    """Per visit of the service whether it wrote the line; of errors, how often per request."""
    counted = about.name == "errors"
    if about.label("service") not in logs.services:
        return Samples(at_s=np.empty(0), values=np.empty(0))
    own = logs.service == logs.services.index(about.label("service"))
    masked = {logs.messages[n]: "" for n in np.flatnonzero(own).tolist()}
    masked = {message: template(message) for message in masked}
    first: dict[int, float] = {}
    wrote: dict[int, int] = {}
    beside: set[int] = set()
    for n in range(len(logs)) if counted else np.flatnonzero(own).tolist():
        at_s, visit = float(logs.at_s[n]), int(logs.trace[n])
        if visit < 0:  # lines of no request go together by time
            visit = -2 - abs(int(at_s // LOOSE_S))
        text = masked.get(logs.messages[n], "") if own[n] else ""
        first[visit] = min(first.get(visit, np.inf), at_s)
        wrote[visit] = wrote.get(visit, 0) + (text == about.label("line"))
        if text and text == about.label("beside"):
            beside.add(visit)
    kept = [v for v in first if v in beside] if about.label("beside") else list(first)
    return Samples(
        at_s=np.array([first[v] for v in kept]),
        values=np.array([float(wrote[v] if counted else wrote[v] > 0) for v in kept]),
    )


def _drawn(
    reading: Reading, blocks: Sequence[Samples], *, spread: bool, split: Split
) -> EvidenceSeries | None:
    """Median (of durations) or mean (of shares) per bucket; the band from the normal buckets."""
    if not blocks or len(blocks[0].at_s) < 2:
        return None
    here = blocks[0]
    origin = split.fault_start_s  # so that no bucket holds both sides
    width = _width(here, origin)
    times, values = _bucketed(here, width, origin, spread=spread)
    before = times < split.normal_end_s
    normal = [values[before]]
    normal += [_bucketed(b, width, 0.0, spread=spread)[1] for b in blocks[1:] if len(b.at_s)]
    seen = np.concatenate(normal)
    seen = seen[np.isfinite(seen)]
    low, high = np.percentile(seen, BAND) if len(seen) else (None, None)
    return EvidenceSeries(
        label=reading.label,
        detail=reading.detail,
        unit=reading.unit if reading.unit != "a request" else "",
        times_s=tuple(times.tolist()),
        values=tuple(values.tolist()),
        normal_low=None if low is None else float(low),
        normal_high=None if high is None else float(high),
        onset_s=reading.onset_s,
        before=reading.before,
        after=reading.after,
    )


def _width(samples: Samples, origin: float) -> float:
    """The finest buckets of which most hold something: a visit less is no gap in the data."""
    length = float(samples.at_s.max() - samples.at_s.min())
    for width in _WIDTHS_S:
        places = np.floor((samples.at_s - origin) / width)
        num = int(places.max() - places.min()) + 1
        if length / width <= BUCKETS_MAX and len(np.unique(places)) >= FILLED_MIN * num:
            return width
    return _WIDTHS_S[-1]


def _bucketed(
    samples: Samples, width: float, origin: float, *, spread: bool
) -> tuple[FloatArray, FloatArray]:
    """Middles of the buckets and their values; NaN where a bucket holds nothing."""
    place = np.floor((samples.at_s - origin) / width).astype(np.int64)
    first, last = int(place.min()), int(place.max())
    values = np.full(last - first + 1, np.nan)
    for bucket in np.unique(place).tolist():
        mine = samples.values[place == bucket]
        values[bucket - first] = np.median(mine) if spread else mine.mean()
    times = origin + width * (np.arange(first, last + 1, dtype=np.float64) + 0.5)
    return np.asarray(times), np.asarray(values)


def _label(about: Series) -> str:
    return {
        "self-time": about.label("operation"),
        "edges": f"{about.label('caller')} → {about.label('callee')}",
        "structure": about.label("operation"),
        "sequences": about.label("line"),
        "errors": about.label("line"),
    }.get(about.name, rca_words.channel_name(about.name))


def _detail(about: Series) -> str:
    """What of the label is measured, as a few words below it."""
    match about.name:
        case "self-time":
            return "time by itself"
        case "edges":
            return "time outside the callee"
        case "structure":
            often = " more than once" if about.label("often") else ""
            return f"runs that call {rca_words.called(about)}{often}"
        case "sequences":
            beside = about.label("beside")
            return f"visits that write it beside “{beside}”" if beside else "visits that write it"
        case "errors":
            return "times a request"
    return ""
