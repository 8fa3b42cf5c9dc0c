"""Arrivals of a replay: generated or read, scaled, assigned to regions, bursts on top."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ops.replay.scenario import TrafficSpec
from ops.replay.traffic import Traffic


@pytest.fixture
def scenario(sim):
    return sim.scenario(names=sim.Names(regions=("north", "south")))


def as_tuple(arrivals):
    return (
        arrivals.at_s, arrivals.num_prompt_tokens, arrivals.num_output_tokens, arrivals.region
    )  # fmt: skip


def write_trace(path, num=200):
    rows = [f"2023-11-16 18:{k // 60:02d}:{k % 60:02d}.0000000,{100 + k},{10 + k % 7}"
            for k in range(num)]  # fmt: skip
    path.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n" + "\n".join(rows) + "\n")


def test_generated_arrivals_are_sorted_and_have_the_rate(scenario):
    arrivals = Traffic.open(scenario, seed=1).arrivals(5.0, duration_s=600.0)
    assert arrivals.at_s == sorted(arrivals.at_s)
    assert len(arrivals) == pytest.approx(3000, rel=0.1)
    assert set(arrivals.region) == {"north", "south"}


def test_the_same_seed_gives_the_same_arrivals_and_another_does_not(scenario):
    one, same, other = (
        Traffic.open(scenario, seed=s).arrivals(5.0, duration_s=100.0) for s in (1, 1, 2)
    )
    assert as_tuple(one) == as_tuple(same)
    assert as_tuple(one) != as_tuple(other)


def test_names_of_regions_change_no_arrival(sim, scenario):
    renamed = sim.scenario(names=sim.Names(regions=("zeta", "alpha")))
    one = Traffic.open(scenario, seed=1).arrivals(5.0, duration_s=100.0)
    other = Traffic.open(renamed, seed=1).arrivals(5.0, duration_s=100.0)
    assert one.at_s == other.at_s
    back = {"zeta": "north", "alpha": "south"}
    assert [back[r] for r in other.region] == one.region


@pytest.mark.parametrize("ratio", [0.5, 2.0])
def test_a_lasting_step_changes_the_rate_from_its_moment_on(scenario, ratio):
    spec = replace(scenario.traffic, step_at_s=300.0, step_ratio=ratio)
    traffic = Traffic.open(replace(scenario, traffic=spec), seed=1)
    at_s = np.array(traffic.arrivals(10.0, duration_s=600.0).at_s)
    before, after = np.sum(at_s < 300.0), np.sum(at_s >= 300.0)
    assert after / before == pytest.approx(ratio, rel=0.15)
    assert before == pytest.approx(3000, rel=0.12)


def test_a_burst_begins_when_it_is_asked_for_and_stays_in_its_region(scenario):
    more = Traffic.open(scenario, seed=1).more("south", 100.0, 60.0, 4.0)
    assert set(more.region) == {"south"}
    assert min(more.at_s) >= 100.0
    assert max(more.at_s) <= 160.0
    assert len(more) == pytest.approx(240, rel=0.25)


def test_a_trace_is_stretched_to_the_rate_and_never_repeated(scenario, tmp_path):
    path = tmp_path / "azure.csv"
    write_trace(path)
    spec = TrafficSpec(trace=str(path), trace_format="auto")
    traffic = Traffic.open(replace(scenario, traffic=spec), seed=1)
    arrivals = traffic.arrivals(4.0, duration_s=1000.0)
    assert len(arrivals) == 200
    assert arrivals.at_s[-1] == pytest.approx(199 / 4.0)
    assert traffic.own_rate_rps() == pytest.approx(1.0)
    assert len(traffic.arrivals(0.0, duration_s=1000.0)) == 200
    assert traffic.arrivals(0.0, duration_s=1000.0).at_s[-1] == pytest.approx(199.0)


def test_a_trace_is_split_over_the_regions_by_their_shares(scenario, tmp_path):
    path = tmp_path / "azure.csv"
    write_trace(path, num=1000)
    spec = TrafficSpec(trace=str(path), trace_format="auto")
    arrivals = Traffic.open(replace(scenario, traffic=spec), seed=1).arrivals(4.0, duration_s=999.0)
    assert arrivals.region.count("north") / len(arrivals) == pytest.approx(0.5, abs=0.06)


def test_a_burst_of_a_trace_is_another_stretch_of_it(scenario, tmp_path):
    path = tmp_path / "azure.csv"
    write_trace(path)
    spec = TrafficSpec(trace=str(path), trace_format="auto")
    more = Traffic.open(replace(scenario, traffic=spec), seed=1).more("north", 10.0, 20.0, 2.0)
    assert len(more) == pytest.approx(40, abs=2)
    assert min(more.at_s) >= 10.0
    assert min(more.num_prompt_tokens) > 130  # the row under way at 10 s is row 20
