"""The call tree that a service graph unfolds to."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ops.errors import ScenarioError
from ops.replay.scenario import CallSpec, ServiceSpec
from ops.replay.visits import VISITS_MAX, compile_visits


def graph(sim, *services):
    return replace(sim.scenario(), services=services)


def test_every_path_is_a_visit_of_its_own(sim):
    to_c = CallSpec(to="c")
    roots, visits = compile_visits(
        graph(
            sim,
            ServiceSpec(name="a", entry=True, calls=(CallSpec(to="b"), to_c)),
            ServiceSpec(name="b", calls=(to_c,)),
            ServiceSpec(name="c"),
        )
    )
    assert [v.service for v in visits] == ["a", "b", "c", "c"]
    assert [v.index for v in visits] == [0, 1, 2, 3]
    assert [child.service for child in roots["a"].children] == ["b", "c"]


def test_the_engine_pool_has_no_spec(sim):
    roots, _ = compile_visits(sim.scenario())
    engine = next(v for v in roots["door"].children if v.service == "llm")
    assert engine.spec is None


def test_only_entries_are_roots(sim):
    roots, _ = compile_visits(sim.scenario())
    assert list(roots) == ["door"]


def test_a_cycle_is_an_error_that_names_the_bound(sim):
    looped = graph(
        sim,
        ServiceSpec(name="a", entry=True, calls=(CallSpec(to="b"),)),
        ServiceSpec(name="b", calls=(CallSpec(to="a"),)),
    )
    with pytest.raises(ScenarioError, match=str(VISITS_MAX)):
        compile_visits(looped)


def test_an_unknown_callee_is_an_error_that_names_it(sim):
    with pytest.raises(ScenarioError, match="'nowhere'"):
        compile_visits(
            graph(sim, ServiceSpec(name="a", entry=True, calls=(CallSpec(to="nowhere"),)))
        )
