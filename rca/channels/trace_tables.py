"""Spans and log lines of one incident, indexed once for every channel that reads them.

A trace belongs to the fault if its first record comes at or after the fault; else to the block of
normal time it was collected in: the minutes before the fault, or one fault-free recording each.
Blocks are kept apart because what differs between two quiet days is no sign of a fault.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rca.channels.surprise import Split
from rca.incident import Incident, IntArray, Logs, Spans
from rca.state import FloatArray

FAULT = 0  # block of the traces since the fault; normal blocks count from 1
UNUSED = -1  # block of traces that take no part
WINDOW_S = 5.0  # log lines without a trace: those of one service and window belong together
TEMPLATE_CHARS = 80
_BRACKETED = re.compile(r"\[[^\[\]]*[:=][^\[\]]*\]")
_VARIABLE = re.compile(r"<\w+>|\b[0-9a-fA-F]{8,}\b|(?<![#\w])\d[\w:.\-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceTables:
    """Records of all blocks in one table each.

    Attributes:
        services: names, sorted.
        trace_block: block of each trace or UNUSED, in order of first appearance, shape [R].
        num_blocks: FAULT and the normal blocks, empty ones included.
        span_trace, span_service, span_kind: shape [S]; a kind is one operation of one service.
        span_parent: row of the caller's span, -1 where unknown or a root, shape [S].
        span_s, self_s: duration, and what is left of it without the children (>= 0), shape [S].
        log_trace, log_service, log_kind: in order of time within a trace, shape [L].
        kind_service, log_kind_service: service of each kind.
        operations, templates: text of each kind.
    """

    services: tuple[str, ...]
    trace_block: IntArray
    num_blocks: int
    span_trace: IntArray
    span_service: IntArray
    span_kind: IntArray
    span_parent: IntArray
    span_s: FloatArray
    self_s: FloatArray
    kind_service: IntArray
    operations: tuple[str, ...]
    log_trace: IntArray
    log_service: IntArray
    log_kind: IntArray
    log_kind_service: IntArray
    templates: tuple[str, ...]


def template(message: str) -> str:
    """A log line without what varies: bracketed key:value text, numbers, identifiers."""
    return _VARIABLE.sub("*", _BRACKETED.sub("[*]", message))[:TEMPLATE_CHARS]


def build_tables(incident: Incident, when: Split) -> TraceTables:
    """Index the spans and logs of an incident; empty tables where it has none."""
    blocks = [(incident.spans, incident.logs)]
    for k in range(max(len(incident.normal_spans), len(incident.normal_logs))):
        spans = incident.normal_spans[k] if k < len(incident.normal_spans) else None
        blocks.append((spans, incident.normal_logs[k] if k < len(incident.normal_logs) else None))
    parts = [_Part.of(spans, logs) for spans, logs in blocks]
    services = tuple(sorted({s for part in parts for s in part.services}))
    trace_block, offset = [], 0
    for number, part in enumerate(parts):
        own = np.full(len(part.first_s), number + 1, dtype=np.int64)
        if number == 0:
            own[part.first_s >= when.normal_end_s] = UNUSED
            own[(part.first_s >= when.fault_start_s) & (part.first_s < when.fault_end_s)] = FAULT
        trace_block.append(own)
        part.shift(offset, services)
        offset += len(part.first_s)
    parent, rows = [], 0
    for part in parts:
        parent.append(np.where(part.parent >= 0, part.parent + rows, -1))
        rows += len(part.parent)
    span_service = np.concatenate([p.span_service for p in parts])
    span_kind, kind_service, operations = _kinds(
        span_service, [o for p in parts for o in p.operations]
    )
    log_service = np.concatenate([p.log_service for p in parts])
    log_kind, log_kind_service, templates = _kinds(
        log_service, [t for p in parts for t in p.templates]
    )
    span_parent = np.concatenate(parent)
    span_s = np.concatenate([p.span_s for p in parts])
    return TraceTables(
        services=services,
        trace_block=np.concatenate(trace_block),
        num_blocks=len(parts) + 1,
        span_trace=np.concatenate([p.span_trace for p in parts]),
        span_service=span_service,
        span_kind=span_kind,
        span_parent=span_parent,
        span_s=span_s,
        self_s=_self_s(span_s, span_parent),
        kind_service=kind_service,
        operations=operations,
        log_trace=np.concatenate([p.log_trace for p in parts]),
        log_service=log_service,
        log_kind=log_kind,
        log_kind_service=log_kind_service,
        templates=templates,
    )


def _self_s(span_s: FloatArray, parent: IntArray) -> FloatArray:
    """Duration minus the sum of the children; an asynchronous child may outlast its parent."""
    children = np.zeros(len(span_s))
    known = parent >= 0
    np.add.at(children, parent[known], span_s[known])
    return np.maximum(span_s - children, 0.0)


def _kinds(service: IntArray, texts: Sequence[str]) -> tuple[IntArray, IntArray, tuple[str, ...]]:
    """Code of each (service, text), service and text of each code, ordered by these two."""
    pairs = list(zip(service.tolist(), texts, strict=True))
    order = sorted(set(pairs))
    place = {pair: k for k, pair in enumerate(order)}
    codes = np.array([place[pair] for pair in pairs], dtype=np.int64)
    owners = np.array([s for s, _ in order], dtype=np.int64)
    return codes, owners, tuple(text for _, text in order)


class _Part:
    """One block of records before its numbers are shifted into the common tables."""

    def __init__(self, spans: Spans, logs: Logs) -> None:
        traces = np.concatenate([spans.trace, _traces_of(logs)])
        times = np.concatenate([spans.start_s, logs.at_s])
        names, code = np.unique(traces, return_inverse=True)
        first = np.full(len(names), np.inf)
        np.minimum.at(first, code, times)
        # Numbered by first appearance: identifiers carry no meaning.
        order = np.lexsort((np.arange(len(names)), first))
        place = np.empty(len(names), dtype=np.int64)
        place[order] = np.arange(len(names))
        self.first_s = first[order]
        self.span_trace = place[code[: len(spans)]]
        log_trace = place[code[len(spans) :]]
        by_time = np.lexsort((np.arange(len(logs)), logs.at_s, log_trace))
        self.log_trace = log_trace[by_time]
        self.services = sorted({*spans.services, *logs.services})
        self._span_names, self._log_names = spans.services, logs.services
        self.span_service, self.log_service = spans.service, logs.service[by_time]
        self.operations = [spans.operations[o] for o in spans.operation.tolist()]
        masked = {m: template(m) for m in set(logs.messages)}
        self.templates = [masked[logs.messages[k]] for k in by_time.tolist()]
        self.span_s = spans.duration_s
        self.parent = parent_rows(spans)

    @classmethod
    def of(cls, spans: Spans | None, logs: Logs | None) -> _Part:
        """A block where either sort of record may be missing."""
        return cls(spans or NO_SPANS, logs or NO_LOGS)

    def shift(self, offset: int, services: Sequence[str]) -> None:
        """Number traces from `offset` and services by the common list."""
        self.span_trace = self.span_trace + offset
        self.log_trace = self.log_trace + offset
        place = {name: k for k, name in enumerate(services)}
        for name, table in (("span_service", self._span_names), ("log_service", self._log_names)):
            codes = np.array([place[s] for s in table], dtype=np.int64)
            setattr(self, name, codes[getattr(self, name)] if len(codes) else getattr(self, name))


def _traces_of(logs: Logs) -> IntArray:
    """Trace of each line; lines without one are grouped by service and time."""
    window = np.floor(logs.at_s / WINDOW_S).astype(np.int64) * (len(logs.services) + 1)
    return np.where(logs.trace >= 0, logs.trace, -2 - (np.abs(window) + logs.service))


def parent_rows(spans: Spans) -> IntArray:
    """Row of each span's caller, -1 for a root or a caller that was not recorded, shape [S]."""
    if not len(spans):
        return np.empty(0, dtype=np.int64)
    order = np.argsort(spans.span, kind="stable")
    place = np.searchsorted(spans.span[order], spans.parent)
    found = order[np.minimum(place, len(order) - 1)]
    known = (spans.parent >= 0) & (spans.span[found] == spans.parent)
    known &= spans.trace[found] == spans.trace
    return np.where(known, found, -1)


_NONE = np.empty(0, dtype=np.int64)
_NONE_S = np.empty(0)
NO_SPANS = Spans(
    start_s=_NONE_S, trace=_NONE, span=_NONE, parent=_NONE, service=_NONE, operation=_NONE,
    duration_s=_NONE_S, services=(), operations=(),
)  # fmt: skip
NO_LOGS = Logs(at_s=_NONE_S, service=_NONE, trace=_NONE, messages=(), services=())
