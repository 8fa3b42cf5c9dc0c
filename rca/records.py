"""Spans and log lines of a case, with a note for every record that cannot be used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from rca.incident import IntArray, Logs, Spans
from rca.tables import NO_IDENTIFIER, codes, floats, identifiers, read_columns

TIME_MAX = 1e15  # ms or us; what is more was meant as something else
_SPAN_FIELDS = ("t_ms", "trace", "span", "parent", "service", "op", "dur_us")
_LOG_FIELDS = ("t_ms", "service", "trace", "message")


def read_spans(path: Path, origin_s: float, notes: list[str]) -> Spans:
    """Read spans whose `t_ms` counts from `origin_s`.

    A trace with a span that has no start, or a duration that is missing or negative, is left out
    as a whole: a part of it would look like calls that were not made.

    Raises:
        DatasetError: a column is missing, or a cell is no number.
    """
    fields = read_columns(path, _SPAN_FIELDS)
    start_ms, dur_us = floats(path, "t_ms", fields), floats(path, "dur_us", fields)
    trace, span = identifiers(fields["trace"]), identifiers(fields["span"])
    unusable = ~((np.abs(start_ms) < TIME_MAX) & (dur_us >= 0.0) & (dur_us < TIME_MAX))
    unusable |= trace == NO_IDENTIFIER
    dropped = np.unique(trace[unusable])
    kept = np.flatnonzero(~np.isin(trace, dropped))
    if len(dropped):
        notes.append(
            f"{path.name}: {len(dropped)} traces hold a span without start, trace or a duration "
            f"of 0 or more: {len(trace) - len(kept)} of {len(trace)} spans left out"
        )
    service, services = codes(_at(fields["service"], kept))
    operation, operations = codes(_at(fields["op"], kept))
    return Spans(
        start_s=origin_s + start_ms[kept] / 1e3,
        trace=trace[kept],
        span=span[kept],
        parent=_parents(path, identifiers(fields["parent"])[kept], trace[kept], span[kept], notes),
        service=service,
        operation=operation,
        duration_s=dur_us[kept] / 1e6,
        services=services,
        operations=operations,
    )


def _parents(
    path: Path, parent: IntArray, trace: IntArray, span: IntArray, notes: list[str]
) -> IntArray:
    """Parents that are spans of the same trace and not the span itself; else it is a root."""
    named = parent != NO_IDENTIFIER
    there = np.isin(_within(trace, parent), _within(trace, span))
    lost = named & (~there | (parent == span))
    if lost.any():
        notes.append(
            f"{path.name}: {int(lost.sum())} of {int(named.sum())} spans name a parent that is "
            "not there: taken as roots"
        )
    return np.where(lost, NO_IDENTIFIER, parent)


def _at(texts: list[str], kept: npt.NDArray[np.intp]) -> list[str]:
    return texts if len(kept) == len(texts) else [texts[k] for k in kept]


def _within(trace: IntArray, span: IntArray) -> IntArray:
    """One number per span of a trace; both are digests, so that two alike are no accident."""
    return np.asarray(trace * np.int64(1_000_003) + span)


def read_logs(path: Path, origin_s: float, notes: list[str]) -> Logs:
    """Read log lines whose `t_ms` counts from `origin_s`; those without time or service are left.

    Raises:
        DatasetError: a column is missing, or a cell is no number.
    """
    fields = read_columns(path, _LOG_FIELDS)
    at_ms = floats(path, "t_ms", fields)
    named = np.array([bool(name) for name in fields["service"]], dtype=bool)
    kept = np.flatnonzero((np.abs(at_ms) < TIME_MAX) & named)
    if len(kept) < len(at_ms):
        notes.append(
            f"{path.name}: {len(at_ms) - len(kept)} of {len(at_ms)} lines have no time or no "
            "service: left out"
        )
    service, services = codes(_at(fields["service"], kept))
    return Logs(
        at_s=origin_s + at_ms[kept] / 1e3,
        service=service,
        trace=identifiers(fields["trace"])[kept],
        messages=tuple(_at(fields["message"], kept)),
        services=services,
    )
