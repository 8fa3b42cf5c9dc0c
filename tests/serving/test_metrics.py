from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from serving.metrics import EngineMeters, Histogram

BOUNDS = (0.1, 0.2, 0.5, 1.0)


@settings(max_examples=20, deadline=None)
@given(st.floats(0.0, 1.2), st.floats(0.0, 0.3), st.integers(0, 30), st.integers(0, 4))
def test_a_ramp_counts_like_its_values_one_by_one(
    first: float, slope: float, num_steps: int, num: int
) -> None:
    ramp, plain = Histogram(BOUNDS), Histogram(BOUNDS)
    ramp.observe_ramp(first, slope, num_steps, num)
    for step in range(num_steps):
        for _ in range(num):
            plain.observe(first + slope * step)
    assert (ramp.counts, ramp.count) == (plain.counts, plain.count)
    assert abs(ramp.sum - plain.sum) < 1e-9


def test_a_value_on_a_bound_belongs_below_it() -> None:
    histogram = Histogram(BOUNDS)
    histogram.observe_many(0.2, 3)
    histogram.observe_ramp(0.5, 0.0, 2, 1)
    assert histogram.counts == [0, 3, 2, 0, 0]


def test_engines_do_not_share_meters() -> None:
    one, other = EngineMeters(), EngineMeters()
    one.ttft.observe(1.0)
    assert (other.ttft.count, other.ttft.counts is one.ttft.counts) == (0, False)
