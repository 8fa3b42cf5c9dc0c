"""What an abstention says of a scrape job that fell silent, and when it is over."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ops.adapters.fakes import FakeDiagnoser
from ops.config import LoopConfig
from ops.encode import to_plain
from ops.pipeline import LoopState, step
from ops.state import DecisionKind
from rca.state import (
    Direction,
    Entity,
    EntityKind,
    MetricKind,
    MetricRole,
    ResourceClass,
    Series,
)

JOB = Entity(EntityKind.TELEMETRY, "east", "box")
UP = Series("up", (("instance", "east-n0"), ("job", "box"), ("region", "east")))
SCRAPED_S = 200.0  # last scrape of the job that falls silent
WHO = tuple(
    Entity(EntityKind.POD, "east", name)
    for name in ("east-engine-0", "east-engine-1", "east-gone-0")
)


def role_of(entity, name, *, resource, kind=MetricKind.SATURATION):
    return MetricRole(role=name, entity=entity, kind=kind, resource=resource, bad=Direction.UP)


def with_job(snapshot, *, last_good_s, early_s=0.0):
    """The snapshot with a job that measures CPU and memory of pods and is silent since.

    A real scrape is stamped `early_s` before the end of the step in whose row its samples stand.
    """
    columns = [(UP, role_of(JOB, "scrape_up", resource=ResourceClass.TELEMETRY))]
    for entity in WHO:
        for name, resource in (("box_cpu", ResourceClass.CPU), ("box_mem", ResourceClass.MEMORY)):
            labels = (("pod", entity.name), ("region", "east"))
            columns.append((Series(name, labels), role_of(entity, name, resource=resource)))
    times = snapshot.frame.times_s
    block = np.where((times <= last_good_s)[:, None], 1.0, np.nan) * np.ones(len(columns))
    frame = replace(
        snapshot.frame,
        values=np.hstack([snapshot.frame.values, block]),
        series=snapshot.frame.series + tuple(series for series, _ in columns),
        roles=snapshot.frame.roles + tuple(role for _, role in columns),
    )
    jobs = {**snapshot.scrape_jobs, "east/box": last_good_s - early_s}
    return replace(snapshot, frame=frame, scrape_jobs=jobs)


class Watch:
    """Steps the loop over a fleet of which one job is silent from `SCRAPED_S` on."""

    def __init__(self, fleet, result):
        self.fleet, self.state, self.decisions = fleet, LoopState(), []
        self.diagnoser = FakeDiagnoser([result])

    def run(self, num_steps, *, back_s=np.inf, early_s=0.0, **what):
        for _ in range(num_steps):
            snapshot = self.fleet.advance(**what)
            now_s = snapshot.now_s
            good_s = now_s if now_s <= SCRAPED_S or now_s >= back_s else SCRAPED_S
            self.state, more = step(
                self.state,
                with_job(snapshot, last_good_s=good_s, early_s=early_s),
                diagnoser=self.diagnoser,
                config=LoopConfig(),
            )
            self.decisions += more
        return self


@pytest.fixture
def watch(fleet, make_result):
    return Watch(fleet, make_result(abstained=True))


def test_the_abstention_names_what_is_hidden_and_what_is_still_seen(watch):
    watch.run(60)
    (decision,) = watch.decisions
    assert decision.kind is DecisionKind.ABSTAIN
    assert decision.incident is None and decision.action is None
    gap = decision.details["gap"]
    assert (gap.job, gap.since_s) == (JOB, SCRAPED_S)
    assert gap.num_series == 7  # six readings of pods and the job's own
    assert gap.measures == ("box_cpu", "box_mem")
    assert gap.resources == (ResourceClass.CPU, ResourceClass.MEMORY)
    assert gap.num_hidden == {EntityKind.POD: 2}  # the cluster knows no third one
    assert gap.pods_ready == 2
    assert (gap.num_answering, gap.num_others) == (1, 1)
    assert (gap.users_seen, gap.num_lanes) == (1, 1)
    assert gap.users_from == (Entity(EntityKind.SERVICE, "east", "door"),)
    assert gap.bad_ratio == 0.0
    assert gap.incident_ids == ()


def test_a_scrape_within_a_step_ends_its_series_with_the_row_of_that_step(watch):
    (decision,) = watch.run(60, early_s=3.7).decisions
    assert decision.details["gap"].num_series == 7


def test_the_reading_that_would_settle_it_has_no_label_of_a_target(watch):
    (decision,) = watch.run(60).decisions
    reading = decision.details["would_settle"][0]
    assert reading == Series("up", (("job", "box"), ("region", "east")))
    assert to_plain(decision.details)["would_settle"] == ['up{job="box",region="east"}']
    assert decision.details["missing"][0] == "7 series of telemetry:east/box since 200 s"


def test_a_gap_is_told_once_and_its_end_once(watch):
    watch.run(60).run(20, back_s=310.0)
    assert [d.kind for d in watch.decisions] == [DecisionKind.ABSTAIN, DecisionKind.NOTE]
    end = watch.decisions[1]
    assert end.details["entity"] == JOB
    assert end.details["since_s"] == SCRAPED_S
    assert end.details["until_s"] >= 310.0
    assert watch.state.gaps_noted == ()


def test_a_job_that_is_taken_away_does_not_count_as_scraped_again(watch, fleet):
    watch.run(60)
    snapshot = fleet.advance()
    _, more = step(
        replace(watch.state, next_note_at_s=0.0),
        snapshot,  # without the job
        diagnoser=watch.diagnoser,
        config=LoopConfig(),
    )
    assert more == ()


def test_users_who_suffer_meanwhile_are_named_with_their_incident(watch):
    watch.run(40)
    watch.run(12, slow={"east": 0.6})
    told = next(d for d in watch.decisions if "gap" in d.details)
    assert told.details["gap"].incident_ids == ("inc-0001",)
    assert told.details["gap"].bad_ratio > 0.3
    assert "see inc-0001" in told.reason


def test_nobody_is_accused_and_nothing_is_done(watch):
    watch.run(80)
    assert watch.state.incidents == ()
    assert not [d for d in watch.decisions if d.action is not None]
    assert "nothing is done" in watch.decisions[0].reason


def test_users_count_as_seen_only_while_their_counters_are_read(watch, fleet):
    """Rows that ended with the job's tell what users got then, not what they get now."""
    watch.run(40)
    watch.decisions.clear()
    watch.state = replace(watch.state, gaps_noted=(), next_note_at_s=0.0)
    snapshot = with_job(fleet.advance(), last_good_s=SCRAPED_S)
    late = replace(snapshot, now_s=snapshot.now_s + 60.0)
    _, told = step(watch.state, late, diagnoser=watch.diagnoser, config=LoopConfig())
    (decision,) = [one for one in told if one.details.get("entity") == JOB]
    assert "what users get is not seen either" in decision.reason
    assert decision.details["gap"].users_seen == 0
