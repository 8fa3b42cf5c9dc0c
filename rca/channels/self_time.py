"""Operations that take longer by themselves: span duration minus that of the calls it makes."""

from __future__ import annotations

import numpy as np

from rca.channels.trace_stats import Contrast, level_contrast
from rca.channels.trace_tables import TraceTables
from rca.incident import IntArray

SCALE_MIN = 0.3  # of log seconds: a change by a third is nothing to wake somebody for
UNIT_S = 1e-6


def self_time_contrast(tables: TraceTables, split: IntArray) -> Contrast:
    """Change of the log self time per (service, operation) kind, shape [num kinds]."""
    return level_contrast(
        np.log1p(tables.self_s / UNIT_S),
        tables.span_kind,
        split[tables.span_trace],
        num_keys=len(tables.operations),
        num_blocks=tables.num_blocks,
        scale_min=SCALE_MIN,
    )
