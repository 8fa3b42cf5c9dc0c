"""Channel `metric`: how far the columns of each service left their normal law.

One table per incident holds every candidate column; services, instances and single metrics are
all ranked from it. Distances are two-sided and saturate, so that bytes weigh as much as ratios.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rca.channels.surprise import Split, Surprise
from rca.incident import Column, Incident, IntArray
from rca.kinds import plain
from rca.knobs import LocaliseConfig
from rca.law import NormalLaw, Shift, normal_law, shift_of
from rca.metric_kinds import Measured, Sense, sense
from rca.onset import onset_rows
from rca.state import Evidence, FloatArray

CHANNEL = "metric"
ROBUST_SD = 1.349  # interquartile range of a normal law, in standard deviations
BEYOND = 0.02  # of what exceeds saturation still counts, so that huge changes keep their order
NULL_BLOCKS = 12
NULL_FLOOR = 0.5
NORMAL_ROWS_MIN = 3
EVIDENCE_MAX = 3
PEER_FLOOR = 0.1
PEERS_MIN = 4
NAMING_Z = 6.0  # as far off as a metric need be to be named by its kind rather than its size
_MEASURED_IN_UNITS = frozenset({Measured.CPU, Measured.MEMORY, Measured.GPU, Measured.DISK,
                                Measured.NETWORK, Measured.TRAFFIC})  # fmt: skip
RATIO_FLOOR = 0.2  # a success ratio of 0.999 that falls to 0.95 is no small thing
_RATIOS = frozenset({Measured.SUCCESS, Measured.AVAILABILITY})
DECIMALS = 6  # scores are compared after rounding: units must not decide through rounding dust


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Candidate columns of an incident: whose they are and how they are read.

    Attributes:
        place: in the incident's table, shape [N].
        owners: services, pods or nodes that may be accused, sorted.
        owner: place in `owners`, shape [N].
        names, senses: length N.
        weight, bad: of the senses, shape [N].
        floor: factor on the least scale, shape [N].
    """

    place: IntArray
    owners: tuple[str, ...]
    owner: IntArray
    names: tuple[Column, ...]
    senses: tuple[Sense, ...]
    weight: FloatArray
    bad: FloatArray
    floor: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricTable:
    """Change of every candidate column; arrays have shape [N].

    Attributes:
        law, shift: what was normal, what the fault rows show.
        score: weighted, saturated surprise, 0 or more.
        far: the same without weight and saturation: breaks ties between metrics.
        onset_s: NaN where a column has none.
        null: largest score of any owner in normal blocks, shape [B].
        presence: largest score of an owner or of a single column since the fault, in units of
            the largest of the same sort in any normal block; 0 where there are no blocks.
        num_rows: normal and fault rows.
    """

    columns: Columns
    law: NormalLaw
    shift: Shift
    score: FloatArray
    far: FloatArray
    onset_s: FloatArray
    null: FloatArray
    presence: float
    num_rows: tuple[int, int]


def candidate_columns(incident: Incident) -> Columns:
    """Columns that can be held against somebody: no symptoms, no strangers, sorted by name.

    Where the incident names its instances, owners that are none of them (machines) are left out.
    """
    known = incident.instances
    found = sorted(
        (column, place)
        for place, column in enumerate(incident.columns)
        if column.owner and not column.is_symptom and (not known or column.owner in known)
    )
    names = tuple(column for column, _ in found)
    owners = tuple(sorted({column.owner for column in names}))
    number = {owner: n for n, owner in enumerate(owners)}
    senses = tuple(sense(column.metric) for column in names)
    return Columns(
        place=np.array([place for _, place in found], dtype=np.int64),
        owners=owners,
        owner=np.array([number[c.owner] for c in names], dtype=np.int64),
        names=names,
        senses=senses,
        weight=np.array([s.weight for s in senses], dtype=float),
        bad=np.array([s.bad for s in senses], dtype=float),
        floor=np.array([RATIO_FLOOR if s.kind in _RATIOS else 1.0 for s in senses], dtype=float),
    )


def measure_metrics(
    columns: Columns, times_s: FloatArray, levels: FloatArray, split: Split, config: LocaliseConfig
) -> MetricTable:
    """Score every candidate column.

    Args:
        levels: of the candidate columns only, shape [T, N], NaN missing.
    """
    normal_end = int(np.searchsorted(times_s, split.normal_end_s))
    start = int(np.searchsorted(times_s, split.fault_start_s))
    end = int(np.searchsorted(times_s, split.fault_end_s))
    normal, fault = levels[:normal_end], levels[start:end]
    law = normal_law(normal)
    scale = np.maximum((law.upper - law.lower) / ROBUST_SD, 0.5 * law.spread)
    scale = np.where(law.spread > 0.0, np.maximum(scale, _peer_floor(law, columns)), scale)
    shift = shift_of(fault, law, scale, floor_ratio=config.level_floor * columns.floor)
    rows = onset_rows(levels[:end], centre=law.centre, scale=shift.scale, z=shift.z,
                      start=normal_end)  # fmt: skip
    far = _far(shift.z, columns, config)
    score = _score(far, columns, config)
    blocks = _block_scores(normal, len(fault), law, shift, columns, config)
    null = np.array([owner_scores(b, columns, config).max(initial=0.0) for b in blocks])
    return MetricTable(
        columns=columns,
        law=law,
        shift=shift,
        score=score,
        far=far,
        onset_s=np.where(rows >= 0, times_s[np.maximum(rows, 0)], np.nan),
        null=null,
        presence=_presence(score, blocks, null, columns, config),
        num_rows=(normal_end, len(fault)),
    )


