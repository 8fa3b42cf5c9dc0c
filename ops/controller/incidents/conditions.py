"""The conditions of an Incident, and the sentences that they are made of. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan

from ops.controller.conditions import Observed
from ops.controller.resources.fields import Condition, ConditionStatus, ReportRef
from ops.controller.resources.incident import IncidentStatus
from ops.controller.worker_link.wire import RecordedAs
from ops.state import Decision, DecisionKind, Incident, IncidentPhase
from rca.state import RankedCause, RcaResult, Symptom

SUFFERING = "UsersSuffer"
SYMPTOMS = {
    "errors": ("ErrorsSeen", "requests fail"),
    "latency": ("LatencySeen", "requests miss their limits"),
    "missing": ("AnswersMissing", "requests are not answered"),
    "alert": ("AlertReceived", "an alert fires"),
}
NO_ANSWER, UNDER_WAY = "NoAnswer", "UnderWay"
FIRST = "the first diagnosis is under way"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """What the worker made of an incident, and where it was put."""

    ref: ReportRef | None = None
    headline: str = ""  # the report's own first sentence
    recorded: RecordedAs = RecordedAs.NOT_DIAGNOSED
    message: str = ""


def symptom_text(symptom: Symptom) -> str:
    """ "requests miss their limits in eu-west/chat: 31 % bad"."""
    what = SYMPTOMS.get(symptom.reason, ("", "users suffer"))[1]
    unknown = symptom.reason == "missing" or isnan(symptom.bad_ratio)
    share = "" if unknown else f": {symptom.bad_ratio:.0%} bad"
    where = "/".join(part for part in (symptom.region, symptom.slo_class) if part)
    return f"{what} in {where}{share}"


def observed_of(
    incident: Incident,
    named: RankedCause | None,
    decisions: Sequence[Decision],
    report: Reported | None,
    before: IncidentStatus,
    *,
    resolved_after_s: float,
) -> list[Observed]:
    """Detected, Diagnosed, Mitigated, Resolved, Recorded as they are seen now.

    Args:
        named: the cause that was named, None before.
        decisions: new ones of this incident.
        before: the status so far.
        resolved_after_s: users must stay well for so long.
    """
    fresh = not before.conditions
    yes, no, unknown = ConditionStatus.TRUE, ConditionStatus.FALSE, ConditionStatus.UNKNOWN
    kind, _ = SYMPTOMS.get(incident.symptom.reason, ("SymptomSeen", ""))
    seen = [Observed(type="Detected", status=yes, reason=kind,
                     message=symptom_text(incident.symptom))]  # fmt: skip
    result = incident.result
    if named is not None:
        text = f"{named.entity} {named.resource_class}, confidence {named.confidence:.2f}"
        seen.append(Observed(type="Diagnosed", status=yes, reason="CauseNamed", message=text))
    elif abstained(decisions):
        said = [d.reason for d in decisions if d.kind is DecisionKind.ABSTAIN][-1]
        reason, text = (NO_ANSWER, said) if result is None else ("Abstained", _why(result))
        seen.append(Observed(type="Diagnosed", status=no, reason=reason, message=text))
    elif fresh:
        seen.append(Observed(type="Diagnosed", status=unknown, reason=UNDER_WAY, message=FIRST))
    over = incident.phase is IncidentPhase.RESOLVED
    well = over or incident.phase is IncidentPhase.MITIGATED
    seen.append(_ended("Mitigated", well, "users are well again", decisions, before))
    if well and not over:
        text = f"users are well again; it resolves after {resolved_after_s:.0f} s of quiet"
        seen.append(Observed(type="Resolved", status=no, reason="StayingWell", message=text))
    else:
        seen.append(_ended("Resolved", over, "users stayed well", (), before))
    if report is not None:
        made = report.recorded is RecordedAs.BUNDLE_WRITTEN
        seen.append(Observed(type="Recorded", status=yes if made else no,
                             reason=str(report.recorded), message=report.message))  # fmt: skip
    elif fresh:
        text = "nothing was diagnosed yet"
        seen.append(Observed(type="Recorded", status=unknown, reason="UnderWay", message=text))
    return seen


def waiting(before: Sequence[Condition], trouble: str) -> Observed | None:
    """`Diagnosed` of an incident without a first diagnosis; None where nothing new is to be said.

    Args:
        before: the conditions so far.
        trouble: why the worker did not answer last time, empty where it did or was not asked.
    """
    known = next((c for c in before if c.type == "Diagnosed"), None)
    if known is None or known.status is not ConditionStatus.UNKNOWN:
        return None
    reason = NO_ANSWER if trouble else UNDER_WAY
    if reason == known.reason:  # other words of the same outage are no news
        return None
    text = f"no answer yet: {trouble}" if trouble else FIRST
    return Observed(type="Diagnosed", status=ConditionStatus.UNKNOWN, reason=reason, message=text)


def _ended(
    kind: str, done: bool, text: str, decisions: Sequence[Decision], before: IncidentStatus
) -> Observed:
    if done:
        return Observed(type=kind, status=ConditionStatus.TRUE, reason="UsersWell", message=text)
    # "No action fits" is said once by the loop; the condition keeps it while users suffer.
    said = [d.reason for d in decisions if d.kind is DecisionKind.REFUSE and d.action is None]
    kept = [c.message for c in before.conditions if c.type == kind and c.reason == SUFFERING]
    message = [*kept, "users still suffer"][0] if not said else said[-1]
    return Observed(type=kind, status=ConditionStatus.FALSE, reason=SUFFERING, message=message)


def abstained(decisions: Sequence[Decision]) -> bool:
    """Whether these decisions give up naming a cause for now."""
    return any(d.kind is DecisionKind.ABSTAIN for d in decisions)


def _why(result: RcaResult) -> str:
    parts = [result.reason]
    parts += [f"missing: {', '.join(result.missing)}"] if result.missing else []
    parts += [f"would settle it: {', '.join(result.would_settle)}"] if result.would_settle else []
    return "; ".join(parts)
