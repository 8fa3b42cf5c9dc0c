"""Options beside a scenario: what they change, and that the scenario's rules still hold."""

from __future__ import annotations

import math

import pytest

from ops.errors import ScenarioError
from ops.replay.options import ReplayOptions, with_options
from ops.replay.scenarios import load_embedded


@pytest.fixture(scope="module")
def chat():
    return load_embedded("chat")


def test_without_options_nothing_changes(chat):
    assert with_options(chat, ReplayOptions()) == chat


def test_one_region_keeps_all_users_and_drops_what_lay_elsewhere(chat):
    one = with_options(chat, ReplayOptions(regions="1"))
    assert [r.name for r in one.regions] == [chat.regions[0].name]
    assert one.regions[0].traffic_share == 1.0
    assert all(c.region == one.regions[0].name for c in one.changes)
    assert one.region_rtt_s == ()


def test_regions_may_be_named(chat):
    name = chat.regions[-1].name
    assert [r.name for r in with_options(chat, ReplayOptions(regions=name)).regions] == [name]


def test_more_instances_bring_their_nodes(chat):
    many = with_options(chat, ReplayOptions(instances=9))
    assert many.engine.instances == 9
    assert many.engine.instances_max >= 9
    per_node = many.regions[0].gpus_per_node // many.engine.tp_degree
    assert many.regions[0].gpu_nodes * per_node >= 9


@pytest.mark.parametrize("load", [math.nan, math.inf, -0.1, 99.0])
def test_a_load_out_of_range_is_refused(chat, load):
    with pytest.raises(ScenarioError, match="--load"):
        with_options(chat, ReplayOptions(load=load))


def test_a_model_that_does_not_fit_the_gpus_is_refused(chat):
    with pytest.raises(ScenarioError, match="engine"):
        with_options(chat, ReplayOptions(model="no-model"))


@pytest.mark.parametrize(
    ("typed", "key"),
    [("h100", "H100"), ("a100@vllm-0.14.0", "A100@vllm-0.14.0"), ("rtx-pro-6000", "RTX-PRO-6000")],
)
def test_a_gpu_is_any_profile_of_the_cost_model_in_any_case(chat, typed, key):
    assert with_options(chat, ReplayOptions(gpu=typed)).engine.gpu == key


def test_a_gpu_without_a_profile_is_refused_with_those_that_have_one(chat):
    with pytest.raises(ScenarioError, match=r"'MI300' is no gpu .* known: A10, A100, "):
        with_options(chat, ReplayOptions(gpu="MI300"))


def test_options_survive_a_file():
    options = ReplayOptions(trace="a.csv", load=0.5, regions="1", skip_bad_rows=True)
    assert ReplayOptions.of(options.plain()) == options
    assert options.words() == [
        "--trace", "a.csv", "--load", "0.5", "--regions", "1", "--skip-bad-rows",
    ]  # fmt: skip
    with pytest.raises(ScenarioError, match="lood"):
        ReplayOptions.of({"lood": 1.0})
