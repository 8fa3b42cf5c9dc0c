"""Fault-free windows cut out of recorded incidents: how often is somebody accused for nothing?

Two sorts, each judged by its own data alone. A moment inside the rows before the fault is given as
the fault time of a shorter table. And one fault-free block of spans and logs (the minutes before
the fault, or a recording of a quiet day) takes the place of the fault against the other blocks.
Windows that share rows are no independent trials: `groups_of` counts them once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from hashlib import blake2b

import numpy as np

from rca.incident import Incident, Logs, Spans
from rca.state import FloatArray

ROWS_BEFORE_MIN = 6
ROWS_AFTER_MIN = 2
MOMENTS = 2
TRACES_MIN = 20  # a block with fewer shows nothing


class Source(StrEnum):
    """Which data a fault-free window consists of."""

    METRICS = "metrics"
    TRACES = "traces"


@dataclass(frozen=True, slots=True, kw_only=True)
class QuietWindow:
    """One fault-free window.

    Attributes:
        rows: what it consists of: digests of its metric rows, or of the records that stand for
            the fault. The blocks that these are compared with are a ruler and do not count.
    """

    incident: Incident
    source: Source
    rows: frozenset[bytes]


def quiet_windows(incident: Incident) -> list[QuietWindow]:
    """All fault-free windows of an incident; none where its fault time is unknown."""
    if incident.fault_at_s is None:
        return []
    moments = [
        QuietWindow(incident=m, source=Source.METRICS, rows=rows_of(m))
        for m in quiet_moments(incident)
    ]
    return moments + _trace_windows(incident, incident.fault_at_s)


def quiet_moments(incident: Incident, *, count: int = MOMENTS) -> list[Incident]:
    """Cuts of the rows before the fault, each with a moment inside given as the fault time.

    They share no fault row; there are fewer where the normal part is short.
    """
    if incident.fault_at_s is None:
        return []
    normal = int(np.searchsorted(incident.times_s, incident.fault_at_s))
    after = len(incident.times_s) - normal
    rows = min(max(after, ROWS_AFTER_MIN), max(ROWS_AFTER_MIN, normal // 3))
    out = []
    for number in range(count):
        end = normal - number * rows
        start = end - rows
        if start < max(ROWS_BEFORE_MIN, rows):
            break
        out.append(
            replace(
                incident,
                incident_id=f"{incident.incident_id}#quiet{number}",
                times_s=incident.times_s[:end],
                values=incident.values[:end],
                fault_at_s=float(incident.times_s[start]),
                spans=None,
                logs=None,
                changes=(),
            )
        )
    return out


def rows_of(incident: Incident) -> frozenset[bytes]:
    """Digests of the metric rows: the same values in the same columns, whatever their stamps."""
    order = sorted(range(len(incident.columns)), key=lambda n: str(incident.columns[n]))
    names = "\n".join(str(incident.columns[n]) for n in order).encode()
    table = np.ascontiguousarray(incident.values[:, order])
    return frozenset(_digest(names, row.tobytes()) for row in table)


def groups_of(windows: Sequence[frozenset[bytes]]) -> list[int]:
    """Number of the group of each window: two windows that share a row belong to one."""
    leader = list(range(len(windows)))

    def find(n: int) -> int:
        while leader[n] != n:
            leader[n] = leader[leader[n]]
            n = leader[n]
        return n

    owner: dict[bytes, int] = {}
    for n, rows in enumerate(windows):
        for row in rows:
            first = owner.setdefault(row, n)
            leader[find(n)] = find(first)
    numbers: dict[int, int] = {}
    return [numbers.setdefault(find(n), len(numbers)) for n in range(len(windows))]


@dataclass(frozen=True, slots=True)
class _Block:
    spans: Spans | None
    logs: Logs | None

    @property
    def first_s(self) -> float:
        times = [t for t in (self._span_s, self._log_s) if len(t)]
        return min(float(t.min()) for t in times)

    @property
    def _span_s(self) -> FloatArray:
        return self.spans.start_s if self.spans is not None else np.empty(0)

    @property
    def _log_s(self) -> FloatArray:
        return self.logs.at_s if self.logs is not None else np.empty(0)

    @property
    def large(self) -> bool:
        found = [np.unique(part.trace) for part in (self.spans, self.logs) if part is not None]
        return max((len(traces) for traces in found), default=0) >= TRACES_MIN

    def digest(self) -> bytes:
        since = self.first_s
        return _digest((self._span_s - since).round(6).tobytes(),
                       (self._log_s - since).round(6).tobytes())  # fmt: skip


def _trace_windows(incident: Incident, fault_at_s: float) -> list[QuietWindow]:
    """Each fault-free block against the others; the metrics are blanked, not made up."""
    blocks = [_before(incident, fault_at_s)]
    for n in range(max(len(incident.normal_spans), len(incident.normal_logs))):
        spans = incident.normal_spans[n] if n < len(incident.normal_spans) else None
        blocks.append(
            _Block(spans, incident.normal_logs[n] if n < len(incident.normal_logs) else None)
        )
    blocks = [b for b in blocks if b.large]
    if len(blocks) < 2:
        return []
    out = []
    for number, held in enumerate(blocks):
        others = [b for b in blocks if b is not held]
        shift = fault_at_s - held.first_s
        window = replace(
            incident,
            incident_id=f"{incident.incident_id}#block{number}",
            values=np.full_like(incident.values, np.nan),
            spans=None if held.spans is None else replace(
                held.spans, start_s=held.spans.start_s + shift),
            logs=None if held.logs is None else replace(held.logs, at_s=held.logs.at_s + shift),
            normal_spans=tuple(b.spans for b in others if b.spans is not None),
            normal_logs=tuple(b.logs for b in others if b.logs is not None),
            changes=(),
        )  # fmt: skip
        out.append(
            QuietWindow(incident=window, source=Source.TRACES, rows=frozenset([held.digest()]))
        )
    return out


def _before(incident: Incident, fault_at_s: float) -> _Block:
    """Spans and log lines of traces that began before the fault."""
    spans, logs = incident.spans, incident.logs
    late = np.concatenate([
        part.trace[at >= fault_at_s]
        for part, at in ((spans, None if spans is None else spans.start_s),
                         (logs, None if logs is None else logs.at_s))
        if part is not None and at is not None
    ] or [np.empty(0, dtype=np.int64)])  # fmt: skip
    late = late[late >= 0]
    if spans is not None:
        kept = (spans.start_s < fault_at_s) & ~np.isin(spans.trace, late)
        spans = replace(
            spans, start_s=spans.start_s[kept], trace=spans.trace[kept], span=spans.span[kept],
            parent=spans.parent[kept], service=spans.service[kept],
            operation=spans.operation[kept], duration_s=spans.duration_s[kept],
        )  # fmt: skip
    if logs is not None:
        kept = (logs.at_s < fault_at_s) & ~np.isin(logs.trace, late)
        logs = replace(
            logs, at_s=logs.at_s[kept], service=logs.service[kept], trace=logs.trace[kept],
            messages=tuple(m for m, k in zip(logs.messages, kept.tolist(), strict=True) if k),
        )  # fmt: skip
    return _Block(spans, logs)


def _digest(*parts: bytes) -> bytes:
    return blake2b(b"|".join(parts), digest_size=8).digest()
