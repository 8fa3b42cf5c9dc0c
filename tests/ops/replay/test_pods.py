"""CPU quota, hog and memory of one pod."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ops.replay.pods import CFS_PERIOD_S, HOG_SHARE_MAX, PRESSURE_WORK_RATIO, Pod, Revision


def make_pod(cores=0.5, **changes):
    return Pod(
        name="p", serial=1, region="r", service="s", node="n", created_at_s=0.0,
        cpu_limit_cores=cores, memory_limit_mib=1000.0, memory_base_mib=200.0,
        revision=Revision(revision_id="r1"), **changes,
    )  # fmt: skip


def rested(pod, at_s=10.0):
    """The pod after a pause in which its bucket filled."""
    pod.run_cpu(0.0, 0.0)
    return at_s


def test_work_within_the_quota_runs_at_the_speed_of_a_core():
    pod = make_pod(0.5)
    now = rested(pod)
    assert pod.run_cpu(now, 0.05) == pytest.approx(now + 0.05)
    assert pod.container.throttled_s == 0.0


def test_work_beyond_the_quota_runs_at_the_quota_and_counts_as_throttled():
    pod = make_pod(0.5)
    now = rested(pod)
    # The bucket holds 0.05 s and refills at 0.5: it lasts for 0.1 s of work, 0.4 s are left.
    end_s = pod.run_cpu(now, 0.5)
    assert end_s == pytest.approx(now + 0.1 + 0.4 / 0.5)
    assert pod.container.throttled_s == pytest.approx(0.4)
    assert pod.container.throttled_periods == pytest.approx(0.4 / CFS_PERIOD_S)
    assert pod.container.cpu_s == pytest.approx(0.5)


def test_calls_on_a_small_pod_are_done_in_order_of_arrival():
    pod = make_pod(0.3)
    ends = [pod.run_cpu(0.001 * k, 0.05) for k in range(6)]
    assert ends == sorted(ends)
    assert len(set(ends)) == 6


def test_a_pod_with_whole_cores_works_on_several_calls_at_once():
    pod = make_pod(2.0)
    assert pod.run_cpu(0.0, 1.0) == pytest.approx(1.0)
    assert pod.run_cpu(0.0, 1.0) == pytest.approx(1.5)
    assert pod.container.throttled_s == 0.0


@given(
    st.floats(0.05, 0.95),
    st.lists(st.tuples(st.floats(0.0, 2.0), st.floats(1e-4, 0.5)), min_size=1, max_size=30),
)
@settings(max_examples=60, deadline=None)
def test_no_stretch_gets_more_cpu_than_its_quota_and_one_burst(cores, calls):
    pod = make_pod(cores)
    now = work_s = end_s = 0.0
    for gap_s, one_s in calls:
        now += gap_s
        before = end_s
        end_s = pod.run_cpu(now, one_s)
        work_s += one_s
        assert end_s >= max(now, before) + one_s - 1e-9  # never faster than one core
    assert work_s <= cores * end_s + cores * CFS_PERIOD_S + 1e-6
    assert pod.container.cpu_s == pytest.approx(work_s)


def test_a_hog_leaves_its_share_and_no_burst():
    pod = make_pod(0.5)
    now = rested(pod)
    pod.hog_cores = 1.5  # wants three times the limit: one part of four is left
    assert pod.cores == pytest.approx(0.125)
    assert pod.run_cpu(now, 0.01) == pytest.approx(now + 0.08)
    assert pod.container.throttled_s > 0.0


def test_a_hog_never_takes_all():
    pod = make_pod(0.5)
    pod.hog_cores = 1e9
    assert pod.cores == pytest.approx(0.5 * (1.0 - HOG_SHARE_MAX))


def test_a_hog_shows_as_use_and_throttling():
    pod = make_pod(0.5)
    pod.hog_cores = 1.5
    pod.meter(10.0)
    assert pod.container.cpu_s == pytest.approx(3.75)
    assert pod.container.throttled_s == pytest.approx((1.5 - 0.375) * 10.0)
    assert 0.0 < pod.container.throttled_periods <= pod.container.periods


def test_memory_grows_with_calls_and_with_a_leak():
    pod = make_pod(memory_per_call_mib=2.0)
    pod.active = 3
    pod.set_leak(10.0, 5.0)
    assert pod.memory_mib(5.0) == 206.0
    assert pod.memory_mib(15.0) == 306.0
    pod.set_leak(0.0, 15.0)
    assert pod.memory_mib(100.0) == 306.0  # what leaked so far stays


def test_work_grows_near_the_memory_limit_only():
    pod = make_pod(2.0)
    pod.set_leak(10.0, 0.0)
    assert pod.run_cpu(49.0, 0.1) - 49.0 == pytest.approx(0.1)  # 690 of 1000 MiB
    assert pod.container.memory_failures == 0
    took_s = pod.run_cpu(80.0, 0.1) - 80.0
    assert took_s == pytest.approx(0.1 * (1.0 + PRESSURE_WORK_RATIO))
    took_s = pod.run_cpu(200.0, 0.1) - 200.0  # far over the limit: no worse than at it
    assert took_s == pytest.approx(0.1 * (1.0 + PRESSURE_WORK_RATIO))
    assert pod.container.memory_failures == 2


def test_a_new_process_forgets_counters_queues_and_debts():
    pod = make_pod(0.1)
    pod.run_cpu(0.0, 5.0)
    pod.set_leak(1.0, 0.0)
    pod.source_edge("x").requests_ok = 5
    pod.pool("x", 4).meter.in_use = 4
    pod.new_process(20.0)
    assert pod.container.cpu_s == 0.0
    assert pod.container.started_at_s == 20.0
    assert not pod.source_edges
    assert not pod.pools
    assert not pod.pool_queues
    assert pod.memory_mib(20.0) == 200.0
    assert pod.run_cpu(20.0, 0.0) == 20.0


def test_a_pool_follows_the_size_of_the_revision():
    pod = make_pod()
    pool = pod.pool("x", 4)
    assert pod.pool("x", 2) is pool
    assert pool.meter.size == 2
    assert pod.pools["x"] is pool.meter
