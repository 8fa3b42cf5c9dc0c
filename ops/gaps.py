"""Telemetry that stopped although no user suffers: a note, never an accusation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ops.pipeline_state import Turn
from ops.state import DecisionKind
from rca.state import Entity, EntityKind, MetricFrame, Symptom


def note_gaps(turn: Turn) -> None:
    """Write a note for each scrape job that has gone silent since the last look."""
    config = turn.config.diagnose
    turn.state = replace(turn.state, next_note_at_s=turn.now_s + config.note_every_s)
    gaps = silent_jobs(turn.snapshot.frame, now_s=turn.now_s, gap_s=config.note_gap_s)
    known = set(turn.state.gaps_noted)
    for entity, since_s in gaps:
        if entity in known:
            continue
        symptom = Symptom(
            region=entity.region,
            slo_class="",
            began_at_s=since_s,
            detected_at_s=turn.now_s,
            bad_ratio=0.0,
            reason="missing",
        )
        result = turn.diagnose(symptom)
        turn.say(
            DecisionKind.NOTE,
            f"{entity} was not scraped for {turn.now_s - since_s:.0f} s; no user is known to "
            "suffer, so nobody is accused",
            entity=entity,
            since_s=since_s,
            result=replace(result, abstained=True),
        )
    turn.state = replace(turn.state, gaps_noted=tuple(sorted(entity for entity, _ in gaps)))


def silent_jobs(frame: MetricFrame, *, now_s: float, gap_s: float) -> list[tuple[Entity, float]]:
    """Scrape jobs none of whose targets answered for `gap_s`, with their last good scrape."""
    columns: dict[Entity, list[int]] = {}
    for column, role in enumerate(frame.roles):
        if role is not None and role.entity.kind is EntityKind.TELEMETRY:
            columns.setdefault(role.entity, []).append(column)
    silent = []
    for entity in sorted(columns):
        up = np.nan_to_num(frame.values[:, columns[entity]]).max(axis=1) > 0
        good = np.flatnonzero(up)
        if not len(good):
            continue  # never scraped in this window: not ours, or gone long ago
        last_good_s = float(frame.times_s[good[-1]])
        if now_s - last_good_s >= gap_s and frame.times_s[-1] - last_good_s >= gap_s / 2:
            silent.append((entity, last_good_s))
    return silent
