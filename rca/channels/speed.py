"""Engines apart from their load: does the same batch take longer per token than it did?"""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from rca.channels.case import Case, Contrast, Finding, ratio
from rca.kinds import plain, plain_s
from rca.state import Entity, EntityKind, FloatArray, MetricKind, ResourceClass

SPEED = "speed"


def speed_findings(case: Case) -> list[Finding]:
    """Engine pods whose time per token rose more than their batch explains.

    The expected time per token is a line in the running batch, fitted over the normal rows of
    all pods of one service, each pod with its own offset.
    """
    samples = _engine_rows(case)
    found = []
    for (region, service), pods in sorted(samples.items()):
        residual = _residuals(case, pods)
        after = {pod: stat.after for pod, stat in residual.items() if np.isfinite(stat.after)}
        middle = sorted(after.values())[(len(after) - 1) // 2] if len(after) >= 2 else 0.0
        shared = max(0.0, middle)
        for pod, stat in sorted(residual.items()):
            own = stat.after - (shared if len(after) >= 2 else 0.0)
            if not (np.isfinite(own) and stat.z > 3.0 and own > 0.05):
                continue
            found.append(_slow(case, Entity(EntityKind.POD, region, pod), own, pods[pod], stat))
        if len(after) >= 2 and shared > 0.08:
            worst = sorted(after, key=lambda p: (-after[p], p))[0]
            entity = Entity(EntityKind.SERVICE, region, service)
            found.append(_slow(case, entity, shared, pods[worst], residual[worst]))
    return found


def _slow(
    case: Case, entity: Entity, slower: float, rows: tuple[FloatArray, FloatArray], stat: Contrast
) -> Finding:
    start = case.windows.fault_start
    time, batch = rows[0][start:], rows[1][start:]
    return Finding(
        entity=entity,
        channel=SPEED,
        strength=float(np.clip((slower - 0.05) / 0.3, 0.0, 1.0)),
        resource=_engine_class(case),
        text=(
            f"time per token {plain(100 * np.expm1(slower))} % above what a batch of "
            f"{plain(float(np.nanmean(batch)))} usually takes, "
            f"{plain_s(float(np.nanmean(time)))} now"
        ),
        specificity=0.5,
        before=stat.before,
        after=stat.after,
    )


def _engine_class(case: Case) -> ResourceClass:
    """Class of the time-per-token series; at a given batch only the clock sets it."""
    for column in case.columns("engine_itl"):
        if case.roles[column].resource not in (ResourceClass.UNKNOWN, ResourceClass.CODE):
            return case.roles[column].resource
    return ResourceClass.GPU_CLOCK


def _engine_rows(
    case: Case,
) -> dict[tuple[str, str], dict[str, tuple[FloatArray, FloatArray]]]:
    """(region, service) -> pod -> (time per token [T], running batch [T])."""
    parts: dict[str, dict[str, FloatArray]] = defaultdict(dict)
    for name, role_name, part in (
        ("sum", "engine_itl", "sum"),
        ("count", "engine_itl", "count"),
        ("running", "engine_running", ""),
    ):
        for column in case.columns(role_name, part):
            role = case.roles[column]
            counted = role.kind is not MetricKind.QUEUE and role.counter
            source = case.aligned.increases if counted else case.aligned.levels
            parts[role.entity.name][name] = source[:, column]
    out: dict[tuple[str, str], dict[str, tuple[FloatArray, FloatArray]]] = defaultdict(dict)
    for pod, known in sorted(parts.items()):
        region, service, _ = case.pod_place.get(pod, ("", "", ""))
        if len(known) == 3 and region == case.symptom.region:
            out[(region, service)][pod] = (ratio(known["sum"], known["count"]), known["running"])
    return out


def engine_services(case: Case) -> set[tuple[str, str]]:
    """(region, service) of the symptom's region whose speed at equal load can be told."""
    return set(_engine_rows(case))


def _residuals(case: Case, pods: dict[str, tuple[FloatArray, FloatArray]]) -> dict[str, Contrast]:
    end, start = case.windows.normal_end, case.windows.fault_start
    xs, ys = [], []
    normal: dict[str, tuple[FloatArray, FloatArray]] = {}
    for pod, (time, batch) in pods.items():
        usable = np.isfinite(time) & np.isfinite(batch) & (time > 0.0)
        x, y = batch[:end][usable[:end]], np.log(time[:end][usable[:end]])
        normal[pod] = (x, y)
        if len(x) >= 8:
            xs.append(x - x.mean())
            ys.append(y - y.mean())
    if not xs:
        return {}
    x_all, y_all = np.concatenate(xs), np.concatenate(ys)
    slope = float(x_all @ y_all / max(float(x_all @ x_all), 1e-9))
    slope = max(slope, 0.0)
    out = {}
    for pod, (time, batch) in pods.items():
        x, y = normal[pod]
        late_time, late_batch = time[start:], batch[start:]
        usable = np.isfinite(late_time) & np.isfinite(late_batch) & (late_time > 0.0)
        if len(x) < 8 or usable.sum() < 2:
            continue
        usual = y - slope * x
        centre = float(np.median(usual))
        late = np.log(late_time[usable]) - slope * late_batch[usable] - centre
        rest = usual - centre
        # The fault mean averages several rows; half a row's spread is a cautious law for it.
        spread = max(float(np.quantile(rest, 0.9) - np.quantile(rest, 0.1)) / 2.56 / 2.0, 0.01)
        out[pod] = Contrast(before=0.0, after=float(np.median(late)), spread=spread)
    return out
