"""The status of an Incident from the loop's incident. Pure: no clock, no server.

The status is the record: what a restarted operator needs is in it
(`ops.controller.incidents.restore`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import islice
from math import isnan

from ops.config import OutcomeConfig
from ops.controller.conditions import cut, merged
from ops.controller.incidents.causes import NAME_BYTES_MAX, arcs_of, causes_of
from ops.controller.incidents.conditions import (
    Reported,
    abstained,
    observed_of,
    symptom_text,
)
from ops.controller.incidents.journal import params_text
from ops.controller.incidents.objects import exact_ratio
from ops.controller.incidents.size import fitted
from ops.controller.live_commands import all_here
from ops.controller.moments import optional, rfc3339, short_span
from ops.controller.resources.fields import TEXT_MAX
from ops.controller.resources.incident import (
    ACTIONS_MAX,
    RULED_OUT_MAX,
    ActionStatus,
    IncidentStatus,
    Phase,
    RuledOut,
    Severity,
)
from ops.proposals import is_allowed, is_proposal, is_unjudged
from ops.ranking import ranking_sha256
from ops.reports.sentence import entity_subject, verb_of
from ops.slo_keys import Key
from ops.state import Decision, Incident
from rca.state import RankedCause, RcaResult, Symptom

RESTORED = "read back from the Incident object"  # stands in `checked` of a restored result
CRITICAL_BAD_RATIO = 0.25  # one request in four
SUFFERING_BAD_RATIO = 0.002  # below it only the alert says that something is wrong
KEYS_MAX, TEXTS_MAX = 64, 16
_ORDER = (Severity.INFO, Severity.WARNING, Severity.CRITICAL)


def incident_status(
    incident: Incident,
    *,
    keys: Sequence[Key],
    decisions: Sequence[Decision] = (),
    alert_digests: str = "",
    firing_digests: str | None = None,
    alert_severity: str = "",
    report: Reported | None = None,
    seed: int = 0,
    namespace: str = "",
    previous: IncidentStatus | None = None,
    now_s: float,
    generation: int = 1,
    resolved_after_s: float = OutcomeConfig().resolved_after_s,
) -> IncidentStatus:
    """The whole status, at most 64 KiB as JSON whatever stands in it.

    Args:
        keys: (region, class) pairs that suffer from it.
        decisions: new ones of it, oldest first; actions of earlier ones come from `previous`.
        alert_digests: of the counted alerts; empty keeps those of `previous`.
        firing_digests: of those that still fire; None keeps those of `previous`.
        alert_severity: label `severity` of its alerts, which can only raise ours.
        report: None keeps what `previous` says.
        namespace: of the fleet, for commands that a person types.
        resolved_after_s: of quiet, as the loop is told.
    """
    before = previous or IncidentStatus()
    result, named, symptom = incident.result, _named(incident), incident.symptom
    cause = cut(str(named.entity), NAME_BYTES_MAX) if named else ""
    # What was meant for a cause that is no longer named is not to be typed any more.
    proposed = before.actions if not before.cause or before.cause == cause else ()
    status = IncidentStatus(
        observed_generation=generation,
        phase=Phase(incident.phase.value),
        severity=_severity(symptom, alert_severity, before if previous else None),
        summary=cut(_summary(incident, named, report, before), TEXT_MAX),
        cause=cause,
        confidence=_ratio(named.confidence) if named else None,
        symptom=cut(symptom_text(symptom), TEXT_MAX),
        bad_ratio=exact_ratio(symptom.bad_ratio),
        current=before.current,
        keys=[cut("/".join(key), 130) for key in list(dict.fromkeys(keys))[:KEYS_MAX]],
        began=rfc3339(incident.began_at_s),
        detected=rfc3339(incident.detected_at_s),
        diagnosed=optional(incident.diagnosed_at_s),
        mitigated=optional(incident.mitigated_at_s),
        resolved=optional(incident.resolved_at_s),
        time_to_cause=_since(incident.began_at_s, incident.diagnosed_at_s),
        time_to_mitigate=_since(incident.began_at_s, incident.mitigated_at_s),
        abstained=named is None and (abstained(decisions) or before.abstained),
        actions=_actions(proposed, decisions, namespace),
        alerts=max(incident.alerts, before.alerts),
        alert_digests=alert_digests or before.alert_digests,
        firing_digests=before.firing_digests if firing_digests is None else firing_digests,
        ranking_sha256=_ranking(result) or before.ranking_sha256,
        seed=seed,
        report=report.ref if report and report.ref else before.report,
        conditions=merged(
            before.conditions,
            observed_of(
                incident, named, decisions, report, before, resolved_after_s=resolved_after_s
            ),
            now_s=now_s,
            generation=generation,
        ),
    )
    return fitted(status if result is None else _with_result(status, result))


def _with_result(status: IncidentStatus, result: RcaResult) -> IncidentStatus:
    """The status with all that a diagnosis said, for screens and for a page after a restart."""
    return replace(
        status,
        reason=cut(result.reason, TEXT_MAX),
        causes=causes_of(result),
        arcs=arcs_of(result),
        ruled_out=[
            RuledOut(entity=cut(str(entity), NAME_BYTES_MAX), reason=cut(reason, TEXT_MAX))
            for entity, reason in result.ruled_out[:RULED_OUT_MAX]
        ],
        missing=_texts(result.missing),
        checked=_texts(text for text in result.checked if text != RESTORED),
        would_settle=_texts(result.would_settle),
    )


def with_answer(
    status: IncidentStatus, decision: Decision, *, namespace: str = ""
) -> IncidentStatus:
    """The status with what the server says to a recommended action; else it is as it was."""
    (told,) = _actions((), (decision,), namespace) or (None,)
    if told is None:
        return status
    actions = [
        replace(known, request=told.request, patch=told.patch, dry_run=told.dry_run)
        if (known.kind, known.target) == (told.kind, told.target)
        else known
        for known in status.actions
    ]
    return fitted(replace(status, actions=actions))


def _named(incident: Incident) -> RankedCause | None:
    """The cause that was named; a candidate of an abstention is none."""
    result = incident.result
    if incident.diagnosed_at_s is None or result is None or not result.causes:
        return None
    return result.causes[0]


def _summary(
    incident: Incident, named: RankedCause | None, report: Reported | None, before: IncidentStatus
) -> str:
    """The report's headline where it speaks of the same cause, else one made of the same words."""
    if report and report.headline:
        return report.headline
    if named is None:
        if before.report is not None and before.summary and not before.cause:
            return before.summary
        return _unnamed(incident)
    same = before.cause == cut(str(named.entity), NAME_BYTES_MAX)
    if same and before.report is not None and before.summary:
        return before.summary
    over = incident.resolved_at_s is not None
    verb = verb_of(named.entity.kind, named.resource_class, over=over)
    return f"{entity_subject(named.entity)} {verb}."


