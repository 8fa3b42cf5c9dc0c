"""Peers rank every entity of the region, by their own rule."""

from __future__ import annotations

import pytest

from rca.baselines import PEERS, rank_deepest, rank_maxrobust, rank_nsigma, rank_random


def asked(world):
    return {"symptom": world.symptom(), "topology": world.topology(),
            "now_s": float(world.times[-1]), "seed": 3}  # fmt: skip


@pytest.mark.parametrize("name", sorted(PEERS))
def test_every_peer_names_each_entity_once(fleet, name):
    world = fleet(knobs={("own", "store-1"): 0.3})
    frame = world.build()
    ranking = PEERS[name](frame, **asked(world))
    assert len(ranking) == len(set(ranking)) > 10
    assert ranking == PEERS[name](frame, **asked(world))


def test_deepest_names_the_deepest_slow_service(fleet):
    world = fleet(knobs={("own", "store"): 0.3})
    assert str(rank_deepest(world.build(), **asked(world))[0]) == "service:r1/store"


@pytest.mark.parametrize("rank", [rank_nsigma, rank_maxrobust])
def test_a_resource_that_moves_is_seen_by_the_scores(fleet, rank):
    world = fleet(knobs={("memory", "store-1"): 3.0})
    assert str(rank(world.build(), **asked(world))[0]) == "pod:r1/store-1"


def test_random_depends_on_the_seed_only(fleet):
    world = fleet()
    frame = world.build()
    other = rank_random(frame, **{**asked(world), "seed": 4})
    assert other != rank_random(frame, **asked(world))


def test_a_short_frame_gives_entities_in_order(fleet):
    world = fleet(onset_row=2)
    assert rank_nsigma(world.build(), **asked(world)) == rank_maxrobust(
        world.build(), **asked(world)
    )
