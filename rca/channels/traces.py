"""Every channel that reads spans and logs, each with its null from the fault-free traces.

The null of a channel is the largest score that any service reaches when random normal traces
stand in for the fault (median over splits), or half of what one normal block reaches against the
others, whichever is more; never less than a floor in the channel's own unit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from rca.channels.edges import blame_ends, build_edges, edge_contrast
from rca.channels.error_logs import error_contrast, error_templates
from rca.channels.hearsay import without_hearsay
from rca.channels.self_time import UNIT_S, self_time_contrast
from rca.channels.sequences import build_visits, companion_contrast
from rca.channels.structure import build_patterns, structure_contrast
from rca.channels.surprise import Split, Surprise
from rca.channels.trace_stats import Contrast, top_mean
from rca.channels.trace_tables import FAULT, UNUSED, TraceTables, build_tables
from rca.incident import Incident, IntArray
from rca.kinds import plain, plain_s
from rca.state import Evidence, FloatArray, Series

SPLITS = 8
BLOCK_TRACES_MIN = 20  # a block with fewer says nothing about other days
BLOCK_SHARE = 0.5  # a quiet day may differ more from another than two halves of one
EVIDENCE_MAX = 3
NEEDS_SPANS = "no spans of both normal and fault time"
NEEDS_LOGS = "no log lines of both normal and fault time"

SPAN_CHANNELS = ("self-time", "edges", "structure")
LOG_CHANNELS = ("sequences", "errors")


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """Scores of one split.

    Attributes:
        score: per service, shape [num services].
        value: per key, for choosing what to tell, shape [K].
        contrast: per key.
    """

    score: FloatArray
    value: FloatArray
    contrast: Contrast


@dataclass(frozen=True, slots=True, kw_only=True)
class _Channel:
    name: str
    floor: float
    owner: IntArray  # service of each key, for the evidence
    judge: Callable[[IntArray], Judged]
    tell: Callable[[int, Contrast], tuple[str, Series]]  # a sentence, and what it is about
    unit: str  # of the contrast; "s" stands for log(1 + us)


def trace_surprises(incident: Incident, when: Split, *, seed: int = 0) -> list[Surprise]:
    """What spans and logs say of every service that they cover.

    A channel without data is there with the reason why it says nothing.
    """
    everything = build_tables(incident, when)
    tables = without_hearsay(everything)
    found = {c.name: _surprise(tables, c, seed) for c in _channels(tables, everything)}
    return [
        found.get(name) or Surprise(name=name, skipped=why)
        for names, why in ((SPAN_CHANNELS, NEEDS_SPANS), (LOG_CHANNELS, NEEDS_LOGS))
        for name in names
    ]


def _channels(tables: TraceTables, everything: TraceTables) -> list[_Channel]:
    found: list[_Channel] = []
    if _both_sides(everything, everything.span_trace):
        found += [_self_time(tables), _edges(everything), _structure(tables)]
    if _both_sides(everything, everything.log_trace):
        found += [_sequences(tables), _errors(tables)]
    return found


def _both_sides(tables: TraceTables, trace: IntArray) -> bool:
    blocks = tables.trace_block[trace]
    return bool((blocks == FAULT).any() and (blocks > FAULT).any())


def _surprise(tables: TraceTables, channel: _Channel, seed: int) -> Surprise:
    judged = channel.judge(tables.trace_block)
    null = float(np.median([channel.judge(s).score.max() for s in random_splits(tables, seed)]))
    blocks = [channel.judge(s).score.max() for s in block_splits(tables)]
    between = BLOCK_SHARE * float(np.median(blocks)) if blocks else 0.0
    evidence: dict[str, tuple[Evidence, ...]] = {}
    for number, service in enumerate(tables.services):
        mine = np.flatnonzero((channel.owner == number) & (judged.value > 0.0))
        best = mine[np.argsort(-judged.value[mine], kind="stable")][:EVIDENCE_MAX]
        if len(best):
            evidence[service] = tuple(_evidence(channel, judged, int(k)) for k in best)
    return Surprise(
        name=channel.name,
        score=dict(zip(tables.services, judged.score.tolist(), strict=True)),
        null=max(null, between, channel.floor),
        evidence=evidence,
    )


def random_splits(tables: TraceTables, seed: int) -> list[IntArray]:
    """Random normal traces in the place of the fault, as many as the fault has or half of them."""
    rng = np.random.default_rng([seed, 4])
    normal = np.flatnonzero(tables.trace_block > FAULT)
    size = min(int((tables.trace_block == FAULT).sum()), len(normal) // 2)
    out = []
    for _ in range(SPLITS):
        split = np.where(tables.trace_block == FAULT, UNUSED, tables.trace_block)
        split[rng.choice(normal, size, replace=False)] = FAULT
        out.append(split)
    return out


def block_splits(tables: TraceTables) -> list[IntArray]:
    """Each large enough normal block in the place of the fault, if there is another one."""
    used = tables.trace_block[tables.trace_block >= 0]
    sizes = np.bincount(used, minlength=tables.num_blocks)
    large = [b for b in range(1, tables.num_blocks) if sizes[b] >= BLOCK_TRACES_MIN]
    if len(large) < 2:
        return []
    out = []
    for block in large:
        split = np.where(tables.trace_block == FAULT, UNUSED, tables.trace_block)
        out.append(np.where(tables.trace_block == block, FAULT, split))
    return out


def _evidence(channel: _Channel, judged: Judged, key: int) -> Evidence:
    level = _seconds if channel.unit == "s" else float
    text, series = channel.tell(key, judged.contrast)
    return Evidence(
        channel=channel.name,
        text=text,
        strength=round(float(judged.value[key]), 6),
        series=series,
        before=level(float(judged.contrast.before[key])),
        after=level(float(judged.contrast.after[key])),
        unit=channel.unit,
    )


def _about(channel: str, **labels: str) -> Series:
    """What one piece of evidence is about, as the channel's own series."""
    return Series(channel, tuple(sorted(labels.items())))


