"""The best numbers of a cause's evidence, as nouns with a figure each."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Mapping, Sequence

from ops.catalogue import Catalogue
from ops.reports import words
from ops.reports.build_evidence import label_of, name_of, unit_of
from ops.reports.parts import EvidenceSeries, Finding, Lane
from rca.state import Entity, Evidence, MetricKind, MetricRole, RankedCause, Series

_NUMBERS = re.compile(r"(?P<label>\D*?)[ ]-?\d[^>]* -> [^;,]*[;,]?\s*(?P<rest>.*)")
# Where a measurement is worded as a clause; a report wants a noun before its number.
_NOUNS = {"users send": "requests that users send"}
_CLAUSES = {"caller sees more than the callee by": "time on the way from caller to callee"}
_PERCENT = re.compile(r"(?<=\d)%")
_AWAY = re.compile(r"first (-?)(\d+) s from the onset")
_ONSETS = (("fore the onset", "fore users were hurt"), ("after the onset", "after users were hurt"),
           ("at the onset", "as users were hurt"))  # fmt: skip


def told(text: str) -> str:
    """A measurement's text in the report's words: its onset is the moment when users were hurt."""
    text = words.arrows(text)
    for clause, noun in _CLAUSES.items():
        if text.startswith(f"{clause} "):
            text = noun + text[len(clause) :]
    text = _AWAY.sub(
        lambda m: f"first {m[2]} s {'before' if m[1] else 'after'} users were hurt", text
    )
    for onset, hurt in _ONSETS:
        text = text.replace(onset, hurt)
    return _PERCENT.sub(" %", text)


def findings_of(
    evidence: Sequence[Evidence],
    *,
    catalogue: Catalogue,
    roles: Mapping[Series, MetricRole],
    cause: RankedCause,
) -> tuple[Finding, ...]:
    """Numbers first, and first of them what shows the accused resource itself.

    Walks over the graph are no measurement.
    """
    entity = cause.entity

    def order(evidence: Evidence) -> tuple[bool, bool, float, str]:
        role = roles.get(evidence.series) if evidence.series is not None else None
        shows = role is not None and role.hardware and role.resource is cause.resource_class
        text_only = evidence.after is None or _finding_label(evidence) is None
        return text_only, not shows, -evidence.strength, evidence.text

    ordered = sorted((e for e in evidence if e.strength > 0 and e.channel != "graph"), key=order)
    return tuple(_finding(e, catalogue, roles, entity) for e in ordered)


def with_users(
    findings: Sequence[Finding], series: Sequence[EvidenceSeries], lanes: Sequence[Lane]
) -> tuple[Finding, ...]:
    """The findings; where fewer than two have numbers, what users felt is the second.

    Args:
        series: those of the report; a time that moved and is not the cause's own is taken.
        lanes: where no such time moved, the bad share of the lane that suffers most is taken.
    """
    numbers = [f for f in findings if f.after is not None]
    felt = [s for s in series if s.onset_s is not None and not s.own and s.unit == "s"]
    hit = [lane for lane in lanes if lane.minutes_with()]
    if len(numbers) >= 2 or not (felt or hit):
        return tuple(findings)
    second = _felt(felt[-1]) if felt else _hit(hit)  # the users' own series come last
    others = [f for f in findings if f.after is None]
    return (*numbers, second, *others)


def _felt(series: EvidenceSeries) -> Finding:
    return Finding(
        label=f"{series.detail} at {series.label}" if series.detail else series.label,
        before=series.before,
        after=series.after,
        unit=series.unit,
        text="Its extreme since then.",
    )


def _hit(lanes: Sequence[Lane]) -> Finding:
    """Usual share of bad requests against the worst minute of the lane that suffers most."""
    lane = max(lanes, key=lambda n: (n.minutes_with() * n.traffic_ratio, n.region, n.slo_class))
    known = [r for r in lane.bad_with if not math.isnan(r)]
    return Finding(
        label=f"bad requests of {lane.region} {lane.slo_class}",
        before=statistics.median(known),
        after=max(known),
        unit="ratio",
        text="Share of the requests that arrived in its worst minute.",
    )


def _finding_label(evidence: Evidence) -> str | None:
    if evidence.series is not None:
        return evidence.series.name
    found = _NUMBERS.match(evidence.text)
    return found["label"] if found and evidence.after is not None else None


def _finding(
    evidence: Evidence, catalogue: Catalogue, roles: Mapping[Series, MetricRole], entity: Entity
) -> Finding:
    role = roles.get(evidence.series) if evidence.series is not None else None
    if role is not None and evidence.series is not None and evidence.after is not None:
        info = catalogue.info(evidence.series)
        unit, factor = unit_of(info.unit if info else "", role)
        limit = role.kind is MetricKind.STATE and bool(role.group)  # of one pool, set by people
        return Finding(
            label=label_of(role) + (f" for {role.group}" if limit else ""),
            before=None if evidence.before is None else evidence.before * factor,
            after=evidence.after * factor,
            unit=unit,
            own=role.entity == entity,
            limit=limit,
        )
    found = _NUMBERS.match(evidence.text)
    if found is None or evidence.after is None:
        text = told(evidence.text)
        text = f"{name_of(entity)} {text}" if text.startswith("is ") else text
        return Finding(label=text, before=None, after=None, unit="")
    label, rest = found["label"], found["rest"]
    if label.startswith("own ") and evidence.unit == "ratio":
        rest = f"share of the calls to it; {rest}".rstrip("; ")
    return Finding(
        label=(_NOUNS | _CLAUSES).get(label, label),
        before=evidence.before,
        after=evidence.after,
        unit=evidence.unit,
        text=f"{words.capital(rest)}." if rest else "",
        own=label.startswith("own "),
    )
