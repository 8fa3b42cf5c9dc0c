"""Running one scenario in one world: records, interrupts, refused actions."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from ops.adapters.fakes import MemoryJournal
from ops.replay.run import LOOP_START_S, Loop, World, incidents_of, run_world
from ops.replay.scenario import FaultSpec
from ops.state import Action, ActionKind
from rca.state import Entity, EntityKind


@dataclass
class Watcher:
    """Notes when it is asked."""

    seen: list = field(default_factory=list)

    def tick(self, fleet, now_s):
        assert fleet.kernel.now_s == now_s
        self.seen.append(now_s)


def run(sim, *, duration_s=31.0, faults=(), controller=None, **more):
    scenario = sim.scenario(duration_s=duration_s, faults=faults)
    return run_world(
        scenario, sim.Steady(scenario), seed=1, rate_rps=4.0, controller=controller, **more
    )


def test_the_controller_looks_when_a_row_of_samples_becomes_visible(sim):
    watcher = Watcher()
    run(sim, controller=watcher)
    assert watcher.seen == [6.0, 11.0, 16.0, 21.0, 26.0, 31.0]


def test_a_record_holds_what_happened(sim):
    fault = FaultSpec(kind="cpu-hog", start_s=5.0, length_s=5.0)
    record = run(sim, faults=(fault,), check=True)
    assert record.complete
    assert record.end_s == 31.0
    assert [t.kind for t in record.truths] == ["cpu-hog"]
    assert sum(m.requests for m in record.minutes) == pytest.approx(len(record.judged), abs=4)
    assert record.decisions == []


def test_an_interrupt_leaves_a_usable_partial_record(sim):
    def stop(now_s):
        if now_s > 12.0:
            raise KeyboardInterrupt

    record = run(sim, progress=stop)
    assert not record.complete
    assert record.end_s == 16.0
    assert record.ledger.arrived == 64


def test_broken_invariants_stop_a_checked_run(sim):
    scenario = sim.scenario(duration_s=31.0)
    world = World(scenario, sim.Steady(scenario), seed=1, rate_rps=4.0, controller=None)
    world.fleet.users.ledger.arrived += 1
    with pytest.raises(AssertionError):
        world.run(check=True)


def test_a_world_stops_before_the_look_that_was_asked_for_and_goes_on(sim):
    watcher = Watcher()
    scenario = sim.scenario(duration_s=31.0)
    world = World(scenario, sim.Steady(scenario), seed=1, rate_rps=4.0, controller=watcher)
    world.run(until_s=16.0)
    assert watcher.seen == [6.0, 11.0]
    world.run()
    assert watcher.seen == [6.0, 11.0, 16.0, 21.0, 26.0, 31.0]
    assert world.record() == run(sim)


def test_the_loop_waits_until_histories_exist(sim, catalogue):
    loop = Loop()
    run(sim, controller=loop, catalogue=catalogue, duration_s=LOOP_START_S - 1.0)
    assert len(loop.state.meter.times_s) == 0


def test_a_loop_that_may_not_act_orders_nothing(sim):
    assert Loop(act=False)._act is False
    assert Loop()._act is True


def test_a_refusal_of_the_world_stands_in_the_journal(sim, catalogue, monkeypatch):
    journal, asked = MemoryJournal(), []
    loop = Loop(journal=journal)
    fleet = sim.start(rate_rps=0.1, catalogue=catalogue)
    gone = Entity(EntityKind.POD, "north", "nobody")
    action = Action(action_id="a1", kind=ActionKind.RESTART_POD, target=gone)

    def blocked(state, *, action_id, reason, now_s):
        asked.append((action_id, reason, now_s))
        return state, ()

    monkeypatch.setattr("ops.replay.run.report_blocked", blocked)
    loop._start(fleet, FakeDecision(action))
    assert asked == [("a1", "pod 'nobody' is gone", 0.0)]


@dataclass
class FakeDecision:
    action: Action


def test_no_decisions_are_no_incidents():
    assert incidents_of([]) == []