def _share_value(contrast: Contrast) -> FloatArray:
    """Surprise of a changed share, damped by the root of the change: what is sure may be small."""
    change = np.nan_to_num(np.abs(contrast.after - contrast.before))
    return np.asarray(np.abs(contrast.z) * np.sqrt(change))


def _self_time(tables: TraceTables) -> _Channel:
    num = len(tables.services)

    def judge(split: IntArray) -> Judged:
        contrast = self_time_contrast(tables, split)
        value = np.maximum(contrast.z, 0.0)
        score = top_mean(value, tables.kind_service, num_owners=num, top=3)
        return Judged(score=score, value=value, contrast=contrast)

    def tell(key: int, contrast: Contrast) -> tuple[str, Series]:
        operation, service = tables.operations[key], tables.services[tables.kind_service[key]]
        return (
            f"{operation} takes {_duration(contrast.after[key])} by itself, "
            f"{_duration(contrast.before[key])} before ({contrast.num_after[key]:.0f} and "
            f"{contrast.num_before[key]:.0f} spans)"
        ), _about("self-time", service=service, operation=operation)

    return _Channel(
        name="self-time", floor=0.8, owner=tables.kind_service, judge=judge, tell=tell, unit="s"
    )


def _edges(tables: TraceTables) -> _Channel:
    edges, num = build_edges(tables), len(tables.services)

    def judge(split: IntArray) -> Judged:
        contrast = edge_contrast(tables, edges, split)
        score = blame_ends(edges, contrast, num_services=num)
        ends = np.concatenate([contrast.z, contrast.z])
        return Judged(score=score, value=np.maximum(ends, 0.0), contrast=_doubled(contrast))

    def tell(key: int, contrast: Contrast) -> tuple[str, Series]:
        edge = key % max(len(edges.caller), 1)
        caller, callee = (tables.services[e[edge]] for e in (edges.caller, edges.callee))
        return (
            f"calls {caller} -> {callee} wait {_duration(contrast.after[key])} outside the callee, "
            f"{_duration(contrast.before[key])} before"
        ), _about("edges", caller=caller, callee=callee)

    owner = np.concatenate([edges.caller, edges.callee])
    return _Channel(name="edges", floor=0.35, owner=owner, judge=judge, tell=tell, unit="s")


