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
class GrangerUse:
    """Which model said what leads what.

    Attributes:
        used: "neural" or "linear"; empty where none was fitted.
        why: this model and no other, or why none; a clause for people.
        num_series: series that it was fitted on, the strongest changes first.
    """

    used: str = ""
    why: str = "switched off"
    num_series: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Arc:
    """One arc cause -> effect, between two series or between two services.

    Attributes:
        strength: what the cause tells of the effect beyond chance and beyond the effect's own
            past, > 0; 0 where only the calls draw the arc.
        called: whether the effect calls the cause, which is how trouble travels; None where no
            calls are known or both ends belong to one service.
    """

    cause: str
    effect: str
    strength: float
    called: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CausalGraph:
    """What led what. Arcs of one level have no cycle: the weakest arc of each is cut.

    Attributes:
        metrics: arcs between columns as the table spells them, strongest first.
        services: the same collapsed to services; then, with strength 0, calls on the path that
            no series shows.
        visits: service -> visits of a walk from what suffers along effect -> cause, sum 1; of
            the services that arcs touch, most visited first.
        path: services from the first suspect up to the one that users call, else to the nearest
            that nobody calls, else to the most changed one downstream. One name: no way known.
    """

    metrics: tuple[Arc, ...] = ()
    services: tuple[Arc, ...] = ()
    visits: tuple[tuple[str, float], ...] = ()
    path: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One channel that was asked.

    Attributes:
        strongest: its first candidate, empty where it says nothing.
        presence: its share of what accuses: `rca.presence.PRESENCE_MIN` is enough.
        skipped: why it says nothing.
    """

    channel: str
    strongest: str = ""
    presence: float = 0.0
    skipped: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Localisation:
    """Ranking of one recorded incident. It is always there; `abstained` says whether to trust it.

    Attributes:
        services, instances, metrics: best first. Every candidate service has a place.
        accused: causes to name: empty when abstained, several for simultaneous faults.
        presence: whether anything happened at all, in units of chance; see `rca.presence`.
        felt: how far the users' symptoms left quiet time, in units of the most that quiet time
            shows; None where the table has none. See `rca.felt`.
        confidence: calibrated chance that the first service is a cause, 0..1.
        reason: one sentence: why abstained, or what carried the decision.
        split: what was taken as normal and as trouble; None where no split was possible.
        change_at_s: own change point near the given time, or in the whole record without one.
        checked: every channel with its strongest candidate, nearest to an accusation first.
        wanted: data that would settle the question, most telling first.
        used: channels that spoke.
        skipped: channel -> why it said nothing.
        granger: which model said what leads what, and why that one.
        graph: its arcs, and the way from the first suspect to what users feel.
        notes: what was repaired or assumed.
    """

    incident_id: str
    services: tuple[Suspect, ...]
    instances: tuple[Suspect, ...] = ()
    metrics: tuple[MetricSuspect, ...] = ()
    accused: tuple[str, ...] = ()
    presence: float = 0.0
    felt: float | None = None
    confidence: float = 0.0
    abstained: bool = True
    reason: str = ""
    split: Split | None = None
    change_at_s: float | None = None
    checked: tuple[Check, ...] = ()
    wanted: tuple[str, ...] = ()
    used: tuple[str, ...] = ()
    skipped: Mapping[str, str] = field(default_factory=dict)
    granger: GrangerUse = field(default_factory=GrangerUse)
    graph: CausalGraph = field(default_factory=CausalGraph)
    notes: tuple[str, ...] = ()
