"""Pure data of a report: one incident, one run. Its parts lie in `parts`; no text is made here."""

from __future__ import annotations

from dataclasses import dataclass

from ops.reports.parts import (
    Candidate,
    Cause,
    Change,
    ClockBase,
    Command,
    DoneAction,
    EvidenceSeries,
    Finding,
    Lane,
    LostMinutes,
    Mark,
    MissingData,
    Related,
    Step,
)
from ops.reports.parts_gap import GapReport
from ops.reports.parts_spread import SpreadArc, SpreadNode
from ops.state import IncidentPhase


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentReport:
    """Everything that one incident's pages show.

    An abstention is an incident with `cause` None; then `abstained` says why, in one sentence.

    Attributes:
        began_at_s: onset of the symptom; first_miss_s: start of the first bad minute.
        phase_at_s: when the present phase began.
        now: what is true at `now_at_s` and whether a person is needed.
        candidates: what came after the cause, best first; ruled-out ones carry a reason.
        findings: evidence for the cause, strongest first; the first screen shows two.
        checked: hypotheses and channels that were looked at, a few words each.
        would_settle: which metric decides between the first candidates.
        next_step: what to do tonight, with its undo; morning: what to look at afterwards.
        done_note: what holds for several actions together.
        stop: how to stop midwatch.
        related: incidents that midwatch's own action caused, or the one whose action caused this.
        page_at_s: when the burn-rate rule would have paged without midwatch.
    """

    incident_id: str
    phase: IncidentPhase
    phase_at_s: float
    began_at_s: float
    first_miss_s: float
    detected_at_s: float
    diagnosed_at_s: float | None = None
    mitigated_at_s: float | None = None
    resolved_at_s: float | None = None
    page_at_s: float | None = None
    page_rule: str = "14.4× rule, 1 h and 5 min"
    cause: Cause | None = None
    abstained: str = ""
    now: str = ""
    now_at_s: float | None = None
    candidates: tuple[Candidate, ...] = ()
    findings: tuple[Finding, ...] = ()
    lanes: tuple[Lane, ...] = ()
    changes: tuple[Change, ...] = ()
    next_step: Step | None = None
    morning: Step | None = None
    done: tuple[DoneAction, ...] = ()
    done_note: str = ""
    stop: Step | None = None
    marks: tuple[Mark, ...] = ()
    nodes: tuple[SpreadNode, ...] = ()
    arcs: tuple[SpreadArc, ...] = ()
    series: tuple[EvidenceSeries, ...] = ()
    lost: LostMinutes | None = None
    missing: tuple[MissingData, ...] = ()
    checked: tuple[str, ...] = ()
    would_settle: tuple[str, ...] = ()
    related: tuple[Related, ...] = ()

    def first_lane(self) -> Lane | None:
        """The lane that suffers most: bad minutes times its share of traffic."""
        hit = [lane for lane in self.lanes if lane.minutes_with()]
        if not hit:
            return None
        return max(hit, key=lambda n: (n.minutes_with() * n.traffic_ratio, n.region, n.slo_class))


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestLedger:
    """arrived = ok + failed + timed_out + rejected + cancelled + in_flight."""

    arrived: int
    ok: int
    failed: int
    timed_out: int
    rejected: int
    cancelled: int
    in_flight: int
    attempts: int
    retries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """One run: its facts and its incidents in the order in which they began.

    Attributes:
        fleet: name of the fleet or scenario.
        lanes: every region and SLO class over the whole run.
        gaps: scrape jobs that fell silent; each is an abstention without an incident.
        changes: every change of the run; shown where no incident shows them.
        commands: how to replay, with one word of label each.
        replay_note: what a replay must give, e.g. the journal's hash.
        versions: (name, text) pairs for the foot: made by, world, input, confidence from.
        watched: what was looked at in a run without incident, a few words each.
        loop: midwatch watched; False = only the world without it was run.
        sample: every name and number is invented; the page says so at its top.
    """

    fleet: str
    clock: ClockBase
    duration_s: float
    seed: int
    load: float | None = None
    ledger: RequestLedger | None = None
    lanes: tuple[Lane, ...] = ()
    changes: tuple[Change, ...] = ()
    incidents: tuple[IncidentReport, ...] = ()
    gaps: tuple[GapReport, ...] = ()
    commands: tuple[Command, ...] = ()
    replay_note: str = ""
    versions: tuple[tuple[str, str], ...] = ()
    watched: tuple[str, ...] = ()
    report_path: str = ""
    loop: bool = True
    complete: bool = True  # False = stopped before its end
    sample: bool = False

    @property
    def live(self) -> bool:
        """A real cluster was watched: there is no other world to compare with."""
        return not self.clock.simulated

    def minutes_with(self) -> int:
        """Bad minutes of all lanes as it happened."""
        return sum(lane.minutes_with() for lane in self.lanes)

    def minutes_without(self) -> int | None:
        """Bad minutes of all lanes without the loop; None where that was not run."""
        counts = [lane.minutes_without() for lane in self.lanes]
        known = [count for count in counts if count is not None]
        return sum(known) if known and len(known) == len(counts) else None
