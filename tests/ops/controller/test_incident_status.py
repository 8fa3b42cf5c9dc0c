"""The status of an Incident: what a person reads, and what a restarted operator needs."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from ops.controller.conditions import Observed, cut, merged
from ops.controller.incidents.conditions import Reported
from ops.controller.incidents.size import STATUS_BYTES_MAX, fitted, status_bytes
from ops.controller.incidents.status import incident_status, with_answer
from ops.controller.moments import rfc3339, seconds, short_span
from ops.controller.resources.fields import (
    Condition,
    ConditionStatus,
    ReportRef,
    parse,
    to_object,
)
from ops.controller.resources.incident import (
    IncidentStatus,
    Phase,
    Severity,
    actions_best_first,
)
from ops.controller.worker_link.wire import RecordedAs
from ops.ranking import ranking_sha256
from ops.state import Action, ActionKind, Decision, DecisionKind, Incident, IncidentPhase
from rca.state import (
    CONTRADICTION,
    Entity,
    EntityKind,
    Evidence,
    RankedCause,
    RcaResult,
    ResourceClass,
    Series,
    Symptom,
)
from tests.ops.controller.hostile import hostile_incident, hostile_refusals

T0 = 1_795_000_000.0
KEYS = (("eu", "chat"), ("us", "chat"))
POD = Entity(EntityKind.POD, "eu", "llm-2")
OPEN = Incident(
    incident_id="inc-0001",
    phase=IncidentPhase.OPEN,
    symptom=Symptom(
        region="eu", slo_class="chat", began_at_s=T0, detected_at_s=T0 + 10, bad_ratio=0.31,
        reason="latency",
    ),
    began_at_s=T0,
    detected_at_s=T0 + 10,
)  # fmt: skip
CAUSE = RankedCause(
    rank=1, entity=POD, resource_class=ResourceClass.GPU_CLOCK, score=1.0, confidence=0.9,
    onset_s=T0 - 2,
    evidence=(Evidence(channel="metric", text="GPU clock 1.7 -> 0.8 GHz", strength=2.0,
                       series=Series("DCGM_FI_DEV_SM_CLOCK", (("pod", "llm-2"),))),),
)  # fmt: skip
RESULT = RcaResult(began_at_s=T0, causes=(CAUSE,), abstained=False, reason="GPU clock",
                   ruled_out=((Entity(EntityKind.WORKLOAD, "eu"), "as usual"),))  # fmt: skip
NAMED = replace(
    OPEN, phase=IncidentPhase.DIAGNOSED, diagnosed_at_s=T0 + 21.4, result=RESULT, alerts=3
)


def said(kind, reason="", action=None, at_s=T0 + 22):
    return Decision(at_s=at_s, kind=kind, incident_id="inc-0001", reason=reason, action=action)


def restart(reason="it alone is slow"):
    return Action(action_id="", kind=ActionKind.RESTART_POD, target=POD, reason=reason,
                  undo="none needed", command="kubectl --context eu delete pod llm-2")  # fmt: skip


def status_of(incident, **more):
    return incident_status(incident, **({"keys": KEYS, "now_s": T0 + 30} | more))


def conditions(status):
    return {c.type: (str(c.status), c.reason) for c in status.conditions}


def test_a_new_incident_tells_who_suffers_and_that_the_diagnosis_is_under_way():
    status = status_of(OPEN)
    assert status.symptom == "requests miss their limits in eu/chat: 31% bad"
    assert (status.phase, status.severity) == (Phase.OPEN, Severity.CRITICAL)
    assert conditions(status) == {
        "Detected": ("True", "LatencySeen"),
        "Diagnosed": ("Unknown", "UnderWay"),
        "Mitigated": ("False", "UsersSuffer"),
        "Resolved": ("False", "UsersSuffer"),
        "Recorded": ("Unknown", "UnderWay"),
    }
    assert status.keys == ["eu/chat", "us/chat"]


def test_a_named_cause_brings_evidence_what_it_was_not_and_its_time():
    status = status_of(NAMED, previous=status_of(OPEN))
    assert (status.cause, status.confidence) == ("pod:eu/llm-2", 0.9)
    assert status.time_to_cause == "21s"
    assert status.causes[0].evidence[0].metric == 'DCGM_FI_DEV_SM_CLOCK{pod="llm-2"}'
    assert status.ruled_out[0].entity == "workload:eu"
    assert conditions(status)["Diagnosed"] == ("True", "CauseNamed")
    assert status.summary == "llm-2 in eu slowed down."
    assert (status.ranking_sha256, status.alerts) == (ranking_sha256(RESULT), 3)


def test_what_contradicts_a_cause_is_kept_beside_stronger_evidence():
    found = [Evidence(channel="metric", text=f"{k}", strength=1.0 + k) for k in range(6)]
    against = Evidence(channel=CONTRADICTION, text="yet Ready", strength=-0.2)
    cause = replace(CAUSE, evidence=(*found[::2], against, *found[1::2]))
    status = status_of(replace(NAMED, result=replace(RESULT, causes=(cause,))))
    assert [item.text for item in status.causes[0].evidence] == ["5", "4", "3", "yet Ready"]


def test_where_space_is_short_what_contradicts_a_cause_is_kept():
    found = [Evidence(channel="metric", text=f"{k}", strength=1.0 + k) for k in range(6)]
    against = Evidence(channel=CONTRADICTION, text="yet Ready", strength=-0.2)
    cause = replace(CAUSE, evidence=(*found, against))
    status = status_of(replace(NAMED, result=replace(RESULT, causes=(cause,))))
    kept = fitted(status, bytes_max=1)
    assert [item.text for item in kept.causes[0].evidence] == ["5", "yet Ready"]


def test_the_reports_own_first_sentence_is_the_summary_and_stays():
    told = Reported(
        headline="llm-2 slowed down: its GPU clock fell.",
        ref=ReportRef(config_map="r"),
        recorded=RecordedAs.NO_VOLUME,
        message="no bundleDir",
    )
    first = status_of(NAMED, report=told)
    later = status_of(NAMED, previous=first)
    assert later.summary == first.summary == told.headline
    assert later.report == told.ref
    assert conditions(later)["Recorded"] == ("False", "NoVolume")


def test_an_abstention_says_what_is_missing_and_names_nobody():
    result = replace(RESULT, abstained=True, reason="the evidence is weak",
                     missing=("GPU metrics",),
                     would_settle=("SM clock of pod:eu/llm-2",))  # fmt: skip
    status = status_of(
        replace(OPEN, result=result), decisions=(said(DecisionKind.ABSTAIN, "the evidence"),)
    )
    (told,) = [c for c in status.conditions if c.type == "Diagnosed"]
    assert (told.status, told.reason) == (ConditionStatus.FALSE, "Abstained")
    assert "missing: GPU metrics" in told.message
    assert "would settle it: SM clock" in told.message
    assert (status.cause, status.confidence, status.abstained) == ("", None, True)
    assert status.causes  # candidates stay visible


def test_a_diagnosis_that_does_not_come_is_told_as_such():
    reason = "no diagnosis is there 45 s after detection; it is asked for again"
    status = status_of(OPEN, decisions=(said(DecisionKind.ABSTAIN, reason),))
    assert conditions(status)["Diagnosed"] == ("False", "NoAnswer")


def test_dry_run_means_allowed_and_another_refusal_is_kept_with_its_reason():
    blocked = replace(restart(), kind=ActionKind.REPLACE_POD)
    status = status_of(
        NAMED,
        decisions=(
            said(DecisionKind.REFUSE, "dry run", restart()),
            said(DecisionKind.REFUSE, "it would take the last ready instance", blocked),
        ),
        namespace="shop",
    )
    first, second = status.actions
    assert (first.allowed, first.guard, first.undo) == (True, "", "none needed")
    assert first.command.endswith(" --raw /api/v1/namespaces/shop/pods/llm-2/eviction -f -")
    assert (second.allowed, second.guard) == (False, "it would take the last ready instance")


def test_an_action_said_again_keeps_what_the_server_answered_to_it():
    once = status_of(NAMED, decisions=(said(DecisionKind.REFUSE, "dry run", restart()),))
    asked = replace(once, actions=[replace(once.actions[0], request="PATCH /x", dry_run="200")])
    again = status_of(
        NAMED, previous=asked, decisions=(said(DecisionKind.REFUSE, "dry run", restart("again")),)
    )
    (action,) = again.actions
    assert (action.request, action.dry_run, action.reason) == ("PATCH /x", "200", "again")


NO_DATA = "no fresh data: no metrics were scraped yet"


def test_what_was_allowed_stays_until_fresh_data_judge_it_anew():
    """A restarted operator reads the actions back, and has no metrics yet."""
    once = status_of(NAMED, decisions=(said(DecisionKind.REFUSE, "dry run", restart()),))
    asked = replace(once, actions=[replace(once.actions[0], request="PATCH /x", dry_run="200")])
    read_back = parse(IncidentStatus, to_object(asked), path="status")
    later = read_back
    for age_s in (21, 26):
        reason = f"no fresh data: the newest metrics are {age_s} s old"
        judged = said(DecisionKind.REFUSE, reason, restart(), at_s=T0 + 300)
        later = status_of(NAMED, previous=later, decisions=(judged,))
        assert later.actions == [replace(asked.actions[0], guard=reason)]
    blast = said(DecisionKind.REFUSE, "the last ready instance", restart(), at_s=T0 + 400)
    (action,) = status_of(NAMED, previous=later, decisions=(blast,)).actions
    assert (action.allowed, action.guard) == (False, "the last ready instance")
    assert action.decided == rfc3339(T0 + 400)


def test_what_was_refused_for_harm_is_not_made_good_by_an_outage():
    harm = status_of(NAMED, decisions=(said(DecisionKind.REFUSE, "the last one", restart()),))
    later = status_of(
        NAMED, previous=harm, decisions=(said(DecisionKind.REFUSE, NO_DATA, restart()),)
    )
    assert later.actions == harm.actions


def test_actions_stay_in_the_order_of_their_proposal():
    other = replace(restart(), kind=ActionKind.CORDON_DRAIN_NODE)
    first = status_of(
        NAMED,
        decisions=(
            said(DecisionKind.REFUSE, "cool-down", restart()),
            said(DecisionKind.REFUSE, "dry run", other),
        ),
    )
    later = status_of(
        NAMED, previous=first, decisions=(said(DecisionKind.REFUSE, "dry run", restart()),)
    )
    assert [a.kind for a in actions_best_first(first.actions)] == [
        ActionKind.CORDON_DRAIN_NODE, ActionKind.RESTART_POD,
    ]  # fmt: skip
    assert [a.kind for a in actions_best_first(later.actions)] == [
        ActionKind.RESTART_POD, ActionKind.CORDON_DRAIN_NODE,
    ]  # fmt: skip


def test_where_space_is_short_the_next_action_is_what_is_kept():
    good = said(DecisionKind.REFUSE, "dry run", restart())
    bad = [
        said(DecisionKind.REFUSE, "cool-down", replace(restart(), kind=kind), at_s=T0 + 99)
        for kind in (ActionKind.REPLACE_POD, ActionKind.CORDON_DRAIN_NODE)
    ]
    status = status_of(NAMED, decisions=(*bad, good))
    kept = fitted(status, bytes_max=1)
    assert [(a.kind, a.allowed) for a in kept.actions] == [(ActionKind.RESTART_POD, True)]


def test_that_no_action_fits_stays_said_while_users_suffer():
    reason = "no action fits this cause; a person must look"
    first = status_of(NAMED, decisions=(said(DecisionKind.REFUSE, reason),))
    later = status_of(NAMED, previous=first, now_s=T0 + 60)
    assert [c.message for c in later.conditions if c.type == "Mitigated"] == [reason]


def test_severity_never_falls_and_an_alert_can_only_raise_it():
    calm = replace(OPEN, symptom=replace(OPEN.symptom, bad_ratio=0.03))
    assert status_of(calm).severity is Severity.WARNING
    assert status_of(calm, previous=status_of(OPEN)).severity is Severity.CRITICAL
    assert status_of(calm, alert_severity="critical").severity is Severity.CRITICAL
    assert status_of(calm, alert_severity="info").severity is Severity.WARNING


def test_a_share_that_nobody_measured_is_absent_not_zero():
    alone = replace(OPEN, symptom=replace(OPEN.symptom, bad_ratio=math.nan, reason="alert"))
    status = status_of(alone, keys=())
    assert status.symptom == "an alert fires in eu/chat"


def test_times_of_conditions_move_only_with_their_status():
    first = status_of(OPEN, now_s=T0 + 30)
    later = status_of(NAMED, previous=first, now_s=T0 + 40, generation=2)
    at = {c.type: c.last_transition_time for c in later.conditions}
    assert at["Detected"] == rfc3339(T0 + 30)
    assert at["Diagnosed"] == rfc3339(T0 + 40)
    assert {c.observed_generation for c in later.conditions if c.type != "Recorded"} == {2}


def test_a_condition_that_was_not_looked_at_is_kept():
    old = Condition(type="A", status=ConditionStatus.TRUE, reason="R", message="m",
                    last_transition_time=rfc3339(T0))  # fmt: skip
    new = Observed(type="B", status=ConditionStatus.FALSE, reason="R", message="m")
    found = merged((old,), (new,), now_s=T0 + 9, generation=1)
    assert found[0] == old
    assert found[1].last_transition_time == rfc3339(T0 + 9)


@pytest.mark.parametrize(
    "text", ["x" * 9000, "\u2603" * 9000, '"\\' * 9000, "a\nb\x00\u202e" * 3000]
)
def test_the_status_fits_whatever_the_metrics_are_called(text):
    case = hostile_incident(text)
    status = status_of(
        case.incident,
        keys=case.keys,
        decisions=hostile_refusals(case, text),
        alert_digests="AAAAAAAA" * 2048,
        firing_digests="AAAAAAAA" * 1024,
        report=Reported(headline=text, message=text, recorded=RecordedAs.FAILED),
    )
    assert status_bytes(status) <= STATUS_BYTES_MAX
    assert status.causes
    assert status.actions
    assert parse(IncidentStatus, to_object(status), path="status") == status


def test_a_full_but_honest_status_is_not_shortened():
    status = status_of(NAMED, alert_digests="AAAAAAAA" * 2048)
    assert fitted(status) == status
    assert len(status.alert_digests) == 16_384


def test_cutting_counts_bytes_and_never_splits_a_letter():
    assert cut("ab", 2) == "ab"
    assert cut("\u00e4" * 10, 9) == "\u00e4" * 3 + "..."
    assert cut("a\n b\tc", 99) == "a b c"
    assert cut("\x00\u202e", 9).isprintable()


def test_moments_read_back_and_spans_read_like_kubectls():
    assert seconds(rfc3339(T0 + 0.9)) == T0
    assert seconds("2026-11-17T12:00:00.5+01:00") == seconds("2026-11-17T11:00:00.5Z")
    assert [short_span(s) for s in (0.4, 21, 245, 3600, 11400, 190800)] == [
        "0s", "21s", "4m5s", "1h", "3h10m", "2d5h"
    ]  # fmt: skip


def test_the_time_to_the_cause_is_the_span_between_the_stamps_beside_it():
    late = replace(NAMED, began_at_s=T0 + 0.9, diagnosed_at_s=T0 + 21.1)
    status = status_of(late)
    assert seconds(status.diagnosed) - seconds(status.began) == 21.0
    assert status.time_to_cause == "21s"


def test_confidence_is_rounded_once_for_every_place_that_shows_it():
    sure = replace(CAUSE, confidence=0.8249731)
    status = status_of(replace(NAMED, result=replace(RESULT, causes=(sure,))))
    assert (status.confidence, status.causes[0].confidence) == (0.82, 0.82)
    told = {c.type: c.message for c in status.conditions}
    assert told["Diagnosed"].endswith("confidence 0.82")


def test_a_mitigated_incident_says_after_how_much_quiet_it_resolves():
    well = replace(NAMED, phase=IncidentPhase.MITIGATED, mitigated_at_s=T0 + 60)
    status = status_of(well, resolved_after_s=240.0)
    assert conditions(status)["Resolved"] == ("False", "StayingWell")
    told = {c.type: c.message for c in status.conditions}
    assert told["Resolved"] == "users are well again; it resolves after 240 s of quiet"


def test_an_answer_of_the_server_goes_to_its_action_alone():
    status = status_of(NAMED, decisions=[said(DecisionKind.REFUSE, "dry run", restart())])
    told = said(DecisionKind.REFUSE, "dry run", restart())
    told = replace(told, details={"request": "POST /x", "patch": "{}", "dry_run": "accepted"})
    (action,) = with_answer(status, told).actions
    assert (action.request, action.dry_run, action.allowed) == ("POST /x", "accepted", True)
    other = replace(told, action=replace(restart(), target=Entity(EntityKind.POD, "eu", "llm-9")))
    assert with_answer(status, other) == status


def test_what_was_proposed_for_another_cause_goes_with_it():
    first = status_of(NAMED, decisions=[said(DecisionKind.REFUSE, "dry run", restart())])
    other = replace(CAUSE, entity=Entity(EntityKind.SERVICE, "eu", "store"))
    revised = replace(NAMED, result=replace(RESULT, causes=(other,)))
    assert [a.target for a in status_of(NAMED, previous=first).actions] == [str(POD)]
    assert status_of(revised, previous=first).actions == []
    own = replace(restart(), kind=ActionKind.ROLLBACK, target=other.entity)
    told = status_of(revised, previous=first, decisions=[said(DecisionKind.REFUSE, "no", own)])
    assert [a.target for a in told.actions] == ["service:eu/store"]
