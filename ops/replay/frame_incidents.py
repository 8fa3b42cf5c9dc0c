"""A frame of scraped series as recorded incidents that `rca.localise` reads: one per region."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from ops.placement import place_pods
from ops.replay.wide_table import wide_table
from ops.topology import discover
from rca.incident import Column, Incident
from rca.state import ChangeEvent, EntityKind, MetricFrame, MetricRole

_NOBODY = frozenset({"", "unknown", "-"})  # what meshes write where they do not know who called


def incidents_of_frame(
    frame: MetricFrame,
    *,
    name: str,
    changes: Sequence[ChangeEvent] = (),
    service_label: str = "",
    fault_at_s: float | None = None,
    notes: Sequence[str] = (),
) -> dict[str, Incident]:
    """Region -> what was scraped of it; empty where no pod and no service is spoken of.

    Rows in which nothing at all was scraped are left out: they say nothing of any service.

    Args:
        name: of the incident, before the region's.
        service_label: label that names the service of a pod; found by `place_pods` without.
        notes: what a person should know of the frame.
    """
    frame, empty = _without_empty_rows(frame)
    placement, topology = place_pods(frame, service_label=service_label), discover(frame, ())
    told = (*notes, *placement.notes, *empty)
    found = {}
    roles = [role for role in frame.roles if role is not None]
    for region in sorted({role.entity.region for role in roles}):
        services = _services(role for role in roles if role.entity.region == region)
        pods = {p: place for p, place in placement.pods.items() if place[0] == region}
        if not services and not pods:
            continue
        table = wide_table(frame, now_s=float(frame.times_s[-1]), region=region, placed=pods)
        entries = [service for where, service in topology.entries if where == region]
        found[region] = Incident(
            incident_id=f"{name}/{region}",
            times_s=table.times_s,
            values=table.values,
            columns=tuple(Column.parse(name) for name in table.columns),
            step_s=frame.step_s,
            fault_at_s=fault_at_s,
            # A name that is a pod's stays one: what has no pod here is a service all the same.
            instances={service: service for service in services} | table.instances,
            nodes=table.nodes,
            calls=tuple(
                (caller, callee)
                for (where, caller), callees in sorted(topology.calls.items())
                if where == region
                for callee in callees
            ),
            entry=entries[0] if entries else "",
            changes=tuple(c for c in changes if c.region in ("", region)),
            notes=told,
        )
    return found


def _services(roles: Iterable[MetricRole]) -> list[str]:
    """Services that are spoken of by themselves or as an end of a call, sorted."""
    names: set[str] = set()
    for role in roles:
        if role.entity.kind is EntityKind.SERVICE:
            names.add(role.entity.name)
        elif role.entity.kind is EntityKind.LINK:
            names.update(role.entity.name.split("->"))
    return sorted(names - _NOBODY)


def _without_empty_rows(frame: MetricFrame) -> tuple[MetricFrame, tuple[str, ...]]:
    kept = np.asarray(np.isfinite(frame.values).any(axis=1), dtype=bool)
    if kept.all() or not kept.any():
        return frame, ()
    trimmed = MetricFrame(
        times_s=frame.times_s[kept], values=frame.values[kept], series=frame.series,
        roles=frame.roles, step_s=frame.step_s,
    )  # fmt: skip
    note = f"nothing was scraped at {int((~kept).sum())} of {len(kept)} rows: left out"
    return trimmed, (note,)
