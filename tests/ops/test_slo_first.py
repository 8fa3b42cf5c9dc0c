"""What the first sample of a counter tells: a past that nobody watched, or events of now."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import permutations

import numpy as np
import pytest

from ops.config import DetectConfig
from ops.slo import Count, SloMeter, advance, window_counts
from ops.slo_first import LOOKBACK_S
from ops.state import SloTarget
from ops.symptoms import Watch, find, learn
from rca.state import (
    Direction,
    Entity,
    EntityKind,
    MetricFrame,
    MetricKind,
    MetricRole,
    ResourceClass,
    Series,
)

SLO = SloTarget(name="chat", ttft_s=1.0, tpot_s=0.1)
STEP_S, NAN = 5.0, float("nan")
PAST, PER_ROW = 50_000.0, 20.0  # requests: before anybody watched, and of one row
GOOD, BAD = ("frontend_requests", "2xx"), ("frontend_requests", "5xx")
STARTED, UP = ("frontend_in_flight", ""), ("scrape_up", "")


@dataclass
class Scraped:
    """A made frame, one list of samples per pod and kind of series."""

    columns: dict[tuple[str, tuple[str, str]], list[float]] = field(default_factory=dict)

    def has(self, pod, kind, samples):
        self.columns[pod, kind] = list(samples)
        return self

    def frame(self, rows=None):
        """The first rows, with the series that have a sample by then, as a store shows them."""
        table = np.array(list(self.columns.values())).T[:rows]
        there = ~np.isnan(table).all(axis=0)
        kinds = [one for one, seen in zip(self.columns, there, strict=True) if seen]
        return MetricFrame(
            times_s=STEP_S * np.arange(1, len(table) + 1),
            values=table[:, there],
            series=tuple(_series(*one) for one in kinds),
            roles=tuple(_role(kind) for _, kind in kinds),
            step_s=STEP_S,
        )

    def per_row(self, count, *, at_once=False):
        """Events of each row after the first, read row by row or all at once."""
        meter, rows = SloMeter(), len(next(iter(self.columns.values())))
        for until in [rows] if at_once else range(1, rows + 1):
            meter = advance(meter, self.frame(until), (SLO,), history_s=3600.0)
        return np.diff(meter.cumulative[:, 0, count]).tolist()


def _series(pod, kind):
    labels = {"job": "mesh", "instance": pod, "pod": pod, "region": "eu"}
    if kind != UP:
        labels |= {"slo_class": SLO.name, "code": kind[1]}
    return Series(kind[0], tuple(sorted(labels.items())))


def _role(kind):
    name, group = kind
    return MetricRole(
        role=name, entity=Entity(EntityKind.SERVICE, "eu", "door"), kind=MetricKind.RATE,
        resource=ResourceClass.LOAD, bad=Direction.BOTH, counter=name == GOOD[0], group=group,
    )  # fmt: skip


def counter(rows, *, since=0, past=PAST, each=PER_ROW):
    """A counter that has run before; its first sample is in row `since`."""
    return [NAN if row < since else past + each * row for row in range(rows)]


@pytest.mark.parametrize("at_once", [False, True], ids=["row-by-row", "at-once"])
@pytest.mark.parametrize("since", list(permutations((0, 2, 5))), ids=str)
def test_targets_that_are_found_one_after_the_other_bring_no_past(since, at_once):
    made = Scraped()
    for pod, row in zip("abc", since, strict=True):
        made.has(pod, UP, [NAN if k < row else 1.0 for k in range(10)])
        made.has(pod, GOOD, counter(10, since=row)).has(pod, BAD, counter(10, since=row, each=1))
    finished = made.per_row(Count.FINISHED, at_once=at_once)
    known = [sum(row > first for first in since) for row in range(1, 10)]
    assert finished == [21.0 * pods for pods in known]
    assert made.per_row(Count.FAILED, at_once=at_once) == known


@pytest.mark.parametrize("kinds", list(permutations((GOOD, BAD, STARTED))), ids=str)
def test_what_was_scraped_of_one_pod_says_nothing_of_another(kinds):
    """Whichever kind of series the first pod has, the later pod's counters have a past."""
    made = Scraped()
    for since, kind in enumerate(kinds):
        made.has(f"pod-{since}", kind, counter(8, since=since))
    assert max(made.per_row(Count.FINISHED)) <= 2 * PER_ROW


