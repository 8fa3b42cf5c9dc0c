"""Keeps the status of an Incident below 64 KiB, whatever hostile text the metrics carry.

An object that is too large is refused by the server, and then the incident would be lost. What
matters least goes first, and the last rung is small by its own bounds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import orjson

from ops.alerts import DIGEST_CHARS
from ops.controller.conditions import cut
from ops.controller.resources.cause import CauseStatus
from ops.controller.resources.fields import to_object
from ops.controller.resources.incident import (
    ActionStatus,
    IncidentStatus,
    actions_best_first,
)
from rca.state import CONTRADICTION

STATUS_BYTES_MAX = 64 * 1024

Rung = Callable[[IncidentStatus], IncidentStatus]


def status_bytes(status: IncidentStatus) -> int:
    """Size of the status as JSON."""
    return len(orjson.dumps(to_object(status)))


def fitted(status: IncidentStatus, *, bytes_max: int = STATUS_BYTES_MAX) -> IncidentStatus:
    """The status, shortened only where it would not fit."""
    for rung in _LADDER:
        if status_bytes(status) <= bytes_max:
            return status
        status = rung(status)
    return status


def _fewer_digests(status: IncidentStatus) -> IncidentStatus:
    """Forget the oldest counted alerts: at worst Alertmanager's repeats are counted again."""
    return replace(status, alert_digests=status.alert_digests[-512 * DIGEST_CHARS :])


def _shorter_evidence(status: IncidentStatus) -> IncidentStatus:
    return replace(
        status,
        causes=[_cause(c, evidence=2, text=256) for c in status.causes],
        ruled_out=[replace(r, reason=cut(r.reason, 256)) for r in status.ruled_out[:4]],
        missing=[cut(text, 256) for text in status.missing[:8]],
        checked=[cut(text, 128) for text in status.checked[:8]],
        arcs=[replace(arc, text=cut(arc.text, 128)) for arc in status.arcs[:4]],
        would_settle=[cut(text, 128) for text in status.would_settle[:8]],
        keys=status.keys[:32],
    )


def _fewer_actions(status: IncidentStatus) -> IncidentStatus:
    """The best two; a patch is exact or absent, never cut."""
    return replace(status, actions=[_action(a) for a in actions_best_first(status.actions)[:2]])


def _bare(status: IncidentStatus) -> IncidentStatus:
    """Names, times, three causes with one reason each, and what contradicts them."""
    return replace(
        status,
        alert_digests="",
        keys=status.keys[:8],
        causes=[_cause(c, evidence=1, text=128) for c in status.causes[:3]],
        ruled_out=[],
        missing=[cut(text, 128) for text in status.missing[:4]],
        checked=[],
        arcs=[],
        would_settle=status.would_settle[:2],
        actions=[
            replace(_action(a), patch="", request="")
            for a in actions_best_first(status.actions)[:1]
        ],
        conditions=[replace(c, message=cut(c.message, 256)) for c in status.conditions],
    )


_LADDER: tuple[Rung, ...] = (_fewer_digests, _shorter_evidence, _fewer_actions, _bare)


def _cause(cause: CauseStatus, *, evidence: int, text: int) -> CauseStatus:
    # What contradicts it stays: without it nobody could tell why the confidence is low.
    against = [item for item in cause.evidence if item.channel == CONTRADICTION][:1]
    others = [item for item in cause.evidence if item.channel != CONTRADICTION]
    kept = [
        replace(item, text=cut(item.text, text), metric=cut(item.metric, text))
        for item in (*others[:evidence], *against)
    ]
    return replace(cause, evidence=kept, path=(cause.path or [])[:4] or None)


def _action(action: ActionStatus) -> ActionStatus:
    return replace(action, dry_run=cut(action.dry_run, 256), reason=cut(action.reason, 256))
