"""Kubernetes events as evidence. The table says what a reason means, not which fault it shows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence

from rca.channels.case import Case, Finding
from rca.kinds import plain
from rca.state import ClusterEvent, Entity, ResourceClass

CHANNEL = "event"
BEFORE_S = 120.0
HOUSEKEEPING = 0.2
_ENDS = frozenset({"Killing", "TaintManagerEviction", "Evicted"})
# What Kubernetes means by a reason: the resource it speaks of and how grave it is. Reasons of
# everyday life (Scheduled, Pulled, Created, Started) are left out.
_MEANING = {
    "OOMKilling": (ResourceClass.MEMORY, 1.0),
    "OOMKilled": (ResourceClass.MEMORY, 1.0),
    "SystemOOM": (ResourceClass.MEMORY, 1.0),
    "Evicted": (ResourceClass.LOSS, 0.7),
    "NodeNotReady": (ResourceClass.LOSS, 1.0),
    "NodeNotSchedulable": (ResourceClass.LOSS, 0.2),
    "TaintManagerEviction": (ResourceClass.LOSS, 0.5),
    "BackOff": (ResourceClass.LOSS, 0.6),
    "Unhealthy": (ResourceClass.LOSS, 0.35),
    "Killing": (ResourceClass.LOSS, 0.5),
    "Failed": (ResourceClass.START_UP, 0.5),
    "ErrImagePull": (ResourceClass.START_UP, 0.8),
    "ImagePullBackOff": (ResourceClass.START_UP, 0.8),
    "FailedScheduling": (ResourceClass.START_UP, 0.5),
    "Pulling": (ResourceClass.START_UP, 0.15),
}


def event_findings(
    case: Case, events: Sequence[ClusterEvent], *, missed: Collection[str] | None = None
) -> list[Finding]:
    """Events that began around the onset, less those that are usual for the entity.

    Args:
        missed: pods that left a hole. The end of any other pod is housekeeping: scaled in, rolled
            out, moved. Unknown: every end counts.
    """
    recent: dict[tuple[Entity, str], list[ClusterEvent]] = defaultdict(list)
    usual: dict[tuple[Entity, str], int] = defaultdict(int)
    start_s = case.onset_s - BEFORE_S
    for event in sorted(events):
        if event.reason not in _MEANING or event.at_s > case.now_s:
            continue
        if event.at_s >= start_s:
            recent[(event.entity, event.reason)].append(event)
        else:
            usual[(event.entity, event.reason)] += event.count
    found = []
    for (entity, reason), group in sorted(recent.items()):
        resource, weight = _MEANING[reason]
        first = group[0]
        # What follows the onset by far is more often a consequence than a cause.
        late_s = max(0.0, first.at_s - case.onset_s)
        weight *= 1.0 / (1.0 + late_s / 60.0)
        weight /= 1.0 + usual[(entity, reason)]
        if reason in _ENDS and missed is not None and entity.name not in missed:
            weight *= HOUSEKEEPING
        count = sum(event.count for event in group)
        offset = f"{first.at_s - case.onset_s:+.0f} s"
        found.append(
            Finding(
                entity=entity,
                channel=CHANNEL,
                strength=weight,
                resource=resource,
                text=f"{reason} x{plain(count)}, first {offset} from the onset",
                specificity=0.8 if weight > 0.3 else 0.3,
                onset_s=first.at_s,
            )
        )
    return found
