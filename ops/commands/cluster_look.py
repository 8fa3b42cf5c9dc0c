"""Bodies of `kubectl midwatch status` and `why`."""

from __future__ import annotations

import typer

from ops.adapters.kube.paths import path_of
from ops.commands.cluster_access import (
    Cluster,
    connect,
    readable,
    show,
    show_json,
    width,
)
from ops.commands.cluster_asked import Asked
from ops.controller.resources.fields import GROUP, VERSION, to_object
from ops.controller.screens import told
from ops.controller.screens.leader import LEASE, leader_trouble, no_lease, status_age
from ops.controller.screens.look import SYSTEM, WORKLOADS, service_looked_at
from ops.controller.screens.status import needs_a_look, status_lines
from ops.controller.screens.stored import (
    StoredFleet,
    StoredIncident,
    stored_fleet,
    stored_incident,
)
from ops.controller.screens.why import why_lines
from ops.errors import KubeError, OpsError


def look_at_fleets(asked: Asked, *, resolved: bool) -> None:
    """Print every fleet; exit code 1 where somebody should look."""
    cluster = connect(asked)
    raw_fleets, raw_incidents = cluster.raw("fleets"), cluster.raw("incidents")
    fleets = readable(stored_fleet, raw_fleets)
    incidents = readable(stored_incident, raw_incidents)
    leader = leader_of(cluster, watched=any(fleet.seen for fleet in fleets))
    look = needs_a_look(fleets, incidents, now_s=cluster.now_s, leader=leader)
    if asked.as_json:
        shown = [
            raw
            for raw in raw_incidents
            if resolved or (raw.get("status") or {}).get("phase") != "Resolved"
        ]
        old = [f"{f.namespace}/{f.name}" for f in fleets if status_age(f, now_s=cluster.now_s)]
        show_json({"fleets": raw_fleets, "incidents": shown, "needsALook": look,
                   "operator": leader or None, "stale": old})  # fmt: skip
    else:
        show(
            status_lines(
                fleets,
                incidents,
                where=cluster.where,
                elsewhere=bool(cluster.namespace),
                now_s=cluster.now_s,
                width=width(),
                resolved=resolved,
                leader=leader,
                options=cluster.options,
            )
        )
    raise typer.Exit(int(look))


def explain(asked: Asked, name: str, *, whole: bool) -> None:
    """Print one incident."""
    cluster = connect(asked)
    _, incident = cluster.incident(name)
    fleet = fleet_of(cluster, incident)
    old = status_age(fleet, now_s=cluster.now_s) if fleet is not None else ""
    leader = leader_of(cluster) or old
    lines = why_lines(
        incident,
        fleet=fleet,
        now_s=cluster.now_s,
        width=width(),
        whole=whole,
        options=cluster.options,
        leader=leader,
        workload=workload_of(cluster, incident),
    )
    if asked.as_json:
        show_json(
            {
                "namespace": incident.namespace,
                "name": incident.name,
                "fleet": incident.spec.fleet,
                "status": to_object(incident.status),
                "operator": leader or None,
                "text": [line.text for line in lines],
            }
        )
    else:
        show(lines)


def workload_of(cluster: Cluster, incident: StoredIncident) -> str:
    """What runs the pods of the suspected service; a Deployment where nothing is known."""
    service = service_looked_at(told.suspect(incident))
    for workload in WORKLOADS if service else ():
        path = path_of("apps", "v1", f"{workload}s", incident.namespace, service)
        try:
            cluster.api.get(path)
        except KubeError:
            continue
        return workload
    return WORKLOADS[0]


def leader_of(cluster: Cluster, *, watched: bool = True) -> str:
    """Why no operator leads; empty where one does, or where this user may not know.

    Args:
        watched: an operator has written a status: without a Lease here it has one elsewhere.
    """
    path = path_of("coordination.k8s.io", "v1", "leases", SYSTEM, LEASE)
    try:
        return leader_trouble(cluster.api.get(path), now_s=cluster.now_s)
    except KubeError as error:
        return no_lease(SYSTEM) if error.status == 404 and not watched else ""


def fleet_of(cluster: Cluster, incident: StoredIncident) -> StoredFleet | None:
    """Its Fleet; None where it is gone, or may not be read."""
    path = path_of(GROUP, VERSION, "fleets", incident.namespace, incident.spec.fleet)
    try:
        return stored_fleet(cluster.api.get(path))
    except (KubeError, OpsError):
        return None