@pytest.mark.parametrize("at_once", [False, True], ids=["row-by-row", "at-once"])
@pytest.mark.parametrize("seen", [UP, GOOD, STARTED], ids=str)
def test_the_first_errors_of_a_watched_target_count(seen, at_once):
    made = Scraped().has("a", seen, [1.0] * 6).has("a", BAD, [NAN, NAN, NAN, 7, 9, 9])
    assert made.per_row(Count.FAILED, at_once=at_once) == [0, 0, 7, 2, 0]


def test_a_scrape_that_failed_is_none():
    made = Scraped().has("a", UP, [0, 0, 0, 1, 1, 1])
    made.has("a", GOOD, counter(6, since=3)).has("b", GOOD, counter(6))
    assert made.per_row(Count.FINISHED) == [20, 20, 20, 40, 40]


def test_a_target_that_comes_back_after_long_is_as_good_as_new():
    away = int(LOOKBACK_S / STEP_S)
    up = [1.0, *[NAN] * away, 1.0, 1.0]
    made = Scraped().has("b", GOOD, counter(len(up), each=0.0)).has("a", UP, up)
    made.has("a", BAD, [NAN] * (away + 1) + [PAST, PAST + 1])
    assert sum(made.per_row(Count.FAILED)) == 1
    shorter = Scraped({pair: samples[1:2] + samples[3:] for pair, samples in made.columns.items()})
    shorter.has("a", UP, [1.0, *up[3:]])
    assert sum(shorter.per_row(Count.FAILED)) == PAST + 1


def test_a_restarted_pod_counts_from_zero_and_a_new_one_from_its_first_sample():
    made = Scraped().has("a", GOOD, [PAST, PAST + 20, NAN, NAN, 15, 35])
    made.has("a-new", GOOD, [NAN, NAN, NAN, 12, 32, 52])
    assert made.per_row(Count.FINISHED) == [20, 0, 0, 15 + 20, 20 + 20]


def test_a_sample_that_comes_after_its_row_was_counted_is_no_first_errors():
    """Its row was counted without it, though the pod's others were there."""
    made = Scraped().has("a", GOOD, counter(4)).has("a", BAD, counter(4, each=1))
    early = made.frame()
    early.values[:, 1] = NAN
    first = replace(early, times_s=early.times_s[:3], values=early.values[:3])
    meter = advance(SloMeter(), first, (SLO,), history_s=3600.0)
    meter = advance(meter, made.frame(), (SLO,), history_s=3600.0)
    assert window_counts(meter, span_s=60.0)[0, Count.FAILED] == 1


def test_in_flight_is_compared_in_rows_that_know_what_was_answered():
    made = Scraped().has("a", STARTED, [8, 8, 4, 4, NAN, 6]).has("b", GOOD, counter(6, since=3))
    assert made.per_row(Count.IN_FLIGHT) == [0, 0, 4, 0, 6]
    assert made.per_row(Count.FLIGHT_KNOWN) == [0, 0, 1, 0, 1]


def test_targets_found_in_two_parts_look_like_no_silence():
    rows, config = 80, DetectConfig()
    made = Scraped()
    for pod, since in (("a", 0), ("b", 4), ("c", 4)):
        made.has(pod, UP, [NAN if k < since else 1.0 for k in range(rows)])
        made.has(pod, STARTED, [NAN if k < since else 6.0 for k in range(rows)])
        made.has(pod, GOOD, counter(rows, since=since, past=4_000.0))
    meter, watch, findings = SloMeter(), Watch(), []
    for until in range(1, rows + 1):
        meter = advance(meter, made.frame(until), (SLO,), history_s=3600.0)
        quiet = np.ones(len(meter.keys), dtype=bool)
        watch = learn(watch, meter, quiet=quiet, config=config)
        watch, found = find(watch, meter, now_s=until * STEP_S, config=config)
        findings += found
    assert findings == []
