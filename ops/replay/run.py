"""Run one scenario in one world: advance the fleet, let a controller act, keep records."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ops.catalogue import Catalogue
from ops.config import LoopConfig
from ops.pipeline import report_blocked, step
from ops.pipeline_state import LoopState
from ops.ports import Diagnoser, Journal
from ops.replay.faults import Truth
from ops.replay.fleet import Fleet
from ops.replay.ledger import Ledger
from ops.replay.scenario import Scenario
from ops.replay.score import Minute, minutes
from ops.replay.services import ServiceGraph
from ops.replay.traffic import Traffic
from ops.state import ActionKind, Decision, DecisionKind, Incident, Snapshot
from rca.pipeline import diagnose

LOOP_START_S = 60.0  # before it no histories exist
THINK_S = 1.0  # charged for a diagnosis before an action starts


class Controller(Protocol):
    """Watches a fleet at every scrape and may act on it."""

    def tick(self, fleet: Fleet, now_s: float) -> None:
        """Look and act."""
        ...


@dataclass(slots=True, kw_only=True)
class WorldRecord:
    """What happened in one world."""

    ledger: Ledger
    minutes: list[Minute]
    judged: list[tuple[float, bool]]
    truths: tuple[Truth, ...]
    decisions: list[Decision] = field(default_factory=list)
    end_s: float = 0.0
    complete: bool = True  # false after an interrupt


class MemoryOnly:
    """A journal that nobody reads later."""

    def append(self, decision: Decision) -> None:
        """Drop it."""


StepHook = Callable[[LoopState, Sequence[Decision]], None]


class Loop:
    """Drives the pure pipeline over a simulated fleet.

    `on_step` gets the state before a step and what was decided, before any of it takes effect.
    """

    def __init__(
        self,
        *,
        config: LoopConfig | None = None,
        diagnoser: Diagnoser = diagnose,
        journal: Journal | None = None,
        on_incident: Callable[[Snapshot, Incident], None] | None = None,
        on_step: StepHook | None = None,
        act: bool = True,
    ) -> None:
        self._config = config or LoopConfig()
        self._diagnoser = diagnoser
        self._journal = journal or MemoryOnly()
        self._on_incident = on_incident
        self._on_step = on_step
        self._act = act
        self.state = LoopState()
        self.decisions: list[Decision] = []

    def tick(self, fleet: Fleet, now_s: float) -> None:
        """One step of the pipeline; actions start after the time a diagnosis takes."""
        if now_s < LOOP_START_S:
            return
        snapshot, before = fleet.snapshot(), self.state
        self.state, decisions = step(
            before, snapshot, diagnoser=self._diagnoser, config=self._config
        )
        if self._on_step is not None:
            self._on_step(before, decisions)
        for decision in decisions:
            self._keep(decision)
            if decision.kind is DecisionKind.ACT and decision.action is not None and self._act:
                fleet.kernel.after(THINK_S, self._start, fleet, decision)
            if self._on_incident and decision.incident and decision.kind in (
                DecisionKind.DIAGNOSE, DecisionKind.ABSTAIN, DecisionKind.RESOLVE,
            ):  # fmt: skip
                self._on_incident(snapshot, decision.incident)

    def _start(self, fleet: Fleet, decision: Decision) -> None:
        assert decision.action is not None
        refusal = fleet.apply(decision.action)
        if refusal and decision.action.kind is not ActionKind.UNDO:
            self.state, more = report_blocked(
                self.state,
                action_id=decision.action.action_id,
                reason=refusal,
                now_s=fleet.kernel.now_s,
            )
            for one in more:
                self._keep(one)

    def _keep(self, decision: Decision) -> None:
        self._journal.append(decision)
        self.decisions.append(decision)


class World:
    """One world under way: the fleet, and who looks at it at every scrape."""

    def __init__(
        self,
        scenario: Scenario,
        traffic: Traffic,
        *,
        seed: int,
        rate_rps: float,
        controller: Controller | None,
        catalogue: Catalogue | None = None,
        graph: Callable[..., ServiceGraph] = ServiceGraph,
    ) -> None:
        self.fleet = Fleet(
            scenario, traffic, seed=seed, rate_rps=rate_rps, catalogue=catalogue, graph=graph
        )
        self.controller = controller
        self._next = 1  # row of samples that is looked at next
        self.fleet.start()

    def run(
        self,
        *,
        until_s: float = math.inf,
        check: bool = False,
        progress: Callable[[float], None] | None = None,
    ) -> bool:
        """Go on to the end, or up to the last look before `until_s`.

        Args:
            check: verify invariants at every scrape.
            progress: called with the simulated time at every scrape; may raise KeyboardInterrupt.

        Returns:
            False after an interrupt.
        """
        spec, fleet = self.fleet.scenario.telemetry, self.fleet
        last = int((fleet.scenario.duration_s - spec.delay_s) / spec.scrape_s)
        try:
            while self._next <= last:
                # The moment at which a row of samples becomes visible.
                now = self._next * spec.scrape_s + spec.delay_s
                if now >= until_s:
                    break
                self._next += 1
                fleet.run_until(now)
                if check:
                    fleet.users.check_invariants()
                if self.controller is not None:
                    self.controller.tick(fleet, now)
                if progress is not None:
                    progress(now)
        except KeyboardInterrupt:
            return False
        return True

    def record(self, *, complete: bool = True) -> WorldRecord:
        """What happened so far."""
        fleet, controller = self.fleet, self.controller
        now = fleet.kernel.now_s
        return WorldRecord(
            ledger=fleet.users.ledger,
            minutes=minutes(fleet.users, now_s=now),
            judged=fleet.users.judged,
            truths=tuple(f.truth for f in fleet.faults),
            decisions=list(controller.decisions) if isinstance(controller, Loop) else [],
            end_s=now,
            complete=complete,
        )


def run_world(
    scenario: Scenario,
    traffic: Traffic,
    *,
    seed: int,
    rate_rps: float,
    controller: Controller | None,
    catalogue: Catalogue | None = None,
    check: bool = False,
    progress: Callable[[float], None] | None = None,
) -> WorldRecord:
    """Simulate one world from start to end.

    Args:
        controller: None = the world without us.
        catalogue: metric catalogue; needed with a controller that watches.
        check: verify invariants at every scrape.
        progress: called with the simulated time at every scrape; may raise KeyboardInterrupt.
    """
    world = World(
        scenario, traffic, seed=seed, rate_rps=rate_rps, controller=controller, catalogue=catalogue
    )
    return world.record(complete=world.run(check=check, progress=progress))


def incidents_of(decisions: Sequence[Decision]) -> list[Incident]:
    """Last state of every incident that a journal mentions, by id."""
    last: dict[str, Incident] = {}
    for decision in decisions:
        if decision.incident is not None:
            last[decision.incident.incident_id] = decision.incident
    return [last[key] for key in sorted(last)]
