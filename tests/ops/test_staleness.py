"""Which silence is a gap in the measurements."""

from __future__ import annotations

from dataclasses import replace

from ops.staleness import EVERY_REGION, silent_jobs
from rca.state import (
    Direction,
    Entity,
    EntityKind,
    MetricKind,
    MetricRole,
    ResourceClass,
    Series,
)


def snapshot_of(fleet, jobs, *, targets=()):
    snapshot = fleet.advance()
    up = MetricRole(
        role="scrape_up",
        entity=Entity(EntityKind.TELEMETRY, "east", "engine"),
        kind=MetricKind.AVAILABILITY,
        resource=ResourceClass.TELEMETRY,
        bad=Direction.DOWN,
    )
    frame = replace(
        snapshot.frame,
        series=snapshot.frame.series + tuple(Series("up", (("pod", pod),)) for pod in targets),
        roles=snapshot.frame.roles + (up,) * len(targets),
    )
    return replace(snapshot, now_s=1000.0, scrape_jobs=jobs, frame=frame)


def test_only_old_scrapes_are_silent(fleet):
    jobs = {"east/mesh": 950.0, "west/mesh": 990.0, "node": 900.0, "east/gpu": float("nan")}
    assert silent_jobs(snapshot_of(fleet, jobs), age_s=30.0) == [
        ("east", "mesh", 950.0),
        (EVERY_REGION, "node", 900.0),
    ]


def test_a_job_whose_pods_are_all_down_has_nothing_to_answer(fleet):
    jobs = {"east/engine": 900.0}
    targets = ("east-engine-0", "east-engine-1")
    assert silent_jobs(snapshot_of(fleet, jobs, targets=targets), age_s=30.0)
    for name in targets:
        fleet.pods[name] = replace(fleet.pods[name], ready=False)
    assert silent_jobs(snapshot_of(fleet, jobs, targets=targets), age_s=30.0) == []


def test_a_job_of_nodes_is_silent_whatever_its_pods_do(fleet):
    assert silent_jobs(snapshot_of(fleet, {"east/engine": 900.0}, targets=("",)), age_s=30.0)


def test_nothing_is_told_of_jobs_while_the_source_itself_is_silent(fleet):
    """A Prometheus that is away scrapes no job, and none of them has stopped for that."""
    jobs = {"east/mesh": 950.0, "east/gpu": 700.0}
    gone = replace(snapshot_of(fleet, jobs), scraped_at_s=955.0)
    assert silent_jobs(gone, age_s=30.0) == [("east", "gpu", 700.0)]  # silent before already
    back = replace(gone, scraped_at_s=999.0)
    assert [job for _, job, _ in silent_jobs(back, age_s=30.0)] == ["gpu", "mesh"]
