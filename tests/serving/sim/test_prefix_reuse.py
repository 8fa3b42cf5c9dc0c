"""Mooncake's traces through one simulated instance: it finds what the plain replay finds."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import pytest

from serving.metrics import EngineMeters
from serving.policies import batch_policy, dispatch_policy
from serving.sim.cluster import Cluster
from serving.sim.cost_model import CostModel
from serving.sim.instance import SimInstance
from serving.sim.kernel import Kernel
from serving.sim.outcomes import Arrivals, CacheCounts
from serving.state import InstanceConfig, Prefix
from serving.workload import read_trace, replay_reuse

DATA = Path(os.environ.get("MIDWATCH_DATA", Path(__file__).parents[4] / "shared" / "data"))
FOLDER = DATA / "traces" / "mooncake_fast25"
BLOCK_TOKENS = 512  # as in the traces
UNLIMITED, BOUNDED = 400_000, 20_000  # blocks
GAP_S = 100.0  # long enough for any request: one at a time, as in the plain replay
HALF_A_POINT = 0.005

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not FOLDER.exists(),
        reason=f"no real trace in {FOLDER}; set MIDWATCH_DATA to the folder that holds traces/",
    ),
]


@cache
def table(name: str):
    return read_trace(FOLDER / name)[0]


def simulated(name: str, num_blocks: int) -> CacheCounts:
    """One request at a time through one instance with a cache of so many blocks."""
    requests = table(name)
    num = len(requests)
    kernel, meters = Kernel(), EngineMeters()
    instance = SimInstance(
        kernel,
        "only",
        config=InstanceConfig(num_blocks=num_blocks, block_tokens=BLOCK_TOKENS, prefix_cache=True),
        policy=batch_policy("chunked-prefill", token_budget=200_000),
        cost_model=CostModel.of(gpu="H100", model="llama-3.1-8b"),
        meters=meters,
    )
    arrivals = Arrivals(
        [GAP_S * row for row in range(num)],
        requests.num_prompt_tokens.tolist(),
        requests.num_output_tokens.tolist(),
        prefix_of=lambda row: Prefix(BLOCK_TOKENS, tuple(requests.prefix_of(row).tolist())),
    )
    fleet = Cluster(kernel, [instance], dispatch=dispatch_policy("least-loaded"), arrivals=arrivals)
    fleet.run_until(GAP_S * num)
    assert fleet.is_over
    assert instance.instance.num_preemptions == 0
    (counts,) = fleet.totals().caches
    return counts


CASES = [  # hit ratios in blocks, as published with the traces' description
    ("conversation_min00-40.jsonl.gz", UNLIMITED, 0.351),
    ("conversation_min00-40.jsonl.gz", BOUNDED, 0.282),
    ("synthetic_s000-700.jsonl.gz", UNLIMITED, 0.444),
    ("synthetic_s000-700.jsonl.gz", BOUNDED, 0.368),
]


@pytest.mark.parametrize(("name", "num_blocks", "published"), CASES)
def test_one_instance_finds_what_the_replay_finds(name, num_blocks, published) -> None:
    found = simulated(name, num_blocks)
    assert found.num_queried_tokens == table(name).num_prompt_tokens.sum()
    assert (found.num_evicted_tokens > 0) == (num_blocks == BOUNDED)
    replayed = replay_reuse(table(name), capacity_blocks=num_blocks, as_engine=True)
    print(f"{name}, {num_blocks} blocks: {found.hit_ratio:.4f}, {replayed.token_hit_ratio:.4f}")
    assert found.hit_ratio == pytest.approx(replayed.token_hit_ratio, abs=0.0005)
    assert replay_reuse(table(name), capacity_blocks=num_blocks).hit_ratio == pytest.approx(
        published, abs=0.0005
    )


@pytest.mark.parametrize(("name", "num_blocks", "published"), CASES)
def test_published_ratios_come_out_but_for_partial_blocks(name, num_blocks, published) -> None:
    """The published rule keeps the partial last block of each prompt, an engine cannot.

    Where the cache is bounded those blocks, which hardly ever hit, take room: an engine of the
    same size finds up to 1.2 points more. Half a point holds for an unlimited one.
    """
    requests = table(name)
    hit_blocks = simulated(name, num_blocks).num_hit_tokens / BLOCK_TOKENS
    above = hit_blocks / len(requests.prefix_ids) - published
    print(f"{name}, {num_blocks} blocks: {100 * above:+.2f} points from the published ratio")
    if num_blocks == UNLIMITED:
        assert abs(above) < HALF_A_POINT
    else:
        assert 0.0 < above < 3 * HALF_A_POINT
