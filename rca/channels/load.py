"""Demand against speed: did users ask for more, or does the same work take longer?"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from rca.channels.case import Case, Contrast, Finding, contrast, ratio
from rca.channels.red import LinkKey, RedTree, entry_services
from rca.kinds import plain, plain_s
from rca.state import Entity, EntityKind, FloatArray, MetricKind, ResourceClass

CHANNEL = "load"
SPEED = "speed"
# Share of failed answers that come back as another try; a bound, as clients differ.
RETRIED_RATIO = 0.85


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """Arrivals of one region's users, retries of failed requests taken off as far as known."""

    factor: float  # after / before; 1 = unchanged
    z: float
    before_rps: float
    after_rps: float
    top_rps: float = -np.inf  # what earlier windows of the same length reached


def demand(case: Case, region: str) -> Demand:
    """How much more users ask for since the onset.

    Arrivals = answers + growth of what is in flight, so that a stall does not look like calm.
    """
    answers = _by_status(case, region)
    if not answers:
        return Demand(factor=1.0, z=0.0, before_rps=np.nan, after_rps=np.nan)
    total = np.nansum(list(answers.values()), axis=0)
    good = np.nansum([v for k, v in answers.items() if k.startswith("2")] or [total], axis=0)
    arrived = total + _growth_of_gauge(case, _in_flight(case, region))
    again = RETRIED_RATIO * np.maximum(total - good, 0.0)
    rate = np.maximum(arrived - again, 0.0) / case.block_s
    stat = contrast(rate, floor_ratio=0.08)
    factor = stat.after / stat.before if stat.before > 0.0 else 1.0
    return Demand(
        factor=float(factor), z=stat.z, before_rps=stat.before, after_rps=stat.after,
        top_rps=stat.top,
    )  # fmt: skip


def rise_of(asked: Demand) -> float:
    """0..1: how far demand rose; half as much again counts in full."""
    beyond = asked.z > 2.0 and asked.after_rps > asked.top_rps
    return float(np.clip((asked.factor - 1.1) / 0.5, 0.0, 1.0)) if beyond else 0.0


def _in_flight(case: Case, region: str) -> list[int]:
    columns = case.columns("frontend_in_flight")
    return [c for c in columns if case.roles[c].entity.region == region]


def _by_status(case: Case, region: str) -> dict[str, FloatArray]:
    found: dict[str, list[int]] = defaultdict(list)
    for column in case.columns("frontend_requests"):
        role = case.roles[column]
        if role.entity.region == region:
            status = role.group or case.aligned.series[column].label("status")
            found[status].append(column)
    return {status: case.total(columns) for status, columns in sorted(found.items())}


def _growth_of_gauge(case: Case, columns: list[int]) -> FloatArray:
    """Last minus first value of the summed gauges in each block, 0 where unknown."""
    out = np.zeros(case.num_blocks)
    if not columns:
        return out
    levels = case.aligned.levels[:, columns].sum(axis=1)
    bounds = np.append(case.windows.cuts, len(levels))
    pieces = [
        (start, end)
        for start, end, keep in zip(bounds[:-1], bounds[1:], case.windows.keep, strict=True)
        if keep
    ]
    for place, (start, end) in enumerate(pieces):
        piece = levels[start:end]
        piece = piece[np.isfinite(piece)]
        if piece.size >= 2:
            out[place] = piece[-1] - piece[0]
    return out


def load_findings(case: Case, tree: RedTree, slowed: float) -> list[Finding]:
    """The workload as a candidate, and slow engines apart from their load.

    Args:
        slowed: 0..1, how much of the trouble is a slowdown at equal load (strongest engine
            residual or exclusive share of one pod); a burst needs none of it.
    """
    region = case.symptom.region
    asked = demand(case, region)
    found = []
    rise = rise_of(asked)
    if rise > 0.0:
        found.append(
            Finding(
                entity=Entity(EntityKind.WORKLOAD, region),
                channel=CHANNEL,
                strength=rise * (1.0 - 0.7 * slowed),
                resource=ResourceClass.LOAD,
                text=(
                    f"users send {plain(asked.before_rps)} -> {plain(asked.after_rps)} requests/s"
                ),
                specificity=1.0,
                before=asked.before_rps,
                after=asked.after_rps,
                unit="/s",
            )
        )
    return found + _amplified(case, tree)


def _amplified(case: Case, tree: RedTree) -> list[Finding]:
    """Services that call a callee more often per request than before: retries multiply load."""
    region = case.symptom.region
    found: dict[Entity, Finding] = {}
    for key in sorted(tree.sent):
        one = amplification(case, tree, key) if key[0] == region else None
        if one is not None and (
            one.entity not in found or one.strength > found[one.entity].strength
        ):
            found[one.entity] = one
    return [found[key] for key in sorted(found)]


def amplification(case: Case, tree: RedTree, key: LinkKey) -> Finding | None:
    """How far a caller calls a callee more often per request of its own than before.

    A caller's requests are what reached it: answered ones, or where answers are missing the calls
    that its own callers sent. The repeats that failed calls bring with them in any sane client
    are a consequence and are taken off.
    """
    region, caller, callee = key
    sent, base = tree.sent[key], _reached(case, tree, region, caller)
    if base is None:
        return None
    per_call = contrast(ratio(sent.calls, base), floor_ratio=0.05)
    if not (per_call.before > 0.0 and per_call.z > 3.0):
        return None
    failed = contrast(ratio(np.maximum(sent.errors, sent.lost), sent.calls), floor=0.005)
    share = float(np.clip(np.nan_to_num(failed.after), 0.0, 1.0))
    factor = per_call.after / per_call.before / (1.0 + share + share**2)
    retried = contrast(ratio(sent.retries, sent.calls), floor=0.005)
    strength = float(np.clip((factor - 1.15) / 1.0, 0.0, 1.0))
    if strength <= 0.0:
        return None
    return Finding(
        entity=Entity(EntityKind.SERVICE, region, caller),
        channel="amplification",
        strength=strength,
        resource=ResourceClass.CONFIG_CHANGE,
        text=(
            f"calls {callee} {plain(per_call.before)} -> {plain(per_call.after)} times a "
            f"request, retries {plain(100 * retried.after)} % of the calls"
        ),
        specificity=0.4,
        before=per_call.before,
        after=per_call.after,
    )


def _reached(case: Case, tree: RedTree, region: str, caller: str) -> FloatArray | None:
    """Requests that reached a caller per block, as far as either side tells."""
    if caller in entry_services(case, tree, region):
        arrived = tree.entry_requests.get(region)
        if arrived is None:
            return None
        return arrived + _growth_of_gauge(case, _in_flight(case, region))
    inbound = tree.inbound.get((region, caller))
    if inbound is None:
        return None
    sent = [
        tree.sent[(region, above, caller)].calls
        for above in tree.callers.get((region, caller), ())
        if (region, above, caller) in tree.sent
    ]
    return np.fmax(inbound.calls, np.sum(sent, axis=0)) if sent else inbound.calls


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
