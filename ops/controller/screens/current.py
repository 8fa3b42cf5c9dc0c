"""How bad an open Incident is now, in a sentence with its age. Pure."""

from __future__ import annotations

from ops.controller.resources.fields import ConditionStatus
from ops.controller.resources.incident import CurrentStatus
from ops.controller.screens import told
from ops.controller.screens.stored import StoredFleet, StoredIncident, condition, moment
from ops.reports import words

# An operator writes a steady value every five minutes: older ones are of a past.
OLD_S = 420.0


def now(
    incident: StoredIncident, fleet: StoredFleet | None, *, watched: bool = True, now_s: float
) -> str:
    """ "44 % of 240 requests bad in eu-west/batch within 1 min, measured 40 s ago."

    Args:
        fleet: says whether it is measured at present; None = that is not known.
        watched: whether an operator leads, as far as is known.
    """
    status, known = incident.status, incident.status.current
    why = _unmeasured(fleet) if watched else "nothing is watched"
    if known is None:
        if not status.keys:
            why = why or "no SLO is measured there, an alert alone tells of it"
        return f"Not known: {why}." if why else "Not known."
    at_s = moment(known.at)
    ago = f"{told.age(now_s - at_s)} ago" if at_s is not None else "when, is not told"
    if why or at_s is None or now_s - at_s > OLD_S:
        because = f": {why}" if why else ""
        return f"Not known{because}. Last measured {ago}: {_share(known)}."
    return f"{_share(known)} within {words.span(known.seconds)}, measured {ago}."


def now_short(incident: StoredIncident, *, now_s: float) -> str:
    """ "now 44 % bad in eu-west/batch, 40 s ago"; empty where it is over or was never measured."""
    known = incident.status.current
    at_s = moment(known.at) if known is not None else None
    if known is None or at_s is None or not incident.open:
        return ""
    ago = f"{told.age(now_s - at_s)} ago"
    share = "share not known" if known.bad_ratio is None else f"{_percent(known.bad_ratio)} bad"
    label = "now" if now_s - at_s <= OLD_S else "last measured:"
    return f"{label} {share} in {known.key}, {ago}"


def _share(known: CurrentStatus) -> str:
    if known.bad_ratio is None:
        done = f"{known.requests:,}" if known.requests else "No"
        plural = "request was" if known.requests == 1 else "requests were"
        return f"{done} {plural} answered in {known.key}"
    of = words.count(known.requests, "request")
    return f"{_percent(known.bad_ratio)} of {of} bad in {known.key}"


def _percent(ratio: float) -> str:
    """ "44 %"; "0 %" where all were good."""
    return "0 %" if ratio == 0.0 else words.percent(ratio)


def _unmeasured(fleet: StoredFleet | None) -> str:
    """Why nobody measures it at present, as far as its Fleet says."""
    known = condition(fleet.status.conditions, "DataFresh") if fleet is not None else None
    if known is None or known.status is ConditionStatus.TRUE:
        return ""
    return (known.message or known.reason).removesuffix(".")