def _peer_floor(law: NormalLaw, columns: Columns) -> FloatArray:
    """A share of what other owners usually have of the same resource, shape [N].

    Three times next to nothing is still little: an idle service is compared with its peers too.
    """
    groups: dict[str, list[int]] = {}
    for column, (name, meaning) in enumerate(zip(columns.names, columns.senses, strict=True)):
        if meaning.kind in _MEASURED_IN_UNITS:
            groups.setdefault(name.metric, []).append(column)
    floor = np.zeros(len(columns.names))
    for members in groups.values():
        levels = np.abs(law.centre[members])
        if len(members) >= PEERS_MIN and np.isfinite(levels).any():
            floor[members] = PEER_FLOOR * float(np.nanmedian(levels))
    return floor


def _far(z: FloatArray, columns: Columns, config: LocaliseConfig) -> FloatArray:
    against = z * columns.bad < 0.0
    return np.asarray(np.log1p(np.abs(z) * np.where(against, config.wrong_way, 1.0)))


def _score(far: FloatArray, columns: Columns, config: LocaliseConfig) -> FloatArray:
    kept = np.minimum(far, config.saturation)
    kept += BEYOND * np.maximum(far - config.saturation, 0.0)
    return np.asarray(kept * columns.weight**config.kind_contrast)


def _block_scores(
    normal: FloatArray,
    num_fault: int,
    law: NormalLaw,
    shift: Shift,
    columns: Columns,
    config: LocaliseConfig,
) -> list[FloatArray]:
    """Scores of all columns in each normal block that is as long as the fault."""
    rows = min(max(num_fault, 1), len(normal) // 4)
    num_blocks = min(NULL_BLOCKS, len(normal) // rows) if rows else 0
    if num_blocks < 2:
        return []
    cuts = len(normal) - rows * np.arange(num_blocks, 0, -1)
    seen = np.isfinite(normal[cuts[0] :])
    filled = np.where(seen, normal[cuts[0] :], 0.0)
    counts = np.add.reduceat(seen, cuts - cuts[0], axis=0, dtype=np.float64)
    sums = np.add.reduceat(filled, cuts - cuts[0], axis=0)
    scale = np.where(shift.scale > 0.0, shift.scale, np.inf)
    with np.errstate(invalid="ignore"):
        z = np.where(counts > 0, (sums / np.maximum(counts, 1.0) - law.centre) / scale, 0.0)
    return [_score(_far(block, columns, config), columns, config) for block in np.nan_to_num(z)]


def _presence(
    score: FloatArray,
    blocks: Sequence[FloatArray],
    null: FloatArray,
    columns: Columns,
    config: LocaliseConfig,
) -> float:
    if not blocks or not len(score):
        return 0.0
    owners = float(owner_scores(score, columns, config).max()) / max(float(null.max()), NULL_FLOOR)
    peak = float(np.max(blocks))
    return max(owners, float(score.max()) / max(peak, NULL_FLOOR))


def owner_scores(score: FloatArray, columns: Columns, config: LocaliseConfig) -> FloatArray:
    """Mean of each owner's strongest columns, shape [owners]."""
    out = np.zeros(len(columns.owners))
    order = np.lexsort((-score, columns.owner))
    owner, ranked = columns.owner[order], score[order]
    starts = np.searchsorted(owner, np.arange(len(out)))
    place = np.arange(len(order)) - starts[owner]
    kept = place < config.num_metrics
    np.add.at(out, owner[kept], ranked[kept])
    sizes = np.minimum(np.bincount(owner, minlength=len(out)), config.num_metrics)
    return np.asarray(np.round(out / np.maximum(sizes, 1), DECIMALS))


def service_scores(
    incident: Incident, table: MetricTable, config: LocaliseConfig
) -> dict[str, float]:
    """Strongest instance of each service; who serves the users shows everybody's fault."""
    scores: dict[str, float] = {}
    values = owner_scores(table.score, table.columns, config)
    for owner, value in zip(table.columns.owners, values.tolist(), strict=True):
        service = incident.service_of(owner)
        factor = config.entry if service == incident.entry else 1.0
        scores[service] = max(scores.get(service, 0.0), round(factor * value, DECIMALS))
    return scores


def metric_surprise(incident: Incident, table: MetricTable, config: LocaliseConfig) -> Surprise:
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
        score=service_scores(incident, table, config),
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
    return Evidence(
        channel=CHANNEL,
        text=f"{name} {way} from {plain(before)} to {plain(after)}, "
        f"{plain(abs(z))} times its usual spread{woke}",
        strength=round(float(table.score[column]), DECIMALS),
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
