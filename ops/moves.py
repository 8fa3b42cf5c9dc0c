"""Remedies that send users to another region: how much fits there, and room made for the rest."""

from __future__ import annotations

from numpy import nan_to_num

from ops.capacity import EngineLoad
from ops.relief import Ailment, best_relief, tries_of
from ops.remedies import Context, pod_of
from ops.state import Action, ActionKind, Snapshot
from rca.state import Entity, EntityKind, ResourceClass

# Classes that end by themselves once every wanted pod is ready.
COMES_BACK = frozenset({ResourceClass.LOSS, ResourceClass.START_UP})


def shift_away(context: Context) -> Action | None:
    """Send users of the region that suffers where the least loss for all is expected."""
    away = _away(context)
    if away is None:
        return None
    ailment = _ailment(context, away)
    share_max = context.config.shift_share_max
    found = [
        (best_relief(away, to, ailment, share_max=share_max), to) for to in _healthy(context, away)
    ]
    relief, to = max(found, key=lambda r: (r[0].gain, r[1].region), default=(None, away))
    if relief is None or relief.share < context.config.shift_share_min:
        return None
    share = round(relief.share, 2)
    return Action(
        action_id="",
        kind=ActionKind.SHIFT_TRAFFIC,
        target=Entity(EntityKind.WORKLOAD, away.region),
        params={"to_region": to.region, "share": share},
        reason=f"{to.region} is healthy and serves {share * away.demand_rps:.2f} requests/s more "
        f"in time beside its own {to.demand_rps:.2f}",
        undo=f"give {away.region} its own traffic back",
        command=f"kubectl --context {away.region} edit httproutes  "
        f"# weight of the backends of {to.region}: {share:.2f}",
    )


def make_room(context: Context) -> Action | None:
    """Start instances in a healthy region, so that it can take all users of the one that suffers.

    Only where no share that fits now brings these users back within their limits, and where the
    cause does not end by itself in the time that a start takes.
    """
    away = _away(context)
    if away is None or context.cause.resource_class in COMES_BACK:
        return None
    ailment, share_max = _ailment(context, away), context.config.shift_share_max
    choices: list[tuple[float, int, EngineLoad]] = []
    for to in _healthy(context, away):
        if best_relief(away, to, ailment, share_max=share_max).cures:
            return None
        room = min(to.instances_max - to.instances_total, context.config.scale_add_max)
        for add in range(1, room + 1):
            relief = best_relief(away, to, ailment, share_max=share_max, added=add)
            if relief.cures:
                choices.append((relief.gain, -add, to))
    if not choices:
        return None
    _, less, to = max(choices, key=lambda c: (round(c[0], 1), c[1], c[2].region))
    replicas = to.instances_total - less
    place = (to.region, to.service)
    elsewhere = sum(
        s.replicas_elsewhere for s in context.snapshot.services if (s.region, s.service) == place
    )
    return Action(
        action_id="",
        kind=ActionKind.SCALE_OUT,
        target=Entity(EntityKind.SERVICE, to.region, to.service),
        params={"add": float(-less), "for_region": away.region},
        reason=f"with {replicas} instances {to.region} can take every user of {away.region}, "
        f"ready in about {to.cold_start_s:.0f} s",
        undo=f"scale {to.service} back to {to.instances_total + elsewhere}",
        command=f"kubectl --context {to.region} scale deployment/{to.service} "
        f"--replicas={replicas + elsewhere}",
    )


def _away(context: Context) -> EngineLoad | None:
    """Load of the region that suffers, its busiest engine service first."""
    region = context.region_served or context.cause.entity.region
    loads = [load for load in context.loads if load.region == region]
    return max(loads, key=lambda load: (nan_to_num(load.demand_rps), load.service), default=None)


def _healthy(context: Context, away: EngineLoad) -> list[EngineLoad]:
    """Engine services of other regions that could serve more."""
    return [
        load
        for load in context.loads
        if load.region != away.region
        and load.region not in context.regions_suffering
        and _serving(context.snapshot, load.region)
    ]


def _serving(snapshot: Snapshot, region: str) -> bool:
    return all(s.ready_replicas > 0 for s in snapshot.services if s.region == region)


def _ailment(context: Context, away: EngineLoad) -> Ailment:
    """What is wrong there, as far as it decides what moving a share is worth."""
    entity, distress, pod = context.cause.entity, context.distress, pod_of(context)
    accused = pod is not None and pod.engine
    short = away.instances_ready < away.instances_total
    load = entity.kind is EntityKind.WORKLOAD or entity.name == away.service
    return Ailment(
        bad_ratio=max(context.symptom_ratio, float(nan_to_num(distress.bad_ratio))),
        tries=tries_of(
            rate_ratio=distress.rate_ratio, failed_ratio=float(nan_to_num(distress.failed_ratio))
        ),
        lost_instances=1 if pod is not None and accused and pod.ready else 0,
        by_capacity=accused or short or load,
    )
