"""What is not measured any more: scrape jobs that fell silent, series that went missing."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from rca.channels.case import Case, Finding
from rca.kinds import plain
from rca.state import Entity, EntityKind, ResourceClass

CHANNEL = "gap"
TAIL_ROWS = 3  # scrapes in a row that must fail; single ones are lost every day


@dataclass(frozen=True, slots=True, kw_only=True)
class Gaps:
    """Missing measurements.

    Attributes:
        findings: telemetry entities as candidates.
        missing: sentences for the report.
        blind_ratio: share of the symptom region's series that are gone.
    """

    findings: tuple[Finding, ...]
    missing: tuple[str, ...]
    blind_ratio: float


def find_gaps(case: Case) -> Gaps:
    """Compare what was measured on normal rows with what is measured now."""
    findings = _silent_jobs(case)
    missing = [f"{f.entity}: {f.text}" for f in findings]
    region = case.symptom.region
    mine = [c for c, role in enumerate(case.roles) if role.entity.region == region]
    gone = [c for c in mine if case.changes.vanished[c]]
    roles: dict[str, int] = defaultdict(int)
    for column in gone:
        roles[case.roles[column].role] += 1
    for name, count in sorted(roles.items()):
        known = sum(case.roles[c].entity.region == region for c in case.columns(name))
        if 2 * count >= known:
            missing.append(f"{name.replace('_', ' ')}: {count} of {known} series in {region} ended")
    blind = len(gone) / len(mine) if mine else 0.0
    return Gaps(findings=tuple(findings), missing=tuple(missing), blind_ratio=blind)


def _silent_jobs(case: Case) -> list[Finding]:
    """Jobs of which at least half of the targets that were up are down or missing."""
    jobs: dict[Entity, list[int]] = defaultdict(list)
    for column in case.columns("scrape_up"):
        entity = case.roles[column].entity
        if entity.kind is EntityKind.TELEMETRY:
            jobs[entity].append(column)
    found = []
    levels = case.aligned.levels
    for entity, columns in sorted(jobs.items()):
        normal = levels[: case.windows.normal_end][:, columns]
        before = _up_ratio(normal)
        tail = levels[-TAIL_ROWS:][:, columns]
        after = float(np.nan_to_num(tail).max(axis=0).mean())
        if before <= 0.5 or after > 0.5 * before:
            continue
        down = np.nan_to_num(levels[:, columns]).mean(axis=1) <= 0.5 * before
        first = len(down) - int(np.argmin(down[::-1])) if not down.all() else 0
        since_s = float(case.aligned.times_s[first])
        found.append(
            Finding(
                entity=entity,
                channel=CHANNEL,
                strength=1.0 - after / before,
                resource=ResourceClass.TELEMETRY,
                text=(
                    f"{plain(100 * after)} % of its targets answer scrapes, "
                    f"{plain(100 * before)} % before; silent for {plain(case.now_s - since_s)} s"
                ),
                specificity=1.0,
                series=min((case.aligned.series[c] for c in columns), key=lambda s: s.labels),
                before=before,
                after=after,
                onset_s=since_s,
            )
        )
    return found


def _up_ratio(rows: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> float:
    seen = np.isfinite(rows)
    # A series that never existed in the normal rows is a new target, not one that was down.
    known = seen.any(axis=0)
    return float(np.nan_to_num(rows[:, known]).mean()) if known.any() else 0.0
