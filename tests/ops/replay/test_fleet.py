"""The fleet behind the loop's ports: what a snapshot may show, and when."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ops.replay.fleet import ANNOUNCE_S
from ops.replay.pods import Revision
from ops.replay.scenario import ChangeSpec
from rca.state import ChangeKind


def test_a_change_becomes_known_after_its_delay(sim, catalogue):
    fleet = sim.start(rate_rps=0.1, catalogue=catalogue)
    fleet.run_until(10.0)
    deployment = fleet.cluster.deployments[("north", "store")]
    fleet.cluster.roll_out(deployment, Revision(revision_id="r9"), ChangeKind.FLAG, summary="x")
    fleet.run_until(10.0 + ANNOUNCE_S - 0.1)
    assert fleet.snapshot().changes == ()
    fleet.run_until(10.0 + ANNOUNCE_S)
    assert [c.revision_to for c in fleet.snapshot().changes] == ["r9"]


def test_events_become_known_after_their_delay(sim, catalogue):
    fleet = sim.start(rate_rps=0.1, catalogue=catalogue)
    fleet.run_until(10.0)
    fleet.cluster.kill_pod(sim.pods(fleet, "store")[0], reason="Killing")
    assert "Killing" not in [e.reason for e in fleet.snapshot().events]
    fleet.run_until(10.0 + ANNOUNCE_S)
    assert "Killing" in [e.reason for e in fleet.snapshot().events]


def test_a_snapshot_shows_no_sample_of_the_future(sim, catalogue):
    fleet = sim.start(rate_rps=1.0, catalogue=catalogue)
    for now_s in (7.0, 16.0, 31.0):
        fleet.run_until(now_s)
        snapshot = fleet.snapshot()
        assert snapshot.frame.times_s[-1] <= now_s - fleet.scenario.telemetry.delay_s
        snapshot.frame.check()


def test_a_snapshot_lists_pods_nodes_and_services(sim, catalogue):
    fleet = sim.start(rate_rps=0.1, catalogue=catalogue)
    fleet.run_until(6.0)
    snapshot = fleet.snapshot()
    assert len(snapshot.pods) == 9
    assert sum(p.engine for p in snapshot.pods) == 2
    assert len(snapshot.nodes) == 4
    record = next(s for s in snapshot.services if s.engine)
    assert (record.replicas, record.ready_replicas, record.replicas_max) == (2, 2, 3)
    assert snapshot.region_weights == {"north": {"north": 1.0}}


def test_a_draining_pod_is_not_shown_as_ready(sim, catalogue):
    fleet = sim.start(rate_rps=0.1, catalogue=catalogue)
    fleet.run_until(6.0)
    pod = sim.pods(fleet, "store")[0]
    fleet.cluster.retire_pod(pod)
    shown = next(p for p in fleet.snapshot().pods if p.name == pod.name)
    assert not shown.ready


@pytest.mark.parametrize("kind", ["deploy", "config", "flag"])
def test_a_harmless_change_is_announced_and_changes_no_behaviour(sim, kind):
    change = ChangeSpec(kind=kind, at_s=2.0, region="north", service="store")
    fleet = sim.start(sim.scenario(changes=(change,), duration_s=20.0), rate_rps=4.0)
    plain = sim.start(sim.scenario(duration_s=20.0), rate_rps=4.0)
    for one in (fleet, plain):
        one.run_until(60.0)
    assert [str(c.kind) for c in fleet.cluster.changes] == [kind]
    assert fleet.users.ledger.ok == plain.users.ledger.ok
    assert all(p.revision.revision_id == "r101" for p in sim.pods(fleet, "store"))


def test_a_reschedule_moves_one_pod_and_announces_nothing(sim):
    change = ChangeSpec(kind="reschedule", at_s=2.0, region="north", service="store")
    fleet = sim.start(sim.scenario(changes=(change,), duration_s=20.0), rate_rps=4.0)
    before = sim.pods(fleet, "store")
    fleet.run_until(60.0)
    after = sim.pods(fleet, "store")
    assert fleet.cluster.changes == []
    assert len(after) == 2
    assert len(set(map(id, before)) & set(map(id, after))) == 1
    assert fleet.users.ledger.ok + fleet.users.ledger.cancelled == fleet.users.ledger.arrived


def test_two_fleets_of_one_seed_are_one_world(sim):
    worlds = []
    for _ in range(2):
        fleet = sim.start(rate_rps=6.0)
        fleet.run_until(15.0)
        worlds.append((fleet.users.ledger, fleet.users.judged, fleet.kernel.num_events))
    assert worlds[0] == worlds[1]


def test_another_seed_is_another_world(sim):
    judged = []
    for seed in (1, 2):
        fleet = sim.start(rate_rps=6.0, seed=seed)
        fleet.run_until(15.0)
        judged.append(fleet.users.judged)
    assert judged[0] != judged[1]


def test_scrapes_change_nothing(sim, catalogue):
    worlds = []
    for scraped in (None, catalogue):
        scenario = sim.with_service(sim.scenario(), "store", hpa_cpu_ratio=0.3)
        scenario = replace(scenario, engine=replace(scenario.engine, hpa_queue=2.0))
        fleet = sim.start(scenario, rate_rps=8.0, catalogue=scraped)
        fleet.run_until(18.0)
        worlds.append((fleet.users.ledger, fleet.users.judged, fleet.cluster.events))
    assert worlds[0] == worlds[1]
