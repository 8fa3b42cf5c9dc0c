"""How bad an open Incident is now: what is measured, and how often that is written."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ops.controller.incidents.book import IncidentBook
from ops.controller.incidents.current import ALIVE_S, EVERY_S, current_of
from ops.controller.incidents.restore import restore
from ops.controller.incidents.writer import IncidentWriter
from ops.controller.moments import rfc3339
from ops.controller.resources.fields import to_object
from ops.controller.resources.incident import CurrentStatus
from ops.slo import NUM_COUNTS, Count, SloMeter
from ops.state import DecisionKind
from tests.ops.controller.fake_server import FakeServer
from tests.ops.controller.test_incident_writer import FLEET, T0, ended, named, opened, said

EU, US = ("eu", "chat"), ("us", "chat")


def meter(*keys, rows=30, step_s=5.0):
    """Counts of keys that each have (key, requests, bad ones) per row; the newest row is at T0."""
    per_row = np.zeros((rows, len(keys), NUM_COUNTS))
    for i, (_, requests, bad) in enumerate(keys):
        per_row[:, i, Count.FINISHED] = requests
        per_row[:, i, Count.FAILED] = bad
        per_row[:, i, Count.KNOWN] = requests is not None
    return SloMeter(
        keys=tuple(key for key, *_ in keys), times_s=T0 - step_s * np.arange(rows)[::-1],
        cumulative=np.cumsum(np.nan_to_num(per_row), axis=0), target_ratios=np.full(len(keys), 0.9),
    )  # fmt: skip


def measured(counted, case=None, *, age_s=3.0):
    case = case or replace(opened(), keys=(EU, US))
    return current_of(case, counted, now_s=T0 + age_s, stale_after_s=20.0)


def test_the_worst_pair_of_the_newest_minute_is_told():
    told = measured(meter((EU, 10, 1), (US, 10, 4), (("ap", "chat"), 10, 10)))
    assert told == CurrentStatus(
        at=rfc3339(T0), key="us/chat", bad_ratio=0.4, requests=120, seconds=60.0
    )


def test_a_few_requests_of_which_all_are_bad_are_not_the_worst():
    assert measured(meter((EU, 100, 20), (US, 1, 1))).key == "eu/chat"
    assert measured(meter((EU, 1, 0), (US, 0, 0))).bad_ratio == 0.0  # nor is there another one


def test_what_nobody_measures_now_is_none_and_no_zero():
    assert measured(SloMeter()) is None
    assert measured(meter((EU, 10, 1)), age_s=30.0) is None  # as old as that it tells of a past
    assert measured(meter((EU, None, 0))) is None  # not scraped
    assert measured(meter((EU, 10, 1), rows=1)) is None  # a first sample has no rise
    assert measured(meter((EU, 10, 1)), replace(opened(), keys=())) is None  # an alert without SLO


def test_no_request_or_no_answer_is_a_share_that_is_not_known():
    told = measured(meter((EU, 0, 0)))
    assert (told.bad_ratio, told.requests) == (None, 0)
    unanswered = opened(reason="missing", bad_ratio=1.0)
    assert measured(meter((EU, 2, 0)), unanswered).bad_ratio is None
    assert measured(meter((EU, 9, 0)), replace(unanswered, calm_since_s=T0)).bad_ratio == 0.0


def test_the_window_of_rare_scrapes_is_as_long_as_they_are_apart():
    assert measured(meter((EU, 10, 1), step_s=90.0)).seconds == 90.0


@pytest.fixture
def server():
    return FakeServer()


class Told:
    """Turns of one open incident, five seconds apart, each with a measurement."""

    def __init__(self, server):
        self.server, self.book, self.at_s = server, IncidentBook(FLEET), T0
        self.writer, self.case = IncidentWriter(server, self.book), opened()

    def turn(self, ratio, *decisions, after_s=5.0):
        self.at_s += after_s
        one = None if ratio is None else CurrentStatus(
            at=rfc3339(self.at_s), key="eu/chat", bad_ratio=ratio, requests=100, seconds=60.0
        )  # fmt: skip
        current = {} if one is None else {self.case.incident.incident_id: one}
        self.book.take([self.case], decisions, current=current, now_s=self.at_s)
        before = len(self.writes)
        self.writer.flush(now_s=self.at_s)
        return len(self.writes) - before

    @property
    def writes(self):
        return [path for verb, path in self.server.calls if path.endswith("/status")]

    @property
    def stored(self):
        (one,) = self.server.of("incidents")
        return one["status"].get("current")


@pytest.fixture
def told(server):
    return Told(server)


def test_the_first_measurement_is_written_with_the_incident_itself(told):
    assert told.turn(0.31) == 1
    assert told.stored["badRatio"] == 0.31


def test_a_share_that_jumps_at_every_scrape_is_written_once_a_minute(told):
    told.turn(0.31)
    writes = sum(told.turn(ratio) for _ in range(60) for ratio in (0.9, 0.1))
    assert 5 <= writes <= 120 * 5.0 / EVERY_S


def test_a_share_that_stays_is_written_now_and_then_and_a_changed_one_after_a_minute(told):
    told.turn(0.310)
    assert sum(told.turn(0.315) for _ in range(120)) == 120 * 5.0 / ALIVE_S
    assert told.turn(0.5, after_s=EVERY_S) == 1
    assert told.stored["badRatio"] == 0.5


def test_a_turn_of_the_incident_takes_the_newest_measurement_along(told):
    told.turn(0.31)
    told.case = named(told.case)
    assert told.turn(0.32, said(DecisionKind.DIAGNOSE, told.case)) == 1
    assert told.stored["badRatio"] == 0.32


def test_where_it_is_measured_no_more_the_last_one_stays_with_its_time(told):
    told.turn(0.31)
    before = told.stored
    assert sum(told.turn(None) for _ in range(100)) == 0
    told.case = ended(told.case)
    told.turn(None, said(DecisionKind.RESOLVE, told.case))
    assert told.stored == before


def test_a_restarted_operator_neither_forgets_nor_writes_at_once(told, server):
    told.turn(0.31)
    restored = restore(server.of("incidents"), fleet=FLEET)
    told.book = IncidentBook(FLEET)
    told.book.adopt(restored)
    (told.case,) = restored.cases
    told.writer = IncidentWriter(server, told.book)
    assert told.turn(0.9) == 0
    assert told.stored["badRatio"] == 0.31
    assert told.turn(0.9, after_s=EVERY_S) == 1


def test_an_object_of_an_earlier_release_is_one_that_nobody_measured(told, server):
    told.turn(None)
    (stored,) = restore(server.of("incidents"), fleet=FLEET).records
    assert stored.status.current is None
    assert "current" not in to_object(stored.status)
