"""Queries that show a cause whenever they are typed: a range that ends at a fixed moment."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ops.reports.parts import ClockBase
from rca.state import (
    Entity,
    EntityKind,
    MetricFrame,
    MetricKind,
    MetricRole,
    RankedCause,
    ResourceClass,
    Series,
)

_BEFORE_S, _AFTER_S = 600.0, 300.0  # shown around what happened
_MINUTE_S = 60.0
_KINDS = (MetricKind.LATENCY, MetricKind.SATURATION, MetricKind.QUEUE, MetricKind.RATE)
_VALUES_MAX = 8  # of one label in a query
_KEPT = frozenset({"region", "pod"})  # a person looks for them
_Column = tuple[Series, MetricRole]


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """When something happened, in seconds of the run; its clock makes moments of them."""

    from_s: float
    to_s: float
    clock: ClockBase

    def range(self) -> tuple[int, int]:
        """(minutes, Unix time of the end) of the period with what lay around it."""
        length_s = self.to_s + _AFTER_S - max(0.0, self.from_s - _BEFORE_S)
        return math.ceil(length_s / _MINUTE_S), math.ceil(self.clock.epoch_s + self.to_s + _AFTER_S)


def selector(series: Series) -> str:
    """A series as one asks for it: `up{job="x"}`."""
    labels = ", ".join(f'{name}="{value}"' for name, value in series.labels)
    return f"{series.name}{{{labels}}}" if labels else series.name


def ranged(expression: str, period: Period, *, computed: bool = False) -> str:
    """An expression over a period: `up[21m] @ 1773754000`.

    Args:
        computed: it is no plain series, so that it needs a step.
    """
    minutes, end_s = period.range()
    return f"{expression}[{minutes}m{':15s' if computed else ''}] @ {end_s}"


def query_of(cause: RankedCause, frame: MetricFrame | None, period: Period) -> str:
    """What shows the cause over a period; empty where nothing of it is measured.

    The series that the diagnosis cites first, else what is measured at the cause or at the first
    thing on the way to the users that has such a measurement, over all its series.
    """
    if frame is None:
        return ""
    known = [(s, r) for s, r in zip(frame.series, frame.roles, strict=True) if r is not None]
    cited = dict(known)
    for item in sorted(cause.evidence, key=lambda e: (-e.strength, e.text)):
        if item.series in cited and item.strength > 0:
            return _plain(item.series, cited[item.series], period, known)
    near = list(_near(cause, known))
    places = [(entities, _kinds(cause), known) for entities in near]
    if cause.resource_class is ResourceClass.LOSS:
        # What is lost measures little of it: the errors that rose at those who called it tell.
        errors, risen = (MetricKind.ERRORS,), _risen(frame, period)
        rose = [column for column in known if column[0] in risen]
        others = [entities for entities in near if cause.entity not in entities]
        places = [(who, errors, among) for among in (rose, known) for who in others] + places
    for entities, kinds, among in places:
        own = [column for column in among if column[1].entity in entities]
        for kind in kinds:
            text = _of_kind([c for c in own if c[1].kind is kind], kind, known)
            if text:
                return ranged(text, period, computed=True)
    return ""


def _risen(frame: MetricFrame, period: Period) -> frozenset[Series]:
    """Counters that grew while it happened, as far as that was seen."""
    rows = (frame.times_s >= period.from_s) & (frame.times_s <= period.to_s)
    steps = np.diff(frame.values[rows], axis=0)
    # A missing sample makes no step.
    return frozenset(frame.series[k] for k in np.flatnonzero(np.any(steps > 0.0, axis=0)))


def _near(cause: RankedCause, known: Sequence[_Column]) -> Iterator[frozenset[Entity]]:
    """The cause, what calls it, then one by one what lies on the way to the users."""
    yield frozenset({cause.entity})
    links = {r.entity for _, r in known if r.entity.kind is EntityKind.LINK}
    for entity in (cause.entity, *map(Entity.parse, cause.path)):
        if entity.kind is EntityKind.SERVICE:
            yield frozenset(
                e for e in links
                if e.region == entity.region and e.name.partition("->")[2] == entity.name
            )  # fmt: skip
        yield frozenset({entity})


def _kinds(cause: RankedCause) -> tuple[MetricKind, ...]:
    if cause.resource_class is ResourceClass.LOAD:
        return (MetricKind.RATE,)
    numbers = [e for e in cause.evidence if e.strength > 0 and e.after is not None]
    if cause.resource_class is ResourceClass.CODE and numbers and numbers[0].unit != "s":
        return (MetricKind.ERRORS, *_KINDS)
    return _KINDS


def _plain(series: Series, role: MetricRole, period: Period, known: Sequence[_Column]) -> str:
    text = selector(Series(series.name, _telling((series,), series.labels, known)))
    if role.counter:
        return ranged(f"rate({text}[1m])", period, computed=True)
    return ranged(text, period)


def _of_kind(columns: Sequence[_Column], kind: MetricKind, known: Sequence[_Column]) -> str:
    """Mean of the first histogram, else the sum of the first counter; empty where none is.

    Of a call both ends tell the time; the caller's is taken, which has the way in it.
    """
    if kind is MetricKind.LATENCY:
        asked = [c for c in columns if c[0].label("service") == c[1].entity.name.partition("->")[0]]
        columns = asked or columns
        name = next((r.role for _, r in columns if r.part == "sum"), "")
        parts = [[s for s, r in columns if (r.role, r.part) == (name, p)] for p in ("sum", "count")]
        if not all(parts):
            return ""
        over, under = (_summed(part, known) for part in parts)
        return f"({over} / {under})"
    first = next((s.name for s, r in columns if r.counter), "")
    found = [s for s, _ in columns if s.name == first]
    return _summed(found, known) if found else ""


def _summed(found: Sequence[Series], known: Sequence[_Column]) -> str:
    """Rate of all series of one name, told by the labels that tell them from the others."""
    mine = [s for s in found if s.name == found[0].name]
    shared = set(mine[0].labels).intersection(*(s.labels for s in mine))
    kept = _telling(mine, sorted(shared), known)
    others = [s for s, _ in known if s.name == mine[0].name and set(kept).issubset(s.labels)]
    match = [f'{name}="{value}"' for name, value in kept]
    for name in sorted({name for s in mine for name, _ in s.labels} - {n for n, _ in shared}):
        values = sorted({s.label(name) for s in mine})
        if len(values) <= _VALUES_MAX and {s.label(name) for s in others} - set(values):
            match.append(f'{name}=~"{chr(124).join(values)}"')
    return f"sum(rate({mine[0].name}{{{', '.join(match)}}}[1m]))"


def _telling(
    mine: Sequence[Series], labels: Sequence[tuple[str, str]], known: Sequence[_Column]
) -> tuple[tuple[str, str], ...]:
    """As few shared labels as tell these series from their namesakes; region and pod stay."""
    namesakes = [set(s.labels) for s, _ in known if s.name == mine[0].name]

    def others(kept: Sequence[tuple[str, str]]) -> int:
        return sum(found.issuperset(kept) for found in namesakes)

    kept = list(labels)
    for label in sorted(labels, key=lambda n: (-len(n[0]) - len(n[1]), n)):
        rest = [n for n in kept if n != label]
        if label[0] not in _KEPT and others(rest) == others(labels):
            kept = rest
    return tuple(kept)
