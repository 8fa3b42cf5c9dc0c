"""How much traffic is worth moving, for users of both regions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ops.capacity import EngineLoad
from ops.relief import Ailment, best_relief, staying_ratio, tries_of

LOAD = EngineLoad(
    region="east", service="engine", instances_ready=2, instances_total=2, instances_max=4,
    served_rps=1.0, demand_rps=1.0, capacity_rps=2.0, slots=10.0, wait_s=1.0, wait_ratio=0.05,
    arriving_rps=np.ones(60), waiting=0.0, cold_start_s=60.0, step_s=5.0,
)  # fmt: skip
BROKEN = Ailment(bad_ratio=1.0)


def other(demand_rps, **changes):
    return replace(LOAD, region="west", demand_rps=demand_rps, **changes)


def relief(to, ailment=BROKEN, *, away=LOAD, **more):
    return best_relief(away, to, ailment, share_max=1.0, **more)


def test_everybody_leaves_a_broken_region_when_all_fit_elsewhere():
    found = relief(other(0.5))
    assert (found.share, found.cures) == (pytest.approx(1.0), True)


def test_the_other_region_stays_within_its_error_budget():
    for demand_rps in (1.5, 2.0, 2.3, 2.6):
        to = other(demand_rps)
        found = relief(to)
        late_ratio = to.late_ratio(2, demand_rps + found.share * LOAD.demand_rps)
        assert found.share == 0.0 or late_ratio <= to.wait_ratio
        assert not found.cures
    assert relief(other(3.0)).share == 0.0


def test_added_instances_make_room():
    assert not relief(other(2.3)).cures
    assert relief(other(2.3), added=2).cures


def test_an_overload_is_relieved_by_a_part():
    away = replace(LOAD, demand_rps=3.0)
    found = relief(other(0.5), Ailment(bad_ratio=0.6, by_capacity=True), away=away)
    assert found.cures
    assert 0.0 < found.share < 0.8


def test_tries_again_may_go_to_the_other_region_too():
    again = replace(BROKEN, tries=3.0)
    assert staying_ratio(LOAD, again, share=0.5) == pytest.approx(0.125)
    # Three tries bring more users over than one: less may be sent.
    assert 0.0 < relief(other(1.3), again).share < relief(other(1.3)).share


def test_tries_are_bounded_by_failures_and_unknown_is_one():
    assert tries_of(rate_ratio=3.0, failed_ratio=0.9) == 3.0
    assert tries_of(rate_ratio=3.0, failed_ratio=0.5) == 2.0
    assert tries_of(rate_ratio=2.6, failed_ratio=0.0) == 1.0  # a wave of other users
    assert tries_of(rate_ratio=float("nan"), failed_ratio=0.0) == 1.0


def test_nothing_moves_where_nothing_is_known():
    assert relief(other(0.5, capacity_rps=float("nan"))).share == 0.0
    assert relief(other(float("nan"))).share == 0.0
