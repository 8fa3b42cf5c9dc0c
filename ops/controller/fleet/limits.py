"""From a Fleet's spec to the limits of its loop. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ops.config import GuardConfig, LoopConfig
from ops.controller.metrics_watch.frame import STEP_S
from ops.controller.resources.fleet import FleetSpec
from ops.state import ServiceRecord, SloTarget

ASK_AGAIN_S = 5.0  # after an answer, which is as old as it took the worker


def bounded(services: Sequence[ServiceRecord], replicas_max: int) -> tuple[ServiceRecord, ...]:
    """Services with what their owner allows: one count for all regions of a Deployment.

    Only a Deployment has a revision. What else pods tell of (StatefulSets) is scaled by another
    request, and none is proposed for it.

    Args:
        replicas_max: of a whole Deployment; 0 = its owner allows no scaling.
    """
    return tuple(
        replace(one, replicas_max=max(0, replicas_max - one.replicas_elsewhere))
        if replicas_max and one.revision
        else one
        for one in services
    )


def slo_targets(spec: FleetSpec) -> tuple[SloTarget, ...]:
    """Limits of the loop from a Fleet's SLOs."""
    return tuple(
        SloTarget(
            name=slo.name,
            ttft_s=slo.ttft_seconds,
            tpot_s=slo.tpot_seconds,
            target_ratio=slo.target,
        )
        for slo in spec.slos
    )


def loop_config(spec: FleetSpec, *, scrape_s: float) -> LoopConfig:
    """Thresholds of the loop; nothing is carried out in this release, whatever the mode.

    What counts as old is meant for scrapes every five seconds; rarer ones are older by nature.
    """
    budgets, base = spec.budgets, LoopConfig()
    rarer = max(1.0, scrape_s / STEP_S)
    guard = GuardConfig(
        stale_after_s=base.guard.stale_after_s * rarer,
        frame_stale_after_s=base.guard.frame_stale_after_s * rarer,
        frozen=(spec.freeze_reason or "spec.frozen is true") if spec.frozen else "",
        dry_run=True,
        actions_max_per_hour=budgets.actions_per_hour,
        actions_max_per_hour_target=budgets.actions_per_hour_target,
        cool_down_s=budgets.cool_down_seconds,
        concurrent_max=budgets.concurrent_actions,
        blast_ratio_max=budgets.blast_ratio,
    )
    diagnose = replace(
        base.diagnose, note_gap_s=base.diagnose.note_gap_s * rarer, retry_s=ASK_AGAIN_S
    )
    return replace(base, guard=guard, diagnose=diagnose)
