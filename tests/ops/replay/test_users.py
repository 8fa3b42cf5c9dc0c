"""Users: two ledgers that balance, patience, retries, cancellations, verdicts per minute."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from ops.errors import ScenarioError
from ops.replay.faults import CATALOGUE
from ops.replay.pods import Revision
from ops.replay.scenario import ClientSpec, FaultSpec
from ops.replay.users import INJECTED_FIRST_ID

STEADY = ClientSpec(retries=0, cancel_ratio=0.0)


def revise(sim, fleet, service, **changes):
    for pod in sim.pods(fleet, service):
        pod.revision = Revision(revision_id="test", **changes)


def check_balance(ledger):
    done = ledger.ok + ledger.failed + ledger.timed_out + ledger.cancelled
    assert ledger.arrived == done + ledger.rejected.total() + ledger.in_flight


def test_both_ledgers_balance_in_a_healthy_world(sim):
    fleet = sim.start(rate_rps=6.0)
    for at_s in range(1, 20):
        fleet.run_until(float(at_s))
        fleet.users.check_invariants()
        check_balance(fleet.users.ledger)
    assert fleet.users.ledger.ok > 100
    assert fleet.users.ledger.attempts == fleet.users.ledger.arrived


@given(
    st.sampled_from(sorted(CATALOGUE)), st.integers(0, 999), st.floats(0.5, 3.0),
    st.floats(2.0, 12.0),
)  # fmt: skip
@settings(max_examples=3, deadline=None, derandomize=True, phases=[Phase.generate])
def test_both_ledgers_balance_under_any_fault(sim, kind, seed, severity, rate_rps):
    fault = FaultSpec(kind=kind, start_s=4.0, length_s=6.0, severity=severity)
    client = ClientSpec(first_token_timeout_s=2.0, cancel_ratio=0.3, retry_backoff_s=0.5)
    scenario = sim.scenario(faults=(fault,), client=client, duration_s=12.0)
    fleet = sim.start(scenario, rate_rps=rate_rps, seed=seed)
    for at_s in range(1, 15):
        fleet.run_until(float(at_s))
        fleet.users.check_invariants()
        check_balance(fleet.users.ledger)
        assert sum(m[0] for m in fleet.users.minutes.values()) == len(fleet.users.judged)


def test_the_check_sees_a_lost_request(sim):
    fleet = sim.start(rate_rps=6.0)
    fleet.run_until(3.0)
    fleet.users.open.pop(next(iter(fleet.users.open)))
    with pytest.raises(AssertionError):
        fleet.users.check_invariants()


def test_the_check_sees_a_doubled_attempt(sim):
    fleet = sim.start(rate_rps=6.0)
    fleet.run_until(3.0)
    fleet.users.ledger.attempts += 1
    with pytest.raises(AssertionError):
        fleet.users.check_invariants()


def test_a_failed_request_is_tried_again_as_often_as_its_user_likes(sim):
    client = replace(STEADY, retries=2, retry_backoff_s=0.1)
    fleet = sim.start(sim.scenario(client=client, duration_s=3.0), rate_rps=4.0)
    revise(sim, fleet, "door", error_ratio=1.0)
    fleet.run_until(10.0)
    ledger = fleet.users.ledger
    assert ledger.failed == ledger.arrived == 12
    assert ledger.retries == 24
    assert ledger.attempts == 36


def test_the_back_off_of_users_doubles(sim):
    client = replace(STEADY, retries=3, retry_backoff_s=4.0)
    fleet = sim.start(sim.scenario(client=client, duration_s=1.0), rate_rps=1.0)
    revise(sim, fleet, "door", error_ratio=1.0)
    tries_s, begin = [], fleet.graph.begin

    def note(attempt):
        tries_s.append(fleet.kernel.now_s)
        begin(attempt)

    fleet.graph.begin = note
    fleet.run_until(80.0)
    waits_s = [b - a for a, b in pairwise(tries_s)]
    draws = [0.5 + fleet.users._draws.row(0, k)[-2] for k in range(3)]
    expected_s = [4.0 * 2**k * draw for k, draw in enumerate(draws)]
    assert waits_s == pytest.approx(expected_s, abs=0.3)  # and the time of the failed try


def test_users_give_up_waiting_for_the_first_token(sim):
    client = replace(STEADY, first_token_timeout_s=1.0)
    fleet = sim.start(sim.scenario(client=client, duration_s=3.0), rate_rps=4.0)
    for pod in sim.pods(fleet, "llm"):
        fleet.injector.set_hang(pod, True)
    fleet.run_until(8.0)
    assert fleet.users.ledger.timed_out == fleet.users.ledger.arrived == 12
    assert all(bad for _, bad in fleet.users.judged)


def test_users_who_saw_tokens_do_not_try_again(sim):
    client = replace(STEADY, retries=2, total_timeout_s=0.3)
    fleet = sim.start(sim.scenario(client=client, duration_s=3.0), rate_rps=2.0)
    fleet.run_until(10.0)
    assert fleet.users.ledger.timed_out == fleet.users.ledger.arrived
    assert fleet.users.ledger.retries == 0


def test_some_users_stop_reading_and_are_not_failures(sim):
    client = replace(STEADY, cancel_ratio=1.0)
    fleet = sim.start(sim.scenario(client=client, duration_s=20.0), rate_rps=4.0)
    fleet.run_until(30.0)
    ledger = fleet.users.ledger
    assert ledger.cancelled > 0
    assert ledger.ok + ledger.cancelled == ledger.arrived
    bad = sum(m[1] for m in fleet.users.minutes.values())
    assert bad < ledger.cancelled


def test_a_request_turned_away_counts_as_bad_in_the_minute_it_arrived(sim):
    fleet = sim.start(sim.scenario(client=STEADY, duration_s=70.0), rate_rps=4.0)
    fleet.graph.admitted_ratio["north"] = 0.0
    fleet.run_until(62.0)
    ledger = fleet.users.ledger
    assert ledger.rejected["admission"] == ledger.arrived
    first = [m for (_, _, minute), m in fleet.users.minutes.items() if minute == 0]
    assert sum(m[0] for m in first) == sum(m[1] for m in first) == 240


def test_an_admission_limit_turns_away_its_share_of_requests(sim):
    fleet = sim.start(sim.scenario(client=STEADY, duration_s=60.0), rate_rps=10.0)
    fleet.graph.admitted_ratio["north"] = 0.7
    fleet.run_until(30.0)
    ledger = fleet.users.ledger
    assert ledger.rejected["admission"] / ledger.arrived == pytest.approx(0.3, abs=0.07)


def test_shifted_traffic_goes_elsewhere_and_pays_the_way(sim):
    names = sim.Names(regions=("north", "south"))
    ttft_s = []
    for share in (0.0, 1.0):
        scenario = sim.scenario(
            names=names, client=STEADY, duration_s=10.0, region_rtt_s=(("north", "south", 0.5),)
        )
        fleet = sim.start(scenario, rate_rps=4.0)
        fleet.users.weights["north"] = {"north": 1.0 - share, "south": share}
        seen = []
        first_token = fleet.graph.on_first_token

        def note(attempt, at_s, first_token=first_token, seen=seen):
            first_token(attempt, at_s)
            if attempt.user.region == "north":
                seen.append(attempt.user.ttft_s)

        fleet.graph.on_first_token = note
        fleet.run_until(20.0)
        ttft_s.append(sum(seen) / len(seen))
        served = sum(e.requests_ok for p in sim.pods(fleet, "llm", "north")
                     for e in p.dest_edges.values())  # fmt: skip
        assert (served == 0) == (share == 1.0)
    assert ttft_s[1] - ttft_s[0] == pytest.approx(0.5, abs=0.05)


def test_users_of_shifted_traffic_count_at_home(sim):
    names = sim.Names(regions=("north", "south"))
    fleet = sim.start(sim.scenario(names=names, duration_s=10.0), rate_rps=4.0)
    fleet.users.weights["north"] = {"south": 1.0}
    fleet.run_until(20.0)
    by_region = {"north": 0, "south": 0}
    for (region, _, _), (num, _) in fleet.users.minutes.items():
        by_region[region] += num
    assert by_region == {"north": 20, "south": 20}


def test_injected_requests_have_ids_of_their_own(sim):
    fleet = sim.start(sim.scenario(duration_s=10.0), rate_rps=2.0)
    fleet.run_until(1.0)
    fleet.injector.burst("north", ratio=3.0, length_s=5.0)
    fleet.run_until(2.0)
    assert any(k >= INJECTED_FIRST_ID for k in fleet.users.open)
    fleet.run_until(20.0)
    assert fleet.users.ledger.arrived == 20 + 30


def test_classes_are_drawn_per_request_in_their_shares(sim):
    fleet = sim.start(rate_rps=1.0)
    drawn = [fleet.users.class_of(k) for k in range(2000)]
    assert drawn.count("fast") / 2000 == pytest.approx(0.7, abs=0.04)
    assert drawn[:50] == [fleet.users.class_of(k) for k in range(50)]


def test_a_fault_without_a_target_is_an_error(sim):
    scenario = sim.scenario(
        faults=(FaultSpec(kind="cpu-hog", start_s=1.0, target="pod:north/nobody"),)
    )
    fleet = sim.start(scenario, rate_rps=1.0)
    with pytest.raises(ScenarioError, match="nobody"):
        fleet.run_until(2.0)
