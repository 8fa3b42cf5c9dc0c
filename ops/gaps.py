"""Telemetry that stopped although no user suffers: a note, never an accusation."""

from __future__ import annotations

from dataclasses import replace

from ops.pipeline_state import Turn
from ops.staleness import silent_jobs
from ops.state import DecisionKind
from rca.state import Entity, EntityKind, Symptom


def note_gaps(turn: Turn) -> None:
    """Write a note for each scrape job that has gone silent since the last look."""
    config = turn.config.diagnose
    turn.state = replace(turn.state, next_note_at_s=turn.now_s + config.note_every_s)
    gaps = [
        (Entity(EntityKind.TELEMETRY, region, job), last_good_s)
        for region, job, last_good_s in silent_jobs(turn.snapshot, age_s=config.note_gap_s)
    ]
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
