from __future__ import annotations

import math

import pytest

from ops.reports import words
from ops.reports.parts import ClockBase


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (1410.0, "MHz", "1.41 GHz"),
        (0.214, "s", "214 ms"),
        (2.4, "s", "2.4 s"),
        (0.0, "s", "0 s"),
        (2336.0, "", "2,336"),
        (27.2345, "/s", "27.2 /s"),
        (0.463, "ratio", "46.3 %"),
        (3 * 2.0**30, "bytes", "3 GiB"),
        (123456.7, "", "123,000"),
        (0.99999, "s", "1 s"),
        (math.nan, "s", "no data"),
    ],
)
def test_quantities_have_three_digits_and_a_unit(value, unit, text):
    assert words.quantity(value, unit) == text


@pytest.mark.parametrize(
    ("before", "after", "unit", "text"),
    [
        (0.21, 2.4, "s", "0.21 → 2.4 s"),
        (1410.0, 705.0, "MHz", "1.41 → 0.705 GHz"),
        (0.002, 2.4, "s", "2 ms → 2.4 s"),
        (None, 3.0, "s", "no data → 3 s"),
        (math.nan, None, "s", "no data"),
        (0.0, 0.3, "ratio", "0 → 30 %"),
    ],
)
def test_a_change_is_told_on_one_scale(before, after, unit, text):
    assert words.change(before, after, unit) == text


def test_spans_offsets_and_clock_times():
    assert words.span(165) == "2 min 45 s"
    assert words.span(4800) == "1 h 20 min"
    assert words.offset(-125) == "−2 min 5 s"
    assert words.offset(0.2) == "0 s"
    assert words.clock(2135.0, ClockBase(epoch_s=1773711000.0)) == "02:05:35"
    assert words.date(0.0, ClockBase(epoch_s=1773711000.0)) == "17 Mar 2026"


def test_wilson_interval_agrees_with_published_values():
    # Newcombe 1998, table 1: 81 of 263 gives 0.2553 to 0.3662, 0 of 20 gives 0 to 0.1611.
    assert words.wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert words.wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    with pytest.raises(ValueError, match="at least one case"):
        words.wilson(0, 0)
