"""Channels that speak in different units, put together."""

from __future__ import annotations

import math

import pytest

from rca.channels.surprise import Surprise, fuse_surprises

SERVICES = ("cart", "shop", "user")


def test_a_channel_at_chance_level_does_not_outvote_a_loud_one():
    loud = Surprise(name="gap", score={"cart": 30.0, "shop": 1.0}, null=10.0)
    faint = Surprise(name="metric", score={"shop": 0.6, "user": 0.69}, null=1.0)
    fused = fuse_surprises([loud, faint], candidates=SERVICES)
    assert max(fused, key=fused.get) == "cart"
    assert fused["user"] > fused["shop"] > 0.0


def test_units_of_a_channel_do_not_matter():
    one = [Surprise(name="a", score={"cart": 2.0, "shop": 1.0}, null=1.0)]
    same = [Surprise(name="a", score={"cart": 2e6, "shop": 1e6}, null=1e6)]
    assert fuse_surprises(one, candidates=SERVICES) == fuse_surprises(same, candidates=SERVICES)


def test_every_candidate_is_scored_and_nothing_else():
    only = [Surprise(name="a", score={"cart": 2.0, "node-1": 9.0}, null=1.0)]
    assert fuse_surprises(only, candidates=SERVICES).keys() == set(SERVICES)
    assert fuse_surprises([], candidates=SERVICES) == dict.fromkeys(SERVICES, 0.0)


def test_a_skipped_channel_says_nothing():
    skipped = Surprise(name="log", score={"cart": 9.0}, skipped="no logs")
    assert fuse_surprises([skipped], candidates=SERVICES)["cart"] == 0.0


def test_one_clear_channel_beats_two_faint_ones_and_agreement_decides_between_equals():
    clear = Surprise(name="log", score={"cart": 3.0, "shop": 1.6, "user": 3.0})
    other = Surprise(name="metric", score={"shop": 1.6, "user": 1.6})
    fused = fuse_surprises([clear, other], candidates=SERVICES)
    assert fused["user"] > fused["cart"] > fused["shop"]
    assert fused["user"] == pytest.approx(3.0, rel=0.05)


@pytest.mark.parametrize("null", [0.0, -1.0, math.nan])
def test_a_null_that_cannot_scale_is_refused(null):
    with pytest.raises(ValueError, match="null of channel 'a'"):
        Surprise(name="a", null=null)


def test_a_score_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match="scores 'cart' with nan"):
        Surprise(name="a", score={"cart": math.nan})
