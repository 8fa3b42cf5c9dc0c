"""Calls through the service graph: pools, timeouts, retries, cancellation, lost peers."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st

from ops.errors import ScenarioError
from ops.replay.calls import RETRANSMIT_S, Link
from ops.replay.pods import Revision
from ops.replay.scenario import CallSpec, ClientSpec, FaultSpec

PATIENT = ClientSpec(retries=0, first_token_timeout_s=50.0, cancel_ratio=0.0)


def one_path(sim, *, client=PATIENT, **call):
    """Door -> shelf -> store with one changed call to the store, no engine, one pod each."""
    scenario = sim.scenario(client=client, duration_s=60.0)
    door, shelf, store, ledger = scenario.services
    door = replace(door, replicas=1, calls=(CallSpec(to="shelf", timeout_s=60.0),))
    shelf = replace(shelf, replicas=1, calls=(CallSpec(to="store", **call),))
    return replace(scenario, services=(door, shelf, replace(store, replicas=1), ledger))


def edge(sim, fleet, caller, callee):
    return sim.pods(fleet, caller)[0].source_edge(callee)


def revise(sim, fleet, service, **changes):
    for pod in sim.pods(fleet, service):
        pod.revision = Revision(revision_id="test", **changes)


def pools(fleet):
    return [pool for pod in fleet.cluster.pods() for pool in pod.pool_queues.values()]


def test_a_request_visits_every_service_once_and_ends_well(sim):
    fleet = sim.start(sim.scenario(client=PATIENT, duration_s=10.0), rate_rps=2.0)
    fleet.run_until(20.0)
    num = fleet.users.ledger.arrived
    assert fleet.users.ledger.ok == num > 15
    for service in ("shelf", "store", "ledger", "llm"):
        answered = sum(
            e.requests_ok for p in sim.pods(fleet, service) for e in p.dest_edges.values()
        )
        assert answered == num


def test_both_ends_of_an_edge_count_the_same(sim):
    fleet = sim.start(rate_rps=4.0)
    revise(sim, fleet, "store", error_ratio=0.3)
    fleet.run_until(15.0)
    source = [p.source_edges["store"] for p in sim.pods(fleet, "shelf")]
    dest = [p.dest_edges["shelf"] for p in sim.pods(fleet, "store")]
    assert sum(e.requests_error for e in source) == sum(e.requests_error for e in dest) > 0
    assert sum(e.requests_ok for e in source) == sum(e.requests_ok for e in dest) > 0


def test_a_failing_callee_is_tried_again_then_the_request_fails(sim):
    fleet = sim.start(one_path(sim, retries=2, retry_backoff_s=0.1), rate_rps=1.0)
    revise(sim, fleet, "store", error_ratio=1.0)
    fleet.run_until(1.4)  # one request, arrived at 0.5 s
    calls = edge(sim, fleet, "shelf", "store")
    assert (calls.requests_error, calls.retries) == (3, 2)
    assert fleet.users.ledger.failed == 1


def test_a_retry_waits_for_its_back_off(sim):
    fleet = sim.start(one_path(sim, retries=1, retry_backoff_s=4.0), rate_rps=0.5)
    revise(sim, fleet, "store", error_ratio=1.0)
    fleet.run_until(2.9)  # arrived at 1 s; the back-off lies between 2 and 6 s
    assert edge(sim, fleet, "shelf", "store").requests_error == 1


def test_an_optional_call_may_fail(sim):
    fleet = sim.start(one_path(sim, optional=True), rate_rps=1.0)
    revise(sim, fleet, "store", error_ratio=1.0)
    fleet.run_until(20.0)
    assert fleet.users.ledger.failed == 0
    assert fleet.users.ledger.ok > 15


def test_a_slow_callee_times_out_and_works_on_in_vain(sim):
    fleet = sim.start(one_path(sim, timeout_s=0.4), rate_rps=0.5)
    revise(sim, fleet, "store", work_ratio=400.0)
    fleet.run_until(1.9)
    calls = edge(sim, fleet, "shelf", "store")
    assert (calls.timeouts, calls.requests_error) == (1, 1)
    assert calls.latency.sum == pytest.approx(0.4)
    assert len(sim.pods(fleet, "store")[0].calls) == 1


def test_a_call_whose_caller_gave_up_still_ends_and_frees_its_worker(sim):
    scenario = sim.scenario(client=replace(PATIENT, first_token_timeout_s=0.05), duration_s=8.0)
    fleet = sim.start(scenario, rate_rps=5.0)
    revise(sim, fleet, "store", work_ratio=20.0)
    fleet.run_until(4.0)
    assert any(p.active for p in sim.pods(fleet, "shelf"))
    fleet.run_until(40.0)
    assert all(p.active == 0 and not p.calls for p in sim.pods(fleet, "shelf"))


def test_a_revision_changes_timeout_retries_and_pool(sim):
    fleet = sim.start(one_path(sim, timeout_s=5.0), rate_rps=0.5)
    revise(sim, fleet, "store", work_ratio=400.0)
    revise(sim, fleet, "shelf", timeouts_s={"store": 0.1}, retries={"store": 3},
           pools={"store": 2})  # fmt: skip
    fleet.run_until(1.95)
    calls = edge(sim, fleet, "shelf", "store")
    assert calls.timeouts >= 2
    assert calls.retries >= 2
    assert sim.pods(fleet, "shelf")[0].pools["store"].size == 2


def test_a_link_adds_its_delay(sim):
    fleet = sim.start(one_path(sim, timeout_s=5.0), rate_rps=1.0)
    fleet.graph.links[("north", "shelf", "store")] = Link(delay_s=1.0)
    fleet.run_until(40.0)
    latency = edge(sim, fleet, "shelf", "store").latency
    assert 1.0 < latency.sum / latency.count < 1.1
    other = edge(sim, fleet, "door", "shelf").latency
    assert other.sum / other.count > 1.0  # the caller waits as long


def test_loss_costs_whole_retransmission_times(sim):
    fleet = sim.start(one_path(sim, timeout_s=50.0), rate_rps=4.0)
    fleet.graph.links[("north", "shelf", "store")] = Link(loss_ratio=0.5)
    fleet.run_until(40.0)
    latency = edge(sim, fleet, "shelf", "store").latency
    # P(k lost) = 2^-(k+1), and k lost cost RETRANSMIT_S (2^k - 1), cut off at k = 6.
    mean_s = RETRANSMIT_S * sum(2.0 ** -(k + 1) * (2**k - 1) for k in range(6))
    mean_s += RETRANSMIT_S * (2**6 - 1) * 2.0**-6
    assert latency.sum / latency.count == pytest.approx(mean_s, rel=0.35)


def test_calls_wait_for_a_connection_in_order_and_give_it_back(sim):
    fleet = sim.start(one_path(sim, timeout_s=30.0, pool=1, pool_timeout_s=30.0), rate_rps=10.0)
    revise(sim, fleet, "store", work_ratio=10.0)
    fleet.run_until(2.0)
    meter = sim.pods(fleet, "shelf")[0].pools["store"]
    assert meter.in_use == 1
    assert meter.pending > 3
    waiting = list(sim.pods(fleet, "shelf")[0].pool_queues["store"].waiting)
    fleet.run_until(3.0)
    assert [c.sent_at_s for c in waiting[:3]] == sorted(c.sent_at_s for c in waiting[:3])
    assert waiting[0].sent_at_s > 2.0
    assert meter.timeouts == 0


def test_waiting_too_long_for_a_connection_is_an_error(sim):
    fleet = sim.start(one_path(sim, timeout_s=9.0, pool=1, pool_timeout_s=0.3), rate_rps=10.0)
    revise(sim, fleet, "store", work_ratio=400.0)
    fleet.run_until(4.0)
    meter = sim.pods(fleet, "shelf")[0].pools["store"]
    assert meter.timeouts > 20
    assert meter.pending <= 4
    assert fleet.users.ledger.failed > 5


def test_a_timed_out_call_gives_its_connection_to_the_next(sim):
    fleet = sim.start(one_path(sim, timeout_s=0.5, pool=1, pool_timeout_s=30.0), rate_rps=4.0)
    revise(sim, fleet, "store", work_ratio=1000.0)
    fleet.run_until(6.0)
    calls = edge(sim, fleet, "shelf", "store")
    assert calls.timeouts >= 10


def test_a_user_who_leaves_frees_the_pool_and_the_engine(sim):
    impatient = replace(PATIENT, first_token_timeout_s=0.06)
    scenario = sim.scenario(client=impatient, duration_s=5.0)
    fleet = sim.start(scenario, rate_rps=4.0)
    fleet.run_until(5.0)
    assert fleet.users.ledger.timed_out > 5
    fleet.run_until(15.0)
    assert all(p.meter.in_use == 0 and p.meter.pending == 0 for p in pools(fleet))
    assert all(p.instance.load == 0 for p in sim.pods(fleet, "llm"))


def test_a_full_queue_answers_at_once(sim):
    scenario = sim.with_service(one_path(sim, timeout_s=9.0), "store", workers=1, queue_max=1)
    fleet = sim.start(scenario, rate_rps=10.0)
    revise(sim, fleet, "store", work_ratio=400.0)
    fleet.run_until(2.0)
    store = sim.pods(fleet, "store")[0]
    assert (store.active, len(store.queue)) == (1, 1)
    assert edge(sim, fleet, "shelf", "store").requests_error > 3


def test_a_long_line_for_one_connection_may_all_be_refused_at_once(sim):
    scenario = one_path(sim, timeout_s=5.0, pool=1, pool_timeout_s=50.0)
    scenario = sim.with_service(scenario, "store", workers=1, queue_max=0)
    scenario = sim.with_service(scenario, "shelf", workers=5000, cpu_ms=0.1)
    fleet = sim.start(sim.with_service(scenario, "door", cpu_ms=0.1), rate_rps=150.0)
    revise(sim, fleet, "store", work_ratio=1e6)
    fleet.run_until(5.5)  # the first call has given up, its work goes on
    shelf = sim.pods(fleet, "shelf")[0]
    assert edge(sim, fleet, "shelf", "store").requests_error > 500
    assert (shelf.pools["store"].pending, shelf.pools["store"].in_use) == (0, 0)


def test_a_background_call_delays_nobody(sim):
    fleet = sim.start(sim.scenario(client=PATIENT, duration_s=5.0), rate_rps=4.0)
    revise(sim, fleet, "ledger", error_ratio=1.0, work_ratio=300.0)
    fleet.run_until(15.0)
    ledger = fleet.users.ledger
    assert ledger.ok == ledger.arrived


def test_callers_of_a_dead_process_are_refused_at_once(sim):
    fleet = sim.start(one_path(sim, timeout_s=20.0), rate_rps=5.0)
    revise(sim, fleet, "store", work_ratio=100.0)
    fleet.run_until(1.0)
    fleet.cluster.kill_pod(sim.pods(fleet, "store")[0], reason="Killing")
    calls = edge(sim, fleet, "shelf", "store")
    assert calls.requests_error >= 2
    assert calls.timeouts == 0


@pytest.mark.parametrize("timeout_s", [30.0, 3.0], ids=["answered", "timed out"])
def test_a_new_process_counts_no_answer_to_the_one_before_it(sim, timeout_s):
    scenario = replace(one_path(sim, timeout_s=timeout_s), duration_s=1.0)
    fleet = sim.start(scenario, rate_rps=5.0)
    revise(sim, fleet, "store", work_ratio=250.0)
    fleet.run_until(1.0)
    shelf, store = sim.pods(fleet, "shelf")[0], sim.pods(fleet, "store")[0]
    fleet.cluster.kill_pod(shelf, reason="Killing")
    fleet.run_until(2.1)  # the new process starts; the calls of the old one are still served
    assert shelf.container.started_at_s > 1.0
    assert len(store.calls) >= 2
    fleet.run_until(40.0)
    assert not store.calls
    assert shelf.source_edges == {}
    assert shelf.container.received_bytes == 0.0


def test_callers_of_a_lost_node_hear_nothing_until_their_timeout(sim):
    fleet = sim.start(one_path(sim, timeout_s=3.0), rate_rps=5.0)
    revise(sim, fleet, "store", work_ratio=100.0)
    fleet.run_until(1.0)
    lose(fleet, sim.pods(fleet, "store")[0].node, keep=("door", "shelf"))
    calls = edge(sim, fleet, "shelf", "store")
    fleet.run_until(2.5)
    assert calls.requests_error == 0
    fleet.run_until(6.5)
    assert calls.timeouts >= 5
    assert calls.timeouts == calls.requests_error


def lose(fleet, node, keep=()):
    """Cut a node off after moving pods of the services `keep` elsewhere."""
    other = next(n for n in fleet.cluster.nodes.values() if n.name != node and not n.gpus)
    for pod in fleet.cluster.pods():
        if pod.node == node and pod.service in keep:
            pod.node = other.name
    fleet.injector.set_node_up(fleet.cluster.nodes[node], False)


def test_a_lost_entry_pod_serves_nobody(sim):
    client = replace(PATIENT, first_token_timeout_s=2.0)
    fleet = sim.start(one_path(sim, client=client), rate_rps=5.0)
    fleet.run_until(1.0)
    lose(fleet, sim.pods(fleet, "door")[0].node)
    before = fleet.users.ledger.ok
    fleet.run_until(10.0)
    assert fleet.users.ledger.ok == before
    assert fleet.users.ledger.timed_out > 20


def test_a_delayed_call_to_a_node_lost_meanwhile_is_not_served(sim):
    fleet = sim.start(one_path(sim, timeout_s=3.0), rate_rps=5.0)
    fleet.graph.links[("north", "shelf", "store")] = Link(delay_s=0.5)
    fleet.run_until(1.0)
    store = sim.pods(fleet, "store")[0]
    lose(fleet, store.node, keep=("door", "shelf"))
    before = edge(sim, fleet, "shelf", "store").requests_ok
    fleet.run_until(2.0)
    assert not store.calls
    assert edge(sim, fleet, "shelf", "store").requests_ok == before


def test_a_pooled_background_call_to_a_lost_node_gives_its_connection_back(sim):
    fleet = sim.start(sim.scenario(client=PATIENT, duration_s=1.0), rate_rps=10.0)
    revise(sim, fleet, "ledger", work_ratio=200.0)
    fleet.run_until(2.0)
    lose(fleet, sim.pods(fleet, "ledger")[0].node, keep=("door", "shelf", "store"))
    fleet.run_until(10.0)
    assert all(p.meter.in_use == 0 for p in pools(fleet))


def test_a_lost_gateway_hands_no_tokens_to_its_users(sim):
    fleet = sim.start(sim.scenario(client=PATIENT), rate_rps=8.0)
    fleet.run_until(3.0)
    for node in [n for n in fleet.cluster.nodes.values() if not n.gpus]:
        fleet.injector.set_node_up(node, False)
    seen = {u.request.request_id for u in fleet.users.open.values() if u.ttft_s is not None}
    fleet.run_until(8.0)
    after = {u.request.request_id for u in fleet.users.open.values() if u.ttft_s is not None}
    assert after <= seen


def test_calls_that_wait_on_a_lost_pod_for_a_connection_hold_none(sim):
    impatient = replace(PATIENT, first_token_timeout_s=3.0)
    scenario = sim.scenario(client=impatient, duration_s=4.0)
    fleet = sim.start(scenario, rate_rps=8.0)
    revise(sim, fleet, "door", pools={"shelf": 1})
    revise(sim, fleet, "shelf", work_ratio=200.0)
    fleet.run_until(3.0)
    door = next(p for p in sim.pods(fleet, "door") if p.pools["shelf"].pending)
    meter = door.pools["shelf"]
    fleet.injector.set_node_up(fleet.cluster.nodes[door.node], False)
    assert meter.pending == 0
    fleet.run_until(8.0)  # their users are gone
    assert (meter.in_use, meter.pending) == (0, 0)


def test_the_names_of_entries_choose_nobodys_entry(sim):
    used = []
    for names in (("a", "b"), ("b", "a")):
        scenario = sim.scenario(client=PATIENT, duration_s=5.0)
        store = scenario.services[2]
        entries = tuple(replace(store, name=name, entry=True) for name in names)
        fleet = sim.start(replace(scenario, services=entries), rate_rps=3.0)
        fleet.run_until(10.0)
        used.append(
            [sum(p.frontends[c].by_status["200"] for p in sim.pods(fleet, name)
                 for c in p.frontends) for name in names]
        )  # fmt: skip
    assert used[0] == used[1] == [8, 7]


def test_a_pod_recovers_when_its_hog_ends(sim):
    fleet = sim.start(one_path(sim, timeout_s=90.0), rate_rps=4.0)
    pod = sim.pods(fleet, "store")[0]
    fleet.run_until(1.0)
    fleet.injector.set_hog(pod, 100.0)
    fleet.run_until(21.0)
    assert len(pod.calls) > 20
    fleet.injector.set_hog(pod, 0.0)
    fleet.run_until(26.0)  # 80 calls of 5 ms at a quarter of a core
    assert len(pod.calls) <= 1
    assert pod.run_cpu(26.0, 0.001) == pytest.approx(26.001, abs=0.05)


FAULTS = ("pod-kill", "node-loss", "gpu-hang", "slow-link", "cpu-hog", "memory-leak", "bad-code")


@given(
    st.integers(0, 10**6),
    st.lists(
        st.tuples(st.sampled_from(FAULTS), st.floats(1.0, 6.0), st.floats(0.5, 3.0)), max_size=3
    ),
    st.sampled_from((1, 2, 16)),
    st.sampled_from((0.08, 0.3, 10.0)),
)
@settings(max_examples=4, deadline=None, derandomize=True, phases=[Phase.generate])
def test_no_connection_is_lost_whatever_happens(sim, seed, faults, size, patience_s):
    check_connections(sim, seed, faults, size, patience_s)


@pytest.mark.slow
@given(
    st.integers(0, 10**6),
    st.lists(
        st.tuples(st.sampled_from(FAULTS), st.floats(1.0, 6.0), st.floats(0.5, 3.0)), max_size=5
    ),
    st.sampled_from((1, 2, 16)),
    st.sampled_from((0.08, 0.3, 10.0)),
)
@settings(max_examples=150, deadline=None, phases=[Phase.generate])
def test_no_connection_is_lost_in_many_worlds(sim, seed, faults, size, patience_s):
    check_connections(sim, seed, faults, size, patience_s)


def check_connections(sim, seed, faults, size, patience_s):
    specs = [
        FaultSpec(kind=kind, start_s=start_s, length_s=3.0, severity=severity)
        for kind, start_s, severity in sorted(faults, key=lambda f: f[1])
    ]
    client = ClientSpec(
        first_token_timeout_s=patience_s, total_timeout_s=20.0, cancel_ratio=0.5,
        retry_backoff_s=0.2,
    )  # fmt: skip
    scenario = sim.scenario(faults=specs, client=client, duration_s=8.0)
    services = tuple(
        replace(s, calls=tuple(replace(c, pool=min(size, c.pool), timeout_s=1.0) for c in s.calls))
        for s in scenario.services
    )
    fleet = sim.start(replace(scenario, services=services), rate_rps=6.0, seed=seed)
    for at_s in range(1, 9):
        try:
            fleet.run_until(float(at_s))
        except ScenarioError:
            assume(False)  # faults before left no target for this one
        fleet.users.check_invariants()
        for pool in pools(fleet):
            assert pool.meter.in_use >= 0, (at_s, pool.meter)
            assert pool.meter.pending == len(pool.waiting)
    fleet.run_until(600.0)
    assert not fleet.users.open
    for pod in fleet.cluster.pods():
        for callee, pool in pod.pool_queues.items():
            assert (pool.meter.in_use, pool.meter.pending) == (0, 0), (pod.name, callee)
        for meter in pod.frontends.values():
            assert meter.in_flight == 0, pod.name
        assert not pod.calls or not pod.up
