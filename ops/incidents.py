"""From symptoms to incidents with a named cause: open, attach, diagnose, abstain."""

from __future__ import annotations

from dataclasses import replace
from math import isnan

from ops.pipeline_state import Case, Turn
from ops.same_cause import holder_of, note_suspect
from ops.state import DecisionKind, Incident, IncidentPhase
from ops.symptoms import Finding
from rca.state import RankedCause, RcaResult, Symptom


def take_findings(turn: Turn, findings: tuple[Finding, ...]) -> None:
    """Give every finding to an incident: its own, one with the same cause, or a new one."""
    found = {finding.key for finding in findings}
    if findings and turn.state.waiting:  # what is no longer found needs no place
        waiting = tuple(entry for entry in turn.state.waiting if entry[0] in found)
        turn.state = replace(turn.state, waiting=waiting)
    for finding in findings:
        holders = [case for case in turn.open_cases if finding.key in case.keys]
        if any(case.incident.phase is not IncidentPhase.MITIGATED for case in holders):
            for case in holders:
                _note_felt(turn, case, finding)
            continue
        if not turn.open_cases:
            open_case(turn, finding.symptom, keys=(finding.key,))
            continue
        _place(turn, finding)


def _note_felt(turn: Turn, case: Case, finding: Finding) -> None:
    """Let an incident that an alert opened know what its users were found to suffer since.

    An alert may come before the scrapes that show it, and says when a rule held, not when the
    trouble began. Nobody is accused before users are seen to suffer.
    """
    incident, found = case.incident, finding.symptom
    known = incident.symptom
    if known.reason != "alert" or case.felt:
        return
    ratio = found.bad_ratio if isnan(known.bad_ratio) else max(known.bad_ratio, found.bad_ratio)
    incident = replace(incident, symptom=replace(known, bad_ratio=ratio))
    if case.cause is None:
        began_at_s = min(incident.began_at_s, found.began_at_s)
        incident = replace(incident, began_at_s=began_at_s)
        case = replace(case, next_diagnosis_at_s=turn.now_s)
    turn.put(replace(case, incident=incident, felt=True))


def _place(turn: Turn, finding: Finding) -> None:
    """Attach a finding to the open case with its cause, else open an incident."""
    symptom, cases = finding.symptom, turn.open_cases
    together_s = turn.config.diagnose.together_s
    for case in cases:
        near = abs(symptom.began_at_s - case.incident.began_at_s) <= together_s
        same_region = case.incident.symptom.region == symptom.region
        if case.cause is None and (near or same_region):
            attach(turn, case, finding)
            return
    result = turn.diagnose(symptom)
    if result is None and _may_wait(turn, finding):
        return
    first = trusted(result, turn.config.diagnose.confidence_stable)
    if first is None:
        # Nobody can tell: the trouble that this key or region had is the likeliest explanation.
        known = [c for c in cases if finding.key in c.keys] or [
            c for c in cases if c.incident.symptom.region == symptom.region
        ]
        if known:
            attach(turn, known[-1], finding)
        else:
            open_case(turn, symptom, keys=(finding.key,))
        return
    assert result is not None
    holder = holder_of(turn, cases, result)
    if holder is None:
        open_case(turn, symptom, keys=(finding.key,), result=result)
    else:
        attach(turn, note_suspect(turn, holder, result), finding)


def _may_wait(turn: Turn, finding: Finding) -> bool:
    """Whether a finding may wait for the diagnoser once more; it is placed at the deadline."""
    since_s = dict(turn.state.waiting).get(finding.key, turn.now_s)
    others = tuple(entry for entry in turn.state.waiting if entry[0] != finding.key)
    wait = turn.now_s - since_s < turn.config.diagnose.deadline_s
    waiting = (*others, (finding.key, since_s)) if wait else others
    turn.state = replace(turn.state, waiting=waiting)
    return wait


def attach(turn: Turn, case: Case, finding: Finding) -> None:
    """Add a suffering (region, class) to a case, and wake the case if it was mitigated."""
    incident = case.incident
    if incident.phase is IncidentPhase.MITIGATED:
        phase = IncidentPhase.OPEN if incident.diagnosed_at_s is None else IncidentPhase.DIAGNOSED
        incident = replace(incident, phase=phase, mitigated_at_s=None)
        turn.say(
            DecisionKind.NOTE,
            f"{finding.symptom.region}/{finding.symptom.slo_class} suffers again, "
            f"{finding.symptom.bad_ratio:.0%} bad",
            incident=incident,
        )
    keys = case.keys if finding.key in case.keys else (*case.keys, finding.key)
    began_at_s = min(incident.began_at_s, finding.symptom.began_at_s)
    if incident.diagnosed_at_s is None:
        incident = replace(incident, began_at_s=began_at_s)
    case = turn.put(replace(case, incident=incident, keys=keys, calm_since_s=None))
    _note_felt(turn, case, finding)


