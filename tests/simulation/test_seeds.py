"""A seed picks kind, severity and load: invariants at every scrape, liveness after the fault."""

from __future__ import annotations

import numpy as np
import pytest

from ops.replay.faults import CATALOGUE
from ops.replay.scenario import ClientSpec, FaultSpec
from serving.sim.kernel import stream

SEEDS = range(30)  # each kind twice
START_S, LENGTH_S, END_S = 40.0, 40.0, 230.0


def draw(seed):
    rng = stream(seed, "simulation")
    kind = list(CATALOGUE)[seed % len(CATALOGUE)]
    severity = float(rng.uniform(0.3, 4.0))
    # Even with every request tried three times the fleet has room: else an overload would rightly
    # outlive its cause, kept up by retries alone.
    rate_rps = float(rng.uniform(2.0, 5.5))
    return kind, severity, rate_rps


def check_safety(fleet):
    """What holds at any moment."""
    fleet.users.check_invariants()
    for node in fleet.cluster.nodes.values():
        held = [p for p in fleet.cluster.pods() if p.node == node.name]
        gpus = [g for p in held for g in p.gpu_indices]
        assert len(gpus) == len(set(gpus)) == node.gpus_used <= node.gpus, node.name
        assert node.cores_used <= node.cores + 1e-9, node.name
    for pod in fleet.cluster.pods():
        assert 0 <= pod.active <= max(pod.workers, 0), pod.name
        assert pod.active == len(pod.calls), pod.name
        assert len(pod.queue) <= pod.queue_max, pod.name
        for pool in pod.pool_queues.values():
            assert pool.meter.in_use >= 0, pod.name
            assert pool.meter.pending == len(pool.waiting), pod.name
        if pod.instance is not None:
            pod.instance.check_invariants()
            assert pod.instance.num_waiting <= fleet.scenario.engine.queue_max, pod.name
    for (region, service), pods in fleet.cluster._endpoints.items():
        assert all(p.ready and not p.quarantined for p in pods), (region, service)


def check_liveness(fleet, usual):
    """What holds a good while after the fault: nothing is stuck."""
    for deployment in fleet.cluster.deployments.values():
        ready = sum(p.ready for p in deployment.pods)
        assert ready >= deployment.replicas, (deployment.service, ready)
    assert len(fleet.users.open) <= 3 * usual + 5, (len(fleet.users.open), usual)
    for pod in fleet.cluster.pods():
        waiting = pod.instance.num_waiting if pod.instance else 0
        assert waiting + len(pod.queue) <= 5, pod.name
    late = [bad for at_s, bad in fleet.users.judged if at_s >= fleet.kernel.now_s - 40.0]
    assert late
    assert np.mean(late) < 0.1, np.mean(late)


def simulate(sim, seed):
    kind, severity, rate_rps = draw(seed)
    fault = FaultSpec(kind=kind, start_s=START_S, length_s=LENGTH_S, severity=severity)
    client = ClientSpec(first_token_timeout_s=8.0, total_timeout_s=30.0, cancel_ratio=0.1)
    names = sim.Names(regions=("north", "south"))
    scenario = sim.scenario(names=names, faults=(fault,), client=client, duration_s=END_S)
    fleet = sim.start(scenario, rate_rps=rate_rps, seed=seed)
    usual = 0
    for k in range(1, int(END_S / 5.0)):
        fleet.run_until(5.0 * k)
        check_safety(fleet)
        if fleet.kernel.now_s <= START_S:
            usual = max(usual, len(fleet.users.open))
    check_liveness(fleet, usual)


def checked(sim, seed):
    try:
        simulate(sim, seed)
    except Exception as error:
        kind, severity, rate_rps = draw(seed)
        error.add_note(
            f"{kind}, severity {severity:.2f}, {rate_rps:.1f} requests/s; repeat it with: "
            f".venv/bin/python -m pytest 'tests/simulation/test_seeds.py::"
            f"test_a_seeded_world_is_safe_and_recovers[{seed}]'"
        )
        raise


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_a_seeded_world_is_safe_and_recovers(sim, seed):
    checked(sim, seed)
