"""What operator and worker say to each other; `worker_codec` makes JSON of it and reads it.

Floats travel exactly (shortest form that reads back to the same bits), so that a ranking has one
hash on both sides. The worker trusts nothing of it: every value is checked where it is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from ops.controller.resources.fields import Name, Ratio
from ops.state import (
    Alert,
    Decision,
    NodeRecord,
    PodRecord,
    ServiceRecord,
    SloTarget,
)
from rca.state import ChangeEvent, ClusterEvent, RcaResult, Symptom

DIAGNOSE, REPORT, REPLAY = "/v1/diagnose", "/v1/report", "/v1/replay"
REQUEST_BYTES_MAX = 16 * 1024 * 1024  # 10,000 pods are 3 MB
REPORT_GZIP_BYTES_MAX = 900 * 1024  # of a page in a ConfigMap, which holds 1 MiB
WINDOW_S_MAX = 6 * 3600.0

ObjectName = Annotated[
    str, Field(max_length=253, pattern=r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?)?$")
]  # also the name of a folder: no slash, no leading dot
LabelName = Annotated[str, Field(pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$", max_length=63)]
Matchers = Mapping[LabelName, Annotated[str, Field(max_length=256)]]
Moment = Annotated[float, Field(ge=0.0, le=1e11)]  # seconds since the epoch


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetPlace:
    """Whose metrics, and where they are.

    Attributes:
        namespace: of the fleet; every series must carry it, whatever `match_labels` say.
        endpoint: name in the worker's own settings, never an address.
        add_labels: for series that lack them, e.g. the region of a cluster that has one.
    """

    namespace: Name
    fleet: Name
    endpoint: Name = "default"
    match_labels: Matchers = field(default_factory=dict)
    add_labels: Matchers = field(default_factory=dict)
    cluster: Annotated[str, Field(max_length=253)] = ""  # for people, in reports


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Metrics between two moments; `step_s` None = as the samples come."""

    start_s: Moment
    end_s: Moment
    step_s: Annotated[float, Field(gt=0.0, le=600.0)] | None = None

    def __post_init__(self) -> None:
        span_s = self.end_s - self.start_s
        if not 0.0 < span_s <= WINDOW_S_MAX:
            raise ValueError(
                f"a window of {span_s:g} s, expected more than 0 and at most {WINDOW_S_MAX:g} s"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class DiagnoseRequest:
    """Who is to blame for `symptom`, from what is known at `now_s`?

    Attributes:
        incident: name of the Incident object; the worker keeps what it read under it.
        cluster_stale: `pods` and `nodes` are from before; they tell places, not who is well.
    """

    place: FleetPlace
    window: Window
    symptom: Symptom
    incident: ObjectName = ""
    pods: tuple[PodRecord, ...] = ()
    services: tuple[ServiceRecord, ...] = ()
    nodes: tuple[NodeRecord, ...] = ()
    cluster_stale: bool = False
    changes: tuple[ChangeEvent, ...] = ()
    events: tuple[ClusterEvent, ...] = ()
    slos: tuple[SloTarget, ...] = ()
    now_s: Moment
    seed: Annotated[int, Field(ge=0, le=2**63 - 1)] = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameFacts:
    """What was read, in numbers."""

    rows: int = 0
    series: int = 0
    step_s: float = 0.0
    first_s: float | None = None
    last_s: float | None = None
    missing_ratio: float | None = None  # share of cells without a sample
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DiagnoseAnswer:
    """A ranking, or an abstention that says what is missing."""

    result: RcaResult
    ranking_sha256: str
    incident: str = ""
    seed: int = 0
    frame: FrameFacts = field(default_factory=FrameFacts)
    stages_s: Mapping[str, float] = field(default_factory=dict)  # where the time went


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportRequest:
    """The page of one incident as it stands now, and its bundle.

    Attributes:
        decisions: the journal of this incident, oldest first.
        ranking_sha256: of the ranking that the Incident shows; what is recorded must have it.
    """

    place: FleetPlace
    window: Window
    incident: ObjectName
    decisions: tuple[Decision, ...]
    alerts: tuple[Alert, ...] = ()
    pods: tuple[PodRecord, ...] = ()
    services: tuple[ServiceRecord, ...] = ()
    changes: tuple[ChangeEvent, ...] = ()
    events: tuple[ClusterEvent, ...] = ()
    slos: tuple[SloTarget, ...] = ()
    now_s: Moment
    seed: Annotated[int, Field(ge=0, le=2**63 - 1)] = 0
    ranking_sha256: Annotated[str, Field(max_length=64)] = ""


class RecordedAs(StrEnum):
    """Whether what was diagnosed lies on a volume; the reason of the condition Recorded."""

    BUNDLE_WRITTEN = "BundleWritten"
    NO_VOLUME = "NoVolume"
    NOT_DIAGNOSED = "NotDiagnosed"  # nothing to record yet
    READ_AGAIN = "ReadAgain"  # the worker no longer holds what it diagnosed
    FAILED = "Failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportAnswer:
    """A page in two forms.

    Attributes:
        html_gzip: base64 of the gzip of the page, at most REPORT_GZIP_BYTES_MAX bytes of gzip.
        sha256: of the page itself.
        headline: its first sentence.
        dropped: what was left out of the page so that it fits.
    """

    html_gzip: str
    markdown: str
    sha256: str
    headline: str = ""
    dropped: tuple[str, ...] = ()
    bundle: str = ""  # path below the worker's bundle folder
    recorded: RecordedAs = RecordedAs.NO_VOLUME
    recorded_message: str = ""
    stages_s: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayFault:
    """A fault of a simulated replay; `at_s` from the replay's start."""

    kind: Annotated[str, Field(min_length=1, max_length=64)]
    at_s: Annotated[float, Field(ge=0.0)] | None = None


class ReplayCheck(StrEnum):
    """What a replay can be held to."""

    SAME_RANKING = "SameRanking"
    CAUSE_NAMED = "CauseNamed"
    NO_INCIDENT = "NoIncident"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayRequest:
    """An incident's bundle once more (open loop), or a scenario with faults (closed loop).

    Attributes:
        ranking_sha256: what the Incident object says, if it is still there.
    """

    namespace: Name
    name: ObjectName
    incident: ObjectName = ""
    scenario: Annotated[
        str, Field(max_length=63, pattern=r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?)?$")
    ] = ""
    faults: tuple[ReplayFault, ...] = ()
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 7
    checks: tuple[ReplayCheck, ...] = ()
    ranking_sha256: Annotated[str, Field(max_length=64)] = ""

    def __post_init__(self) -> None:
        if bool(self.incident) == bool(self.scenario):
            raise ValueError("give either incident or scenario")


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """One check of a replay."""

    check: ReplayCheck
    passed: bool
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayAnswer:
    """What came out; `failed` says why there is nothing else."""

    verdict: str
    checks: tuple[CheckResult, ...] = ()
    ranking_sha256: str = ""
    confidence: Ratio | None = None
    html_gzip: str = ""
    sha256: str = ""
    markdown: str = ""
    failed: str = ""
    stages_s: Mapping[str, float] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether it ran and every check held."""
        return not self.failed and all(check.passed for check in self.checks)
