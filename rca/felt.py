"""Do users notice? The symptoms of an incident, apart from whose fault it may be.

A fault that users do not notice is no incident: something changed, and it can wait until morning.
Where a table has no symptom columns (`sli_*`) nothing is known, and nothing is concluded.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rca.channels.metric_table import NULL_FLOOR, candidate_columns, measure_metrics
from rca.channels.surprise import Split
from rca.incident import Column, Incident
from rca.knobs import LocaliseConfig
from rca.levels import comparable_levels

FELT_MIN = 2.0  # twice what any quiet stretch as long as the trouble shows
# Users' waits count as they are, whatever settings suit the ranking of suspects.
_SETTINGS = LocaliseConfig(level_floor=0.05, saturation=1e9, wrong_way=0.5, kind_contrast=0.0)


def felt_of(incident: Incident, split: Split) -> float | None:
    """How far the symptoms left quiet time, in units of the most that any quiet block shows.

    The strongest symptom since the trouble began, against the strongest in any block of normal rows
    that is as long. Each is looked at by itself: failures need not come with waits.

    Returns:
        None where the table has no symptom, or too few rows to compare.
    """
    places = [n for n, column in enumerate(incident.columns) if column.is_symptom]
    if not places:
        return None
    symptoms = replace(
        incident,
        columns=tuple(
            Column(incident.columns[n].metric, incident.columns[n].metric) for n in places
        ),
        values=incident.values[:, places],
        instances={},
    )
    columns = candidate_columns(symptoms)
    times_s, levels = comparable_levels(symptoms)
    levels = levels[:, columns.place]
    seen_s = times_s[np.flatnonzero(np.isfinite(levels).any(axis=1))]
    if not (seen_s < split.normal_end_s).any() or not (seen_s >= split.fault_start_s).any():
        return None
    table = measure_metrics(columns, times_s, levels, split, _SETTINGS)
    if not len(table.null):
        return None
    return float(table.score.max()) / max(float(table.null.max()), NULL_FLOOR)


def users_notice(felt: float | None) -> bool | None:
    """Whether there is an incident at all; None where nobody measured what users get."""
    return None if felt is None else felt >= FELT_MIN


def unfelt_note(felt: float | None) -> tuple[str, ...]:
    """What the reader is told where users notice nothing."""
    if felt is None or users_notice(felt):
        return ()
    return (
        f"users notice nothing: their symptoms move {felt:.2f} times as far as in quiet time, "
        f"{FELT_MIN:g} are an incident; what changed can wait",
    )
