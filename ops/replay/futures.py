"""Reference worlds of one case: each leaves our world at the moment where it first differs.

Until the loop acts, the world with it and the world without us are one. A reflex that restarts
pods differs from the first incident on, an oracle from the start of the fault.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ops.pipeline_state import LoopState
from ops.replay.branch import Answer, in_fork
from ops.replay.references import Oracle, RestartWorst
from ops.replay.run import World
from ops.state import Decision, DecisionKind

WITH, WITHOUT, ORACLE, RESTART = "with", "without", "oracle", "restart"


@dataclass(slots=True)
class Futures:
    """Goes on with forks of our world as the references would; keeps the answers by name.

    Attributes:
        fresh: makes the world from its start, unwatched.
        score: what is wanted of a world that ran to its end.
    """

    world: World
    fresh: Callable[[], World]
    score: Callable[[World], Answer]
    capacity_rps: float
    answers: dict[str, Answer] = field(default_factory=dict)

    def at_fault(self) -> None:
        """The oracle acts from here on; where our loop acted already it needs a world anew."""
        if WITHOUT not in self.answers:
            self._branch(ORACLE, self._with_oracle)
            return
        world = self.fresh()
        world.controller = Oracle(self.capacity_rps)
        world.run()
        self.answers[ORACLE] = self.score(world)

    def on_step(self, before: LoopState, decisions: Sequence[Decision]) -> None:
        """Hook of the loop: branch before the first decision that makes a difference."""
        kinds = {d.kind for d in decisions}
        if RESTART not in self.answers and kinds & {DecisionKind.OPEN, DecisionKind.ACT}:
            self._branch(RESTART, lambda: self._with_reflex(before))
        if WITHOUT not in self.answers and DecisionKind.ACT in kinds:
            self._branch(WITHOUT, self._alone)

    def finish(self) -> dict[str, Answer]:
        """Answers of all worlds; what never differed from ours has our answer."""
        ours = self.score(self.world)
        references = {n: self.answers.get(n, ours) for n in (WITHOUT, ORACLE, RESTART)}
        return {WITH: ours, **references}

    def _branch(self, name: str, future: Callable[[], None]) -> None:
        def run() -> Answer:
            future()
            self.world.run()
            return self.score(self.world)

        self.answers[name] = in_fork(name, run)

    def _alone(self) -> None:
        self.world.controller = None
        self.world.fleet.stop_watching()

    def _with_oracle(self) -> None:
        self.world.controller = Oracle(self.capacity_rps)
        self.world.fleet.stop_watching()

    def _with_reflex(self, before: LoopState) -> None:
        """The reflex detects as the loop does, so its state up to here is the same."""
        reflex = RestartWorst(state=before)
        self.world.controller = reflex
        reflex.tick(self.world.fleet, self.world.fleet.kernel.now_s)
