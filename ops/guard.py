"""The last word before an action: budgets, cool-downs, blast radius, fresh data. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from ops.config import GuardConfig
from ops.proposals import DRY_RUN, NO_FRESH_DATA
from ops.staleness import EVERY_REGION, silent_jobs
from ops.state import (
    Action,
    ActionKind,
    ActionRecord,
    Incident,
    PodRecord,
    Snapshot,
    Verdict,
)
from rca.state import Entity, EntityKind

# These take instances away for a while; the others only add, move or bound traffic.
DISRUPTIVE = frozenset(
    {ActionKind.RESTART_POD, ActionKind.REPLACE_POD, ActionKind.CORDON_DRAIN_NODE}
)
HOUR_S = 3600.0


def refusal(
    action: Action,
    incident: Incident,
    snapshot: Snapshot,
    *,
    log: Sequence[ActionRecord],
    config: GuardConfig,
) -> str:
    """Why `action` must not be taken now; empty when it may.

    Args:
        log: every action of the last hour, of all incidents.
    """
    undo = action.kind is ActionKind.UNDO
    checks = [f"frozen: {config.frozen}" if config.frozen else ""]
    checks.append(_stale(action, snapshot, config))
    if not undo:  # going back must never be kept from us by a budget
        checks += [
            f"the loop stands down: {incident.stand_down}" if incident.stand_down else "",
            _over_budget(action, log, now_s=snapshot.now_s, config=config),
            _blast(action, snapshot, log=log, config=config),
        ]
    checks.append(DRY_RUN if config.dry_run else "")
    return next((reason for reason in checks if reason), "")


def _stale(action: Action, snapshot: Snapshot, config: GuardConfig) -> str:
    frame = snapshot.frame
    if not len(frame.times_s):
        return f"{NO_FRESH_DATA}no metrics were scraped yet"
    age_s = snapshot.now_s - float(frame.times_s[-1])
    if age_s > config.frame_stale_after_s:
        limit_s = config.frame_stale_after_s
        return f"{NO_FRESH_DATA}the newest metrics are {age_s:.0f} s old, limit {limit_s:.0f} s"
    regions = {action.target.region, str(action.params.get("to_region", "")), EVERY_REGION}
    late = [
        (last_good_s, job, region)
        for region, job, last_good_s in silent_jobs(snapshot, age_s=config.stale_after_s)
        if region in regions
    ]
    if late:
        last_good_s, job, region = min(late)
        return (
            f"{NO_FRESH_DATA}no good scrape of job {job} in {region} for "
            f"{snapshot.now_s - last_good_s:.0f} s, limit {config.stale_after_s:.0f} s"
        )
    return ""


def _over_budget(
    action: Action, log: Sequence[ActionRecord], *, now_s: float, config: GuardConfig
) -> str:
    recent = [
        r
        for r in log
        if now_s - r.decided_at_s < HOUR_S
        and r.action.kind is not ActionKind.UNDO
        and r.verdict is not Verdict.BLOCKED
    ]
    if len(recent) >= config.actions_max_per_hour:
        return f"{len(recent)} actions in the last hour, limit {config.actions_max_per_hour}"
    same = [r for r in recent if r.action.target == action.target]
    if len(same) >= config.actions_max_per_hour_target:
        return (
            f"{len(same)} actions on {action.target} in the last hour, "
            f"limit {config.actions_max_per_hour_target}"
        )
    since_s = min((now_s - r.decided_at_s for r in same), default=HOUR_S)
    if since_s < config.cool_down_s:
        return (
            f"{action.target} was acted on {since_s:.0f} s ago, "
            f"cool-down {config.cool_down_s:.0f} s"
        )
    pending = [r for r in recent if r.verdict is Verdict.PENDING]
    if len(pending) >= config.concurrent_max:
        return f"{len(pending)} actions are still in effect, limit {config.concurrent_max}"
    return ""


def _blast(
    action: Action, snapshot: Snapshot, *, log: Sequence[ActionRecord], config: GuardConfig
) -> str:
    """Refuse what takes the last ready instance of a service in a region, or too many at once."""
    if action.kind not in DISRUPTIVE:
        return ""
    taken = _pods_of(action.target, snapshot)
    for record in log:  # what earlier disruptive actions may still be taking away
        if record.verdict is Verdict.PENDING and record.action.kind in DISRUPTIVE:
            taken = taken | _pods_of(record.action.target, snapshot)
    ready: dict[tuple[str, str], list[PodRecord]] = {}
    lost_nodes = {node.name for node in snapshot.nodes if not node.ready}
    for pod in snapshot.pods:
        if pod.ready and pod.node not in lost_nodes:  # on a lost node it only seems ready
            ready.setdefault((pod.region, pod.service), []).append(pod)
    for (region, service), pods in sorted(ready.items()):
        lost = [pod for pod in pods if pod.name in taken]
        if not lost:
            continue
        if len(lost) == len(pods):
            return f"it would take the last ready instance of {service} in {region}"
        if len(lost) / len(pods) > config.blast_ratio_max:
            return (
                f"it would take {len(lost)} of {len(pods)} ready instances of {service} in "
                f"{region}, limit {config.blast_ratio_max:.0%}"
            )
    return ""


def _pods_of(target: Entity, snapshot: Snapshot) -> frozenset[str]:
    if target.kind is EntityKind.POD:
        return frozenset({target.name})
    if target.kind is EntityKind.NODE:
        return frozenset(pod.name for pod in snapshot.pods if pod.node == target.name)
    return frozenset()
