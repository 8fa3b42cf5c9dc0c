"""Peers on the same frame, entity by entity: what the diagnosis must beat.

Each ranks the same entities from the same aligned series and windows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from rca.align import Aligned, align, cut_windows
from rca.change import measure_changes
from rca.channels.case import contrast, make_case, ratio
from rca.channels.mesh import build_red
from rca.channels.red import entry_services
from rca.state import (
    Entity,
    EntityKind,
    FloatArray,
    MetricFrame,
    Symptom,
    Topology,
)

Peer = Callable[..., list[Entity]]


def rank_random(
    frame: MetricFrame, *, symptom: Symptom, topology: Topology, now_s: float, seed: int
) -> list[Entity]:
    """All entities of the symptom's region in an order drawn from the seed."""
    del topology
    entities = _entities(align(frame, now_s=now_s), symptom)
    order = np.random.default_rng([seed, 1]).permutation(len(entities))
    return [entities[place] for place in order]


def rank_nsigma(
    frame: MetricFrame, *, symptom: Symptom, topology: Topology, now_s: float, seed: int
) -> list[Entity]:
    """Largest (x - mean) / sd over an entity's series.

    Source: N-Sigma as in RCAEval; columns that are constant before the fault are dropped.
    """
    del topology, seed
    return _by_series(frame, symptom, now_s, _nsigma)


def rank_maxrobust(
    frame: MetricFrame, *, symptom: Symptom, topology: Topology, now_s: float, seed: int
) -> list[Entity]:
    """Largest (x - median) / IQR over an entity's series.

    Source: the scorer of BARO (FSE 2024), which sets an IQR of 0 to 1.
    """
    del topology, seed
    return _by_series(frame, symptom, now_s, _robust)


def rank_deepest(
    frame: MetricFrame, *, symptom: Symptom, topology: Topology, now_s: float, seed: int
) -> list[Entity]:
    """Services with anomalous inbound latency or errors, the deepest in the call graph first."""
    del seed
    aligned = align(frame, now_s=now_s)
    windows = cut_windows(aligned.times_s, symptom.began_at_s)
    if windows is None or not aligned.roles:
        return _entities(aligned, symptom)
    case = make_case(
        aligned, windows, measure_changes(aligned, windows),
        topology=topology, symptom=symptom, now_s=now_s,
    )  # fmt: skip
    tree = build_red(case)
    region = symptom.region
    depth = tree.depths(region, entry_services(case, tree, region))
    keyed = []
    for (where, service), red in tree.inbound.items():
        if where != region:
            continue
        slower = contrast(ratio(red.total_s, red.count))
        failing = contrast(ratio(red.errors, red.calls), floor=0.004)
        z = max(slower.z, failing.z)
        entity = Entity(EntityKind.SERVICE, region, service)
        keyed.append((z <= 3.0, -depth.get(service, 0), -z, str(entity), entity))
    first = [entity for *_, entity in sorted(keyed)]
    return first + [e for e in _entities(aligned, symptom) if e not in set(first)]


PEERS: Mapping[str, Peer] = {
    "random": rank_random,
    "nsigma": rank_nsigma,
    "maxrobust": rank_maxrobust,
    "deepest": rank_deepest,
}


def _entities(aligned: Aligned, symptom: Symptom) -> list[Entity]:
    return sorted(
        {role.entity for role in aligned.roles if role.entity.region == symptom.region}, key=str
    )


def _by_series(
    frame: MetricFrame,
    symptom: Symptom,
    now_s: float,
    score: Callable[[FloatArray, FloatArray], FloatArray],
) -> list[Entity]:
    aligned = align(frame, now_s=now_s)
    windows = cut_windows(aligned.times_s, symptom.began_at_s)
    entities = _entities(aligned, symptom)
    if windows is None or not entities:
        return entities
    columns = [c for c, role in enumerate(aligned.roles) if role.part != "count"]
    levels = aligned.levels[:, columns]
    values = score(levels[: windows.normal_end], levels[windows.fault_start :])
    best: dict[Entity, float] = dict.fromkeys(entities, 0.0)
    for column, value in zip(columns, values, strict=True):
        entity = aligned.roles[column].entity
        if entity in best and np.isfinite(value):
            best[entity] = max(best[entity], float(value))
    return sorted(entities, key=lambda e: (-best[e], str(e)))


def _nsigma(normal: FloatArray, fault: FloatArray) -> FloatArray:
    seen = np.isfinite(normal)
    count = np.maximum(seen.sum(axis=0), 1)
    mean = np.where(seen, normal, 0.0).sum(axis=0) / count
    spread = np.sqrt((np.where(seen, normal - mean, 0.0) ** 2).sum(axis=0) / count)
    top = np.where(np.isfinite(fault), fault, -np.inf).max(axis=0)
    with np.errstate(invalid="ignore"):
        return np.where((spread > 0.0) & np.isfinite(top), (top - mean) / np.where(
            spread > 0.0, spread, 1.0), 0.0)  # fmt: skip


def _robust(normal: FloatArray, fault: FloatArray) -> FloatArray:
    rows = np.sort(normal, axis=0)
    count = np.isfinite(normal).sum(axis=0)
    columns = np.arange(normal.shape[1])

    def at(q: float) -> FloatArray:
        return np.asarray(rows[(q * np.maximum(count - 1, 0)).astype(np.intp), columns])

    spread = at(0.75) - at(0.25)
    spread = np.where(spread > 0.0, spread, 1.0)
    top = np.where(np.isfinite(fault), fault, -np.inf).max(axis=0)
    with np.errstate(invalid="ignore"):
        score = (top - at(0.5)) / spread
    return np.where(np.isfinite(score), score, 0.0)
