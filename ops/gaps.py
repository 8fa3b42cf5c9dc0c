"""Telemetry that stopped: an abstention that says what cannot be seen, never an accusation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import nan

import numpy as np

from ops.pipeline_state import Turn
from ops.slo import Count, window_counts
from ops.slo_keys import Key
from ops.staleness import EVERY_REGION, silent_jobs
from ops.state import DecisionKind, Snapshot
from rca.state import (
    Entity,
    EntityKind,
    MetricFrame,
    MetricKind,
    MetricRole,
    RcaResult,
    ResourceClass,
    Series,
    Symptom,
)

_SPREAD_ROWS = 3  # the last sample of a target may be that much older than that of its job
# What these kinds measure goes wrong; the others give scale and facts.
_FAULTS = frozenset(MetricKind) - {MetricKind.INFO, MetricKind.STATE, MetricKind.RATE}


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """What cannot be seen while one scrape job is silent, and what still can.

    Attributes:
        job: the scrape job, an entity of kind TELEMETRY.
        since_s: its last scrape that brought samples.
        num_series: series that ended with it, of `num_known` in its region.
        measures: catalogue roles that ended, most series first.
        resources: resource classes that these measure, in the order of their enumeration.
        num_hidden: things that they measured, by kind of entity.
        pods_ready: those of the hidden pods that the cluster calls ready.
        num_answering: other scrape jobs of the region that still answer, of `num_others`.
        users_seen: (region, class) pairs of the region that are still counted, of `num_lanes`.
        users_from: services whose counters tell what users get.
        bad_ratio: share of bad requests of the region in the newest window; NaN = not known.
        reading: the series that tells whether the targets answer.
        incident_ids: open incidents of the region.
    """

    job: Entity
    since_s: float
    num_series: int
    num_known: int
    measures: tuple[str, ...]
    resources: tuple[ResourceClass, ...]
    num_hidden: Mapping[EntityKind, int]
    pods_ready: int
    num_answering: int
    num_others: int
    users_seen: int
    num_lanes: int
    users_from: tuple[Entity, ...]
    bad_ratio: float
    reading: Series
    incident_ids: tuple[str, ...] = ()


def note_gaps(turn: Turn) -> None:
    """Abstain once for each scrape job that has gone silent; note when it answers again."""
    config = turn.config.diagnose
    turn.state = replace(turn.state, next_note_at_s=turn.now_s + config.note_every_s)
    silent = silent_jobs(turn.snapshot, age_s=config.note_gap_s)
    gaps = [(Entity(EntityKind.TELEMETRY, region, job), at_s) for region, job, at_s in silent]
    known = {entity for entity, _ in turn.state.gaps_noted}
    for entity, since_s in gaps:
        if entity not in known:
            _abstain(turn, entity, since_s)
    _note_ends(turn, {entity for entity, _ in gaps})
    turn.state = replace(turn.state, gaps_noted=tuple(sorted(gaps)))


def _abstain(turn: Turn, job: Entity, since_s: float) -> None:
    symptom = Symptom(
        region=job.region,
        slo_class="",
        began_at_s=since_s,
        detected_at_s=turn.now_s,
        bad_ratio=0.0,
        reason="missing",
    )
    result = turn.diagnose(symptom)  # what is told of a gap does not wait for an answer
    if result is not None:
        result = replace(result, abstained=True)
    gap = _gap_of(turn, job, since_s)
    turn.say(
        DecisionKind.ABSTAIN,
        f"{job} was not scraped for {turn.now_s - since_s:.0f} s: {gap.num_series} series cannot "
        f"be seen; {_users(gap)}; a gap accuses nobody, so nothing is done",
        entity=job,
        since_s=since_s,
        gap=gap,
        checked=result.checked if result else (),
        missing=_missing(gap, result),
        would_settle=(gap.reading, *(result.would_settle if result else ())),
        result=result,
    )


def _note_ends(turn: Turn, silent: set[Entity]) -> None:
    """A job whose targets went away is forgotten without a word: it did not come back."""
    for job, since_s in turn.state.gaps_noted:
        name = job.name if job.region == EVERY_REGION else f"{job.region}/{job.name}"
        until_s = turn.snapshot.scrape_jobs.get(name, since_s)
        if job in silent or not until_s > since_s:
            continue
        turn.say(
            DecisionKind.NOTE,
            f"{job} is scraped again after at most {until_s - since_s:.0f} s",
            entity=job,
            since_s=since_s,
            until_s=until_s,
        )


def _users(gap: Gap) -> str:
    if gap.users_seen < gap.num_lanes or not gap.num_lanes:
        return "what users get is not seen either"
    told = "none" if np.isnan(gap.bad_ratio) else f"{gap.bad_ratio:.1%}"
    if gap.incident_ids:
        return f"users are counted, {told} of their requests bad, see {gap.incident_ids[0]}"
    return f"users are still counted, {told} of their requests bad"


def _missing(gap: Gap, result: RcaResult | None) -> tuple[str, ...]:
    """The gap first; what the diagnosis finds missing besides."""
    found = result.missing if result else ()
    others = tuple(text for text in found if not text.startswith(str(gap.job)))
    return (f"{gap.num_series} series of {gap.job} since {gap.since_s:.0f} s", *others)


def _gap_of(turn: Turn, job: Entity, since_s: float) -> Gap:
    frame, snapshot = turn.snapshot.frame, turn.snapshot
    everywhere = job.region == EVERY_REGION
    roles = [
        role if role is not None and (everywhere or role.entity.region == job.region) else None
        for role in frame.roles
    ]
    ended = _ended(frame, roles, since_s)
    hidden = {role.entity for _, role in ended if _exists(role.entity, snapshot)}
    measures = Counter(role.role for _, role in ended if role.role != "scrape_up")
    resources = {role.resource for _, role in ended if role.kind in _FAULTS}
    ready = {pod.name for pod in snapshot.pods if pod.ready}
    others = [
        at_s for name, at_s in snapshot.scrape_jobs.items()
        if name != f"{job.region}/{job.name}" and (everywhere or name.startswith(f"{job.region}/"))
    ]  # fmt: skip
    age_s = turn.config.diagnose.note_gap_s
    keys = tuple(k for k in turn.state.meter.keys if everywhere or k[0] == job.region)
    share = turn.share(keys)
    index = turn.state.meter.index
    entries = index.entries if index else ()
    return Gap(
        job=job,
        since_s=since_s,
        num_series=len(ended),
        num_known=sum(role is not None for role in roles),
        measures=tuple(sorted(measures, key=lambda name: (-measures[name], name))),
        resources=tuple(r for r in ResourceClass if r in resources - {ResourceClass.TELEMETRY}),
        num_hidden={kind: n for kind in EntityKind if (n := sum(e.kind is kind for e in hidden))},
        pods_ready=sum(e.kind is EntityKind.POD and e.name in ready for e in hidden),
        num_answering=sum(snapshot.now_s - at_s <= age_s for at_s in others),
        num_others=len(others),
        users_seen=_users_seen(turn, keys),
        num_lanes=len(keys),
        users_from=tuple(
            Entity(EntityKind.SERVICE, *entry) for entry in entries
            if everywhere or entry[0] == job.region
        ),
        bad_ratio=share.bad / share.total if share.total else nan,
        reading=_reading(frame, job),
        incident_ids=tuple(
            case.incident.incident_id for case in turn.open_cases
            if everywhere or any(key[0] == job.region for key in case.keys)
        ),
    )  # fmt: skip


def _ended(
    frame: MetricFrame, roles: list[MetricRole | None], since_s: float
) -> list[tuple[Series, MetricRole]]:
    """Series that ended with a job's last scrape.

    A name that others still report is not the job's: what ended under it are lost targets.
    """
    seen = ~np.isnan(frame.values)  # [T, N]
    rows = len(frame.times_s) - 1 - np.argmax(seen[::-1], axis=0)
    last_s = np.where(seen.any(axis=0), frame.times_s[rows], -np.inf)
    mine = np.array([role is not None for role in roles], dtype=bool)
    # A scrape may stand anywhere within the step that its row ends.
    alive = {
        frame.series[k].name for k in np.flatnonzero(mine & (last_s >= since_s + frame.step_s))
    }
    first_s = since_s - _SPREAD_ROWS * frame.step_s
    return [
        (frame.series[k], role)
        for k in np.flatnonzero(mine & (last_s < since_s + frame.step_s) & (last_s >= first_s))
        if frame.series[k].name not in alive and (role := roles[k]) is not None
    ]


def _exists(entity: Entity, snapshot: Snapshot) -> bool:
    """Whether it is a thing that was measured, and a pod not one that the cluster gave up."""
    if entity.kind is EntityKind.POD and snapshot.pods:
        return any(pod.name == entity.name for pod in snapshot.pods)
    return entity.kind is not EntityKind.TELEMETRY


def _users_seen(turn: Turn, keys: tuple[Key, ...]) -> int:
    times_s = turn.state.meter.times_s
    if not len(times_s) or turn.now_s - times_s[-1] > turn.config.diagnose.note_gap_s:
        return 0  # counted then, not now
    counts = window_counts(turn.state.meter, span_s=turn.config.detect.window_s_short)
    return int((counts[turn.positions(keys), Count.KNOWN] > 0).sum())


def _reading(frame: MetricFrame, job: Entity) -> Series:
    """The job's own up series without the labels that tell its targets apart."""
    for series, role in zip(frame.series, frame.roles, strict=True):
        if role is not None and role.entity == job and role.role == "scrape_up":
            named = {value: name for name, value in series.labels}  # the last of equal values
            kept = [(named[v], v) for v in {job.name, job.region} if v in named]
            return Series(series.name, tuple(sorted(kept)))
    return Series("up", (("job", job.name),))
