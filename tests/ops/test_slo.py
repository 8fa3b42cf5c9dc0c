"""Counting good and bad requests from scraped counters."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ops.slo import (
    Count,
    SloMeter,
    advance,
    bad_ratios,
    bads,
    burn_rates,
    pages,
    totals,
    window_counts,
)
from ops.state import SloTarget

HISTORY_S = 3660.0
REQUESTS_2XX, REQUESTS_5XX = 0, 2  # columns of the first key in the tiny fleet
TTFT_COUNT, TTFT_WITHIN = 3, 5
NUM_FIRST_KEY = 12


def meter_of(fleet, snapshot=None):
    snapshot = snapshot or fleet.snapshot()
    return advance(SloMeter(), snapshot.frame, snapshot.slos, history_s=HISTORY_S)


def test_a_worked_example(fleet):
    # 10 steps of 20 requests: 2 fail, and 3 of the other 18 miss the limit of the first token.
    fleet.advance()
    for _ in range(10):
        fleet.advance(failed={"east": 0.1}, slow={"east": 3 / 18})
    meter = meter_of(fleet)
    east = window_counts(meter, span_s=50.0)[meter.keys.index(("east", "fast"))]
    assert east[Count.FINISHED] == 200
    assert east[Count.FAILED] == 20
    assert east[Count.TTFT_OVER] == 30
    assert (totals(east), bads(east)) == (200, 50)
    assert bad_ratios(east) == pytest.approx(0.25)
    # A quarter bad against a budget of one percent burns it 25 times too fast.
    burn = burn_rates(meter, span_s=50.0)[meter.keys.index(("east", "fast"))]
    assert burn == pytest.approx(25.0)


def test_both_windows_must_burn_for_a_page(fleet):
    rule = {"burn_rate": 14.4, "span_s_long": 3600.0, "span_s_short": 300.0}
    for _ in range(100):
        fleet.advance()
    meter = meter_of(fleet)
    assert not pages(meter, **rule).any()
    for _ in range(40):
        snapshot = fleet.advance(failed={"east": 0.6})
    meter = advance(meter, snapshot.frame, snapshot.slos, history_s=HISTORY_S)
    assert pages(meter, **rule).tolist() == [True, False]
    for _ in range(60):  # over, and the long window still remembers
        snapshot = fleet.advance()
    meter = advance(meter, snapshot.frame, snapshot.slos, history_s=HISTORY_S)
    assert not pages(meter, **rule).any()


def test_step_by_step_counts_as_all_at_once(fleet):
    meter = SloMeter()
    for _ in range(20):
        snapshot = fleet.advance(slow={"east": 0.2})
        meter = advance(meter, snapshot.frame, snapshot.slos, history_s=HISTORY_S)
    np.testing.assert_array_equal(meter.cumulative, meter_of(fleet).cumulative)


def test_a_restarted_process_counts_from_zero(fleet):
    for _ in range(5):
        fleet.advance()
    fleet.totals[:NUM_FIRST_KEY] = 0.0
    fleet.advance()
    meter = meter_of(fleet)
    assert window_counts(meter, span_s=5.0)[0, Count.FINISHED] == fleet.requests
    assert window_counts(meter, span_s=5.0)[0, Count.TTFT_OVER] == 0


def test_a_missing_scrape_is_unknown_and_its_requests_arrive_with_the_next(fleet):
    for _ in range(4):
        fleet.advance()
    snapshot = fleet.snapshot()
    snapshot.frame.values[2, :NUM_FIRST_KEY] = np.nan
    meter = meter_of(fleet, snapshot)
    row = np.diff(meter.cumulative[:, 0], axis=0)
    assert row[:, Count.KNOWN].tolist() == [1, 0, 1]
    assert row[:, Count.FINISHED].tolist() == [20, 0, 40]


def test_a_key_that_was_never_scraped_has_no_ratio(fleet):
    for _ in range(4):
        fleet.advance()
    snapshot = fleet.snapshot()
    snapshot.frame.values[:, :NUM_FIRST_KEY] = np.nan
    meter = meter_of(fleet, snapshot)
    assert np.isnan(bad_ratios(window_counts(meter, span_s=60.0))[0])
    assert window_counts(meter, span_s=60.0)[0, Count.KNOWN] == 0


def test_a_series_that_appears_later_began_at_zero(fleet):
    for _ in range(5):
        fleet.advance()
    whole = fleet.snapshot()
    hidden = [i for i in range(len(fleet.series)) if i != REQUESTS_5XX]
    frame = replace(
        whole.frame,
        values=whole.frame.values[:, hidden],
        series=tuple(whole.frame.series[i] for i in hidden),
        roles=tuple(whole.frame.roles[i] for i in hidden),
    )
    meter = meter_of(fleet, replace(whole, frame=frame))
    snapshot = fleet.advance(failed={"east": 0.5})
    meter = advance(meter, snapshot.frame, snapshot.slos, history_s=HISTORY_S)
    assert window_counts(meter, span_s=5.0)[0, Count.FAILED] == 10


def test_entry_pods_of_one_region_add_up(fleet):
    for _ in range(3):
        fleet.advance()
    whole = fleet.snapshot()
    twin = replace(
        whole.frame,
        values=np.concatenate((whole.frame.values, whole.frame.values[:, :NUM_FIRST_KEY]), axis=1),
        series=whole.frame.series
        + tuple(replace(s, name=f"{s.name}2") for s in whole.frame.series[:NUM_FIRST_KEY]),
        roles=whole.frame.roles + whole.frame.roles[:NUM_FIRST_KEY],
    )
    meter = meter_of(fleet, replace(whole, frame=twin))
    assert window_counts(meter, span_s=5.0)[:, Count.FINISHED].tolist() == [40, 20]


@pytest.mark.parametrize(
    ("ttft_s", "over"),
    [(0.4, 10), (0.5, 10), (0.7, 5), (1.0, 5), (1.5, 0)],
    ids=["below", "on-first", "between", "on-second", "above-all"],
)
def test_the_nearest_bound_at_or_above_the_limit_decides(fleet, ttft_s, over):
    fleet.advance()
    snapshot = fleet.advance()
    within_half_s, within_one_s, any_time = 4, 5, 6
    values = snapshot.frame.values
    first = values[0]
    values[1, within_half_s] = first[within_half_s] + 10
    values[1, within_one_s] = first[within_one_s] + 15
    values[1, any_time] = values[1, TTFT_COUNT] = first[TTFT_COUNT] + 20
    slos = (SloTarget(name="fast", ttft_s=ttft_s, tpot_s=0.1),)
    meter = advance(SloMeter(), snapshot.frame, slos, history_s=HISTORY_S)
    assert window_counts(meter, span_s=5.0)[0, Count.TTFT_OVER] == over


def test_history_is_bounded(fleet):
    meter = SloMeter()
    for _ in range(40):
        snapshot = fleet.advance()
        meter = advance(meter, snapshot.frame, snapshot.slos, history_s=100.0)
    assert len(meter.times_s) <= 21
    assert window_counts(meter, span_s=50.0)[0, Count.FINISHED] == 200


def test_a_series_whose_owner_is_told_late_does_not_bring_its_whole_past(fleet):
    """Rows that were counted without it hold its samples: it is not new, only newly known."""
    for _ in range(6):
        snapshot = fleet.advance()
    hidden = replace(snapshot.frame, roles=tuple(
        None if k < NUM_FIRST_KEY else role for k, role in enumerate(snapshot.frame.roles)
    ))  # fmt: skip
    meter = advance(SloMeter(), hidden, snapshot.slos, history_s=HISTORY_S)
    snapshot = fleet.advance()
    meter = advance(meter, snapshot.frame, snapshot.slos, history_s=HISTORY_S)
    east = window_counts(meter, span_s=5.0)[meter.keys.index(("east", "fast"))]
    assert east[Count.FINISHED] == 20
