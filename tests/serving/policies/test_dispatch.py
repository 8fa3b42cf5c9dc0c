from __future__ import annotations

from dataclasses import dataclass

import pytest

from serving.errors import ConfigError
from serving.policies import dispatch_policy


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
