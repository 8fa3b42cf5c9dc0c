"""Change scores have none of the blind spots of one-sided, unfloored scores."""

from __future__ import annotations

import numpy as np
import pytest

from rca.align import Aligned, cut_windows
from rca.change import measure_changes
from rca.state import (
    Direction,
    Entity,
    EntityKind,
    MetricKind,
    MetricRole,
    ResourceClass,
    Series,
)

ROWS, ONSET = 120, 100
RNG = np.random.default_rng(0)
ROLE = MetricRole(
    role="x", entity=Entity(EntityKind.POD, "r"), kind=MetricKind.STATE,
    resource=ResourceClass.UNKNOWN, bad=Direction.BOTH,
)  # fmt: skip


def scored(*columns):
    levels = np.column_stack(columns).astype(float)
    num = levels.shape[1]
    aligned = Aligned(
        times_s=np.arange(ROWS) * 5.0, levels=levels, increases=levels, series=(Series("x"),) * num,
        roles=(ROLE,) * num, counter=np.zeros(num, dtype=bool), step_s=5.0,
    )  # fmt: skip
    windows = cut_windows(aligned.times_s, ONSET * 5.0)
    assert windows is not None
    return measure_changes(aligned, windows)


def noisy(level=1.0, spread=0.1):
    return RNG.normal(level, spread, ROWS)


def stepped(values, factor):
    out = np.array(values, dtype=float)
    out[ONSET:] *= factor
    return out


def test_a_fall_counts_as_much_as_a_rise():
    base = noisy(100.0, 2.0)
    table = scored(stepped(base, 1.5), stepped(base, 0.5))
    assert table.score[0] > 2.0
    assert table.score[1] == pytest.approx(-table.score[0], abs=0.05)


def test_a_success_ratio_that_drops_a_little_is_seen():
    assert scored(stepped(RNG.normal(0.999, 0.0005, ROWS), 0.8)).score[0] < -2.0


def test_a_constant_that_starts_to_move_is_an_event():
    moving = np.zeros(ROWS)
    moving[ONSET:] = 3.0
    table = scored(moving, np.zeros(ROWS))
    assert table.woke.tolist() == [True, False]
    assert table.score[0] > 2.5 and table.score[1] == 0.0


def test_a_busy_series_that_stands_still_froze():
    stuck = noisy()
    stuck[ONSET:] = stuck[ONSET]
    table = scored(stuck, noisy(), np.ones(ROWS))
    assert table.froze.tolist() == [True, False, False]


def test_a_series_collected_every_sixth_row_did_not_freeze():
    slow = np.repeat(noisy(), 6)[:ROWS]
    assert not scored(slow).froze[0]


def test_a_series_that_ends_vanished_and_scores_nothing():
    gone = noisy()
    gone[ONSET + 2 :] = np.nan
    table = scored(gone, np.full(ROWS, np.nan))
    assert table.vanished.tolist() == [True, False]
    assert table.score[1] == 0.0


def test_bytes_with_no_spread_do_not_outweigh_a_true_latency_fault():
    memory = np.full(ROWS, 8e9)
    memory[::7] += 4096.0  # IQR is 0, a page moves now and then
    memory[ONSET:] += 1e6
    latency = stepped(noisy(0.2, 0.01), 4.0)
    table = scored(memory, latency)
    assert abs(table.score[0]) < 0.1
    assert table.score[1] > 3.0


def test_the_unit_does_not_matter():
    base = stepped(noisy(5.0, 0.3), 1.4)
    table = scored(base, base * 1e6)
    assert table.score[0] == pytest.approx(table.score[1])


def test_the_onset_is_where_the_series_leaves_its_band():
    late = noisy(1.0, 0.02)
    late[ONSET + 4 :] = 3.0
    table = scored(stepped(noisy(1.0, 0.02), 3.0), late)
    assert table.onset_s.tolist() == [5.0 * ONSET, 5.0 * (ONSET + 4)]


def test_noise_alone_scores_low():
    table = scored(*(noisy() for _ in range(200)))
    assert np.quantile(np.abs(table.score), 0.99) < 0.6


def test_missing_cells_do_not_move_the_score_much():
    base = stepped(noisy(5.0, 0.3), 2.0)
    holes = np.where(RNG.random(ROWS) < 0.3, np.nan, base)
    table = scored(base, holes)
    assert table.score[1] == pytest.approx(table.score[0], abs=0.2)
