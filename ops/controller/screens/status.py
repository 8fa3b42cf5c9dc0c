"""`kubectl midwatch status`: every fleet with what is wrong with it, open incidents first."""

from __future__ import annotations

from collections.abc import Sequence

from ops.controller.resources.fields import Condition, ConditionStatus
from ops.controller.resources.fleet import Mode
from ops.controller.resources.incident import Severity
from ops.controller.screens import told
from ops.controller.screens.stored import StoredFleet, StoredIncident, is_false, moment
from ops.reports import words
from ops.reports.rca_terminal import CAUSE, QUIET, STRONG, Line
from ops.reports.sentence import confidence_text
from ops.reports.terminal import labelled, wrapped
from ops.reports.words import plain

_WORST = (Severity.CRITICAL, Severity.WARNING, Severity.INFO)
RECENT_S = 86_400.0
INDENT = 2


def status_lines(
    fleets: Sequence[StoredFleet],
    incidents: Sequence[StoredIncident],
    *,
    where: str,
    elsewhere: bool = False,
    now_s: float,
    width: int = 80,
    resolved: bool = False,
) -> list[Line]:
    """The answer.

    Args:
        where: what was looked at, e.g. "namespace shop"; elsewhere: there are other places.
        resolved: list resolved incidents too, else only how many there were within a day.
    """
    lines: list[Line] = []
    for fleet in sorted(fleets, key=lambda f: (f.namespace, f.name)):
        own = [i for i in incidents if (i.namespace, i.spec.fleet) == (fleet.namespace, fleet.name)]
        lines += _fleet(fleet, own, now_s=now_s, width=width, resolved=resolved)
    known = {(f.namespace, f.name) for f in fleets}
    orphans = [i for i in incidents if (i.namespace, i.spec.fleet) not in known]
    listed = [i for i in orphans if i.open or resolved]
    for place in sorted({(i.namespace, i.spec.fleet) for i in listed}):
        lines += [Line(t, STRONG) for t in wrapped(f"{'/'.join(place)}  no such Fleet", width)]
        for incident in _ordered([i for i in listed if (i.namespace, i.spec.fleet) == place]):
            lines += _incident(incident, now_s=now_s, width=width)
    if not lines:
        other = " Look everywhere: kubectl midwatch status -A" if elsewhere else ""
        text = f"No fleet in {where}.{other}"
        return [Line(t) for t in wrapped(text, width)]
    return lines


def needs_a_look(fleets: Sequence[StoredFleet], incidents: Sequence[StoredIncident]) -> bool:
    """Whether somebody should look: an open incident, or a fleet that is not watched."""
    blind = any(
        is_false(fleet.status.conditions, kind)
        for fleet in fleets
        for kind in ("Ready", "DataFresh", "Authorized")
    )
    return blind or any(not f.seen for f in fleets) or any(i.open for i in incidents)


def _fleet(
    fleet: StoredFleet,
    incidents: Sequence[StoredIncident],
    *,
    now_s: float,
    width: int,
    resolved: bool,
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
    for text in _troubles(fleet):
        lines += [
            Line(t, STRONG) for t in labelled(f"{'':{INDENT}}!", plain(text), width, INDENT + 2)
        ]
    shown = opened + (ended if resolved else [])
    for incident in _ordered(shown):
        lines += _incident(incident, now_s=now_s, width=width)
    recent = [i for i in ended if now_s - (moment(i.status.resolved) or 0.0) < RECENT_S]
    if recent and not resolved:
        text = f"{words.count(len(recent), 'incident')} resolved within 24 h: --resolved"
        lines += [Line(" " * INDENT + t, QUIET) for t in wrapped(text, width - INDENT)]
    return lines


def _troubles(fleet: StoredFleet) -> list[str]:
    """What keeps midwatch from watching, or from proposing."""
    if not fleet.seen:
        return ["The operator has written nothing about it yet: is it running?"]
    found = [_said(c) for c in fleet.status.conditions if _bad(c, fleet.spec.mode)]
    if fleet.spec.frozen:
        because = f": {fleet.spec.freeze_reason}" if fleet.spec.freeze_reason else ""
        found.append(f"Frozen, nothing is proposed{because}")
    return found


def _bad(item: Condition, mode: Mode) -> bool:
    if item.type == "Acting":  # False is the rule: it matters to who asked for more
        return mode is Mode.ACT and item.status is ConditionStatus.FALSE
    return item.status is ConditionStatus.FALSE


def _said(item: Condition) -> str:
    return f"{item.type} {item.status.value}: {item.message or item.reason}"


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
        text += f"; confidence {confidence_text(status.confidence)}"
    inner = 2 * INDENT
    return lines + [Line(" " * inner + t) for t in wrapped(plain(text), width - inner)]
