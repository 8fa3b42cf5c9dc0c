"""Pods and machines of a recorded incident, ranked below the service level.

One pod of a service off is the pod's fault; all of them off is the service's or somebody's above,
and then none of them stands out. All pods of one machine off while most others are calm is the
machine's: one cause instead of many.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from rca.channels.metric_table import DECIMALS, NULL_FLOOR, MetricTable, owner_scores
from rca.incident import Incident
from rca.localisation import Suspect

OWN_SHARE = 0.2  # of a pod's score that counts whatever the rank of its service
INHABITANTS_MIN = 2
OUTSIDERS_SHARE_MAX = 0.5  # of pods elsewhere that may be off as well: callers of those concerned
NODE_FIRST = 1.01  # a machine comes right before the strongest pod that it explains


def rank_instances(
    incident: Incident, table: MetricTable, scores: Mapping[str, float]
) -> tuple[Suspect, ...]:
    """Pods (or whatever owns columns) by own change within the order of services, and machines.

    Args:
        scores: fused score per service.
    """
    top = max(scores.values(), default=0.0)
    owners = table.columns.owners
    own = dict(
        zip(owners, owner_scores(table.score, table.columns, table.known).tolist(), strict=True)
    )
    ranked = {}
    for owner, value in own.items():
        share = scores.get(incident.service_of(owner), 0.0) / top if top > 0.0 else 0.0
        ranked[owner] = round(value * (OWN_SHARE + (1.0 - OWN_SHARE) * share), DECIMALS)
    ranked |= _machines(incident, own, ranked, _chance(table))
    rows = sorted(ranked.items(), key=lambda pair: (-pair[1], pair[0]))
    return tuple(
        Suspect(rank=rank, name=name, score=score) for rank, (name, score) in enumerate(rows, 1)
    )


def _chance(table: MetricTable) -> float:
    return max(float(np.median(table.null)) if len(table.null) else 0.0, NULL_FLOOR)


def _machines(
    incident: Incident, own: Mapping[str, float], ranked: Mapping[str, float], chance: float
) -> dict[str, float]:
    """Score of each machine with inhabitants: theirs where it explains them, else the calmest's."""
    lives_on = {owner: node for owner, node in sorted(incident.nodes.items()) if owner in own}
    found = {}
    for node in sorted(set(lives_on.values()) - set(own)):
        inside = [owner for owner, where in lives_on.items() if where == node]
        outside = [owner for owner in own if lives_on.get(owner) != node]
        if len(inside) < INHABITANTS_MIN:
            continue
        several = len({incident.service_of(owner) for owner in inside}) >= INHABITANTS_MIN
        all_off = min(own[owner] for owner in inside) >= chance
        off = sum(own[owner] >= chance for owner in outside)
        if several and all_off and off <= OUTSIDERS_SHARE_MAX * len(outside):
            found[node] = round(NODE_FIRST * max(ranked[owner] for owner in inside), DECIMALS)
        else:
            found[node] = min(ranked[owner] for owner in inside)
    return found