def _unnamed(incident: Incident) -> str:
    """What is known before a cause is named, or where none can be."""
    symptom, looked = incident.symptom, incident.result is not None
    if symptom.reason == "alert" and isnan(symptom.bad_ratio):  # no SLO is measured there
        return f"An alert fires in {symptom.region}{'; its cause cannot be told' * looked}."
    who = f"{symptom.region} {symptom.slo_class}".strip()
    return f"Cannot tell what makes {who} miss its SLO." if looked else f"{who} misses its SLO."


def _severity(symptom: Symptom, alert: str, before: IncidentStatus | None) -> Severity:
    """The worst that was seen: an incident that calms down was as bad as it was."""
    told = {"critical": Severity.CRITICAL, "page": Severity.CRITICAL, "warning": Severity.WARNING}
    own = Severity.WARNING
    if symptom.reason == "missing" or symptom.bad_ratio >= CRITICAL_BAD_RATIO:
        own = Severity.CRITICAL
    elif symptom.reason == "alert" and symptom.bad_ratio < SUFFERING_BAD_RATIO:
        own = Severity.INFO
    seen = [own, told.get(alert.lower(), Severity.INFO)]
    seen += [before.severity] if before is not None else []
    return max(seen, key=_ORDER.index)


def _texts(texts: Iterable[str]) -> list[str]:
    return [cut(text, TEXT_MAX) for text in islice(texts, TEXTS_MAX)]


def _actions(
    known: Sequence[ActionStatus], decisions: Sequence[Decision], namespace: str
) -> list[ActionStatus]:
    """What is proposed, in order of preference; one entry per action and target.

    What was allowed on fresh data stays so, with the server's answer, until it is judged on fresh
    data again: after a restart, or while the metrics are away, `guard` says why it was not.
    """
    found = {(item.kind, item.target): item for item in known}
    for decision in decisions:
        action, allowed = decision.action, is_allowed(decision)
        if action is None or not is_proposal(decision):
            continue
        action = all_here(action, namespace=namespace) if namespace else action
        made = ActionStatus(
            kind=str(action.kind),
            target=cut(str(action.target), NAME_BYTES_MAX),
            reason=cut(action.reason, TEXT_MAX),
            command=cut(action.command, 1024),
            undo=cut(action.undo, TEXT_MAX),
            allowed=allowed,
            guard="" if allowed else cut(decision.reason, TEXT_MAX),
            decided=rfc3339(decision.at_s),
            params=params_text(action) or None,
            request=cut(str(decision.details.get("request", "")), 1024),
            patch=cut(str(decision.details.get("patch", "")), 4096),
            dry_run=cut(str(decision.details.get("dry_run", "")), 1024),
        )
        old = found.get((made.kind, made.target))
        judged = old is not None and (old.allowed or not is_unjudged(old.guard))
        if old is not None and judged and is_unjudged(made.guard):
            made = replace(old, guard=made.guard) if old.allowed else old
        elif old is not None and not made.dry_run:  # what the API server said of it stays
            made = replace(made, request=old.request, patch=old.patch, dry_run=old.dry_run)
        found[made.kind, made.target] = made
    return list(found.values())[:ACTIONS_MAX]


def _ranking(result: RcaResult | None) -> str:
    """Empty where the ranking was read back from an object, which has no scores."""
    return "" if result is None or RESTORED in result.checked else ranking_sha256(result)


def _since(began_s: float, then_s: float | None) -> str:
    """Between the stamps that stand beside it, so that nobody finds another span."""
    return "" if then_s is None else short_span(int(then_s) - int(began_s))


def _ratio(value: float) -> float | None:
    """Rounded here, once: every screen and column shows the same digits."""
    return None if isnan(value) else round(min(max(float(value), 0.0), 1.0), 2)