def open_case(
    turn: Turn,
    symptom: Symptom,
    *,
    keys: tuple[tuple[str, str], ...],
    result: RcaResult | None = None,
) -> Case:
    """Open an incident; a result that is already there is kept as its first diagnosis."""
    number = turn.state.num_incidents + 1
    turn.state = replace(turn.state, num_incidents=number)
    incident = Incident(
        incident_id=f"inc-{number:04d}",
        phase=IncidentPhase.OPEN,
        symptom=symptom,
        began_at_s=symptom.began_at_s,
        detected_at_s=turn.now_s,
        result=result,
    )
    what = {
        "errors": "requests fail",
        "latency": "requests miss their limits",
        "missing": "requests are not answered",
        "alert": "an alert fires",
    }[symptom.reason]
    measured = "" if isnan(symptom.bad_ratio) else f": {symptom.bad_ratio:.0%} bad"
    turn.say(
        DecisionKind.OPEN,
        f"{what} in {symptom.region}/{symptom.slo_class}{measured} "
        f"since {symptom.began_at_s:.0f} s",
        incident=incident,
    )
    case = Case(
        incident=incident,
        keys=keys,
        next_jump_at_s=turn.now_s + turn.config.diagnose.second_cause_after_s,
    )
    return turn.put(case)


def diagnose_case(turn: Turn, case: Case) -> Case:
    """Name the cause as soon as it is sure enough; abstain at the deadline; look again later."""
    config = turn.config.diagnose
    incident = case.incident
    wanted = incident.phase is IncidentPhase.OPEN or case.revise
    spent = case.abstentions > config.retries_abstained_max
    if not wanted or spent or turn.now_s < case.next_diagnosis_at_s:
        return case
    result = turn.diagnose(replace(incident.symptom, began_at_s=incident.began_at_s))
    late = turn.now_s - incident.detected_at_s >= config.deadline_s
    if result is None:  # asked again at the next step: waiting uses up no retry
        return _overdue(turn, case)
    first = _sure(turn, case, result, late=late)
    case = replace(
        case,
        first_before=result.causes[0].entity if result.causes else None,
        next_diagnosis_at_s=turn.now_s + config.retry_s,
    )
    if case.revise:
        return _revised(turn, case, result, first)
    if first is not None:
        incident = replace(
            incident, phase=IncidentPhase.DIAGNOSED, diagnosed_at_s=turn.now_s, result=result
        )
        turn.say(DecisionKind.DIAGNOSE, _named(first), incident=incident)
        return turn.put(replace(case, incident=incident))
    incident = replace(incident, result=result)
    if late:
        if case.abstentions == 0:
            turn.say(DecisionKind.ABSTAIN, _unnamed(result), incident=incident)
        case = replace(
            case,
            abstentions=case.abstentions + 1,
            next_diagnosis_at_s=turn.now_s + config.retry_s_abstained,
        )
    return turn.put(replace(case, incident=incident))


def _overdue(turn: Turn, case: Case) -> Case:
    """Say once that an answer that was wanted did not come in time."""
    waited_s = turn.now_s - max(case.incident.detected_at_s, case.next_diagnosis_at_s)
    late = waited_s >= turn.config.diagnose.deadline_s
    if not late or case.overdue or case.abstentions > 0 or case.revise:
        return case
    turn.say(
        DecisionKind.ABSTAIN,
        f"no diagnosis is there after {waited_s:.0f} s; it is asked for again",
        incident=case.incident,
    )
    return turn.put(replace(case, overdue=True))


def _sure(turn: Turn, case: Case, result: RcaResult, *, late: bool) -> RankedCause | None:
    """The first candidate if it may be named now."""
    config = turn.config.diagnose
    first = trusted(result, config.confidence_late)
    if first is None or first.confidence >= config.confidence_at_once or late:
        return first
    stable = first.entity == case.first_before
    return first if stable and first.confidence >= config.confidence_stable else None


def trusted(result: RcaResult | None, confidence_min: float) -> RankedCause | None:
    """The first candidate of an answer that names one surely enough."""
    if (
        result is None
        or result.abstained
        or not result.causes
        or result.causes[0].confidence < confidence_min
    ):
        return None
    return result.causes[0]


def _revised(turn: Turn, case: Case, result: RcaResult, first: RankedCause | None) -> Case:
    """A different cause replaces the named one where it is sure, and surer than that was.

    An answer that names nothing changes nothing. After an action without effect the named cause
    has lost its claim, and any sure one replaces it. What is surer by a calibrated confidence
    can replace it only so often: the confidence never falls by it.
    """
    incident, before, above = case.incident, case.cause, case.revise_above
    if first is not None and first.entity != before and first.confidence > above:
        incident = replace(incident, result=result)
        why = "which it may only suffer from" if above else "as an action on it had no effect"
        text = f"revised from {before}, {why}: {_named(first)}"
        turn.say(DecisionKind.DIAGNOSE, text, incident=incident)
        case = replace(case, refused=())  # what was proposed for the other cause is not said of it
    return turn.put(replace(case, incident=incident, revise=False, revise_above=0.0))


def _named(cause: RankedCause) -> str:
    text = f"{cause.entity} {cause.resource_class}, confidence {cause.confidence:.2f}"
    strongest = max(cause.evidence, key=lambda e: e.strength, default=None)
    return f"{text}: {strongest.text}" if strongest else text


def _unnamed(result: RcaResult) -> str:
    missing = f"; missing: {', '.join(result.missing)}" if result.missing else ""
    return f"the cause cannot be told: {result.reason}{missing}"
