from __future__ import annotations

import math
from dataclasses import dataclass

import pytest

from serving.errors import ConfigError
from serving.policies import dispatch_policy
from serving.policies.dispatch import PrefixAware
from serving.state import Prefix


@dataclass
class Stub:
    instance_id: str
    load: int = 0


def test_round_robin_takes_turns_and_survives_a_change_of_the_set() -> None:
    policy = dispatch_policy("round-robin")
    a, b, c = Stub("a"), Stub("b"), Stub("c")
    assert [policy.choose([c, a, b]).instance_id for _ in range(4)] == ["a", "b", "c", "a"]
    assert policy.choose([a, c]).instance_id == "c"
    assert policy.choose([a, b]).instance_id == "a"


def test_least_loaded_breaks_ties_by_id_whatever_the_order() -> None:
    policy = dispatch_policy("least-loaded")
    instances = [Stub("c", 1), Stub("b", 1), Stub("a", 2)]
    assert policy.choose(instances).instance_id == "b"
    assert policy.choose(instances[::-1]).instance_id == "b"


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ConfigError, match="'random' is unknown"):
        dispatch_policy("random")


@dataclass
class Prompt:
    prefix: Prefix | None
    num_prompt_tokens: int = 64


def test_a_prompt_goes_where_most_of_its_beginning_was_sent() -> None:
    policy = PrefixAware(load_ratio=3.0)
    a, b = Stub("a"), Stub("b")
    assert policy.choose([a, b], Prompt(Prefix(16, (1, 2)))) is a
    a.load = 1
    assert policy.choose([a, b], Prompt(Prefix(16, (7, 8)))) is b
    b.load = 1
    assert policy.choose([a, b], Prompt(Prefix(16, (7, 9)))) is b
    assert policy.choose([a, b], Prompt(Prefix(16, (1, 2, 3)))) is a
    assert policy.choose([a, b], Prompt(Prefix(512, (7, 9)))) is a, "ids of another block size"


def test_a_popular_beginning_makes_no_hot_spot() -> None:
    policy = PrefixAware()
    fleet = [Stub(name) for name in "abcdefgh"]
    for num in range(1, 200):
        policy.choose(fleet, Prompt(Prefix(16, (1, 2, 3)))).load += 1
        assert max(i.load for i in fleet) <= math.ceil(2.0 * num / 8)
    assert min(i.load for i in fleet) > 0


def test_not_even_a_beginning_of_many_prompts_worth_passes_the_limit() -> None:
    policy = PrefixAware()
    fleet = [Stub(name) for name in "abcdefgh"]
    for number in range(200):  # short prompts of their own make the long one worth a lot
        policy.choose(fleet, Prompt(Prefix(16, (1000 + number,)), num_prompt_tokens=16))
    long = Prompt(Prefix(16, tuple(range(400))), num_prompt_tokens=6400)
    for num in range(1, 100):
        policy.choose(fleet, long).load += 1
        assert max(i.load for i in fleet) <= math.ceil(2.0 * num / 8)


def test_a_beginning_that_all_share_does_not_draw_prompts_together() -> None:
    policy = PrefixAware()
    fleet = [Stub(name) for name in "abcd"]
    for num in range(40):
        prompt = Prompt(Prefix(16, (1, *range(100 * num, 100 * num + 19))), num_prompt_tokens=320)
        policy.choose(fleet, prompt).load += 1
    assert [i.load for i in fleet] == [10] * 4


def test_what_is_saved_is_weighed_against_the_load() -> None:
    policy = PrefixAware(load_ratio=9.0)
    a, b = Stub("a"), Stub("b")
    long, short = tuple(range(40)), (900, 901)
    for ids in (long, short):
        policy.choose([a], Prompt(Prefix(16, ids), num_prompt_tokens=16 * len(ids)))
    a.load, b.load = 8, 4
    assert policy.choose([a, b], Prompt(Prefix(16, long), num_prompt_tokens=640)) is a
    assert policy.choose([a, b], Prompt(Prefix(16, short), num_prompt_tokens=32)) is b


def test_prompts_without_ids_go_to_the_least_loaded() -> None:
    fleet = [Stub("a", 4), Stub("c", 2), Stub("b", 2)]
    assert PrefixAware().choose(fleet).instance_id == "b"
    assert PrefixAware().choose(fleet, Prompt(None)).instance_id == "b"


def test_what_was_sent_is_forgotten_beyond_the_limit_and_with_the_instance() -> None:
    policy = PrefixAware(tokens_max=64, load_ratio=9.0)
    a, b = Stub("a"), Stub("b")
    policy.choose([a, b], Prompt(Prefix(16, (1, 2))))
    for first in range(10, 14):
        policy.choose([a], Prompt(Prefix(16, (first,))))
    a.load = 1
    assert policy.choose([a, b], Prompt(Prefix(16, (1, 2)))) is b
    policy.choose([a], Prompt(Prefix(16, (99,))))
    b.load = 2
    assert policy.choose([a, b], Prompt(Prefix(16, (1, 2)))) is a


def test_a_limit_below_the_mean_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"load_ratio 0\.9"):
        PrefixAware(load_ratio=0.9)
