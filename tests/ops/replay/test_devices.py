"""GPU heat and clocks, KV leaks, hangs, OOM kills: each through its mechanism."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ops.replay.devices import CLOCK_MIN_RATIO, LIMIT_C, sustained_clock


def test_a_healthy_gpu_keeps_its_clock_under_full_load():
    assert sustained_clock(1.0, 1.0) == 1.0


@given(st.floats(0.0, 1.0), st.floats(0.05, 1.0), st.floats(0.0, 1.0), st.floats(0.05, 1.0))
@settings(max_examples=40, deadline=None)
def test_more_load_or_less_cooling_never_raises_the_clock(util_a, cool_a, util_b, cool_b):
    low_util, high_util = sorted((util_a, util_b))
    low_cool, high_cool = sorted((cool_a, cool_b))
    assert sustained_clock(high_util, low_cool) <= sustained_clock(low_util, high_cool) + 1e-12
    assert CLOCK_MIN_RATIO <= sustained_clock(high_util, low_cool) <= 1.0


def busy(sim, *, rate_rps=5.0, seconds=20.0, change=None):
    fleet = sim.start(sim.scenario(duration_s=seconds), rate_rps=rate_rps)
    pod = sim.pods(fleet, "llm")[0]
    if change is not None:
        change(fleet, pod)
    fleet.run_until(seconds)
    return fleet, pod


def fail_cooling(fleet, pod):
    fleet.injector.set_cooling(pod.node, pod.gpu_indices[0], 0.2)


def test_failed_cooling_lowers_the_clock_and_lengthens_iterations(sim):
    _, well = busy(sim)
    _, hot = busy(sim, change=fail_cooling)
    assert well.instance.clock_ratio == 1.0
    assert hot.instance.clock_ratio < 0.6
    per_iteration = [p.engine.busy_s / p.engine.iterations for p in (well, hot)]
    assert per_iteration[1] > 1.3 * per_iteration[0]
    assert hot.gpus[0].sm_clock_mhz < 0.6 * well.gpus[0].sm_clock_mhz
    assert hot.gpus[0].temperature_c > well.gpus[0].temperature_c + 5.0
    assert hot.gpus[0].temperature_c <= LIMIT_C + 3.0
    assert hot.gpus[0].thermal_violation_us > 0.0 == well.gpus[0].thermal_violation_us


def test_a_cool_gpu_recovers_its_clock(sim):
    fleet, pod = busy(sim, seconds=15.0, change=fail_cooling)
    assert pod.instance.clock_ratio < 1.0
    fleet.injector.set_cooling(pod.node, pod.gpu_indices[0], 1.0)
    fleet.run_until(25.0)
    assert pod.instance.clock_ratio == 1.0


def test_a_leak_takes_blocks_until_requests_queue(sim):
    scenario = sim.scenario(duration_s=20.0)
    waited = []
    for level in (0.0, 4.0):
        traffic = sim.Steady(scenario, prompt=(900, 1000))
        fleet = sim.start(scenario, rate_rps=8.0, traffic=traffic)
        pod = sim.pods(fleet, "llm")[0]
        fleet.injector.set_block_leak(pod, level, 30.0)  # all of it after 9 s
        waiting = 0
        for at_s in range(10, 21):
            fleet.run_until(float(at_s))
            pod.instance.refresh(at_s)
            waiting += pod.engine.waiting + pod.engine.preemptions
        waited.append(waiting)
    engine = pod.instance
    assert engine.num_lost > 0.95 * engine.num_blocks
    assert pod.gpus[0].fb_free_mib < 8192.0 - 1000.0  # the tenth that a healthy engine leaves
    assert waited[1] > waited[0] + 5
    fleet.injector.set_block_leak(pod, 0.0, 30.0)
    fleet.run_until(26.0)
    assert engine.num_lost == 0


def test_a_restart_gives_leaked_blocks_back(sim):
    def leak(fleet, pod):
        fleet.injector.set_block_leak(pod, 1.0, 60.0)

    fleet, pod = busy(sim, seconds=20.0, change=leak)
    assert pod.leaked_blocks > 0
    fleet.cluster.kill_pod(pod, reason="Killing")
    fleet.run_until(22.0)
    assert pod.leaked_blocks == 0


def test_a_hang_stops_all_progress_and_reports_its_code(sim):
    fleet, pod = busy(sim, seconds=10.0)
    fleet.injector.set_hang(pod, True)
    fleet.run_until(10.5)
    seen = pod.engine.iterations
    assert pod.gpus[0].xid == 0  # the fault sets the device's state, the device reports it
    fleet.run_until(15.0)
    assert pod.gpus[0].xid == pod.device_error != 0
    assert pod.engine.iterations == seen
    fleet.injector.set_hang(pod, False)
    pod.instance.refresh(15.0)


def test_a_hang_does_not_end_for_a_process_started_since(sim):
    fleet, pod = busy(sim, seconds=10.0)
    fleet.injector.set_hang(pod, True)
    fleet.cluster.kill_pod(pod, reason="Killing")
    fleet.run_until(40.0)
    fresh = pod.instance
    fleet.injector.set_hang(pod, False)
    assert pod.instance is fresh
    assert pod.gpus[0].xid == 0


def test_a_memory_leak_ends_in_an_oom_kill_and_starts_again(sim):
    fleet = sim.start(sim.scenario(), rate_rps=1.0)
    pod = sim.pods(fleet, "store")[0]
    fleet.injector.set_memory_leak(pod, 40.0)  # 768 MiB of room: full after 19 s
    fleet.run_until(18.0)
    assert pod.restarts == 0
    assert pod.memory_mib(18.0) > 0.9 * pod.memory_limit_mib
    fleet.run_until(26.0)
    reasons = [e.reason for e in fleet.cluster.events if e.entity.name == pod.name]
    assert "OOMKilled" in reasons
    assert pod.restarts == 1
    fleet.run_until(80.0)
    assert pod.restarts >= 2  # the new process leaks as the old one did
    fleet.injector.set_memory_leak(pod, 0.0)
    restarts = pod.restarts
    fleet.run_until(200.0)
    assert pod.restarts == restarts
    assert pod.ready


def test_meters_of_a_busy_node_rise(sim):
    fleet, pod = busy(sim, seconds=20.0)
    fleet.refresh("north", 20.0)
    node = fleet.cluster.nodes[pod.node]
    before = node.meter.cpu_busy_s
    fleet.run_until(25.0)
    fleet.refresh("north", 25.0)
    assert node.meter.cpu_busy_s > before
    assert node.meter.load1 > 0.0
    assert pod.container.cpu_s == pytest.approx(1.1 * pod.engine.busy_s)
