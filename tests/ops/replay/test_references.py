"""The oracle acts at once on the right target; the reflex restarts what looks worst."""

from __future__ import annotations

import pytest

from ops.replay.references import ORACLE_SHARE_MAX, ORACLE_SHARE_MIN, Oracle, worst_looking
from ops.replay.scenario import FaultSpec
from rca.state import Symptom


def acted(sim, kind, *, regions=("north", "south"), capacity_rps=100.0, rate_rps=4.0, **more):
    fault = FaultSpec(kind=kind, start_s=5.0, length_s=30.0, **more)
    names = sim.Names(regions=regions)
    fleet = sim.start(sim.scenario(names=names, faults=(fault,)), rate_rps=rate_rps)
    oracle, seen = Oracle(capacity_rps), []
    apply = fleet.apply

    def note(action):
        seen.append(action)
        return apply(action)

    fleet.apply = note
    for now_s in (1.0, 6.0, 11.0):
        fleet.run_until(now_s)
        oracle.tick(fleet, now_s)
    return fleet, oracle, seen


def test_the_oracle_acts_once_per_fault_on_its_entity(sim):
    fleet, _, seen = acted(sim, "cpu-hog")
    assert [str(a.kind) for a in seen] == ["restart-pod"]
    assert seen[0].target == fleet.faults[0].truth.entity


def test_the_oracle_moves_traffic_away_and_back(sim):
    fleet, oracle, seen = acted(sim, "slow-link", target="link:north/shelf->store")
    (shift,) = seen
    assert shift.params == {"to_region": "south", "share": ORACLE_SHARE_MAX}
    fleet.run_until(20.0)
    assert fleet.users.weights["north"]["south"] == ORACLE_SHARE_MAX
    fleet.run_until(36.0)
    oracle.tick(fleet, 36.0)
    assert fleet.users.weights["north"] == {"north": 1.0}


def test_the_oracle_moves_no_more_than_fits(sim):
    # South may use 0.9 x 5 requests/s and has 2 of its own: 2.5 of the 2 would fit, all of it.
    _, _, seen = acted(sim, "slow-link", capacity_rps=10.0, target="link:north/shelf->store")
    assert seen[0].params["share"] == ORACLE_SHARE_MAX
    _, _, seen = acted(sim, "slow-link", capacity_rps=6.0, target="link:north/shelf->store")
    assert seen[0].params["share"] == pytest.approx((0.9 * 3.0 - 2.0) / 2.0)
    _, _, seen = acted(sim, "slow-link", capacity_rps=4.5, target="link:north/shelf->store")
    assert seen == []
    assert ORACLE_SHARE_MIN > 0.0


def test_the_oracle_cannot_shift_with_one_region(sim):
    _, _, seen = acted(sim, "slow-link", regions=("north",))
    assert seen == []


def test_the_oracle_scales_the_engines_for_a_burst(sim):
    fleet, _, seen = acted(sim, "traffic-burst", target="workload:north", capacity_rps=4.0)
    assert [str(a.kind) for a in seen] == ["scale-out"]
    assert seen[0].target.name == fleet.scenario.engine.name


def test_the_oracle_does_nothing_about_a_gap(sim):
    assert acted(sim, "metric-gap")[2] == []


def test_the_reflex_names_nobody(sim):
    symptom = Symptom(
        region="north", slo_class="fast", began_at_s=1.0, detected_at_s=2.0, bad_ratio=0.5,
        reason="errors",
    )  # fmt: skip
    result = worst_looking(
        None, symptom=symptom, topology=None, changes=(), events=(), now_s=2.0, seed=0
    )
    assert result.abstained
    assert result.causes == ()
