from __future__ import annotations

import math
from dataclasses import replace

import pytest

from ops.reports import (
    ClockBase,
    EvidenceSeries,
    Lane,
    findings,
    lanes,
    serving_figures,
    svg,
    traces,
)
from ops.reports.svg import TimeAxis

NAN = math.nan
BASE = ClockBase(epoch_s=1773711000.0)


def series(values, **more):
    times = tuple(5.0 * i for i in range(len(values)))
    return EvidenceSeries(label="x", unit="s", times_s=times, values=tuple(values), **more)


def test_decimation_keeps_the_extremes_and_the_limit():
    points = [(float(i), math.sin(i / 50)) for i in range(5000)]
    points[1234] = (1234.0, 9.0)
    points[4321] = (4321.0, -9.0)
    kept = traces.decimate(points, 240)
    assert len(kept) <= 240
    assert (1234.0, 9.0) in kept
    assert (4321.0, -9.0) in kept
    assert kept == sorted(kept)


def test_the_name_of_a_level_line_stays_inside_its_plot():
    assert [serving_figures.beside(y) for y in (0.0, 13.0, 14.0, 60.0)] == [12.0, 25.0, 10.0, 56.0]


def test_gaps_reach_from_the_last_good_sample_to_the_next():
    assert traces.gaps(series([NAN, 1, 2, NAN, NAN, 3, NAN])) == [(0, 5), (10, 25), (25, 30)]
    assert traces.gaps(series([1, 2])) == []


def test_a_line_is_never_drawn_across_a_gap():
    parts = traces.segments(series([1, 2, NAN, NAN, 3, 4]))
    assert [[v for _, v in points] for points, _ in parts] == [[1, 2], [3, 4]]


def test_the_coloured_part_runs_from_onset_until_back_in_the_normal_band():
    item = series([1, 1, 1, 5, 5, 5, 1, 1, 1, 1], onset_s=15.0, normal_low=0.9, normal_high=1.1)
    parts = traces.segments(item)
    assert [coloured for _, coloured in parts] == [False, True, False]
    assert parts[1][0][1] == (15.0, 5)
    assert parts[2][0][-1] == (45.0, 1)


@pytest.mark.parametrize(
    ("values", "more", "bottom", "top"),
    [
        ([0.2, 2.4], {}, 0.0, 2.5),
        ([1755.0, 1755.0], {}, 0.0, 2000.0),
        ([NAN, NAN], {}, 0.0, 1.0),
        ([0.0, 0.0], {}, 0.0, 1.0),
        ([0.5, 1.0], {"limit": 1.5}, 0.0, 1.5),
        ([0.5, 1.0], {"limit": 500.0}, 0.0, 1.0),
        ([-3.0, 2.0], {}, -3.0, 2.0),
    ],
)
def test_value_axis_starts_at_zero_and_ends_at_a_round_number(values, more, bottom, top):
    assert traces.value_range(series(values, **more)) == pytest.approx((bottom, top))


def test_a_small_swing_that_matters_gets_a_cut_axis():
    bottom, top = traces.value_range(series([100.0, 98.0, 90.0], onset_s=5.0))
    assert 80 < bottom < 90
    assert 100 < top < 110


def test_time_axis_ticks_are_round_clock_times_inside_it():
    axis = TimeAxis(13.0, 1999.0)
    ticks = axis.ticks(BASE)
    assert 2 <= len(ticks) <= 8
    assert all(13 <= t <= 1999 for t in ticks)
    assert all((BASE.epoch_s + t) % 300 == 0 for t in ticks)
    with pytest.raises(ValueError, match="end after start"):
        TimeAxis(5.0, 5.0)


def test_a_minute_without_requests_is_hatched_and_not_counted():
    lane = Lane(region="r", slo_class="c", traffic_ratio=1.0, start_s=0.0, bad_with=(0.5, NAN, 0.0))
    assert lane.minutes_with() == 1
    axis = TimeAxis(0.0, 180.0)
    for tallest in (lane, None):
        drawn = str(lanes.lane_rows((lane,), axis, BASE, tallest)[0].plot)
        assert drawn.count('class="gap"') == 1
        assert drawn.count('class="bad"') == 1


def test_tags_escape_text_and_attributes():
    made = str(svg.tag("text", "<b>", class_='"x', stroke_width=2))
    assert made == '<text class="&#34;x" stroke-width="2">&lt;b&gt;</text>'


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"after": 9.0, "undated": True}, "changed, onset not found"),
        ({}, "not measured since"),
        ({"after": 1.0, "normal_low": 0.5, "normal_high": 2.0}, "in its normal range"),
        ({"after": 0.0, "normal_low": 0.5, "normal_high": 2.0}, "outside its normal range"),
        ({"after": 1.0}, "no clear change"),
    ],
)
def test_a_series_without_an_onset_is_not_said_to_stand_still(more, says):
    item = series([1.0, 1.0], **more)
    assert findings.without_onset(item) == says
    assert says in traces._title(item, BASE)


def test_the_name_of_a_gap_is_written_only_where_no_curve_can_run_through_it():
    axis = TimeAxis(0.0, 100.0)
    narrow = series([1.0, 1.0, NAN, NAN, *([1.0] * 17)])
    wide = series([1.0, 1.0, *([NAN] * 8), *([1.0] * 11)])
    drawn = [str(traces.plot_of(one, (), axis, BASE)) for one in (narrow, wide)]
    assert ["no data" in one.partition("</title>")[2] for one in drawn] == [False, True]
    assert all("no data" in one for one in drawn)  # its title tells them all


def test_bad_minutes_before_an_incident_are_drawn_as_no_part_of_it():
    lane = Lane(
        region="west", slo_class="fast", traffic_ratio=1.0, start_s=0.0,
        bad_with=(0.0, 0.5, 0.5, 0.0, 0.9), since_s=240.0,
    )  # fmt: skip
    other = replace(lane, slo_class="slow", bad_with=(0.0, 0.5, 0.5, 0.0, 0.0))
    found = lanes.lane_rows((lane, other), TimeAxis(0.0, 300.0), BASE, lane)
    assert [row.value for row in found] == ["1 bad minute", "none"]
    assert [row.value_detail for row in found] == ["90 %; 2 before it began", "2 before it began"]
    assert str(found[0].plot).count('class="past"') == 2
    assert str(found[0].plot).count('class="bad"') == 1
    assert 'class="bad"' not in str(found[1].plot)
