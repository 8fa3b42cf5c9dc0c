"""From a named cause to proposed actions: a table over kinds of entity and classes of resource.

The table knows no fault, only what can be done to whom. It proposes in order of preference; the
guard decides, the pipeline tries the next one when the first did not help.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ops.capacity import engine_loads
from ops.config import LoopConfig
from ops.moves import make_room, shift_away
from ops.remedies import (
    Context,
    Distress,
    drain_node,
    limit_admission,
    pod_of,
    replace_pod,
    restart_pod,
    roll_back,
    surge,
)
from ops.state import Action, Incident, Snapshot
from rca.state import EntityKind, RankedCause
from rca.state import ResourceClass as Class

Remedy = Callable[[Context], Action | None]
Plan = tuple[tuple[Remedy, ...], ...]  # alternatives, best first; those of one tuple go together

MENDABLE: Plan = ((roll_back,), (restart_pod,), (surge,), (shift_away,))
# An engine that still serves costs a minute of its work when it is restarted: help comes first.
ENGINE_MENDABLE: Plan = ((roll_back,), (surge, shift_away), (restart_pod,))
OVERLOADED: Plan = ((roll_back,), (surge, shift_away), (limit_admission,))
ANY: tuple[Class, ...] = ()
UNKNOWN = Distress()

# Kind of entity -> (classes, plan); an empty tuple of classes matches every class.
PLANS: Mapping[EntityKind, tuple[tuple[tuple[Class, ...], Plan], ...]] = {
    EntityKind.POD: (
        # Kubernetes restarts what is gone; capacity may be short until then.
        ((Class.LOSS, Class.START_UP), ((surge, shift_away),)),
        # Other hardware mends it; users go elsewhere while the new instance starts.
        ((Class.GPU_DEVICE, Class.GPU_CLOCK), ((replace_pod, shift_away), (drain_node,), (surge,))),
        ((Class.GPU_MEMORY,), ((restart_pod, shift_away), (surge,))),
        ((Class.NETWORK,), ((replace_pod,), (drain_node,), (shift_away,))),
        ((Class.LOAD,), OVERLOADED),
        (ANY, MENDABLE),
    ),
    EntityKind.NODE: ((ANY, ((drain_node,), (shift_away,))),),
    EntityKind.SERVICE: (
        ((Class.LOSS, Class.START_UP), ((roll_back,), (surge, shift_away))),
        (
            (Class.CODE, Class.CONFIG_CHANGE, Class.POOL),
            ((roll_back,), (make_room,), (shift_away,), (surge,)),
        ),
        (ANY, OVERLOADED),
    ),
    EntityKind.LINK: ((ANY, ((roll_back,), (make_room,), (shift_away,))),),
    EntityKind.WORKLOAD: ((ANY, OVERLOADED),),
    EntityKind.REGISTRY: ((ANY, ((shift_away,),)),),
    EntityKind.TELEMETRY: (),
}


def propose(
    cause: RankedCause,
    incident: Incident,
    snapshot: Snapshot,
    *,
    regions_suffering: frozenset[str],
    config: LoopConfig,
    distress: Distress = UNKNOWN,
) -> tuple[tuple[Action, ...], ...]:
    """Alternatives against `cause`, best first; the actions of one alternative go together.

    What this incident has tried already is left out. Empty when nothing fits or the cause is
    not sure enough.
    """
    if cause.confidence < config.act.confidence_min:
        return ()
    rows = PLANS[cause.entity.kind]
    plan = next((p for classes, p in rows if not classes or cause.resource_class in classes), ())
    if not plan:
        return ()
    context = Context(
        cause=cause,
        began_at_s=incident.began_at_s,
        region_served=incident.symptom.region,
        snapshot=snapshot,
        loads=engine_loads(snapshot, config.act, onset_s=incident.began_at_s),
        regions_suffering=regions_suffering,
        symptom_ratio=incident.symptom.bad_ratio,
        distress=distress,
        config=config.act,
    )
    pod = pod_of(context)
    if plan is MENDABLE and pod is not None and pod.engine:
        plan = ENGINE_MENDABLE
    tried = {(record.action.kind, record.action.target) for record in incident.actions}
    alternatives = []
    for remedies in plan:
        made = [action for action in (remedy(context) for remedy in remedies) if action]
        fresh = tuple(a for a in made if (a.kind, a.target) not in tried)
        if fresh:
            alternatives.append(fresh)
    return tuple(alternatives)
