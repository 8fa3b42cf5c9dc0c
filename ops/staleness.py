"""Scrape jobs that went silent, and whether that is because all of their targets are down."""

from __future__ import annotations

from ops.state import Snapshot
from rca.state import EntityKind

EVERY_REGION = "all"  # of a job whose name tells no region


def silent_jobs(snapshot: Snapshot, *, age_s: float) -> list[tuple[str, str, float]]:
    """Region, job and last good scrape of every job that is silent for more than `age_s`.

    A job that never answered is not collected here, and one whose targets are all down has
    nothing to answer: neither is a gap in the measurements. Where nothing at all came since, the
    source is silent, and nothing is known of its jobs.
    """
    silent = []
    known_s = snapshot.now_s if snapshot.scraped_at_s is None else snapshot.scraped_at_s
    for name, last_good_s in sorted(snapshot.scrape_jobs.items()):
        if not min(known_s, snapshot.now_s) - last_good_s > age_s:  # also where the time is NaN
            continue
        region, _, job = name.rpartition("/")
        region = region or EVERY_REGION
        if not _targets_down(snapshot, region, job):
            silent.append((region, job, last_good_s))
    return silent


def _targets_down(snapshot: Snapshot, region: str, job: str) -> bool:
    """Whether the job's targets are pods none of which is ready."""
    targets = {
        series.label("pod")
        for role, series in zip(snapshot.frame.roles, snapshot.frame.series, strict=True)
        if role is not None
        and role.entity.kind is EntityKind.TELEMETRY
        and (role.entity.region, role.entity.name) == (region, job)
    }
    if not targets or "" in targets:
        return False
    return not any(pod.ready and pod.name in targets for pod in snapshot.pods)
