"""How often users' metrics are scraped, as their samples tell."""

from __future__ import annotations

import numpy as np

from ops.controller.metrics_watch.freshness import Freshness
from ops.controller.metrics_watch.state import Seen
from rca.state import Direction, Entity, EntityKind, MetricKind, MetricRole, ResourceClass

ROLE = MetricRole(
    role="frontend_requests", entity=Entity(EntityKind.SERVICE, "eu", "door"),
    kind=MetricKind.RATE, resource=ResourceClass.LOAD, bad=Direction.BOTH, counter=True,
)  # fmt: skip


def interval_s(*readings):
    """What is held for the rhythm after readings of one series at these seconds."""
    freshness, seen = Freshness(), Seen()
    freshness.learn([ROLE])
    for times_s in readings:
        columns = np.zeros(len(times_s), dtype=np.int64)
        times_ms = np.array([1000 * one for one in times_s], dtype=np.int64)
        freshness.take(seen, columns, times_ms, np.ones(len(times_s)))
    return seen.interval_s


def test_the_rhythm_is_the_distance_of_scrapes():
    assert interval_s((0, 5, 10)) == 5.0


def test_a_gap_is_no_rhythm_however_often_it_is_read():
    assert interval_s((0, 5, 10), *[(10, 40)] * 10) == 5.0


def test_a_gap_at_the_very_beginning_is_no_rhythm_either():
    # A server that has just begun has one sample; then it is away, and comes back.
    assert interval_s((0,), (0, 9), (0, 9)) == 0.0
    assert interval_s((0,), (0, 9), (0, 9, 10)) == 1.0


def test_a_slower_rhythm_is_learnt_after_some_readings():
    readings = [(30 * n, 30 * n + 30) for n in range(1, 10)]
    assert interval_s((0, 5), *readings) == 30.0
