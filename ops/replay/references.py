"""Reference controllers: an oracle that knows the truth, a reflex that restarts the worst pod."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ops.config import LoopConfig
from ops.pipeline import step
from ops.pipeline_state import LoopState
from ops.replay.faults import ActiveFault
from ops.replay.fleet import Fleet
from ops.state import Action, ActionKind, DecisionKind, Snapshot
from ops.topology import discover
from rca.baselines import rank_maxrobust
from rca.state import (
    ChangeEvent,
    ClusterEvent,
    Entity,
    EntityKind,
    MetricFrame,
    RcaResult,
    Symptom,
    Topology,
)

ORACLE_FILL = 0.9  # of the other region's true capacity, which the oracle may use up
ORACLE_SHARE_MIN, ORACLE_SHARE_MAX = 0.1, 0.8
ORACLE_ADD = 1


@dataclass(slots=True)
class Oracle:
    """Acts at the first scrape after the start of each fault, on the right target.

    It knows the fleet's measured capacity, so that the traffic it moves fits where it goes.
    """

    capacity_rps: float
    _done: int = 0
    _shifted: list[tuple[str, float]] = field(default_factory=list)  # (action, when it ends)

    def tick(self, fleet: Fleet, now_s: float) -> None:
        """Act on faults that began since the last look; move traffic back when they are over."""
        while self._done < len(fleet.faults):
            self._answer(fleet, fleet.faults[self._done])
            self._done += 1
        for action_id, until_s in list(self._shifted):
            if now_s >= until_s:
                fleet.users.unshift(action_id)
                self._shifted.remove((action_id, until_s))

    def _answer(self, fleet: Fleet, fault: ActiveFault) -> None:
        truth = fault.truth
        for k, kind in enumerate(fault.oracle):
            action = self._action(fleet, ActionKind(kind), truth.entity, f"oracle-{self._done}-{k}")
            if action is not None:
                fleet.apply(action)
                if action.kind is ActionKind.SHIFT_TRAFFIC:
                    self._shifted.append((action.action_id, truth.ended_at_s))

    def _action(
        self, fleet: Fleet, kind: ActionKind, entity: Entity, action_id: str
    ) -> Action | None:
        params: dict[str, float | str] = {}
        target = entity
        if kind is ActionKind.SHIFT_TRAFFIC:
            to_region, share = self._room(fleet, entity.region)
            if share < ORACLE_SHARE_MIN:
                return None
            params = {"to_region": to_region, "share": share}
        elif kind is ActionKind.SCALE_OUT:
            params = {"add": ORACLE_ADD}
            if entity.kind is not EntityKind.SERVICE:
                target = Entity(EntityKind.SERVICE, entity.region, fleet.scenario.engine.name)
        return Action(action_id=action_id, kind=kind, target=target, params=params)

    def _room(self, fleet: Fleet, away: str) -> tuple[str, float]:
        """Region with most true headroom, and the share of the traffic of `away` that fits."""
        specs = {r.name: r for r in fleet.scenario.regions}
        engine = fleet.scenario.engine
        sizes = {
            n: engine.instances if r.instances is None else r.instances for n, r in specs.items()
        }
        per_instance = self.capacity_rps / max(1, sum(sizes.values()))
        room = {
            name: ORACLE_FILL * per_instance * sizes[name] - fleet.rate_rps * spec.traffic_share
            for name, spec in specs.items() if name != away
        }  # fmt: skip
        if not room:
            return "", 0.0
        best = max(sorted(room), key=lambda name: room[name])
        own = fleet.rate_rps * specs[away].traffic_share
        return best, min(ORACLE_SHARE_MAX, room[best] / max(own, 1e-9))


def worst_looking(
    frame: MetricFrame,
    *,
    symptom: Symptom,
    topology: Topology,
    changes: Sequence[ChangeEvent],  # noqa: ARG001  the Diagnoser's signature
    events: Sequence[ClusterEvent],  # noqa: ARG001
    now_s: float,
    seed: int,
) -> RcaResult:
    """Diagnoser that names nobody: the reflex below looks at the scores itself."""
    del frame, topology, now_s, seed
    return RcaResult(
        began_at_s=symptom.began_at_s, causes=(), abstained=True, reason="no diagnosis is made"
    )


@dataclass(slots=True)
class RestartWorst:
    """Detects as the loop does, then restarts the pod whose metrics moved most, once a case."""

    config: LoopConfig = field(default_factory=LoopConfig)
    state: LoopState = field(default_factory=LoopState)

    def tick(self, fleet: Fleet, now_s: float) -> None:
        """Look; restart at the opening of an incident."""
        if now_s < 60.0:
            return
        snapshot = fleet.snapshot()
        self.state, decisions = step(
            self.state, snapshot, diagnoser=worst_looking, config=self.config
        )
        for decision in decisions:
            if decision.kind is DecisionKind.OPEN and decision.incident is not None:
                self._restart(fleet, snapshot, decision.incident.symptom)

    def _restart(self, fleet: Fleet, snapshot: Snapshot, symptom: Symptom) -> None:
        ranked = rank_maxrobust(
            snapshot.frame,
            symptom=symptom,
            topology=discover(snapshot.frame, snapshot.pods),
            now_s=snapshot.now_s,
            seed=0,
        )
        pod = next((e for e in ranked if e.kind is EntityKind.POD), None)
        if pod is not None:
            fleet.apply(Action(action_id="reflex", kind=ActionKind.RESTART_POD, target=pod))
