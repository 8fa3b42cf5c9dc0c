"""Channel `change`: announced changes shortly before the trouble, of services that misbehave.

A change alone accuses nobody: deploys are frequent and mostly harmless. It counts by how short
before the trouble it came, and not at all for a service whose own measurements are quiet.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from rca.channels.surprise import Split, Surprise
from rca.incident import Incident
from rca.kinds import plain_s
from rca.state import Evidence

CHANNEL = "change"
HALF_LIFE_S = 300.0
AFTER_S = 60.0  # clocks differ and onsets are estimates
STRENGTH = 1.6  # in units of chance: a fresh change of a service that moves


def change_surprise(incident: Incident, split: Split, *, moved: Mapping[str, float]) -> Surprise:
    """Score services by their latest change.

    Args:
        moved: service -> own surprise in units of chance; below 1 a change does not count.
    """
    if not incident.changes:
        return Surprise(name=CHANNEL, skipped="no announced changes")
    score: dict[str, float] = {}
    evidence: dict[str, tuple[Evidence, ...]] = {}
    for change in sorted(incident.changes):
        age_s = split.fault_start_s - change.at_s
        if age_s < -AFTER_S or moved.get(change.service, 0.0) < 1.0:
            continue
        strength = STRENGTH * math.exp2(-max(age_s, 0.0) / HALF_LIFE_S)
        if strength <= score.get(change.service, 0.0):
            continue
        score[change.service] = round(strength, 6)
        side = "before" if age_s >= 0.0 else "after"
        what = change.summary or f"{change.revision_from} -> {change.revision_to}".strip(" ->")
        text = f"{change.kind} {what} {plain_s(abs(age_s))} {side} the trouble".replace("  ", " ")
        evidence[change.service] = (
            Evidence(channel=CHANNEL, text=text, strength=score[change.service],
                     onset_s=change.at_s),
        )  # fmt: skip
    return Surprise(name=CHANNEL, score=score, evidence=evidence)
