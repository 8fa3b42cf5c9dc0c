"""Calls that take longer between two services than inside the callee: network or queue.

The gap of a call is the caller's span minus the callee's span below it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rca.channels.trace_stats import TRIES_MIN, Contrast, level_contrast
from rca.channels.trace_tables import TraceTables
from rca.incident import IntArray
from rca.state import FloatArray

SCALE_MIN = 0.3
UNIT_S = 1e-6
PRICE = 0.3  # z that a service must explain before it is blamed at all
RIDGE = 0.2  # makes the answer unique
SWEEPS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Edges:
    """Calls that cross from one service to another.

    Attributes:
        caller, callee: services of each edge, shape [E].
        call_edge, call_trace: edge and trace of each call, shape [C].
        gap_s: shape [C].
    """

    caller: IntArray
    callee: IntArray
    call_edge: IntArray
    call_trace: IntArray
    gap_s: FloatArray


def build_edges(tables: TraceTables) -> Edges:
    """Every call between two services whose both spans are known."""
    rows = np.flatnonzero(tables.span_parent >= 0)
    parents = tables.span_parent[rows]
    caller, callee = tables.span_service[parents], tables.span_service[rows]
    crosses = caller != callee
    rows, parents = rows[crosses], parents[crosses]
    num = max(len(tables.services), 1)
    names, edge = np.unique(caller[crosses] * num + callee[crosses], return_inverse=True)
    return Edges(
        caller=names // num,
        callee=names % num,
        call_edge=edge,
        call_trace=tables.span_trace[rows],
        gap_s=np.maximum(tables.span_s[parents] - tables.span_s[rows], 0.0),
    )


def edge_contrast(tables: TraceTables, edges: Edges, split: IntArray) -> Contrast:
    """Change of the log gap per edge, shape [E]."""
    return level_contrast(
        np.log1p(edges.gap_s / UNIT_S),
        edges.call_edge,
        split[edges.call_trace],
        num_keys=len(edges.caller),
        num_blocks=tables.num_blocks,
        scale_min=SCALE_MIN,
    )


def blame_ends(edges: Edges, contrast: Contrast, *, num_services: int) -> FloatArray:
    """Share of each service in the slow edges: the few services that explain most of them.

    A slow network of one pod slows all that goes in and out. So z of an edge is read as what its
    caller adds plus what its callee adds, both >= 0, by least squares with a price on every
    service that is blamed: of two explanations the one with fewer services is taken, and an edge
    that nothing else decides is shared by its ends.
    """
    known = np.minimum(contrast.num_before, contrast.num_after) >= TRIES_MIN
    caller, callee, z = edges.caller[known], edges.callee[known], contrast.z[known]
    degree = np.bincount(caller, minlength=num_services) + np.bincount(
        callee, minlength=num_services
    )
    adds = np.zeros(num_services)
    for _ in range(SWEEPS):
        before = adds.copy()
        for service in np.flatnonzero(degree):
            out, into = caller == service, callee == service
            rest = (z[out] - adds[callee[out]]).sum() + (z[into] - adds[caller[into]]).sum()
            adds[service] = max(0.0, (rest - PRICE) / (degree[service] + RIDGE))
        if np.abs(adds - before).max(initial=0.0) < 1e-6:
            break
    return adds
