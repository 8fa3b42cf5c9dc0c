"""Log lines that no longer appear together: presence per visit, whatever their order.

A visit is one service in one trace. Given that it wrote one line, how often does it also write
another? An early return or an exception takes the later lines away and brings an error line; the
order of lines of one millisecond does not matter, nor how often a loop repeats them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from rca.channels.trace_stats import Contrast, share_contrast
from rca.channels.trace_tables import TraceTables
from rca.incident import IntArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Visits:
    """Which lines each visit wrote, and all pairs of lines that one service ever writes.

    Attributes:
        wrote: visit x line, 0 or 1; the last columns stand for "the service was visited".
        visit_trace: shape [V].
        given, other: columns of each pair, shape [P].
        service: of each pair, shape [P].
    """

    wrote: sparse.csr_array
    visit_trace: IntArray
    given: IntArray
    other: IntArray
    service: IntArray


def build_visits(tables: TraceTables) -> Visits:
    """Visits of all traces, pairs within each service."""
    num_services, num_lines = len(tables.services), len(tables.templates)
    names, visit = np.unique(
        tables.log_trace * num_services + tables.log_service, return_inverse=True
    )
    service = names % num_services
    rows = np.concatenate([visit, np.arange(len(names))])
    columns = np.concatenate([tables.log_kind, num_lines + service])
    wrote = sparse.csr_array(
        (np.ones(len(rows)), (rows, columns)), shape=(len(names), num_lines + num_services)
    )
    wrote.data[:] = 1.0
    wrote.sum_duplicates()
    wrote.data[:] = 1.0
    owner = np.concatenate([tables.log_kind_service, np.arange(num_services)])
    given, other = [], []
    for number in range(num_services):
        mine = np.flatnonzero(owner == number)
        lines = mine[mine < num_lines]
        first, second = np.meshgrid(mine, lines, indexing="ij")
        apart = first != second
        given.append(first[apart])
        other.append(second[apart])
    givens = np.concatenate(given) if given else np.empty(0, dtype=np.int64)
    return Visits(
        wrote=wrote,
        visit_trace=names // num_services,
        given=givens,
        other=np.concatenate(other) if other else np.empty(0, dtype=np.int64),
        service=owner[givens],
    )


def companion_contrast(tables: TraceTables, visits: Visits, split: IntArray) -> Contrast:
    """Change of the share of visits with line `given` that also wrote `other`, shape [P]."""
    block = split[visits.visit_trace]
    hits = np.zeros((tables.num_blocks, len(visits.given)))
    tries = np.zeros_like(hits)
    for number in range(tables.num_blocks):
        mine = visits.wrote[block == number]
        together = (mine.T @ mine).tocsr()
        hits[number] = np.asarray(together[visits.given, visits.other]).ravel()
        tries[number] = np.asarray(mine.sum(axis=0)).ravel()[visits.given]
    return share_contrast(hits, tries)
