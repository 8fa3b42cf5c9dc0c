"""Reference worlds that branch off are the worlds that run from the start."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from ops.pipeline_state import LoopState
from ops.replay.futures import ORACLE, RESTART, WITH, WITHOUT, Futures
from ops.replay.references import Oracle
from ops.replay.run import World, run_world
from ops.replay.scenario import FaultSpec
from ops.state import Action, ActionKind, DecisionKind
from rca.state import Entity, EntityKind

START_S, RATE_RPS = 12.0, 4.0


@dataclass
class Scripted:
    """Decides at given moments; its action closes a region's door to half of its users."""

    futures: Futures
    act_at_s: tuple[float, ...] = ()
    open_at_s: float | None = None
    seen: list = field(default_factory=list)

    def tick(self, fleet, now_s):
        self.seen.append(now_s)
        kinds = [DecisionKind.ACT] if now_s in self.act_at_s else []
        kinds += [DecisionKind.OPEN] if now_s == self.open_at_s else []
        self.futures.on_step(LoopState(), [SimpleNamespace(kind=k) for k in kinds])
        if DecisionKind.ACT in kinds:
            pod = next(p for p in fleet.cluster.pods() if p.ready)
            entity = Entity(EntityKind.POD, pod.region, pod.name)
            assert (
                fleet.apply(Action(action_id="a", kind=ActionKind.RESTART_POD, target=entity)) == ""
            )


@pytest.fixture
def scenario(sim):
    fault = FaultSpec(kind="cpu-hog", start_s=START_S, length_s=10.0)
    return sim.scenario(duration_s=41.0, faults=(fault,))


def digest(record):
    return {"digest": repr((record.ledger, record.minutes, record.judged, record.end_s))}


def futures_of(sim, scenario, catalogue=None, **script):
    def world_of(catalogue=None):
        traffic = sim.Steady(scenario)
        return World(
            scenario, traffic, seed=1, rate_rps=RATE_RPS, controller=None, catalogue=catalogue
        )

    world = world_of(catalogue)
    futures = Futures(world, world_of, lambda w: digest(w.record()), 100.0)
    world.controller = Scripted(futures, **script)
    world.run(until_s=START_S)
    futures.at_fault()
    world.run()
    return futures, futures.finish()


def alone(sim, scenario, controller=None):
    traffic = sim.Steady(scenario)
    return digest(run_world(scenario, traffic, seed=1, rate_rps=RATE_RPS, controller=controller))


@pytest.mark.slow
def test_worlds_that_branch_are_worlds_that_run_from_the_start(sim, scenario, catalogue):
    _, answers = futures_of(sim, scenario, catalogue, act_at_s=(21.0, 26.0))
    assert answers[WITHOUT] == alone(sim, scenario)
    assert answers[ORACLE] == alone(sim, scenario, Oracle(100.0))
    assert len({answers[name]["digest"] for name in (WITH, WITHOUT, ORACLE)}) == 3


def test_without_an_action_the_world_without_us_is_ours(sim, scenario):
    futures, answers = futures_of(sim, scenario)
    assert answers[WITHOUT] == answers[WITH] == answers[RESTART] == alone(sim, scenario)
    assert list(futures.answers) == [ORACLE]


def test_an_oracle_gets_a_world_of_its_own_where_the_loop_acted_first(sim, scenario, catalogue):
    _, answers = futures_of(sim, scenario, catalogue, act_at_s=(6.0,))
    assert answers[ORACLE] == alone(sim, scenario, Oracle(100.0))
    assert answers[WITHOUT] == alone(sim, scenario)


def test_the_reflex_looks_from_the_first_incident_on(sim, scenario, catalogue, monkeypatch):
    looks = []

    @dataclass
    class Reflex:
        state: object

        def tick(self, fleet, now_s):
            looks.append((self.state, now_s))

    monkeypatch.setattr("ops.replay.futures.RestartWorst", Reflex)
    monkeypatch.setattr("ops.replay.futures.in_fork", lambda name, future: {"looks": len(looks)})
    futures, _ = futures_of(sim, scenario, catalogue, open_at_s=21.0)
    before = LoopState()
    futures._with_reflex(before)
    assert looks == [(before, 41.0)]
    assert list(futures.answers) == [ORACLE, RESTART]
