"""What a page about one recorded incident says, as plain data; three renderers draw it.

Times are seconds on the record's clock, `RankReport.clock` makes clock times of them. Names and log
lines come from outside and may be hostile: renderers escape them. None = not known.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ops.reports.parts import Calibration, ClockBase, Command, EvidenceSeries, Step
from ops.reports.parts_spread import SpreadArc, SpreadNode


class ArcKind(StrEnum):
    """Where an arrow of the graph comes from."""

    CALL = "call"  # the effect calls the cause and waits for it
    LEAD = "lead"  # Granger: the past of the cause forecasts the effect


class NodeRole(StrEnum):
    """Part that a service plays in the graph."""

    ACCUSED = "named"
    MOVED = "moved"
    STILL = "calm"  # measured and within what is usual
    UNKNOWN = "not measured"  # the graph knows it, no channel has data of it


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One measurement before and after.

    Attributes:
        channel: as the answer names it.
        label: what was measured; a name from the record.
        detail: whose it is, or where: a pod, a pair of services.
        unit: as `words.quantity` takes it.
        text: how unusual it is, with counts; may be empty.
        harm: 1 went the bad way, -1 the harmless one, 0 where both or neither are.
        far: usual spreads between the two, None where the record has no spread.
        series: the samples around the change, None where there is nothing to draw.
    """

    channel: str
    label: str
    detail: str = ""
    before: float | None = None
    after: float | None = None
    unit: str = ""
    text: str = ""
    harm: int = 0
    onset_s: float | None = None
    far: float | None = None
    series: EvidenceSeries | None = None

    def moved(self) -> bool:
        """Whether it left what is usual for it; True where nothing usual is known."""
        if self.far is not None:
            return self.far >= 1.0
        low, high = (
            (self.series.normal_low, self.series.normal_high) if self.series else (None,) * 2
        )
        if self.after is None or low is None or high is None:
            return True
        return not low <= self.after <= high


@dataclass(frozen=True, slots=True, kw_only=True)
class SuspectReport:
    """One service of the ranking with what speaks for it and what against.

    Attributes:
        share: of the first score, 0..1.
        channels: above what is usual, strongest first.
        pod: the one that moved alone among several, empty where none did.
        place: pods that moved and where they run, a few words; empty = unknown.
        found: one clause that says what moved: "cpu rose from 1.3 to 96.1".
        readings: strongest first.
    """

    rank: int
    name: str
    share: float
    accused: bool = False
    onset_s: float | None = None
    channels: tuple[str, ...] = ()
    pod: str = ""
    place: str = ""
    found: str = ""
    readings: tuple[Reading, ...] = ()
    speaks_for: tuple[str, ...] = ()
    speaks_against: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphNode:
    """A service in the graph; `layer` counts from the cause, `row` within its layer."""

    name: str
    role: NodeRole
    layer: int
    row: int
    onset_s: float | None = None
    serves_users: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphArc:
    """Trouble can go from `cause` to `effect`; `strength` is 0..1 within its kind."""

    cause: str
    effect: str
    kind: ArcKind
    strength: float = 1.0
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """The part of the graph around the cause; what is left out is counted in `note`."""

    nodes: tuple[GraphNode, ...] = ()
    arcs: tuple[GraphArc, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """One channel: whether it was used, on what, or why not."""

    channel: str
    used: bool
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """Rows that were taken as normal and as trouble; None = no split was possible.

    Attributes:
        normal_rows, fault_rows: how many.
        given_s: fault time that came with the record.
        found_s: change point that the metrics show by themselves.
    """

    start_s: float
    end_s: float
    step_s: float
    normal_end_s: float | None = None
    fault_start_s: float | None = None
    normal_rows: int = 0
    fault_rows: int = 0
    given_s: float | None = None
    found_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RankReport:
    """Everything that the pages of one ranking show.

    Attributes:
        source: what was read, as given on the command line.
        accused: the one that the others wait for first, then by rank.
        suspects: best first, at most as many as are shown; `num_services` counts all.
        users: what users got, before and after; `users_note` says why that is not known.
        noticed: whether users notice; None where nobody measured what they get.
        victims: services that moved and are not accused, by onset.
        moved_note: one sentence on how far it spread.
        next_steps: what to do now, first first.
        settles: what would decide, or make a later answer surer.
        metrics: ranked columns: (place, name, service).
        instances: ranked pods and machines, best first.
        onsets, onset_arcs: order of onset; `onsets_note` counts what is left out.
        missing: parts of a record that this one lacks, and what each would tell.
        changes: announced changes: (time, text, whether it touches an accused service).
    """

    incident_id: str
    source: str
    clock: ClockBase
    headline: str
    abstained: bool
    reason: str
    confidence: float
    presence: float
    presence_min: float
    compared: Compared
    calibration: Calibration | None = None
    since_s: float | None = None
    num_services: int = 0
    num_metrics: int = 0
    accused: tuple[str, ...] = ()
    suspects: tuple[SuspectReport, ...] = ()
    users: tuple[Reading, ...] = ()
    users_note: str = ""
    noticed: bool | None = None
    victims: tuple[str, ...] = ()
    moved_note: str = ""
    next_steps: tuple[Step, ...] = ()
    settles: tuple[str, ...] = ()
    metrics: tuple[tuple[int, str, str], ...] = ()
    instances: tuple[str, ...] = ()
    graph: Graph = Graph()
    onsets: tuple[SpreadNode, ...] = ()
    onset_arcs: tuple[SpreadArc, ...] = ()
    onsets_note: str = ""
    checked: tuple[Checked, ...] = ()
    missing: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    changes: tuple[tuple[float, str, bool], ...] = ()
    commands: tuple[Command, ...] = ()

    def named(self) -> list[SuspectReport]:
        """The accused in the order in which to look at them; where nobody is, nobody."""
        named = [item for item in self.suspects if item.accused]
        return sorted(named, key=lambda item: self.accused.index(item.name))

    def rivals(self) -> list[SuspectReport]:
        """Those that are shown and not accused, best first."""
        return [item for item in self.suspects if not item.accused]