def _doubled(contrast: Contrast) -> Contrast:
    """The same per end of an edge: callers first, then callees."""
    return Contrast(
        z=np.tile(contrast.z, 2),
        before=np.tile(contrast.before, 2),
        after=np.tile(contrast.after, 2),
        num_before=np.tile(contrast.num_before, 2),
        num_after=np.tile(contrast.num_after, 2),
    )


def _structure(tables: TraceTables) -> _Channel:
    patterns, num = build_patterns(tables), len(tables.services)
    owner = tables.kind_service[patterns.parent]

    def judge(split: IntArray) -> Judged:
        contrast = structure_contrast(tables, patterns, split)
        value = _share_value(contrast)
        return Judged(score=_log_top(value, owner, num), value=value, contrast=contrast)

    def tell(key: int, contrast: Contrast) -> tuple[str, Series]:
        parent, child = patterns.parent[key], patterns.child[key]
        caller, callee = (tables.services[tables.kind_service[k]] for k in (parent, child))
        often = " more than once" if patterns.repeated[key] else ""
        operation, called = tables.operations[parent], tables.operations[child]
        about = _about("structure", service=caller, operation=operation, callee=callee,
                       called=called, often=often.strip())  # fmt: skip
        return f"{operation} calls {callee} {called}{often} in {_shares(key, contrast)}", about

    return _Channel(name="structure", floor=0.5, owner=owner, judge=judge, tell=tell, unit="ratio")


def _sequences(tables: TraceTables) -> _Channel:
    visits, num = build_visits(tables), len(tables.services)

    def judge(split: IntArray) -> Judged:
        contrast = companion_contrast(tables, visits, split)
        value = _share_value(contrast)
        return Judged(score=_log_top(value, visits.service, num), value=value, contrast=contrast)

    def tell(key: int, contrast: Contrast) -> tuple[str, Series]:
        given, other = visits.given[key], visits.other[key]
        beside = tables.templates[given] if given < len(tables.templates) else ""
        when, line = f"with '{beside}'" if beside else "per visit", tables.templates[other]
        about = _about("sequences", service=tables.services[visits.service[key]], line=line,
                       beside=beside)  # fmt: skip
        return f"'{line}' {when} in {_shares(key, contrast)}", about

    return _Channel(
        name="sequences", floor=0.5, owner=visits.service, judge=judge, tell=tell, unit="ratio"
    )


def _errors(tables: TraceTables) -> _Channel:
    kinds, num = error_templates(tables), len(tables.services)
    owner = tables.log_kind_service[kinds]

    def judge(split: IntArray) -> Judged:
        contrast = error_contrast(tables, kinds, split)
        return Judged(score=_log_top(contrast.z, owner, num), value=contrast.z, contrast=contrast)

    def tell(key: int, contrast: Contrast) -> tuple[str, Series]:
        line = tables.templates[kinds[key]]
        return (
            f"'{line}' {contrast.num_after[key]:.0f} times, "
            f"{plain(float(contrast.after[key]))} a trace, "
            f"{plain(float(contrast.before[key]))} before"
        ), _about("errors", service=tables.services[owner[key]], line=line)

    return _Channel(name="errors", floor=0.8, owner=owner, judge=judge, tell=tell, unit="a trace")


def _log_top(value: FloatArray, owner: IntArray, num: int) -> FloatArray:
    return np.asarray(np.log1p(top_mean(value, owner, num_owners=num, top=2)))


def _shares(key: int, contrast: Contrast) -> str:
    """How often since the fault and before, as counts."""
    tries = contrast.num_after[key], contrast.num_before[key]
    hits = contrast.after[key] * tries[0], contrast.before[key] * tries[1]
    return f"{hits[0]:.0f} of {tries[0]:.0f}, {hits[1]:.0f} of {tries[1]:.0f} before"


def _seconds(log_us: float) -> float:
    return float(np.expm1(log_us)) * UNIT_S


def _duration(log_us: float) -> str:
    return plain_s(_seconds(log_us))


def channel_names() -> Sequence[str]:
    """All channels of this module, in the order of `trace_surprises`."""
    return (*SPAN_CHANNELS, *LOG_CHANNELS)
