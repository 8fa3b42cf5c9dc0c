"""Error lines that are new or come more often than the traffic explains."""

from __future__ import annotations

import re

import numpy as np

from rca.channels.trace_stats import Contrast, block_counts
from rca.channels.trace_tables import FAULT, TraceTables
from rca.incident import IntArray

ERROR_WORD = re.compile(
    r"\b(error|exception|fail(ed|ure|s)?|fatal|panic|refused|timed? ?out|unavailable|denied|abort)",
    re.IGNORECASE,
)
DOUBT = 0.5  # lines that an unseen template may have by luck


def error_templates(tables: TraceTables) -> IntArray:
    """Places of the templates that speak of a failure."""
    found = [k for k, text in enumerate(tables.templates) if ERROR_WORD.search(text)]
    return np.array(found, dtype=np.int64)


def error_contrast(tables: TraceTables, kinds: IntArray, split: IntArray) -> Contrast:
    """Lines per trace of each error template since the fault; falls count as 0, shape [K].

    z compares with a Poisson law whose rate is that of the normal blocks, widened by what the
    blocks differ; it is damped by the share of the lines that is new.
    """
    lines = block_counts(
        tables.log_kind,
        split[tables.log_trace],
        num_keys=len(tables.templates),
        num_blocks=tables.num_blocks,
    )[:, kinds]
    traces = np.array([(split == b).sum() for b in range(tables.num_blocks)], dtype=float)
    num_before = max(traces[1:].sum(), 1.0)
    rate = (lines[1:].sum(axis=0) + DOUBT) / num_before
    expected = rate * traces[FAULT]
    with np.errstate(invalid="ignore", divide="ignore"):
        own = np.where(traces[1:, None] > 0, lines[1:] / np.maximum(traces[1:, None], 1.0), np.nan)
        between = np.nansum(traces[1:, None] * (own - rate) ** 2, axis=0) / num_before
    excess = np.maximum(between - rate / num_before * (traces[1:] > 0).sum(), 0.0)
    variance = expected * (1.0 + traces[FAULT] / num_before) + traces[FAULT] ** 2 * excess + DOUBT
    more = np.maximum(lines[FAULT] - expected, 0.0)
    new = more / np.maximum(lines[FAULT] + expected, 1e-12)
    return Contrast(
        z=more / np.sqrt(variance) * np.sqrt(new),
        before=lines[1:].sum(axis=0) / num_before,
        after=lines[FAULT] / max(traces[FAULT], 1.0),
        num_before=lines[1:].sum(axis=0),
        num_after=lines[FAULT],
    )
