"""What of an entity's own resources moved the bad way, apart from what its siblings share."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from rca.channels.case import Case, Finding
from rca.kinds import limit_role, orientation, plain, specificity, squash, unit_of
from rca.state import Entity, EntityKind, FloatArray, MetricKind, ResourceClass

CHANNEL = "resource"
_OWN_KINDS = frozenset({EntityKind.POD, EntityKind.NODE, EntityKind.SERVICE, EntityKind.REGISTRY})
# Work done, and time of work, belong to the load and topology channels.
_SKIPPED = frozenset({MetricKind.RATE, MetricKind.INFO})
_START_CLASSES = frozenset({ResourceClass.START_UP, ResourceClass.LOSS})
RELATIVE_FULL = 0.25  # a move of a quarter of the level counts in full
SIBLING_RATIO = 0.9


def resource_findings(case: Case) -> list[Finding]:
    """The strongest oriented change per (entity, resource class)."""
    strength, columns = _column_strengths(case)
    best: dict[tuple[Entity, ResourceClass], tuple[float, int]] = {}
    for entity, column, value in _apart_from_siblings(case, strength, columns):
        key = (entity, case.roles[column].resource)
        if value > 0.05 and (key not in best or _precedes(case, (value, column), best[key])):
            best[key] = (value, column)
    found = [
        _finding(case, entity, resource, value, column)
        for (entity, resource), (value, column) in best.items()
    ]
    found += _rare_durations(case)
    return sorted(found, key=lambda f: (str(f.entity), f.resource))


def _precedes(case: Case, one: tuple[float, int], other: tuple[float, int]) -> bool:
    """Whether one is stronger; of equals the first by name, as the order of series means nothing.

    The last bits of a strength depend on that order too.
    """
    (value, column), (held, kept) = one, other
    if round(value, 9) != round(held, 9):
        return value > held
    return str(case.aligned.series[column]) < str(case.aligned.series[kept])


def _column_strengths(case: Case) -> tuple[FloatArray, list[int]]:
    """Evidence 0..1 of each column for its own entity, shape [N], and the columns that count."""
    changes, roles = case.changes, case.roles
    planned = {pod for pod in case.pod_place if pod in case.young or case.extra(pod)}
    strength = np.zeros(len(roles))
    columns = [
        c
        for c, role in enumerate(roles)
        if role.entity.kind in _OWN_KINDS
        and role.kind not in _SKIPPED
        and not role.part
        # A pod that a roll-out or more demand added starts up as planned.
        and not (role.resource in _START_CLASSES and role.entity.name in planned)
    ]
    if not columns:
        return strength, columns
    turn = np.array([orientation(roles[c]) for c in columns])
    weight = np.array([specificity(roles[c]) for c in columns])
    score = changes.score[columns]
    oriented = np.where(turn == 0.0, 0.7 * np.abs(score), turn * score)
    before, after = changes.before[columns], changes.after[columns]
    with np.errstate(invalid="ignore"):
        larger = np.fmax(np.abs(before), np.abs(after))
        relative = np.where(larger > 0.0, np.abs(after - before) / np.where(larger, larger, 1), 0.0)
    # A constant that moves is an event whatever its size: a restart moves a start time by little.
    relative = np.where(changes.woke[columns], 1.0, np.nan_to_num(relative))
    value = squash(oriented) * np.clip(relative / RELATIVE_FULL, 0.0, 1.0)
    value = np.maximum(value * _headroom(case, columns), _appeared(case, columns))
    strength[columns] = weight * value
    return strength, columns


def _appeared(case: Case, columns: list[int]) -> FloatArray:
    """1 for an indicator of trouble that did not exist before and is set now.

    Such series exist only while they hold, so their absence before is knowledge, not a gap.
    """
    after = case.changes.after[columns]
    kinds = np.array([case.roles[c].kind is MetricKind.STATE for c in columns])
    upward = np.array([orientation(case.roles[c]) > 0.0 for c in columns])
    unseen = ~np.isfinite(case.changes.before[columns])
    with np.errstate(invalid="ignore"):
        indicator = (after > 0.3) & (after <= 1.0)
    return np.where(kinds & upward & unseen & indicator, 0.8, 0.0)


def _headroom(case: Case, columns: list[int]) -> FloatArray:
    """Less than 1 for a use that stays far from its own limit, where the limit is collected."""
    out = np.ones(len(columns))
    limits: dict[tuple[str, Entity], float] = {}
    for role_name in {limit_role(case.roles[c].role) for c in columns}:
        for column in case.columns(role_name):
            level = case.means[-1, column]
            if not np.isfinite(level):
                level = case.changes.before[column]
            limits[(role_name, case.roles[column].entity)] = float(level)
    for place, column in enumerate(columns):
        role = case.roles[column]
        limit = limits.get((limit_role(role.role), role.entity), 0.0)
        if np.isfinite(limit) and limit > 0.0:
            used = case.changes.after[column] / limit
            out[place] = float(np.clip((np.nan_to_num(used, nan=1.0) - 0.4) / 0.4, 0.1, 1.0))
    return out


def _apart_from_siblings(
    case: Case, strength: FloatArray, columns: list[int]
) -> list[tuple[Entity, int, float]]:
    """Split each pod's evidence into what its service's pods share and what is its own."""
    out: list[tuple[Entity, int, float]] = []
    groups: dict[tuple[str, str, str, str], list[int]] = defaultdict(list)
    for column in columns:
        role = case.roles[column]
        if role.entity.kind is not EntityKind.POD:
            out.append((role.entity, column, float(strength[column])))
            continue
        region, service, _ = case.pod_place.get(role.entity.name, (role.entity.region, "", ""))
        groups[(region, service, role.role, role.group)].append(column)
    for (region, service, _, _), members in sorted(groups.items()):
        values = sorted(float(strength[c]) for c in members)
        shared = values[(len(values) - 1) // 2] if len(values) >= 2 else 0.0
        if shared > 0.0 and service:
            top = max(members, key=lambda c: (strength[c], str(case.roles[c].entity)))
            out.append((Entity(EntityKind.SERVICE, region, service), top, shared))
        for column in members:
            own = float(strength[column]) - SIBLING_RATIO * shared
            out.append((case.roles[column].entity, column, max(own, 0.0)))
    return out


def _finding(
    case: Case, entity: Entity, resource: ResourceClass, value: float, column: int
) -> Finding:
    role, series = case.roles[column], case.aligned.series[column]
    before, after = float(case.changes.before[column]), float(case.changes.after[column])
    unit = unit_of(series.name, counter=role.counter)
    onset = float(case.changes.onset_s[column])
    name = role.role.replace("_", " ")
    scope = " on all its pods" if entity.kind is EntityKind.SERVICE != role.entity.kind else ""
    return Finding(
        entity=entity,
        channel=CHANNEL,
        strength=value,
        resource=resource,
        text=f"{name}{scope} {plain(before)} -> {plain(after)} {unit}".rstrip(),
        specificity=specificity(role),
        series=series,
        before=before,
        after=after,
        unit=unit,
        onset_s=onset if np.isfinite(onset) else None,
    )


def _rare_durations(case: Case) -> list[Finding]:
    """Mean durations of things that no call edge times, against before or the other regions."""
    totals: dict[tuple[str, Entity], dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for column, role in enumerate(case.roles):
        rare = role.entity.kind in (EntityKind.REGISTRY, EntityKind.NODE)
        if rare and role.kind is MetricKind.LATENCY and role.part in ("sum", "count"):
            totals[(role.role, role.entity)][role.part].append(column)
    usual: dict[tuple[str, Entity], tuple[float, float]] = {}
    for key, parts in totals.items():
        normal = case.aligned.increases[: case.windows.normal_end]
        usual[key] = (_grown(normal, parts["sum"]), _grown(normal, parts["count"]))
    found = []
    for (name, entity), parts in sorted(totals.items(), key=lambda item: str(item[0])):
        recent = case.aligned.increases[case.windows.normal_end :]
        spent, times = _grown(recent, parts["sum"]), _grown(recent, parts["count"])
        if times <= 0.0:
            continue
        after = spent / times
        spent0, times0 = usual[(name, entity)]
        if times0 <= 0.0:
            others = [value for key, value in usual.items() if key[0] == name]
            spent0, times0 = sum(o[0] for o in others), sum(o[1] for o in others)
        before = spent0 / times0 if times0 > 0.0 else np.nan
        slower = after / before if before > 0.0 else np.nan
        strength = float(np.clip((np.nan_to_num(slower, nan=2.0) - 1.3) / 2.0, 0.0, 1.0))
        if strength > 0.05:
            column = parts["sum"][0]
            found.append(
                Finding(
                    entity=entity,
                    channel=CHANNEL,
                    strength=strength,
                    resource=case.roles[column].resource,
                    text=f"{name.replace('_', ' ')} mean {plain(before)} -> {plain(after)} s",
                    specificity=0.9,
                    series=case.aligned.series[column],
                    before=float(before),
                    after=after,
                    unit="s",
                )
            )
    return found


def _grown(increases: FloatArray, columns: list[int]) -> float:
    return float(np.nansum(increases[:, columns])) if columns else 0.0
