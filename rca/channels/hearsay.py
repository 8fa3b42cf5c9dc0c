"""Visits that suffer from a callee: what a caller then does is no evidence against itself.

A service whose callee fails, is slow or never answers writes error lines, repeats calls, skips the
rest. Its spans and lines of such a visit are left out, so that each service is judged by the
visits in which everything below it went well. The deepest trouble of a trace keeps its evidence.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rca.align import BoolArray
from rca.channels.error_logs import error_templates
from rca.channels.trace_tables import FAULT, UNUSED, TraceTables
from rca.incident import IntArray

ANSWERED_MIN = 0.95  # share of the normal spans of a kind that another service answers
SPANS_MIN = 10  # normal spans of a kind without which nothing is usual
DEPTH_MAX = 64


def without_hearsay(tables: TraceTables) -> TraceTables:
    """The same tables with one more trace that takes no part: it collects the visits left out."""
    nowhere = len(tables.trace_block)
    below = troubled_below(tables)
    hit = np.unique(_visit(tables, tables.span_trace, tables.span_service)[below])
    logged = np.isin(_visit(tables, tables.log_trace, tables.log_service), hit)
    return replace(
        tables,
        trace_block=np.append(tables.trace_block, UNUSED),
        span_trace=np.where(below, nowhere, tables.span_trace),
        log_trace=np.where(logged, nowhere, tables.log_trace),
    )


def troubled_below(tables: TraceTables) -> BoolArray:
    """Spans below which another service failed, took longer than ever, or was silent, shape [S]."""
    parent = tables.span_parent
    rows = np.flatnonzero(parent >= 0)
    above = parent[rows]
    foreign = tables.span_service[rows] != tables.span_service[above]
    ill = _failed(tables) | _slow(tables)
    below = _unanswered(tables)
    for _ in range(DEPTH_MAX):
        worse = below[rows] | (foreign & ill[rows])
        reached = below.copy()
        reached[above[worse]] = True
        if bool((reached == below).all()):
            break
        below = reached
    return below


def _visit(tables: TraceTables, trace: IntArray, service: IntArray) -> IntArray:
    return np.asarray(trace * len(tables.services) + service)


def _failed(tables: TraceTables) -> BoolArray:
    """Spans of a service that wrote of a failure in their trace."""
    told = np.isin(tables.log_kind, error_templates(tables))
    visits = np.unique(_visit(tables, tables.log_trace, tables.log_service)[told])
    return np.isin(_visit(tables, tables.span_trace, tables.span_service), visits)


def _slow(tables: TraceTables) -> BoolArray:
    """Spans longer than every normal one of their kind."""
    normal = tables.trace_block[tables.span_trace] > FAULT
    num = len(tables.operations)
    longest = np.zeros(num)
    np.maximum.at(longest, tables.span_kind[normal], tables.span_s[normal])
    known = np.bincount(tables.span_kind[normal], minlength=num) >= SPANS_MIN
    return np.asarray(known[tables.span_kind] & (tables.span_s > longest[tables.span_kind]))


def _unanswered(tables: TraceTables) -> BoolArray:
    """Calls as their caller saw them that nobody answered, although their kind always is.

    Such a span lies within another one of its service and has one child, of another service. A
    handler that returns early has no such span, and is not excused.
    """
    parent, service = tables.span_parent, tables.span_service
    num_spans, num = len(parent), len(tables.operations)
    rows = np.flatnonzero(parent >= 0)
    foreign = service[rows] != service[parent[rows]]
    within = np.zeros(num_spans, dtype=bool)
    within[rows[~foreign]] = True
    children = np.bincount(parent[rows], minlength=num_spans)
    answers = np.bincount(parent[rows[foreign]], minlength=num_spans)
    answered = within & (children == 1) & (answers == 1)
    normal = tables.trace_block[tables.span_trace] > FAULT
    tries = np.bincount(tables.span_kind[normal], minlength=num)
    hits = np.bincount(tables.span_kind[normal & answered], minlength=num)
    always = (tries >= SPANS_MIN) & (hits >= ANSWERED_MIN * tries)
    return np.asarray(always[tables.span_kind] & within & (children == 0))
