"""The short way of common calls: a world with it and one without it are the same.

The fleet is tight (few workers and connections, slow leaves), so that each thing that makes a call
uncommon happens while calls are on the short way.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from ops.catalogue import Catalogue
from ops.encode import to_json
from ops.replay.leaf_calls import LeafCalls
from ops.replay.run import World
from ops.replay.scenario import FaultSpec, Scenario
from ops.replay.scenarios import load_embedded
from ops.replay.traffic import Traffic

SEED, RATE_RPS = 3, 10.0


def tight_fleet(kind: str, target: str, timeout_s: float) -> Scenario:
    scenario = load_embedded("small")
    gateway, auth, retrieval = scenario.services
    calls = (
        replace(gateway.calls[0], pool=3, timeout_s=timeout_s),
        replace(gateway.calls[1], pool=3),
        gateway.calls[2],
    )
    return replace(
        scenario,
        services=(
            replace(gateway, calls=calls),
            replace(auth, cpu_ms=15.0, cpu_limit_cores=0.15, workers=2, hpa_cpu_ratio=0.0),
            replace(retrieval, cpu_ms=15.0, workers=3, hpa_cpu_ratio=0.0),
        ),
        faults=(
            FaultSpec(kind=kind, start_s=30.0, length_s=30.0, target=target, severity=1.5),
        ),
        client=replace(scenario.client, first_token_timeout_s=0.6),
        duration_s=100.0,
        warmup_s=20.0,
    )  # fmt: skip


def world(scenario: Scenario, monkeypatch, *, short):
    started = []
    with monkeypatch.context() as patch:
        start = LeafCalls.start

        def counted(self, parent, visit):
            done = short and start(self, parent, visit)
            started.append(done)
            return done

        patch.setattr(LeafCalls, "start", counted)
        one = World(
            scenario, Traffic.open(scenario, seed=SEED), seed=SEED, rate_rps=RATE_RPS,
            controller=None, catalogue=Catalogue.load(),
        )  # fmt: skip
        one.run(until_s=80.0, check=True)
    frame = one.fleet.snapshot().frame
    return one, frame, sum(started)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "target", "timeout_s"),
    [
        ("pod-kill", "service:home/gateway", 1.0),
        ("pod-kill", "service:home/auth", 0.4),
        ("cpu-hog", "service:home/auth", 0.25),
        ("cpu-hog", "service:home/gateway", 1.0),
        ("slow-link", "link:home/gateway->auth", 0.6),
        ("bad-code", "service:home/auth", 1.0),
        ("pool-exhaustion", "service:home/gateway", 1.0),
    ],
)
def test_a_world_is_the_same_with_and_without_the_short_way(kind, target, timeout_s, monkeypatch):
    scenario = tight_fleet(kind, target, timeout_s)
    short, frame, taken = world(scenario, monkeypatch, short=True)
    long, other, none = world(scenario, monkeypatch, short=False)
    assert taken > 50 and none == 0
    assert to_json(short.record().ledger) == to_json(long.record().ledger)
    assert short.record().judged == long.record().judged
    assert frame.series == other.series
    assert frame.values.tobytes() == other.values.tobytes()
