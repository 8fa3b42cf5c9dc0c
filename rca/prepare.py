"""What of an incident does not depend on the settings: columns, levels, split, other channels.

Kept apart so that settings can be compared without reading spans and logs again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rca.channels.callers import discount_callers
from rca.channels.metric_table import (
    Columns,
    MetricTable,
    candidate_columns,
    measure_metrics,
)
from rca.channels.span_calls import known_calls
from rca.channels.surprise import Split, Surprise
from rca.incident import Incident
from rca.knobs import LocaliseConfig
from rca.levels import comparable_levels
from rca.reporting import with_reporting
from rca.splits import Found, split_record
from rca.state import FloatArray

Channels = Callable[[Incident, Split], Sequence[Surprise]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """An incident ready to be judged.

    Attributes:
        incident: without its spans and logs, which the channels have read.
        levels: of the candidate columns, shape [T, N].
        surprises: of the channels beside the metrics and the announced changes.
        calls: (caller, callee) of services as given or as spans show; empty without topology.
        without: channels that are left out, by name.
    """

    incident: Incident
    columns: Columns
    times_s: FloatArray
    levels: FloatArray
    found: Found
    surprises: tuple[Surprise, ...]
    calls: tuple[tuple[str, str], ...]
    without: frozenset[str]


def prepare(
    incident: Incident,
    *,
    channels: Sequence[Channels],
    without: Collection[str] = (),
    repair: bool = True,
) -> Prepared:
    """Clean the table, split it, and ask the channels.

    Raises:
        FrameError: parts of the incident do not fit together.
    """
    incident.check()
    times_s, levels = comparable_levels(incident)
    incident, levels = with_reporting(incident, times_s, levels)
    columns = candidate_columns(incident)
    levels = np.ascontiguousarray(levels[:, columns.place])
    found = split_record(
        times_s, levels, fault_at_s=incident.fault_at_s, step_s=incident.step_s,
        owner=columns.owner, metric=[name.metric for name in columns.names],
        weight=columns.weight, bad=columns.bad, repair=repair,
    )  # fmt: skip
    surprises: list[Surprise] = []
    if found.split is not None:
        for channel in channels:
            surprises += channel(incident, found.split)
    return Prepared(
        incident=replace(incident, spans=None, logs=None, normal_spans=(), normal_logs=()),
        columns=columns,
        times_s=times_s,
        levels=levels,
        found=found,
        surprises=tuple(s for s in surprises if s.name not in without),
        calls=() if "topology" in without else known_calls(incident),
        without=frozenset(without),
    )


def measure(prepared: Prepared, split: Split, config: LocaliseConfig) -> MetricTable:
    """Change of every candidate column, callers discounted by their callees."""
    table = measure_metrics(prepared.columns, prepared.times_s, prepared.levels, split, config)
    if "topology" in prepared.without:
        return table
    return replace(table, score=discount_callers(prepared.incident, table))
