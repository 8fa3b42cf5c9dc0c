"""`prefix_cache` of a scenario's engine: shared prompts, meters, series; nothing without it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from ops.replay.traffic import Traffic
from serving.errors import ConfigError

FAMILIES = ("vllm:prefix_cache_queries_total", "vllm:prefix_cache_hits_total")


def caching(scenario, *, prefix_cache=True):
    return replace(
        scenario,
        engine=replace(scenario.engine, prefix_cache=prefix_cache),
        traffic=replace(scenario.traffic, conversation_ratio=1.0),
    )


def latest(fleet, name):
    frame = fleet.snapshot().frame
    rows = [k for k, series in enumerate(frame.series) if series.name == name]
    return np.nanmax(frame.values[:, rows], axis=0).tolist() if rows else []


def test_turns_share_prompts_and_the_engine_exports_what_it_found(sim, catalogue):
    scenario = caching(sim.scenario())
    traffic = Traffic.open(scenario, seed=3)
    fleet = sim.start(scenario, rate_rps=2.0, catalogue=catalogue, traffic=traffic)
    fleet.run_until(280.0)
    queries, hits = (latest(fleet, name) for name in FAMILIES)
    assert len(queries) == len(hits) == 2
    assert 0.02 < sum(hits) / sum(queries) < 1.0


def test_without_the_key_there_are_neither_prefixes_nor_series(sim, catalogue):
    scenario = caching(sim.scenario(), prefix_cache=False)
    traffic = Traffic.open(scenario, seed=3)
    assert traffic.arrivals(2.0, duration_s=60.0).prefix == []
    fleet = sim.start(scenario, rate_rps=2.0, catalogue=catalogue, traffic=traffic)
    fleet.run_until(20.0)
    assert [latest(fleet, name) for name in FAMILIES] == [[], []]


def test_regions_and_bursts_share_nothing_with_each_other(sim):
    scenario = caching(sim.scenario(names=sim.Names(regions=("north", "south"))))
    traffic = Traffic.open(scenario, seed=3)
    whole = traffic.arrivals(4.0, duration_s=120.0)
    assert len(whole.prefix) == len(whole)
    for prompt, prefix in zip(whole.num_prompt_tokens, whole.prefix, strict=True):
        assert len(prefix.ids) == math.ceil(prompt / prefix.block_tokens)
    parts = [
        {i for p, r in zip(whole.prefix, whole.region, strict=True) if r == region for i in p.ids}
        for region in ("north", "south")
    ]
    parts += [
        {i for p in traffic.more(region, at_s, 30.0, 4.0).prefix for i in p.ids}
        for region, at_s in (("north", 40.0), ("south", 40.0), ("north", 80.0))
    ]
    assert sum(map(len, parts)) == len(set().union(*parts))


def test_a_load_step_keeps_each_prompt_with_its_prefix(sim):
    scenario = caching(sim.scenario())
    spec = replace(scenario.traffic, step_at_s=60.0, step_ratio=0.5)
    thinned = Traffic.open(replace(scenario, traffic=spec), seed=3).arrivals(4.0, duration_s=120.0)
    for prompt, prefix in zip(thinned.num_prompt_tokens, thinned.prefix, strict=True):
        assert len(prefix.ids) == math.ceil(prompt / prefix.block_tokens)


def test_a_trace_without_ids_is_refused_and_one_with_ids_keeps_them(sim, tmp_path):
    bare = tmp_path / "bare.csv"
    bare.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:00:00.0000000,9,9\n")
    scenario = caching(sim.scenario())
    with pytest.raises(ConfigError, match=r"bare\.csv has no prefix ids"):
        Traffic.open(replace(scenario, traffic=replace(scenario.traffic, trace=str(bare))), seed=1)
    path = tmp_path / "trace.jsonl"
    row = '{"timestamp": %d, "input_length": 600, "output_length": 9, "hash_ids": [7, %d]}\n'
    path.write_text("".join(row % (1000 * k, 100 + k) for k in range(20)))
    spec = replace(scenario.traffic, trace=str(path))
    arrivals = Traffic.open(replace(scenario, traffic=spec), seed=1).arrivals(0.0, duration_s=99.0)
    assert [p.ids for p in arrivals.prefix] == [(7, 100 + k) for k in range(20)]
