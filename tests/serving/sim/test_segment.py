from __future__ import annotations

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from serving.instance import Instance
from serving.policies import batch_policy
from serving.sim.cost_model import CostModel
from serving.sim.segment import Segment
from serving.state import BatchPlan, InstanceConfig

COST_MODEL = CostModel.of(gpu="A100", model="llama-2-7b")


def segment(num_steps: int, first_s: float, slope_s: float, start_s: float) -> Segment:
    instance = Instance(
        InstanceConfig(num_blocks=4), batch_policy("chunked-prefill", token_budget=8)
    )
    made = Segment(BatchPlan(runs_decodes=True), instance, COST_MODEL, start_s)
    made.num_steps, made.first_s, made.slope_s = num_steps, first_s, slope_s
    return made


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 400),
    st.floats(1e-3, 0.1),
    st.one_of(st.just(0.0), st.floats(1e-7, 1e-3)),
    st.floats(0.0, 1e5),
    st.floats(0.0, 1.05),
    st.sampled_from(["inside", "at an end", "just after an end"]),
)
def test_begun_iterations_are_the_fewest_that_reach_the_time(
    num_steps: int, first_s: float, slope_s: float, start_s: float, share: float, where: str
) -> None:
    made = segment(num_steps, first_s, slope_s, start_s)
    ends = [made.end_of(j) for j in range(1, num_steps + 1)]
    now_s = ends[min(int(share * num_steps), num_steps - 1)]
    if where == "inside":
        now_s = start_s + share * (ends[-1] - start_s)
    elif where == "just after an end":  # where rounding of the quadratic shows
        now_s = math.nextafter(now_s, math.inf)
    fewest = next((j for j, end_s in enumerate(ends, 1) if end_s >= now_s), num_steps)
    assert made.num_begun(now_s) == fewest


def test_rounding_of_the_quadratic_does_not_lose_an_iteration() -> None:
    made = segment(400, 0.0143, 0.00025, 0.0)
    assert made.num_begun(math.nextafter(made.end_of(392), math.inf)) == 393


def test_dropping_what_is_done_moves_no_end() -> None:
    made = segment(10, 0.02, 1e-4, 5.0)
    ends = [made.end_of(j) for j in range(4, 11)]
    made.num_done = 3
    made.num_decodes, made.context_sum = 2, 100
    made.chunk_attended, made.chunk_attended_slope = 50.0, 10.0
    made.drop_done()
    assert (made.context_sum, made.chunk_attended) == (106, 80.0)
    assert made.num_steps == 7
    for j, end_s in enumerate(ends, 1):
        assert abs(made.end_of(j) - end_s) < 1e-12
