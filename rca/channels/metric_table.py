"""How far every candidate column of an incident left its normal law: one table for all levels.

Distances are two-sided and saturate, so that bytes weigh as much as ratios. What one owner shows
counts once for each kind of measurement, so that five percentiles of one latency, or a metric under
two names, are no more evidence than one. Services, instances and single metrics are ranked from
this table (`rca.channels.metrics`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from rca.channels.surprise import Split
from rca.incident import Column, Incident, IntArray
from rca.knobs import LocaliseConfig
from rca.law import BoolArray, NormalLaw, Shift, normal_law, shift_of, standstill
from rca.metric_kinds import Measured, Sense, sense
from rca.onset import onset_rows
from rca.state import FloatArray

ROBUST_SD = 1.349  # interquartile range of a normal law, in standard deviations
LAW_ROWS_MIN = 3  # values that make a normal law
NULL_BLOCKS = 12
NULL_FLOOR = 0.5
PEER_FLOOR = 0.1
PEERS_MIN = 4
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
        by_kind: columns ordered so that those of one owner and kind are neighbours, shape [N].
        kind_starts: where each such group begins in `by_kind`, shape [G].
        kind_owner: place in `owners` of each group, ascending, shape [G].
    """

    place: IntArray
    owners: tuple[str, ...]
    owner: IntArray
    names: tuple[Column, ...]
    senses: tuple[Sense, ...]
    weight: FloatArray
    bad: FloatArray
    floor: FloatArray
    by_kind: IntArray
    kind_starts: IntArray
    kind_owner: IntArray


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricTable:
    """Change of every candidate column; arrays have shape [N].

    Attributes:
        law, shift: what was normal, what the fault rows show.
        still: times the longest normal run of one value, where a series stopped moving, else 0.
        known: whether there are values enough on both sides; what is not known is not healthy.
        score: weighted, saturated surprise, 0 or more.
        far: the same without weight and saturation: breaks ties between metrics.
        onset_s: NaN where a column has none.
        null: largest score of any owner in normal blocks, shape [B].
        num_rows: normal and fault rows.
    """

    columns: Columns
    law: NormalLaw
    shift: Shift
    still: FloatArray
    known: BoolArray
    score: FloatArray
    far: FloatArray
    onset_s: FloatArray
    null: FloatArray
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
    owner = np.array([number[c.owner] for c in names], dtype=np.int64)
    by_kind, kind_starts = _by_kind(owner, names, senses)
    return Columns(
        place=np.array([place for _, place in found], dtype=np.int64),
        owners=owners,
        owner=owner,
        names=names,
        senses=senses,
        weight=np.array([s.weight for s in senses], dtype=float),
        bad=np.array([s.bad for s in senses], dtype=float),
        floor=np.array([RATIO_FLOOR if s.kind in _RATIOS else 1.0 for s in senses], dtype=float),
        by_kind=by_kind,
        kind_starts=kind_starts,
        kind_owner=owner[by_kind[kind_starts]],
    )


def _by_kind(
    owner: IntArray, names: Sequence[Column], senses: Sequence[Sense]
) -> tuple[IntArray, IntArray]:
    """Columns by owner and kind, and where each group begins. Each unknown name is a kind."""
    labels = [c.metric if s.kind is Measured.OTHER else f" {s.kind}"
              for c, s in zip(names, senses, strict=True)]  # fmt: skip
    number = {label: n for n, label in enumerate(sorted(set(labels)))}
    group = owner * max(len(number), 1) + np.array([number[x] for x in labels], dtype=np.int64)
    order = np.argsort(group, kind="stable")
    return order, np.flatnonzero(np.diff(group[order], prepend=-1))


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
    still = standstill(levels[:end], normal_end)
    restless = _restlessness(normal, fault, law, shift.scale)
    shift = replace(shift, z=_at_least(shift.z, np.maximum(still, restless)))
    rows = onset_rows(levels[:end], centre=law.centre, scale=shift.scale, z=shift.z,
                      start=normal_end)  # fmt: skip
    far = _far(shift.z, columns, config)
    score = _score(far, columns, config)
    known = (law.count >= LAW_ROWS_MIN) & np.isfinite(shift.after)
    blocks = _block_scores(normal, len(fault), law, shift, columns, config)
    null = np.array([owner_scores(b, columns, known).max(initial=0.0) for b in blocks])
    return MetricTable(
        columns=columns,
        law=law,
        shift=shift,
        still=still,
        known=known,
        score=score,
        far=far,
        onset_s=np.where(rows >= 0, times_s[np.maximum(rows, 0)], np.nan),
        null=null,
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


def _at_least(z: FloatArray, size: FloatArray) -> FloatArray:
    """Distances of at least `size`; downwards where there is none, as nothing comes any more."""
    return np.asarray(np.where(z > 0.0, 1.0, -1.0) * np.maximum(np.abs(z), size))


def _restlessness(
    normal: FloatArray, fault: FloatArray, law: NormalLaw, scale: FloatArray
) -> FloatArray:
    """How much farther from the normal centre rows lie than they used to, in scales, shape [N].

    A series that trembles about its old mean, or wakes from a constant, has moved as well.
    """
    far = [np.abs(rows - law.centre) for rows in (normal, fault)]
    count = [np.isfinite(rows).sum(axis=0) for rows in far]
    before, after = (np.nansum(rows, axis=0) / np.maximum(n, 1)
                     for rows, n in zip(far, count, strict=True))  # fmt: skip
    usable = (count[0] > 0) & (count[1] > 0) & (scale > 0.0)
    return np.where(usable, np.maximum(after - before, 0.0) / np.where(usable, scale, 1.0), 0.0)


def _far(z: FloatArray, columns: Columns, config: LocaliseConfig) -> FloatArray:
    against = z * columns.bad < 0.0
    return np.asarray(np.log1p(np.abs(z) * np.where(against, config.wrong_way, 1.0)))


def _score(far: FloatArray, columns: Columns, config: LocaliseConfig) -> FloatArray:
    """Huge changes keep their order, yet none outweighs several clear ones."""
    return np.asarray(far / (1.0 + far / config.saturation) * columns.weight**config.kind_contrast)


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


def owner_scores(score: FloatArray, columns: Columns, known: BoolArray) -> FloatArray:
    """Mean of each owner's kinds, the n-th strongest with weight 1 / n, shape [owners].

    A kind is as strong as its strongest column. Zipf's weights need no number of metrics to be
    chosen: one kind alone is heard, what several kinds show together is heard better. A kind of
    which nothing is known has no weight; an owner of which nothing is known has 0.
    """
    num = len(columns.owners)
    if not len(score):
        return np.zeros(num)
    heard = np.where(known, score, -1.0)
    kinds = np.maximum.reduceat(heard[columns.by_kind], columns.kind_starts)
    order = np.lexsort((-kinds, columns.kind_owner))
    owner, kinds = columns.kind_owner[order], kinds[order]
    weight = 1.0 / (1.0 + np.arange(len(order)) - np.searchsorted(owner, owner))
    weight = np.where(kinds >= 0.0, weight, 0.0)
    total = np.bincount(owner, weight * kinds, num)
    whole = np.bincount(owner, weight, num)
    return np.asarray(np.round(total / np.where(whole > 0.0, whole, 1.0), DECIMALS))
