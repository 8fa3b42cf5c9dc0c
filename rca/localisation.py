"""What `localise` answers: rankings at three levels, evidence, and how far to trust them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rca.channels.surprise import Split
from rca.state import Evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspect:
    """One service, pod or node of a ranking; `rank` counts from 1.

    Attributes:
        score: only its order within one incident means something.
        onset_s: earliest onset among the evidence, None where none is known.
        channels: channels above chance level, strongest first.
    """

    rank: int
    name: str
    score: float
    onset_s: float | None = None
    channels: tuple[str, ...] = ()
    evidence: tuple[Evidence, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSuspect:
    """One column of the metric ranking."""

    rank: int
    name: str  # as the table spells it
    service: str
    score: float
    evidence: Evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Localisation:
    """Ranking of one recorded incident. It is always there; `abstained` says whether to trust it.

    Attributes:
        services, instances, metrics: best first. Every candidate service has a place.
        accused: causes to name: empty when abstained, several for simultaneous faults.
        presence: whether anything happened at all, in units of chance; see `rca.presence`.
        confidence: calibrated chance that the first service is a cause, 0..1.
        reason: one sentence: why abstained, or what carried the decision.
        split: what was taken as normal and as trouble; None where no split was possible.
        change_at_s: own change point near the given time, or in the whole record without one.
        used: channels that spoke.
        skipped: channel -> why it said nothing.
        notes: what was repaired or assumed.
    """

    incident_id: str
    services: tuple[Suspect, ...]
    instances: tuple[Suspect, ...] = ()
    metrics: tuple[MetricSuspect, ...] = ()
    accused: tuple[str, ...] = ()
    presence: float = 0.0
    confidence: float = 0.0
    abstained: bool = True
    reason: str = ""
    split: Split | None = None
    change_at_s: float | None = None
    used: tuple[str, ...] = ()
    skipped: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
