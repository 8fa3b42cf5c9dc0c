"""Bad minutes, their weights, and the first symptom."""

from __future__ import annotations

import pytest

from ops.replay.score import Minute, bad_minutes, first_symptom_s, is_bad, minutes
from ops.state import SloTarget

SLO = SloTarget(name="fast", ttft_s=1.0, tpot_s=0.1, target_ratio=0.9)
OTHER = SloTarget(name="slow", ttft_s=5.0, tpot_s=0.2, target_ratio=0.5)


def minute(number, requests, bad, *, region="north", slo_class="fast"):
    return Minute(region, slo_class, number, requests, bad)


@pytest.mark.parametrize(("bad", "expected"), [(0, False), (9, False), (10, False), (11, True)])
def test_a_minute_is_bad_beyond_the_budget_not_at_it(bad, expected):
    slo = SloTarget(name="fast", ttft_s=1.0, tpot_s=0.1, target_ratio=0.75)
    found = minute(0, 40, bad)
    assert is_bad(found, {"fast": slo}) is expected


def test_each_class_has_its_own_target():
    targets = {"fast": SLO, "slow": OTHER}
    assert is_bad(minute(0, 10, 4), targets)
    assert not is_bad(minute(0, 10, 4, slo_class="slow"), targets)


def test_a_minute_in_which_everybody_suffers_counts_one():
    found = [minute(3, 60, 60), minute(3, 40, 40, region="south")]
    assert bad_minutes(found, [SLO], start_s=0.0, end_s=600.0) == pytest.approx(1.0)
    assert bad_minutes(found, [SLO], start_s=0.0, end_s=600.0, weighted=False) == 2.0


def test_a_bad_minute_counts_by_its_share_of_the_traffic():
    found = [minute(3, 25, 25), minute(3, 75, 0, region="south")]
    assert bad_minutes(found, [SLO], start_s=0.0, end_s=600.0) == pytest.approx(0.25)


def test_only_minutes_of_the_span_count():
    found = [minute(k, 10, 10) for k in range(10)]
    assert bad_minutes(found, [SLO], start_s=120.0, end_s=240.0) == 2.0
    assert bad_minutes(found, [SLO], start_s=130.0, end_s=241.0) == 3.0  # begun minutes count
    assert bad_minutes(found, [SLO], start_s=120.0, end_s=120.0) == 0.0


def test_nothing_is_no_bad_minute():
    assert bad_minutes([], [SLO], start_s=0.0, end_s=600.0) == 0.0


def judged(*pairs):
    return [(float(t), bool(b)) for t, b in pairs]


def test_the_first_symptom_needs_three_bad_requests_close_together():
    known = judged((100, 1), (101, 0), (103, 1), (104, 1), (200, 1))
    assert first_symptom_s(known, after_s=50.0) == 104.0
    spread = judged((100, 1), (111, 1), (122, 1), (133, 1))
    assert first_symptom_s(spread, after_s=50.0) is None


def test_the_first_symptom_needs_a_fifth_of_the_requests():
    many = judged(*[(100 + k / 10, k % 10 == 0) for k in range(90)])
    assert first_symptom_s(many, after_s=0.0) is None


def test_what_was_before_the_fault_is_no_symptom():
    known = judged((90, 1), (91, 1), (92, 1), (100, 0))
    assert first_symptom_s(known, after_s=95.0) is None


def test_the_order_of_verdicts_means_nothing():
    known = judged((104, 1), (100, 1), (101, 0), (103, 1))
    assert first_symptom_s(known, after_s=50.0) == 104.0


def test_a_request_late_for_its_first_token_counts_before_it_ends(sim):
    fleet = sim.start(sim.scenario(duration_s=2.0), rate_rps=4.0)
    for pod in sim.pods(fleet, "llm"):
        fleet.injector.set_hang(pod, True)
    fleet.run_until(5.0)
    assert not fleet.users.judged
    found = minutes(fleet.users, now_s=5.0)
    assert sum(m.requests for m in found) == sum(m.bad for m in found) == 8
    assert minutes(fleet.users, now_s=0.3) == []  # too young to be late


def test_minutes_are_listed_in_order(sim):
    names = sim.Names(regions=("north", "south"))
    fleet = sim.start(sim.scenario(names=names, duration_s=70.0), rate_rps=2.0)
    fleet.run_until(80.0)
    keys = [(m.minute, m.region, m.slo_class) for m in minutes(fleet.users, now_s=80.0)]
    assert keys == sorted(keys)
    assert {k[0] for k in keys} == {0, 1}
