"""The journal of an incident that an earlier process began, as far as its object tells. Pure.

A page shows what was seen, named and recommended, and when; after a restart it shall show no less.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import replace

from ops.controller.moments import seconds
from ops.controller.resources.fields import Condition
from ops.controller.resources.incident import ActionStatus, IncidentStatus
from ops.proposals import DRY_RUN
from ops.state import Action, ActionKind, Decision, DecisionKind, Incident, IncidentPhase
from rca.state import Entity

logger = logging.getLogger(__name__)
PARAMS_MAX = 1024  # characters


def params_text(action: Action) -> str:
    """What an action takes, as a status keeps it; empty where it takes nothing, or too much."""
    text = json.dumps(dict(action.params), separators=(",", ":"), sort_keys=True)
    return text if action.params and len(text) <= PARAMS_MAX else ""


def journal_of(incident: Incident, status: IncidentStatus) -> tuple[Decision, ...]:
    """Decisions, oldest first, each with the incident as it was after it."""
    opened = replace(
        incident, phase=IncidentPhase.OPEN, diagnosed_at_s=None, mitigated_at_s=None, result=None
    )
    named_s, well_s = incident.diagnosed_at_s, incident.mitigated_at_s
    named = replace(incident, phase=IncidentPhase.DIAGNOSED, mitigated_at_s=None)
    known = opened if named_s is None else named
    found = [_said(incident.detected_at_s, DecisionKind.OPEN, status.symptom, opened)]
    gave_up = _abstained(status)
    if named_s is not None:
        found.append(_said(named_s, DecisionKind.DIAGNOSE, status.reason, named))
    elif gave_up is not None:
        known = replace(opened, result=incident.result)
        at_s = seconds(gave_up.last_transition_time)
        found.append(_said(at_s, DecisionKind.ABSTAIN, gave_up.message, known))
    for one in status.actions:
        action = _action_back(one)
        if action is not None:
            at_s = incident.detected_at_s if one.decided is None else seconds(one.decided)
            reason = DRY_RUN if one.allowed else one.guard
            said = _said(at_s, DecisionKind.REFUSE, reason, known)
            found.append(replace(said, action=action, details=_answer(one)))
    if well_s is not None:
        found.append(_said(well_s, DecisionKind.MITIGATED, "users are well", incident))
    return tuple(sorted(found, key=lambda one: one.at_s))


def _said(at_s: float, kind: DecisionKind, reason: str, incident: Incident) -> Decision:
    return Decision(
        at_s=at_s, kind=kind, incident_id=incident.incident_id, reason=reason, incident=incident
    )


def _abstained(status: IncidentStatus) -> Condition | None:
    found = (c for c in status.conditions if c.type == "Diagnosed")
    return next(found, None) if status.abstained else None


def _action_back(one: ActionStatus) -> Action | None:
    """None where it is of a later release, or what it takes is not kept and it takes something."""
    try:
        params = json.loads(one.params) if one.params else {}
        kind, target = ActionKind(one.kind), Entity.parse(one.target)
    except ValueError:
        logger.warning("recommended action not read back kind=%s target=%s", one.kind, one.target)
        return None
    if not isinstance(params, Mapping) or (not params and kind in _TAKES):
        return None
    return Action(
        action_id="", kind=kind, target=target, params=dict(params), reason=one.reason,
        undo=one.undo, command=one.command,
    )  # fmt: skip


_TAKES = frozenset(
    {ActionKind.SHIFT_TRAFFIC, ActionKind.SCALE_OUT, ActionKind.LIMIT_ADMISSION,
     ActionKind.ROLLBACK, ActionKind.UNDO}
)  # fmt: skip


def _answer(one: ActionStatus) -> dict[str, str]:
    told = {"request": one.request, "patch": one.patch, "dry_run": one.dry_run}
    return {key: text for key, text in told.items() if text}
