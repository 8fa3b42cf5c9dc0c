"""The short way of common calls: a world with it and one without it are the same."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ops.catalogue import Catalogue
from ops.encode import to_json
from ops.replay.draw_case import draw_case
from ops.replay.leaf_calls import LeafCalls
from ops.replay.run import World
from ops.replay.scenarios import load_embedded
from ops.replay.traffic import Traffic


def world(kind, seed, rate_rps, monkeypatch, *, short):
    scenario = load_embedded("small")
    if kind:
        case = draw_case(scenario, kind, seed, (0.5, 0.5)).scenario
        fault = replace(case.faults[0], start_s=90.0, length_s=60.0)
        scenario = replace(case, faults=(fault,), changes=(), warmup_s=60.0)
    scenario = replace(scenario, duration_s=240.0)
    started = []
    with monkeypatch.context() as patch:
        start = LeafCalls.start

        def counted(self, parent, visit):
            done = short and start(self, parent, visit)
            started.append(done)
            return done

        patch.setattr(LeafCalls, "start", counted)
        one = World(
            scenario, Traffic.open(scenario, seed=seed), seed=seed, rate_rps=rate_rps,
            controller=None, catalogue=Catalogue.load(),
        )  # fmt: skip
        one.run(until_s=200.0, check=True)
    frame = one.fleet.snapshot().frame
    return one, frame, sum(started)


@pytest.mark.parametrize(
    ("kind", "rate_rps"),
    [("", 4.0), ("pod-kill", 6.0), ("cpu-hog", 8.0), ("slow-link", 6.0), ("bad-code", 6.0),
     ("pool-exhaustion", 8.0)],
)  # fmt: skip
def test_a_world_is_the_same_with_and_without_the_short_way(kind, rate_rps, monkeypatch):
    short, frame, taken = world(kind, 3, rate_rps, monkeypatch, short=True)
    long, other, none = world(kind, 3, rate_rps, monkeypatch, short=False)
    assert taken > 100 and none == 0
    assert to_json(short.record().ledger) == to_json(long.record().ledger)
    assert short.record().judged == long.record().judged
    assert frame.series == other.series
    assert frame.values.tobytes() == other.values.tobytes()
