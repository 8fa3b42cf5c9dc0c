"""Kubernetes Events on an Incident: what a person sees with `kubectl describe` and alerts on.

The same news twice is one Event with a count, as the API's own components do it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ops.adapters.kube.paths import path_of
from ops.controller.conditions import cut
from ops.controller.incidents.conditions import symptom_text
from ops.controller.moments import rfc3339
from ops.controller.resources.fields import API_VERSION, OBJECT_NAME_MAX
from ops.proposals import is_allowed, is_unjudged
from ops.state import Decision, DecisionKind

MESSAGE_BYTES_MAX = 1024  # the server's limit
COMPONENT = "midwatch"
_NUMBERS = re.compile(r"[0-9][0-9.,:]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """One Event to be."""

    reason: str
    message: str
    warning: bool
    at_s: float

    @property
    def key(self) -> str:
        """Equal for the same news with other numbers in it."""
        text = f"{self.reason} {_NUMBERS.sub('#', self.message)}"
        return hashlib.blake2b(text.encode(errors="replace"), digest_size=5).hexdigest()


def news_of(decisions: Iterable[Decision]) -> list[News]:
    """What of a journal is worth an Event."""
    return [one for decision in decisions if (one := _news(decision)) is not None]


def _news(decision: Decision) -> News | None:
    action, incident = decision.action, decision.incident
    match decision.kind:
        case DecisionKind.OPEN if incident is not None:
            alert = incident.symptom.reason == "alert"
            reason, warning = ("AlertFiring" if alert else "SLOBurn"), True
            text = symptom_text(incident.symptom)
        case DecisionKind.DIAGNOSE:
            reason, text, warning = "RootCauseFound", decision.reason, False
        case DecisionKind.ABSTAIN:
            reason, text, warning = "RootCauseUnknown", decision.reason, True
        case DecisionKind.REFUSE if action is not None:
            allowed, warning = is_allowed(decision), False
            no = "MitigationNotJudged" if is_unjudged(decision.reason) else "MitigationRefused"
            reason = "MitigationProposed" if allowed else no
            text = f"{action.kind} {action.target}: {action.reason}"
            text += "" if allowed else f"; the guard says: {decision.reason}"
        case DecisionKind.MITIGATED:
            reason, text, warning = "Mitigated", decision.reason, False
        case DecisionKind.RESOLVE:
            reason, text, warning = "Resolved", decision.reason, False
        case _:
            return None
    message = cut(text, MESSAGE_BYTES_MAX)
    return News(reason=reason, message=message, warning=warning, at_s=decision.at_s)


def event_name(incident: str, news: News) -> str:
    """Name of the Event object: one per Incident and piece of news."""
    return f"{incident[: OBJECT_NAME_MAX - 11].rstrip('-.')}.{news.key}"


def event_body(news: News, *, incident: str, namespace: str, uid: str) -> dict[str, Any]:
    """A new Event."""
    stamp = rfc3339(news.at_s)
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": event_name(incident, news), "namespace": namespace},
        "involvedObject": {
            "apiVersion": API_VERSION,
            "kind": "Incident",
            "namespace": namespace,
            "name": incident,
            "uid": uid,
        },
        "reason": news.reason,
        "message": news.message,
        "type": "Warning" if news.warning else "Normal",
        "source": {"component": COMPONENT},
        "reportingComponent": COMPONENT,
        "reportingInstance": COMPONENT,
        "firstTimestamp": stamp,
        "lastTimestamp": stamp,
        "count": 1,
    }


def again_body(news: News, count: int) -> dict[str, Any]:
    """Patch of an Event that happened once more."""
    return {"count": count, "lastTimestamp": rfc3339(news.at_s), "message": news.message}


def events_path(namespace: str, name: str = "") -> str:
    """Path of Events on the server."""
    return path_of("", "v1", "events", namespace, name)


def newest(items: Sequence[News], num_max: int) -> list[News]:
    """The newest of them, each piece of news once."""
    return list({one.key: one for one in items}.values())[-num_max:]
