"""Whether an action helped: the bad share before and after, once it has taken effect. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import isnan, sqrt

from ops.config import OutcomeConfig
from ops.state import ActionKind, ActionRecord, NodeRecord, ServiceRecord, Snapshot, Verdict
from rca.state import EntityKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """Bad requests of a window; total 0 = nothing is known."""

    bad: float
    total: float

    @property
    def ratio(self) -> float:
        """Bad share, NaN where nothing is known."""
        return self.bad / self.total if self.total > 0 else float("nan")


def settled(record: ActionRecord, snapshot: Snapshot, config: OutcomeConfig) -> bool:
    """Whether it is time to judge: settled and in effect, or waited for long enough."""
    settle_s = config.settle_s[record.action.kind]
    age_s = snapshot.now_s - record.decided_at_s
    if age_s < settle_s:
        return False
    return not not_in_effect(record, snapshot) or age_s >= settle_s * config.wait_factor_max


def judge(
    record: ActionRecord,
    snapshot: Snapshot,
    *,
    after: Share,
    usual_ratio: float,
    began_at_s: float,
    config: OutcomeConfig,
) -> ActionRecord:
    """The record with its verdict.

    Args:
        after: bad share in the newest window.
        usual_ratio: bad share when nothing is wrong.
        began_at_s: when users began to suffer.
    """
    before_ratio = record.bad_ratio_before if record.bad_ratio_before is not None else float("nan")
    before = Share(bad=before_ratio * record.requests_before, total=record.requests_before)
    blocked = not_in_effect(record, snapshot)
    if isnan(after.ratio) or isnan(before.ratio):
        blocked = blocked or "no request was counted, so nothing can be compared"
    if blocked:
        verdict, reason = Verdict.BLOCKED, blocked
    else:
        # A fault that is still growing looks like harm done by whoever acted early.
        early = record.decided_at_s - began_at_s < config.grown_after_s
        rise_max = config.worse_rise_ratio * (2.0 if early else 1.0)
        verdict, reason = _compare(
            before, after, usual_ratio=usual_ratio, rise_max=rise_max, config=config
        )
    return replace(
        record,
        verdict=verdict,
        verdict_reason=reason,
        checked_at_s=snapshot.now_s,
        bad_ratio_after=None if isnan(after.ratio) else after.ratio,
    )


def _compare(
    before: Share, after: Share, *, usual_ratio: float, rise_max: float, config: OutcomeConfig
) -> tuple[Verdict, str]:
    text = f"bad share {before.ratio:.1%} before, {after.ratio:.1%} after"
    pooled = (before.bad + after.bad + 0.5) / (before.total + after.total + 1.0)
    error = sqrt(pooled * (1 - pooled) * (1 / before.total + 1 / after.total))
    z = (after.ratio - before.ratio) / error
    if after.ratio - before.ratio >= rise_max and z >= config.z_min:
        return Verdict.WORSE, text
    excess_before, excess_after = before.ratio - usual_ratio, after.ratio - usual_ratio
    if excess_before > 0 and excess_after <= config.effective_factor * excess_before:
        return Verdict.EFFECTIVE, text
    return Verdict.NO_EFFECT, text


def not_in_effect(record: ActionRecord, snapshot: Snapshot) -> str:
    """Why the action has not done its work yet; empty when it has, or when that cannot be seen."""
    action, target = record.action, record.action.target
    service = _service(snapshot, target.region, target.name)
    node = _node(snapshot, target.name)
    match action.kind:
        case ActionKind.SCALE_OUT if service and record.ready_before is not None:
            if service.ready_replicas <= record.ready_before:
                return f"no new instance of {target.name} became ready"
        case ActionKind.ROLLBACK if service:
            if service.revision != action.params["to_revision"]:
                return f"{target.name} still runs revision {service.revision}"
        case ActionKind.CORDON_DRAIN_NODE if node:
            if not node.unschedulable:
                return f"node {target.name} still takes pods"
        case ActionKind.RESTART_POD | ActionKind.REPLACE_POD:
            return _pod_unchanged(record, snapshot)
        case ActionKind.SHIFT_TRAFFIC if target.region in snapshot.region_weights:
            to_region = str(action.params["to_region"])
            if snapshot.region_weights[target.region].get(to_region, 0.0) <= 0.0:
                return f"no traffic of {target.region} goes to {to_region}"
    return ""


def _pod_unchanged(record: ActionRecord, snapshot: Snapshot) -> str:
    name = record.action.target.name
    pod = next((p for p in snapshot.pods if p.name == name), None)
    if record.action.kind is ActionKind.REPLACE_POD:
        if pod is not None:
            return f"pod {name} is still there"
        owner = str(record.action.params.get("service", ""))
        service = _service(snapshot, record.action.target.region, owner)
        if service and record.ready_before and service.ready_replicas < record.ready_before:
            return f"the replacement of {name} is not ready"
        return ""
    if pod is None:
        return ""
    if record.restarts_before is not None and pod.restarts <= record.restarts_before:
        return f"pod {name} was not restarted"
    return "" if pod.ready else f"pod {name} is not ready again"


def _service(snapshot: Snapshot, region: str, name: str) -> ServiceRecord | None:
    wanted = (region, name)
    return next((s for s in snapshot.services if (s.region, s.service) == wanted), None)


def _node(snapshot: Snapshot, name: str) -> NodeRecord | None:
    return next((n for n in snapshot.nodes if n.name == name), None)


def before_action(record: ActionRecord, snapshot: Snapshot, *, share: Share) -> ActionRecord:
    """The record with what the later check compares against."""
    target = record.action.target
    owner = str(record.action.params.get("service", target.name))
    service = _service(snapshot, target.region, owner)
    pod = (
        next((p for p in snapshot.pods if p.name == target.name), None)
        if target.kind is EntityKind.POD
        else None
    )
    return replace(
        record,
        bad_ratio_before=None if isnan(share.ratio) else share.ratio,
        requests_before=share.total,
        ready_before=service.ready_replicas if service else None,
        restarts_before=pod.restarts if pod else None,
    )
