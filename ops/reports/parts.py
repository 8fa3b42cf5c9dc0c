"""Parts of a report as pure data, independent of the world that it describes.

Times are seconds since the start of the run; `ClockBase` makes clock times of them. Ratios lie in
0..1. A missing sample is NaN, a missing fact None. Names may be hostile: renderers escape them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ops.state import Verdict
from rca.state import Entity, ResourceClass


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockBase:
    """Where second zero of the run lies."""

    epoch_s: float  # Unix time of second zero
    simulated: bool = True  # the page says so where it is


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """How often a cause named with a confidence like this one was right.

    Attributes:
        hits: right answers among `cases`, at most `cases`.
        cases: diagnoses with a confidence in the same bin; zero counts as not calibrated.
        source: what was counted, e.g. "sweep of 150 incidents, seeds 1000 to 1009".
    """

    hits: int
    cases: int
    source: str

    def __post_init__(self) -> None:
        if not 0 <= self.hits <= self.cases:
            raise ValueError(f"hits must lie in 0..cases, got {self.hits} of {self.cases}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One number of evidence, before and after the onset.

    Attributes:
        label: what was measured, as a noun: "GPU clock", "calls to session-db in flight".
        own: measured at the accused entity itself, so that a sentence may say "its".
        unit: "s", "MHz", "MiB", "bytes", "ratio" (shown in percent) or any other text.
        text: what it means, one sentence. May be empty.
        limit: a configured size that should not move by itself.
    """

    label: str
    before: float | None
    after: float | None
    unit: str
    text: str = ""
    own: bool = False
    limit: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """The named cause.

    Attributes:
        confidence: chance that it is the cause, as calibrated where it was named.
        onset_s: when the entity began to differ from its own past.
        calibration: what the confidence means; None = not calibrated.
        place: where a pod ran: "node a, GPU 0"; empty = not known or no pod.
        against: what contradicts it and has lowered the confidence; empty = nothing.
    """

    entity: Entity
    resource_class: ResourceClass
    confidence: float
    onset_s: float | None = None
    calibration: Calibration | None = None
    place: str = ""
    against: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """Something that was suspected and not named.

    Attributes:
        suspected: why it was looked at.
        ruled_out: why it is not the cause; empty = not ruled out, only less likely.
    """

    entity: Entity
    resource_class: ResourceClass
    confidence: float | None = None
    suspected: str = ""
    ruled_out: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """What the users of one region and SLO class got, minute by minute.

    Attributes:
        traffic_ratio: share of all requests that belong to this lane.
        start_s: start of the first minute.
        bad_with: share of bad requests per minute as it happened; NaN = nothing arrived.
        bad_without: the same minutes without the loop; empty = not run.
        budget_ratio: a minute with a larger share is a bad minute.
        requests_hit: requests that arrived in bad minutes, and `requests_bad` of them bad.
        limit: the SLO in words, e.g. "TTFT 1.5 s, TPOT 0.1 s".
        since_s: bad minutes that ended before it are shown and not counted.
        tie: what made its bad minutes, or that the cause does not explain them.
    """

    region: str
    slo_class: str
    traffic_ratio: float
    start_s: float
    bad_with: tuple[float, ...]
    bad_without: tuple[float, ...] = ()
    budget_ratio: float = 0.01
    requests_hit: int = 0
    requests_bad: int = 0
    limit: str = ""
    since_s: float = 0.0
    tie: str = ""

    def minutes_with(self) -> int:
        """Bad minutes as it happened."""
        return self._count(self.bad_with)

    def minutes_without(self) -> int | None:
        """Bad minutes without the loop; None where that was not run."""
        return self._count(self.bad_without) if self.bad_without else None

    def first_counted(self) -> int:
        """Index of the first minute that counts."""
        return max(0, int((self.since_s - self.start_s) // 60.0))

    def _count(self, ratios: tuple[float, ...]) -> int:
        return sum(ratio > self.budget_ratio for ratio in ratios[self.first_counted() :])


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Something that somebody changed on purpose.

    Attributes:
        title: what, with its service and revision: "config session-store 117 → 118".
        suspect: it may have led to the incident.
        why: why it is or is not a suspect: "85 s before users were hurt", "other region".
    """

    at_s: float
    title: str
    region: str
    suspect: bool = False
    why: str = ""
    short: str = ""  # "config r118": the change beside the name of its service
    service: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command that a person can copy."""

    label: str  # "Run", "Undo", "Replay": one short word
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Something that a person can do: a title that begins with a verb, a sentence, commands."""

    title: str
    detail: str = ""
    commands: tuple[Command, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DoneAction:
    """What midwatch did and what the check afterwards found."""

    at_s: float
    title: str  # past tense: "rolled session-store in eu-west back to 117"
    verdict: Verdict
    verdict_text: str = ""  # the verdict in prose; empty = its plain name
    verdict_reason: str = ""  # with its numbers: "TTFT p99 3.1 → 0.64 s"
    checked_at_s: float | None = None
    taken_back_s: float | None = None
    undo: str = ""  # in words
    undo_command: str = ""
    undo_note: str = ""  # what taking it back does to users


class MarkKind(StrEnum):
    """What a moment on the timeline is; decides sign and colour."""

    CHANGE = "change"
    BEGAN = "began"
    SLO_MISS = "SLO miss"
    DETECTED = "detected"
    DIAGNOSED = "diagnosed"
    ABSTAINED = "abstained"
    REFUSED = "refused"
    RECOMMENDED = "recommended"
    ACTION = "action"
    OUTCOME = "outcome"
    MITIGATED = "mitigated"
    RESOLVED = "resolved"
    PAGE = "page"  # when the burn-rate rule would have paged without midwatch
    NOTE = "note"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """One moment of the timeline and one row of its table."""

    at_s: float
    kind: MarkKind
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceSeries:
    """One measured series around the onset.

    Attributes:
        times_s: sample times, ascending; `values` has the same length, NaN where none was taken.
        normal_low, normal_high: 5th and 95th percentile of the 30 minutes before.
        onset_s: its change point; None where none was found.
        undated: it changed by more than its noise all the same.
        limit, limit_label: a limit that the values have in sight, and its name.
        before, after: normal level and extreme after the onset, in `unit`.
        score: size of the change, as the diagnosis counts it.
        own: measured at the cause itself; shown first.
    """

    label: str
    unit: str
    times_s: tuple[float, ...]
    values: tuple[float, ...]
    detail: str = ""
    normal_low: float | None = None
    normal_high: float | None = None
    onset_s: float | None = None
    limit: float | None = None
    limit_label: str = ""
    before: float | None = None
    after: float | None = None
    score: float | None = None
    own: bool = False
    undated: bool = False

    def __post_init__(self) -> None:
        if len(self.times_s) != len(self.values):
            raise ValueError(
                f"{self.label}: {len(self.times_s)} times and {len(self.values)} values; "
                "give one value per time, NaN where a sample is missing"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingData:
    """A measurement that was not there."""

    what: str
    since: str = ""
    cost: str = ""  # what the answer loses by it
    settles: str = ""  # which value would decide


@dataclass(frozen=True, slots=True, kw_only=True)
class LostMinutes:
    """Bad minutes weighted by traffic, from fault start to 10 min after its end.

    Attributes:
        references: further runs of the same traffic and fault by name: "oracle", "restart".
    """

    with_loop: float
    without: float | None = None
    oracle: float | None = None
    references: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Related:
    """Another incident of the run that midwatch's own action ties to this one."""

    incident_id: str
    text: str  # one sentence
