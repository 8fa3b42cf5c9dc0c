"""Indexes answer as the plain policies do."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.policies.dispatch import LeastLoaded, RoundRobin
from serving.policies.dispatch_index import NOBODY, dispatch_index


@dataclass
class Load:
    instance_id: str
    load: int = 0


steps = st.lists(st.tuples(st.sampled_from(["send", "end", "close"]), st.integers(0, 9)))


@pytest.mark.parametrize("policy", [LeastLoaded, RoundRobin])
@settings(max_examples=60, deadline=None)
@given(steps=steps)
def test_an_index_chooses_what_its_policy_chooses(policy, steps) -> None:
    plain = policy()
    instances = [Load(f"i{rank}") for rank in range(5)]
    index = dispatch_index(policy(), 5)
    is_open = [True] * 5
    for what, number in steps:
        rank = number % 5
        if what == "send":
            accepting = [i for i, ok in zip(instances, is_open, strict=True) if ok]
            chosen = index.take()
            if not accepting:
                assert chosen == NOBODY
                continue
            assert instances[chosen] is plain.choose(accepting)
            instances[chosen].load += 1
        elif what == "end" and instances[rank].load:
            instances[rank].load -= 1
            index.give(rank)
        elif what == "close" and is_open[rank]:
            is_open[rank] = False
            index.close(rank)


def test_an_unknown_policy_has_no_index() -> None:
    class Mine:
        def choose(self, instances):
            return instances[0]

    assert dispatch_index(Mine(), 3) is None
