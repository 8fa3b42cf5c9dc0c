"""Fault-free windows: nothing of the fault in them, nothing shared, nothing counted twice."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rca.incident import Column, Incident, Logs, Spans
from rca.localise import localise
from rca.quiet import Source, groups_of, quiet_moments, quiet_windows, rows_of

FAULT_S = 600.0


def table(*, rows=90, seed=0):
    columns = tuple(Column(s, m) for s in ("a", "b") for m in ("cpu", "mem"))
    values = np.random.default_rng(seed).normal(1.0, 0.1, (rows, 4))
    return Incident(incident_id="one", times_s=10.0 * np.arange(rows), values=values,
                    columns=columns, step_s=10.0, fault_at_s=FAULT_S)  # fmt: skip


def spans(first_s, num, *, first_trace=0, step_s=1.0):
    """Traces of two spans each."""
    start = first_s + step_s * np.repeat(np.arange(num), 2)
    return Spans(
        start_s=start, trace=first_trace + np.repeat(np.arange(num), 2),
        span=np.arange(2 * num) + 2 * first_trace,
        parent=np.where(np.arange(2 * num) % 2, np.arange(2 * num) - 1 + 2 * first_trace, -1),
        service=np.tile([0, 1], num), operation=np.tile([0, 1], num),
        duration_s=np.full(2 * num, 0.01), services=("a", "b"), operations=("get", "put"),
    )  # fmt: skip


def logs(first_s, num):
    return Logs(at_s=first_s + np.arange(float(num)), service=np.zeros(num, dtype=np.int64),
                trace=np.arange(num), messages=("ok",) * num, services=("a",))  # fmt: skip


def traced():
    """Thirty traces before the fault, ten since, and two fault-free days."""
    return replace(
        table(), spans=spans(FAULT_S - 30.0, 40), logs=logs(FAULT_S - 30.0, 40),
        normal_spans=(spans(0.0, 25), spans(9e4, 26)), normal_logs=(logs(0.0, 25),),
    )  # fmt: skip


def test_quiet_moments_lie_before_the_fault_and_share_no_fault_row():
    incident = table()
    moments = quiet_moments(incident)
    assert len(moments) == 2
    assert all(m.times_s[-1] < incident.fault_at_s for m in moments)
    assert moments[1].times_s[-1] < moments[0].fault_at_s


def test_each_block_of_traces_stands_for_the_fault_once_and_none_since_the_fault_is_used():
    windows = [w for w in quiet_windows(traced()) if w.source is Source.TRACES]
    assert [len(w.incident.spans) for w in windows] == [60, 50, 52]
    for window in windows:
        assert float(window.incident.spans.start_s.min()) == FAULT_S
        assert np.isnan(window.incident.values).all()
        held = len(window.incident.spans)
        assert sorted([held, *(len(b) for b in window.incident.normal_spans)]) == [50, 52, 60]
    assert [len(w.incident.logs or ()) for w in windows] == [30, 25, 0]


def test_a_window_of_traces_is_ranked_by_them_alone():
    for window in quiet_windows(traced()):
        found = localise(window.incident)
        assert {s.name for s in found.services} == {"a", "b"}
        if window.source is Source.TRACES:
            assert "edges" in found.used and found.abstained


def test_a_trace_that_reaches_into_the_fault_is_not_fault_free():
    incident = traced()
    late = incident.spans.trace.copy()
    late[60:62] = 7  # a trace from before the fault with a span after it
    windows = quiet_windows(replace(incident, spans=replace(incident.spans, trace=late)))
    assert next(len(w.incident.spans) for w in windows if w.source is Source.TRACES) == 58


def test_too_few_traces_or_no_other_block_give_no_window():
    alone = replace(traced(), normal_spans=(), normal_logs=())
    assert all(w.source is Source.METRICS for w in quiet_windows(alone))
    few = replace(traced(), spans=spans(FAULT_S - 5.0, 40), logs=None)
    windows = [w for w in quiet_windows(few) if w.source is Source.TRACES]
    assert [len(w.incident.spans) for w in windows] == [50, 52]
    assert quiet_windows(replace(traced(), fault_at_s=None)) == []


def test_windows_that_share_rows_are_one_group_whatever_their_stamps_and_column_order():
    first, other = table(seed=1), table(seed=2)
    moved = replace(first, times_s=first.times_s + 500.0, values=first.values[5:],
                    incident_id="two")  # fmt: skip
    order = [2, 0, 3, 1]
    moved = replace(moved, values=moved.values[:, order],
                    columns=tuple(moved.columns[n] for n in order))  # fmt: skip
    rows = [rows_of(first), rows_of(other), rows_of(moved)]
    assert groups_of(rows) == [0, 1, 0]


def test_sharing_is_passed_on():
    a, b, c = (frozenset([x, y]) for x, y in ((b"1", b"2"), (b"2", b"3"), (b"3", b"4")))
    assert groups_of([a, frozenset([b"9"]), c, b]) == [0, 1, 0, 0]
    assert groups_of([]) == []
