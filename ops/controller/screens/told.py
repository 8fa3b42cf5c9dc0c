"""Sentences about one Incident, from its status alone, in the report's words."""

from __future__ import annotations

from ops.controller.resources.cause import CauseStatus
from ops.controller.resources.fields import ConditionStatus
from ops.controller.resources.incident import ActionStatus, Phase
from ops.controller.screens.stored import StoredFleet, StoredIncident, condition, moment
from ops.proposals import NO_FRESH_DATA, is_unjudged
from ops.reports import words
from ops.reports.calibration import calibrated, load_calibration
from ops.reports.parts import ClockBase
from ops.reports.sentence import (
    RESOURCE_NOUNS,
    calibration_short,
    confidence_text,
    entity_noun,
)
from ops.state import ActionKind
from rca.state import Entity, ResourceClass

EPOCH = ClockBase(epoch_s=0.0, simulated=False)
DAY_S = 86_400.0
SHOWN_MIN = 0.01  # of a confidence; below it a candidate is noise
_DO = {
    ActionKind.RESTART_POD: "restart",
    ActionKind.REPLACE_POD: "replace",
    ActionKind.CORDON_DRAIN_NODE: "cordon and drain",
    ActionKind.SHIFT_TRAFFIC: "send part of the traffic elsewhere, away from",
    ActionKind.SCALE_OUT: "add instances to",
    ActionKind.LIMIT_ADMISSION: "admit fewer requests to",
    ActionKind.ROLLBACK: "roll back",
    ActionKind.UNDO: "take back what was done to",
}


def state(incident: StoredIncident, *, now_s: float) -> str:
    """ "DIAGNOSED critical, since 02:06:45 UTC (12 min 15 s)"."""
    status = incident.status
    began_s = incident.began_s
    over_s = moment(status.resolved)
    parts = [f"{status.phase.value.upper()} {status.severity.value}"]
    if over_s is not None:
        parts.append(f"began {when(began_s, now_s)} UTC, over after {_span(over_s - began_s)}")
    else:
        parts.append(f"since {when(began_s, now_s)} UTC ({age(now_s - began_s)})")
    return ", ".join(parts)


def named_after(incident: StoredIncident) -> str:
    """ ", cause named after 21 s"; empty while none is."""
    named_s = moment(incident.status.diagnosed)
    if named_s is None or not incident.status.cause:
        return ""
    return f", cause named after {_span(named_s - incident.began_s)}"


def short_state(incident: StoredIncident, *, now_s: float) -> str:
    """ "DIAGNOSED critical for 12 min"."""
    status = incident.status
    over_s = moment(status.resolved)
    span = age((now_s if over_s is None else over_s) - incident.began_s)
    tail = f"for {span}" if over_s is None else f"after {span}"
    return f"{status.phase.value.upper()} {status.severity.value} {tail}"


