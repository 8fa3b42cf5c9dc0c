"""Coarse clocks: their ticks are told, two tables are brought onto one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from serving.workload import generate
from serving.workload.clock import on_one_clock, smeared, stamp_s

FINE = generate(seed=1, duration_s=600.0, rate_rps=3.0, failures=False)


def stamped(tick_s: float):
    return replace(FINE, arrival_s=np.floor(FINE.arrival_s / tick_s) * tick_s)


def test_the_finer_of_two_clocks_gives_way() -> None:
    one, other = on_one_clock(FINE, stamped(3.0))
    assert one.arrival_s.tolist() == other.arrival_s.tolist()
    other, one = on_one_clock(stamped(3.0), stamped(1.0))
    assert stamp_s(one.arrival_s) == stamp_s(other.arrival_s) == 3.0


def test_tables_of_fine_clocks_stay_as_they_are() -> None:
    one, other = on_one_clock(FINE, FINE)
    assert one is other is FINE


def test_smeared_stamps_keep_their_tick_and_their_order() -> None:
    coarse = stamped(3.0).arrival_s
    spread = smeared(coarse)
    assert stamp_s(spread) == 0.0
    assert (np.diff(spread) >= 0.0).all()
    assert (np.floor((spread - coarse[0]) / 3.0) * 3.0 + coarse[0] == coarse).all()
    assert smeared(spread) is spread
