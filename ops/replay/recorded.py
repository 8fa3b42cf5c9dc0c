"""A recorded bundle, open loop: its metrics pass the pipeline as they became visible; no world."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ops.bundle import read_bundle
from ops.catalogue import Catalogue
from ops.config import LoopConfig
from ops.encode import to_json_line
from ops.errors import BundleError
from ops.pipeline import step
from ops.pipeline_state import LoopState
from ops.replay.openmetrics_read import parse_metrics
from ops.state import Decision, DecisionKind, SloTarget, Snapshot
from rca.pipeline import diagnose
from rca.state import (
    ChangeEvent,
    ChangeKind,
    ClusterEvent,
    Entity,
    EntityKind,
    FloatArray,
    MetricFrame,
    Shown,
)

VISIBLE_AFTER_S = 1.0  # from the time stamp of a row to the moment at which the loop can read it
WINDOW_ROWS_MAX = 480


@dataclass(slots=True, kw_only=True)
class Recorded:
    """What the pipeline said of a recording.

    Attributes:
        decisions: in order; nothing was carried out, so no action has an outcome of its own.
        sha256: of the decisions as journal lines: equal bundles and versions give equal hashes.
    """

    decisions: list[Decision]
    end_s: float
    sha256: str

    @property
    def verdict(self) -> Decision | None:
        """The first verdict on an incident, else the first gap: what an engineer would read."""
        kinds = (DecisionKind.DIAGNOSE, DecisionKind.ABSTAIN)
        found = [d for d in self.decisions if d.kind in kinds]
        return next((d for d in found if d.incident is not None), found[0] if found else None)


def replay_recorded(folder: Path, *, progress: Callable[[float], None] | None = None) -> Recorded:
    """Feed the rows of a bundle to the pipeline, one step each.

    Raises:
        BundleError: the bundle was changed, is incomplete, or holds something that is no event.
        MetricsTextError: its metrics cannot be read.
    """
    bundle = read_bundle(folder)
    frame = parse_metrics(
        bundle.metrics_text, step_s=bundle.manifest.scrape_s, catalogue=Catalogue.load()
    )
    try:
        slos = tuple(SloTarget(**raw) for raw in bundle.slos)
        changes = tuple(parse_change(raw) for raw in bundle.changes)
        events = tuple(parse_event(raw) for raw in bundle.events)
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(
            f"{folder}: slos, changes or events hold {error!r}; write the bundle again"
        ) from error
    return _feed(frame, slos, changes, events, progress)


def _feed(
    frame: MetricFrame,
    slos: tuple[SloTarget, ...],
    changes: tuple[ChangeEvent, ...],
    events: tuple[ClusterEvent, ...],
    progress: Callable[[float], None] | None,
) -> Recorded:
    state, decisions = LoopState(), list[Decision]()
    config = LoopConfig()
    config = replace(config, guard=replace(config.guard, dry_run=True))
    last_good = _last_good(frame)
    now_s = 0.0
    for row, at_s in enumerate(frame.times_s.tolist()):
        now_s = at_s + VISIBLE_AFTER_S
        first = max(0, row + 1 - WINDOW_ROWS_MAX)
        snapshot = Snapshot(
            now_s=now_s,
            frame=replace(
                frame,
                times_s=frame.times_s[first : row + 1],
                values=frame.values[first : row + 1],
            ),
            pods=(),
            nodes=(),
            services=(),
            changes=tuple(c for c in changes if c.at_s <= now_s),
            events=tuple(e for e in events if e.at_s <= now_s),
            slos=slos,
            scrape_jobs={job: float(times[row]) for job, times in last_good.items()},
        )
        state, more = step(state, snapshot, diagnoser=diagnose, config=config)
        decisions += more
        if progress is not None:
            progress((row + 1) / len(frame.times_s))
    digest = hashlib.sha256(b"".join(map(to_json_line, decisions))).hexdigest()
    return Recorded(decisions=decisions, end_s=now_s, sha256=digest)


def _last_good(frame: MetricFrame) -> Mapping[str, FloatArray]:
    """Per `region/job`, the time of the last good scrape as of each row, NaN before the first."""
    columns: dict[str, list[int]] = {}
    for k, role in enumerate(frame.roles):
        if role is not None and role.entity.kind is EntityKind.TELEMETRY:
            name = f"{role.entity.region}/{role.entity.name}"
            columns.setdefault(name, []).append(k)
    found = {}
    for name, indices in sorted(columns.items()):
        good = (frame.values[:, indices] > 0.0).any(axis=1)
        stamps = np.where(good, frame.times_s, -np.inf)
        newest = np.maximum.accumulate(stamps)
        found[name] = np.where(np.isfinite(newest), newest, np.nan)
    return found


def parse_change(raw: Mapping[str, Any]) -> ChangeEvent:
    """A line of a bundle's changes."""
    return ChangeEvent(**{**raw, "kind": ChangeKind(raw["kind"])})


def parse_event(raw: Mapping[str, Any]) -> ClusterEvent:
    """A line of a bundle's events."""
    return ClusterEvent(**{**raw, "entity": Entity.parse(raw["entity"])})


def parse_shown(raw: Mapping[str, Any]) -> Shown:
    """A line of what a bundle's cluster showed."""
    return Shown(**{**raw, "entity": Entity.parse(raw["entity"])})
