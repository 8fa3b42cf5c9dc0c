"""Channel `metric`: services, pods and single metrics ranked from one table of changes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from rca import reporting
from rca.channels.metric_table import DECIMALS, NULL_FLOOR, MetricTable, owner_scores
from rca.channels.surprise import Surprise
from rca.incident import Incident
from rca.kinds import plain
from rca.state import Evidence, FloatArray, Series

CHANNEL = "metric"
NORMAL_ROWS_MIN = 3
EVIDENCE_MAX = 3
NAMING_Z = 6.0  # as far off as a metric need be to be named by its kind rather than its size


def service_scores(incident: Incident, table: MetricTable) -> dict[str, float]:
    """Strongest instance of each service; a service of which nothing is known is absent."""
    scores: dict[str, float] = {}
    columns = table.columns
    values = owner_scores(table.score, columns, table.known)
    known = np.bincount(columns.owner[table.known], minlength=len(values)) > 0
    for number in np.flatnonzero(known).tolist():
        service, value = incident.service_of(columns.owners[number]), float(values[number])
        scores[service] = max(scores.get(service, 0.0), value)
    return scores


def metric_surprise(incident: Incident, table: MetricTable) -> Surprise:
    """The channel: score per service, chance level, strongest columns as evidence."""
    if not table.columns.owners:
        return Surprise(name=CHANNEL, skipped="no column of a service")
    if table.num_rows[0] < NORMAL_ROWS_MIN or not table.num_rows[1]:
        return Surprise(
            name=CHANNEL,
            skipped=f"{table.num_rows[0]} normal and {table.num_rows[1]} fault rows; "
            f"{NORMAL_ROWS_MIN} and 1 are needed",
        )
    evidence: dict[str, list[Evidence]] = {}
    for column in strongest(table):
        service = incident.service_of(table.columns.names[column].owner)
        mine = evidence.setdefault(service, [])
        if len(mine) < EVIDENCE_MAX:
            mine.append(tell(table, column))
    return Surprise(
        name=CHANNEL,
        score=service_scores(incident, table),
        null=max(float(np.median(table.null)) if len(table.null) else 0.0, NULL_FLOOR),
        evidence={service: tuple(mine) for service, mine in evidence.items()},
    )


def strongest(table: MetricTable) -> Iterator[int]:
    """Columns by score, then by unsaturated distance, then by name."""
    keys = (np.round(table.far, DECIMALS), np.round(table.score, DECIMALS))
    order = np.lexsort((np.arange(len(table.score)), -keys[0], -keys[1]))
    return iter(order[keys[1][order] > 0.0].tolist())


def tell(table: MetricTable, column: int) -> Evidence:
    """One sentence with numbers about one column."""
    before, after = float(table.law.centre[column]), float(table.shift.after[column])
    z, name = float(table.shift.z[column]), table.columns.names[column]
    way = "rose" if z > 0.0 else "fell"
    onset = float(table.onset_s[column])
    woke = ", constant before" if table.shift.woke[column] else ""
    moved = f"{way} from {plain(before)} to {plain(after)}"
    text = f"{name} {moved}, {plain(abs(z))} times its usual spread{woke}"
    if table.still[column] > 0.0 and abs(z) <= table.still[column]:
        text = (f"{name} stands still at {plain(after)}, {plain(float(table.still[column]))} times "
                "longer than ever before")  # fmt: skip
    elif name.metric == reporting.METRIC:
        text = f"{name.owner} sends no samples in {1.0 - after:.0%} of the time since"
    return Evidence(
        channel=CHANNEL,
        text=text,
        strength=round(float(table.score[column]), DECIMALS),
        series=Series(str(name)),
        before=before,
        after=after,
        onset_s=onset if np.isfinite(onset) else None,
    )


def metric_order(
    incident: Incident,
    table: MetricTable,
    services: Mapping[str, float],
    *,
    extra: FloatArray | None = None,
) -> list[tuple[int, float]]:
    """Columns with a score each, best first: which one to name.

    Beyond `NAMING_Z` size no longer decides but kind does, and the place of its service counts.

    Args:
        services: fused score per service.
        extra: added to each column's value before its service counts, shape [N].
    """
    top = max(services.values(), default=0.0)
    naming = np.array([s.naming for s in table.columns.senses], dtype=float)
    value = np.minimum(table.far, np.log1p(NAMING_Z)) * naming
    if extra is not None:
        value = value + extra * naming
    for column, name in enumerate(table.columns.names):
        share = services.get(incident.service_of(name.owner), 0.0) / top if top > 0.0 else 0.0
        value[column] *= 0.2 + 0.8 * share
    value, far = np.round(value, DECIMALS), np.round(table.far, DECIMALS)
    order = np.lexsort((np.arange(len(value)), -far, -value))
    return [(int(column), float(value[column])) for column in order]
