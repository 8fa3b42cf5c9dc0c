"""Cases of a sweep: drawn from kind and seed alone, half of them with the direct metric hidden."""

from __future__ import annotations

import pytest

from ops.replay.draw_case import LENGTH_S, SEVERITY, WARMUP_S, draw_case, draw_healthy
from ops.replay.faults import CATALOGUE
from ops.replay.score import AFTER_S

LOAD = (0.5, 0.85)


def test_a_case_is_the_same_for_the_same_kind_and_seed(sim):
    base = sim.scenario()
    assert draw_case(base, "cpu-hog", 3, LOAD) == draw_case(base, "cpu-hog", 3, LOAD)
    assert draw_case(base, "cpu-hog", 3, LOAD) != draw_case(base, "cpu-hog", 4, LOAD)


@pytest.mark.parametrize("kind", CATALOGUE)
def test_a_case_lies_within_its_ranges(sim, kind):
    for seed in range(10):
        case = draw_case(sim.scenario(), kind, seed, LOAD)
        (fault,) = case.scenario.faults
        assert fault.kind == case.kind == kind
        assert LOAD[0] <= case.load <= LOAD[1]
        assert case.scenario.traffic.load == case.load
        assert fault.start_s >= WARMUP_S
        assert LENGTH_S[0] <= fault.length_s <= LENGTH_S[1]
        assert SEVERITY[0] <= fault.severity <= SEVERITY[1]
        assert fault.target == ""
        assert case.scenario.duration_s >= fault.start_s + fault.length_s + AFTER_S
        hidden = case.scenario.telemetry.not_collected
        assert hidden == (CATALOGUE[kind].direct_roles if case.hide_direct else ())


def test_half_of_the_seeds_hide_the_direct_metric_and_bring_an_innocent_closer(sim):
    cases = [draw_case(sim.scenario(), "bad-code", seed, LOAD) for seed in range(100)]
    assert 35 <= sum(c.hide_direct for c in cases) <= 65
    assert 35 <= sum(c.innocent_closer for c in cases) <= 65
    for case in cases:
        start_s = case.scenario.faults[0].start_s
        close = [c for c in case.scenario.changes if abs(c.at_s - start_s) <= 12.0]
        assert bool(close) == case.innocent_closer


def test_changes_are_sorted_and_name_what_exists(sim):
    base = sim.scenario()
    for seed in range(20):
        case = draw_healthy(base, seed, 6.0)
        times = [c.at_s for c in case.scenario.changes]
        assert times == sorted(times)
        assert {c.service for c in case.scenario.changes} <= {s.name for s in base.services}
        assert all(60.0 <= t <= case.scenario.duration_s for t in times)


def test_a_healthy_stretch_has_a_day_a_step_and_no_fault(sim):
    case = draw_healthy(sim.scenario(), 1, 12.0)
    assert case.scenario.faults == ()
    assert case.scenario.duration_s == 12 * 3600.0
    assert case.scenario.traffic.diurnal > 0.0
    assert 0.0 < case.scenario.traffic.step_at_s < case.scenario.duration_s
    kinds = {
        c.kind for s in range(30) for c in draw_healthy(sim.scenario(), s, 12.0).scenario.changes
    }
    assert kinds == {"deploy", "config", "flag", "reschedule"}
