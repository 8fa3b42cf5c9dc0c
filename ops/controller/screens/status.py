"""`kubectl midwatch status`: every fleet with what is wrong with it, open incidents first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ops.controller.conditions import AS_SCRAPED
from ops.controller.resources.fields import ConditionStatus
from ops.controller.resources.fleet import Mode
from ops.controller.resources.incident import Severity
from ops.controller.screens import told
from ops.controller.screens.current import now_short
from ops.controller.screens.leader import status_age
from ops.controller.screens.look import (
    Kubectl,
    label_commands,
    operator_commands,
    worker_commands,
)
from ops.controller.screens.stored import StoredFleet, StoredIncident, condition, moment
from ops.reports import words
from ops.reports.rca_terminal import CAUSE, QUIET, STRONG, Line
from ops.reports.terminal import labelled, wrapped
from ops.reports.words import plain

_WORST = (Severity.CRITICAL, Severity.WARNING, Severity.INFO)
RECENT_S = 86_400.0
INDENT = 2
Commands = Callable[[Kubectl], list[str]]
_STEPS: Mapping[tuple[str, str], Sequence[Commands]] = {
    ("Diagnosing", "WorkerSilent"): [worker_commands],
    ("Diagnosing", "NoAnswer"): [worker_commands],
    ("Recorded", "NotWritten"): [operator_commands],
    ("Ready", "ClusterNotSeen"): [operator_commands],
    ("Ready", "StepFailed"): [operator_commands],
    ("Ready", "NoPods"): [label_commands],
}


def status_lines(
    fleets: Sequence[StoredFleet],
    incidents: Sequence[StoredIncident],
    *,
    where: str,
    elsewhere: bool = False,
    now_s: float,
    width: int = 80,
    resolved: bool = False,
    leader: str = "",
    options: str = "",
) -> list[Line]:
    """The answer.

    Args:
        where: what was looked at, e.g. "namespace shop"; elsewhere: there are other places.
        resolved: list resolved incidents too, else only how many there were within a day.
        leader: why no operator leads, empty where one does or nobody may know.
        options: of the plugin, behind the commands that are proposed, e.g. " --context eu".
    """
    lines = _trouble(leader, width, indent=0) if leader else []
    if leader:
        lines += _commands(operator_commands(Kubectl(namespace="", options=options)), 0)
    for fleet in sorted(fleets, key=lambda f: (f.namespace, f.name)):
        own = [i for i in incidents if (i.namespace, i.spec.fleet) == (fleet.namespace, fleet.name)]
        kubectl = Kubectl(namespace=fleet.namespace, options=options)
        lines += _fleet(
            fleet, own, kubectl, now_s=now_s, width=width, resolved=resolved, led=not leader
        )
    known = {(f.namespace, f.name) for f in fleets}
    orphans = [i for i in incidents if (i.namespace, i.spec.fleet) not in known]
    listed = [i for i in orphans if i.open or resolved]
    for place in sorted({(i.namespace, i.spec.fleet) for i in listed}):
        lines += [Line(t, STRONG) for t in wrapped(f"{'/'.join(place)}  no such Fleet", width)]
        for incident in _ordered([i for i in listed if (i.namespace, i.spec.fleet) == place]):
            lines += _incident(incident, now_s=now_s, width=width)
    if not fleets and not listed:
        other = " Look everywhere: kubectl midwatch status -A" if elsewhere else ""
        text = f"No fleet in {where}.{other}"
        return lines + [Line(t) for t in wrapped(text, width)]
    return lines


def needs_a_look(
    fleets: Sequence[StoredFleet],
    incidents: Sequence[StoredIncident],
    *,
    now_s: float,
    leader: str = "",
) -> bool:
    """Whether somebody should look: an open incident, or anything that is shown behind a "!"."""
    troubled = bool(leader) or any(_troubles(fleet, now_s=now_s) for fleet in fleets)
    return troubled or any(incident.open for incident in incidents)


def _fleet(
    fleet: StoredFleet,
    incidents: Sequence[StoredIncident],
    kubectl: Kubectl,
    *,
    now_s: float,
    width: int,
    resolved: bool,
    led: bool,
) -> list[Line]:
    status = fleet.status
    opened = [i for i in incidents if i.open]
    ended = [i for i in incidents if not i.open]
    parts = [f"{fleet.namespace}/{fleet.name}  {fleet.spec.mode.value}"]
    if fleet.seen:
        ready = f"{status.ready_pods:,} of {words.count(status.pods, 'pod')} ready"
        parts.append(ready if status.pods else "no pod")
        parts.append(words.count(len(opened), "open incident") if opened else "no open incident")
    lines = [Line(t, STRONG) for t in wrapped("  ".join(parts), width)]
    for text, commands in _troubles(fleet, now_s=now_s, led=led):
        lines += _trouble(text, width, indent=INDENT)
        lines += _commands([c for make in commands for c in make(kubectl)], INDENT)
    lines += [Line(" " * INDENT + t) for x in _notes(fleet) for t in wrapped(x, width - INDENT)]
    shown = opened + (ended if resolved else [])
    for incident in _ordered(shown):
        lines += _incident(incident, now_s=now_s, width=width)
    recent = [i for i in ended if now_s - (moment(i.status.resolved) or 0.0) < RECENT_S]
    if recent and not resolved:
        text = f"{words.count(len(recent), 'incident')} resolved within 24 h: --resolved"
        lines += [Line(" " * INDENT + t, QUIET) for t in wrapped(text, width - INDENT)]
    return lines


def _trouble(text: str, width: int, *, indent: int) -> list[Line]:
    rows = labelled(f"{'':{indent}}!", plain(text), width, indent + 2)
    return [Line(row, STRONG) for row in rows]


def _commands(commands: Sequence[str], indent: int) -> list[Line]:
    """One line each, however long: they are there to be copied."""
    return [Line(f"{'':{indent + 2}}{command}") for command in commands]


def _troubles(
    fleet: StoredFleet, *, now_s: float, led: bool = True
) -> list[tuple[str, Sequence[Commands]]]:
    """What keeps midwatch from watching, diagnosing or being believed, and what to look at.

    Args:
        led: an operator leads, as far as is known; else how to look at it was said above.
    """
    if not fleet.seen:
        text = "The operator has written nothing about it yet: is it running?"
        return [(text, [operator_commands])]
    old = status_age(fleet, now_s=now_s)
    first: list[tuple[str, Sequence[Commands]]] = [(old, [operator_commands] if led else [])]
    return (first if old else []) + [
        (f"{c.type} {c.status.value}: {c.message or c.reason}", _STEPS.get((c.type, c.reason), ()))
        for c in fleet.status.conditions
        # An open incident is listed below; what may be done is a person's choice.
        if c.status is ConditionStatus.FALSE and c.type != "Acting" and c.reason != "IncidentOpen"
    ]


def _notes(fleet: StoredFleet) -> list[str]:
    """What is to be known and nothing to be woken for: a person's choices, a quiet class."""
    found = []
    fresh = condition(fleet.status.conditions, "DataFresh")
    # Such as scrapes that are rarer than the settings say, or a region whose users are not seen.
    if fresh is not None and fresh.status is ConditionStatus.TRUE and fresh.message != AS_SCRAPED:
        found += [f"{words.capital(fresh.message)}."] if fresh.message else []
    classes = condition(fleet.status.conditions, "ClassesSeen")
    if classes is not None and classes.reason == "NotSeen":
        found.append(f"{words.capital(classes.message)}.")
    acting = condition(fleet.status.conditions, "Acting")
    if fleet.spec.mode is Mode.ACT and acting is not None and acting.message:
        found.append(f"{words.capital(acting.message)}.")
    if fleet.spec.frozen:
        because = f": {fleet.spec.freeze_reason}" if fleet.spec.freeze_reason else ""
        found.append(f"Frozen, nothing is proposed{because}")
    return [plain(text) for text in found]


def _ordered(incidents: Sequence[StoredIncident]) -> list[StoredIncident]:
    """Open ones first, the worst first, the newest first."""
    return sorted(
        incidents,
        key=lambda i: (not i.open, _WORST.index(i.status.severity), -i.began_s, i.name),
    )


def _incident(incident: StoredIncident, *, now_s: float, width: int) -> list[Line]:
    status = incident.status
    head = f"{incident.name}  {told.short_state(incident, now_s=now_s)}"
    style = CAUSE if incident.open else QUIET
    lines = [Line(" " * INDENT + t, style) for t in wrapped(plain(head), width - INDENT)]
    text = told.headline(incident).removesuffix(".")
    if status.cause and status.confidence is not None:
        text += f"; confidence {told.chance(status.confidence)}"
    rows = [text, *([short] if (short := now_short(incident, now_s=now_s)) else [])]
    inner = 2 * INDENT
    return lines + [Line(" " * inner + t) for x in rows for t in wrapped(plain(x), width - inner)]
