"""The three custom resources: names, columns of `kubectl get`, rules across fields.

What a class can say itself (types, bounds, defaults, descriptions) stands in `resources`.
"""

from __future__ import annotations

from dataclasses import dataclass

from ops.controller.resources.fields import GROUP, LABEL_MAX
from ops.controller.resources.fleet import FleetSpec, FleetStatus
from ops.controller.resources.incident import IncidentSpec, IncidentStatus
from ops.controller.resources.replay import ReplaySpec, ReplayStatus

FLEET_NAME_MAX = LABEL_MAX  # a Fleet's name is the value of a label on its Incidents


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of `kubectl get`; `priority` 1 shows with `-o wide` only.

    What shows always fits 80 columns with names of a usual length.
    """

    name: str
    path: str
    type: str = "string"
    priority: int = 0
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One CEL rule and what the server says when it is broken."""

    rule: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One custom resource: its names, classes, columns and the rules across its fields."""

    kind: str
    plural: str
    short: str
    description: str
    spec: type
    status: type
    columns: tuple[Column, ...]
    spec_required: bool = True
    root_rules: tuple[Rule, ...] = ()
    spec_rules: tuple[Rule, ...] = ()

    @property
    def name(self) -> str:
        """Name of the definition."""
        return f"{self.plural}.{GROUP}"


def _condition(name: str) -> str:
    return f'.status.conditions[?(@.type=="{name}")].status'


AGE = Column(
    name="Age", type="date", path=".metadata.creationTimestamp", description="Since its creation."
)

FLEET = Kind(
    kind="Fleet",
    plural="fleets",
    short="fl",
    description="Fleet says what to watch, by which limits, and how far midwatch may go.",
    spec=FleetSpec,
    status=FleetStatus,
    spec_required=False,  # an empty Fleet watches every pod of its namespace
    root_rules=(
        Rule(
            rule=f"self.metadata.name.size() <= {FLEET_NAME_MAX} "
            "&& !self.metadata.name.contains('.')",
            message="a Fleet's name is a label of its Incidents: at most "
            f"{FLEET_NAME_MAX} characters, no dot",
        ),
    ),
    columns=(
        Column(name="Mode", path=".spec.mode", description="Observe, Recommend or Act."),
        Column(name="Ready", path=_condition("Ready"), description="Whether it is watched."),
        Column(name="SLO", path=_condition("SLOMet"), description="Whether its SLOs are met."),
        Column(name="Pods", type="integer", path=".status.pods", description="Pods selected."),
        Column(
            name="Open",
            type="integer",
            path=".status.openIncidents",
            description="Incidents not resolved yet.",
        ),
        AGE,
        Column(
            name="Ready Pods",
            type="integer",
            path=".status.readyPods",
            priority=1,
            description="Pods selected and ready.",
        ),
        Column(
            name="Fresh",
            path=_condition("DataFresh"),
            priority=1,
            description="Whether its data is fresh.",
        ),
        Column(
            name="Frozen",
            type="boolean",
            path=".spec.frozen",
            priority=1,
            description="Whether nothing is proposed for it.",
        ),
        Column(
            name="Last Decision",
            path=".status.lastDecision.reason",
            priority=1,
            description="Why the newest decision was taken.",
        ),
    ),
)

INCIDENT = Kind(
    kind="Incident",
    plural="incidents",
    short="inc",
    description="Incident is the record of one incident, however many alerts it raised.",
    spec=IncidentSpec,
    status=IncidentStatus,
    spec_rules=(
        Rule(rule="self == oldSelf", message="an Incident's spec is written once, never changed"),
    ),
    columns=(
        Column(name="Phase", path=".status.phase", description="Open to Resolved."),
        Column(name="Since", type="date", path=".status.began", description="Users suffer since."),
        # The widest one last: it pushes nothing else out of sight.
        Column(name="Cause", path=".status.cause", description="First of the ranked causes."),
        Column(
            name="Severity",
            path=".status.severity",
            priority=1,
            description="How much users suffer.",
        ),
        Column(
            name="Conf",
            type="number",
            path=".status.confidence",
            priority=1,
            description="Calibrated chance that this is the cause.",
        ),
        Column(
            name="TTC",
            path=".status.timeToCause",
            priority=1,
            description="Time to the named cause.",
        ),
        Column(
            name="TTM",
            path=".status.timeToMitigate",
            priority=1,
            description="Time until users are well.",
        ),
        Column(name="Fleet", path=".spec.fleet", priority=1, description="Its Fleet."),
        Column(
            name="Alerts",
            type="integer",
            path=".status.alerts",
            priority=1,
            description="Alerts counted on it.",
        ),
        Column(name="Summary", path=".status.summary", priority=1, description="One sentence."),
    ),
)

REPLAY = Kind(
    kind="Replay",
    plural="replays",
    short="rp",
    description="Replay runs a recorded Incident or an embedded scenario once more.",
    spec=ReplaySpec,
    status=ReplayStatus,
    spec_rules=(
        Rule(
            rule="self == oldSelf",
            message="a Replay runs once: make a new one instead of changing it",
        ),
        Rule(
            rule="(self.incident != '') != (self.scenario != '')",
            message="name either an incident or a scenario, exactly one of them",
        ),
        Rule(
            rule="!has(self.faults) || self.faults.size() == 0 || self.scenario != ''",
            message="faults are for scenarios; a recorded incident brings its own",
        ),
    ),
    columns=(
        Column(name="Phase", path=".status.phase", description="Pending to Complete or Failed."),
        Column(name="Passed", path=_condition("Passed"), description="Whether its checks hold."),
        AGE,
        Column(name="Verdict", path=".status.verdict", priority=1, description="One sentence."),
        Column(name="Incident", path=".spec.incident", priority=1, description="What is replayed."),
        Column(name="Scenario", path=".spec.scenario", priority=1, description="What is replayed."),
    ),
)

KINDS = (FLEET, INCIDENT, REPLAY)