def age(seconds: float) -> str:
    """ "45 s", "4 min 5 s", from ten minutes on without seconds."""
    return _span(seconds if seconds < 600 else seconds // 60 * 60)


def _span(seconds: float) -> str:
    """ "1 min 41 s" in one piece: who wraps the line makes spaces of its hard ones."""
    return words.span(seconds).replace(" ", "\u00a0")


def when(at_s: float, now_s: float) -> str:
    """Clock time in UTC, with the day where it is not of the last 24 hours."""
    clock = words.clock(at_s, EPOCH)
    return clock if abs(now_s - at_s) < DAY_S else f"{words.date(at_s, EPOCH)} {clock}"


def headline(incident: StoredIncident) -> str:
    """One sentence to wake up to."""
    status = incident.status
    if not incident.seen:
        return "The operator has written nothing about it yet."
    if status.summary:
        return status.summary
    if status.cause:
        return f"{noun(status.cause)} is at fault."
    return words.capital(f"{status.symptom or 'users suffer'}; no cause is named.")


def confidence(incident: StoredIncident) -> str:
    """How sure, what that has meant, and what comes next in the ranking."""
    status = incident.status
    if not status.cause or status.confidence is None:
        return ""
    bins, source = load_calibration()
    meaning = calibration_short(calibrated(status.confidence, bins, source))
    others = [
        cause
        for cause in status.causes
        if cause.entity != status.cause and cause.confidence >= SHOWN_MIN
    ]
    following = f"{cause_noun(others[0])}, {chance(others[0].confidence)}" if others else "none"
    return f"confidence {chance(status.confidence)} ({meaning}); next: {following}"


def chance(stored: float) -> str:
    """ "0.82", "under 0.01": what is stored has two decimals, so its zero is a small number."""
    return "under 0.01" if stored < SHOWN_MIN else confidence_text(stored)


def silence(incident: StoredIncident, fleet: StoredFleet | None) -> str:
    """Why the worker does not answer the questions about it; empty where it does, or has."""
    if incident.status.causes or is_over(incident):
        return ""
    told = condition(incident.status.conditions, "Diagnosed")
    if told is not None and told.reason == "NoAnswer":
        return told.message or "it does not answer"
    known = condition(fleet.status.conditions, "Diagnosing") if fleet is not None else None
    if is_waiting(incident) and known is not None and known.status is ConditionStatus.FALSE:
        return known.message or known.reason
    return ""


def no_cause(incident: StoredIncident, silent: str = "") -> list[tuple[str, str]]:
    """What it means that no cause is named: rows of (label, text).

    Args:
        silent: why the worker does not answer, empty where it does.
    """
    status = incident.status
    told = condition(status.conditions, "Diagnosed")
    if silent:
        why = silent.removeprefix("no cause can be named: ").removesuffix(".")
        end = "" if why.endswith("?") else "."
        text = f"Not known: nobody diagnoses. {words.capital(why)}{end}"
        return [("cause", f"{text} It is asked again until it answers.")]
    if is_waiting(incident):
        waits = told.message if told else "the first diagnosis is under way"
        return [("cause", f"Not known yet: {waits}. Ask again in half a minute.")]
    stands_out = "No candidate stands out, so nobody" if status.causes else "Nobody"
    rows = [
        (
            "cause",
            f"No cause named. {stands_out} is accused, and nothing is recommended for a guess.",
        )
    ]
    known = told is not None and told.status is not ConditionStatus.UNKNOWN
    why = told.message if told and known and told.message else status.reason
    rows += [("why", why)] if why else []
    if status.causes:
        best = status.causes[0]
        rows.append(("likeliest", f"{cause_noun(best)}, {chance(best.confidence)}"))
    return rows


def suspect(incident: StoredIncident) -> str:
    """The cause that is named, else the likeliest candidate, else empty."""
    status = incident.status
    return status.cause or (status.causes[0].entity if status.causes else "")


def cause_noun(cause: CauseStatus) -> str:
    """ "session-db in eu-west, load"."""
    try:
        resource = ResourceClass(cause.resource)
    except ValueError:  # of a later release
        return f"{noun(cause.entity)}, {cause.resource}"
    if resource is ResourceClass.UNKNOWN:
        return noun(cause.entity)
    return f"{noun(cause.entity)}, {RESOURCE_NOUNS[resource]}"


def noun(entity: str) -> str:
    """ "node a in eu-west" for "node:eu-west/a"; what is written otherwise stays as it is."""
    try:
        return entity_noun(Entity.parse(entity))
    except ValueError:
        return entity


def action_title(action: ActionStatus) -> str:
    """ "roll back session-store in eu-west"."""
    try:
        verb = _DO[ActionKind(action.kind)]
    except ValueError:  # of a later release
        verb = action.kind
    return f"{verb} {noun(action.target)}"


def guard(action: ActionStatus, *, now_s: float, watched: bool = True) -> str:
    """What the guard says, in a sentence; with its age where it could not be asked again.

    Args:
        watched: whether an operator leads, as far as is known; else it was asked before.
    """
    why = action.guard.removeprefix(NO_FRESH_DATA)
    if action.allowed:
        nothing = "Nothing was carried out: acting is not part of this release."
        if watched and not is_unjudged(action.guard):
            return f"It would be allowed. {nothing}"
        why = why if watched else "nobody watches"
        at_s = moment(action.decided)
        since = f" {age(now_s - at_s)} ago, at {when(at_s, now_s)} UTC" if at_s is not None else ""
        return f"It was allowed{since}, and not judged since: {why}. {nothing}"
    if is_unjudged(action.guard):
        return f"Not judged: {why}. Nothing is known against it; wait for fresh data."
    would = "would be" if watched else "was"
    return f"It {would} refused: {why or 'no reason was given'}."


def is_waiting(incident: StoredIncident) -> bool:
    """Whether the first diagnosis is still to come."""
    status = incident.status
    return not status.abstained and not status.causes and not status.reason


def is_over(incident: StoredIncident) -> bool:
    """Whether users are well."""
    return incident.status.phase in (Phase.MITIGATED, Phase.RESOLVED)
