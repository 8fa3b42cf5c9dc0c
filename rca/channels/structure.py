"""Operations that make other calls than usual: missing ones (early return), added, repeated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rca.channels.trace_stats import Contrast, block_counts, share_contrast
from rca.channels.trace_tables import TraceTables
from rca.incident import IntArray


@dataclass(frozen=True, slots=True, kw_only=True)
class CallPatterns:
    """Which spans make which calls.

    Attributes:
        parent, child: kinds of each pattern; `repeated` tells "made it at least twice" from
            "made it", shape [P].
        hit_pattern, hit_trace: one entry per span that shows a pattern.
    """

    parent: IntArray
    child: IntArray
    repeated: IntArray
    hit_pattern: IntArray
    hit_trace: IntArray


def build_patterns(tables: TraceTables) -> CallPatterns:
    """All (operation, operation it calls) pairs that ever occur, once and repeated."""
    rows = np.flatnonzero(tables.span_parent >= 0)
    parents = tables.span_parent[rows]
    num = max(len(tables.operations), 1)
    made, times = np.unique(parents * num + tables.span_kind[rows], return_counts=True)
    span, child = made // num, made % num
    parent = tables.span_kind[span]
    twice = times >= 2
    code = (parent * num + child) * 2
    codes = np.concatenate([code, code[twice] + 1])
    names, pattern = np.unique(codes, return_inverse=True)
    spans = np.concatenate([span, span[twice]])
    return CallPatterns(
        parent=names // 2 // num,
        child=names // 2 % num,
        repeated=names % 2,
        hit_pattern=pattern,
        hit_trace=tables.span_trace[spans],
    )


def structure_contrast(tables: TraceTables, patterns: CallPatterns, split: IntArray) -> Contrast:
    """Change of the share of spans that show each pattern, shape [P]."""
    hits = block_counts(
        patterns.hit_pattern,
        split[patterns.hit_trace],
        num_keys=len(patterns.parent),
        num_blocks=tables.num_blocks,
    )
    tries = block_counts(
        tables.span_kind,
        split[tables.span_trace],
        num_keys=len(tables.operations),
        num_blocks=tables.num_blocks,
    )
    return share_contrast(hits, tries[:, patterns.parent])
