"""What a report says is true now, and where it sends a person."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from ops.catalogue import Catalogue
from ops.reports.build_demand import demand_of, usual_again
from ops.reports.build_done import done_note, done_of
from ops.reports.build_evidence import measure
from ops.reports.build_findings import told
from ops.reports.build_next import Scene, morning_of, scene_of, tonight_of, without_repeats
from ops.reports.build_steps import now_of
from ops.reports.build_story import changes_of, marks_of
from ops.reports.looks import look, look_back
from ops.reports.parts import ClockBase, Command, EvidenceSeries, Step
from ops.reports.place import Place
from ops.reports.queries import Period
from ops.state import (
    Action,
    ActionKind,
    ActionRecord,
    Decision,
    DecisionKind,
    Incident,
    IncidentPhase,
    Symptom,
    Verdict,
)
from rca.state import (
    ChangeEvent,
    ChangeKind,
    Entity,
    Evidence,
    MetricFrame,
    RankedCause,
    ResourceClass,
    Series,
)

POD = ("pod:west/db-0", "service:west/db", "service:west/door")


def cause(*path, resource=ResourceClass.CODE):
    return RankedCause(
        rank=1, entity=Entity.parse(path[0]), resource_class=resource, score=1.0,
        confidence=0.9, onset_s=545.0, evidence=(), path=path,
    )  # fmt: skip


def done(kind, verdict=Verdict.EFFECTIVE, target="service:west/db"):
    action = Action(
        action_id="a1",
        kind=kind,
        target=Entity.parse(target),
        params={"to_revision": "7", "add": 2.0, "share": 0.3, "to_region": "east", "ratio": 0.5},
        undo="deploy 8 again",
    )
    return ActionRecord(
        action=action,
        decided_at_s=640.0,
        verdict=verdict,
        verdict_reason="bad share 30% before",
        checked_at_s=700.0,
    )


def incident(*actions, phase=IncidentPhase.RESOLVED):
    return Incident(
        incident_id="i",
        phase=phase,
        symptom=Symptom(
            region="west", slo_class="fast", began_at_s=600.0, detected_at_s=630.0,
            bad_ratio=0.3, reason="latency",
        ),
        began_at_s=600.0,
        detected_at_s=630.0,
        diagnosed_at_s=630.0,
        mitigated_at_s=760.0 if phase is IncidentPhase.RESOLVED else None,
        actions=actions,
    )  # fmt: skip


def decision(kind, at_s, reason="r", action=None):
    return Decision(at_s=at_s, kind=kind, incident_id="i", reason=reason, action=action)


@pytest.mark.parametrize(
    ("actions", "usual", "says"),
    [
        ((done(ActionKind.ROLLBACK),), True,
         "masked by what is still in force: the rollback of db in west to 7."),
        ((done(ActionKind.SCALE_OUT, Verdict.NO_EFFECT),), False,
         "perhaps masked by what is still in force: 2 extra instances of db in west."),
        ((done(ActionKind.SCALE_OUT),), None, "masked by what is still in force: 2 extra"),
        ((done(ActionKind.SHIFT_TRAFFIC),), False, "in force: 30 % of the users of west at east."),
        ((done(ActionKind.LIMIT_ADMISSION),), True,
         "The fault is gone: what was measured at the cause is usual again. Still in force: the "
         "limit that admits 50 % of the requests of west."),
        ((done(ActionKind.RESTART_POD),), None, "The fault is gone since midwatch restarted db"),
        ((), True, "The fault is gone"),
        ((), False, "The cause is still there: it still differs"),
        ((), None, "Whether the fault is gone is not known."),
    ],
)  # fmt: skip
def test_now_tells_what_became_of_the_fault(actions, usual, says):
    text = now_of(incident(*actions), (), cause(*POD), usual=usual)
    assert text.startswith("Users are well. ")
    assert says in text
    assert "morning" not in text  # that is said by the steps, once
    assert text.count("in force") <= 1


@pytest.mark.parametrize(
    ("actions", "named", "says"),
    [
        ((), True, "The fault is still there. A person must look."),
        ((), False, "no cause is named. A person must look."),
        ((done(ActionKind.ROLLBACK, Verdict.PENDING),), True, "a person must look if it fails."),
        ((done(ActionKind.ROLLBACK),), True, "Users are better and not well yet."),
    ],
)
def test_now_calls_a_person_while_users_suffer(actions, named, says):
    one = incident(*actions, phase=IncidentPhase.DIAGNOSED)
    assert says in now_of(one, (), cause(*POD) if named else None, usual=False)


def test_a_refusal_is_told_with_what_became_of_users():
    refused = decision(DecisionKind.REFUSE, 700.0, "a person must look")
    marks = marks_of([refused], incident(), (), first_miss_s=600.0, page_s=None)
    assert marks[-1].text == "a person must look (users were well 1 min later)"


def test_no_effect_is_told_in_words_with_its_time():
    record = done(ActionKind.SCALE_OUT, Verdict.NO_EFFECT)
    one = incident(record)
    found = done_of(one, ())[0]
    assert found.verdict is Verdict.NO_EFFECT
    assert found.verdict_text == "No effect seen"
    assert found.checked_at_s == 700.0
    assert found.undo_note == ""
    outcome = decision(DecisionKind.OUTCOME, 700.0, "NoEffect: bad share 30% before")
    marks = marks_of([outcome], one, (), first_miss_s=600.0, page_s=None)
    assert marks[-1].text == "No effect seen within 1 min: bad share 30% before"


def test_an_undo_that_brings_the_fault_back_says_so():
    notes = [
        done_of(incident(done(kind)), ())[0].undo_note
        for kind in (ActionKind.ROLLBACK, ActionKind.SCALE_OUT)
    ]
    assert notes == ["brings the fault back", "may bring the fault back"]


def test_what_was_rolled_back_with_effect_is_the_suspect():
    changes = [
        ChangeEvent(at_s=at_s, kind=ChangeKind.DEPLOY, region=region, service=service,
                    revision_from="7", revision_to="8")
        for at_s, region, service in ((540.0, "west", "db"), (541.0, "east", "db"),
                                      (542.0, "west", "door"))
    ]  # fmt: skip
    one = incident(done(ActionKind.ROLLBACK))
    found = changes_of(changes, one, cause(*POD), cause_onset_s=545.0)
    assert [c.suspect for c in found] == [True, False, False]
    assert found[0].why == "5 s before the cause began, 1 min before users were hurt"
    failed = incident(done(ActionKind.ROLLBACK, Verdict.NO_EFFECT))
    assert not any(c.suspect for c in changes_of(changes, failed, cause(*POD), cause_onset_s=545.0))


@pytest.mark.parametrize(
    ("path", "resource", "says"),
    [
        (POD, ResourceClass.CPU, "top pod -l app=db"),
        (POD, ResourceClass.CODE, "logs -l app=db"),
        (POD, ResourceClass.LOSS, "describe pods -l app=db"),
        (POD[:1], ResourceClass.CPU, "involvedObject.name=db-0"),
        (POD[1:], ResourceClass.CONFIG_CHANGE, "rollout history deployment/db"),
        (POD[1:], ResourceClass.MEMORY, "top pod -l app=db"),
        (("node:west/n1",), ResourceClass.CPU, "top node n1"),
        (("link:west/a->b",), ResourceClass.NETWORK, "exec deployment/a -- curl"),
        (("workload:west", "service:west/door"), ResourceClass.LOAD, "logs -l app=door"),
        (("registry:west",), ResourceClass.START_UP, "reason=Pulling"),
        (("telemetry:west/db",), ResourceClass.TELEMETRY, "-l app=db"),
    ],
)
def test_the_first_look_fits_the_cause(path, resource, says):
    first = look(cause(*path, resource=resource))[0].text
    assert first.startswith("kubectl --context west ")
    assert says in first


PERIOD = Period(from_s=700.0, to_s=760.0, clock=ClockBase(epoch_s=0.0))


N1 = Place(node="n1")


def scene(one, named, *, usual=None, decisions=(), place=N1):
    return Scene(
        incident=one, decisions=decisions, cause=named, usual=usual, period=PERIOD, place=place,
        query="up[9m] @ 1060",
    )  # fmt: skip


@pytest.mark.parametrize("usual", [True, False, None])
@pytest.mark.parametrize("verdict", [Verdict.EFFECTIVE, Verdict.NO_EFFECT])
@pytest.mark.parametrize("kind", [k for k in ActionKind if k is not ActionKind.UNDO])
def test_users_who_are_well_leave_nothing_for_tonight_and_one_look_for_the_morning(
    kind, verdict, usual
):
    what = scene(incident(done(kind, verdict)), cause(*POD), usual=usual)
    tonight, morning = tonight_of(what), morning_of(what)
    assert tonight.title == "Nothing."
    assert all(command.label == "Undo" for command in tonight.commands)
    assert any(word in tonight.detail for word in ("stays", "No undo", "nothing to undo"))
    assert morning.title.startswith(("Find out", "Take back"))
    assert any(command.label == "Query" for command in morning.commands)
    assert "back" not in tonight.title


def test_what_is_in_force_is_told_with_its_way_back():
    rollback = tonight_of(scene(incident(done(ActionKind.ROLLBACK)), cause(*POD)))
    assert [c.text for c in rollback.commands] == [
        "kubectl --context west rollout undo deployment/db  # deploy 8"
    ]
    assert "brings the fault back" in rollback.detail
    removed = tonight_of(scene(incident(done(ActionKind.REPLACE_POD)), cause(*POD)))
    assert removed.detail == "No undo: a removed pod cannot come back."


def test_a_removed_pod_is_looked_at_where_it_ran():
    what = scene(
        incident(done(ActionKind.REPLACE_POD)), cause(*POD), place=Place(node="n1", gpu="3")
    )
    morning = morning_of(what)
    assert "db-0 in west (node n1, GPU 3)" in morning.title
    assert [c.text for c in morning.commands] == [
        "up[9m] @ 1060", "kubectl --context west describe node n1",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "resource", "says"),
    [
        (POD, ResourceClass.CPU, "logs db-0 --since-time=1970-01-01T00:11:40Z --tail=-1"),
        (POD[1:], ResourceClass.CONFIG_CHANGE, "rollout history deployment/db"),
        (POD[1:], ResourceClass.CPU, "logs -l app=db --since-time=1970-01-01T00:11:40Z --tail=-1"),
        (("node:west/n1",), ResourceClass.CPU, "describe node n1"),
        (("link:west/a->b",), ResourceClass.NETWORK, "get pods -l 'app in (a, b)' -o wide"),
        (("workload:west", "service:west/door"), ResourceClass.LOAD, "logs -l app=door --since-t"),
        (("telemetry:west/db",), ResourceClass.TELEMETRY, "describe pods -A -l app=db"),
    ],
)
def test_a_look_back_names_its_time_or_what_lasts(path, resource, says):
    found = look_back(
        cause(*path, resource=resource), place=Place(), period=PERIOD, query="", gone=False,
        changed=False,
    )  # fmt: skip
    assert says in found[0].text
    assert "--since=" not in found[0].text


def test_the_log_before_a_restart_is_asked_for_only_where_there_was_one():
    labels = (("container", "db"), ("pod", "db-0"), ("region", "west"))
    series = Series("kube_pod_container_status_restarts_total", labels)
    role = Catalogue.load().resolve(series)

    def looked(*counted):
        frame = MetricFrame(
            times_s=np.array([600.0, 700.0, 800.0]), values=np.array(counted)[:, None],
            series=(series,), roles=(role,), step_s=100.0,
        )  # fmt: skip
        what = scene_of(
            incident(), (), cause(*POD), usual=None, frame=frame, end_s=900.0, clock=PERIOD.clock
        )
        return [c.text for c in morning_of(what).commands if " logs " in c.text]

    (steady,), (again,) = looked(3.0, 3.0, 3.0), looked(3.0, np.nan, 4.0)
    assert "--since-time=" in steady
    assert "--previous" not in steady
    assert again.endswith("logs db-0 --previous")


def test_a_rise_of_traffic_asks_who_sent_it_and_when_to_take_instances_back():
    record = done(ActionKind.SCALE_OUT, Verdict.NO_EFFECT)
    scale = "kubectl --context west scale deployment/db --replicas=5"
    record = replace(record, action=replace(record.action, command=scale))
    traffic = cause("workload:west", "service:west/door", resource=ResourceClass.LOAD)
    what = scene(incident(record), traffic, usual=False)
    step = morning_of(what)
    assert step.title == (
        "Take back 2 extra instances of db in west when the demand is usual again."
    )
    assert step.detail == "Find out who sent the traffic: the entry's access logs by client."
    assert [(c.label, c.text) for c in step.commands[:2]] == [
        ("Run", scale.replace("=5", "=3")), ("Undo", scale),
    ]  # fmt: skip
    assert "stays until the morning" in tonight_of(what).detail
    assert morning_of(replace(what, usual=True)).title == (
        "Take back 2 extra instances of db in west."
    )


def test_two_actions_at_once_share_one_figure_from_before_and_no_merit():
    pod = replace(
        done(ActionKind.REPLACE_POD, target="pod:west/db-0"),
        bad_ratio_before=0.217, bad_ratio_after=0.0, checked_at_s=740.0,
    )  # fmt: skip
    pod = replace(pod, action=replace(pod.action, action_id="a2"))
    shift = replace(
        done(ActionKind.SHIFT_TRAFFIC, Verdict.NO_EFFECT, target="workload:west"),
        bad_ratio_before=0.099, bad_ratio_after=0.089,
    )  # fmt: skip
    one = incident(pod, shift)
    assert done_note(one, ()) == (
        "Both ran at the same time: which of them helped cannot be told. Of the requests of west "
        "that ended just before, 22 % were bad."
    )
    texts = [found.verdict_reason for found in done_of(one, ())]
    assert texts[0] == "of the requests of west that ended just before the check, none were bad"
    assert "9.9" not in texts[1]
    assert "fell by less than half, too little to count as an effect" in texts[1]
    later = replace(shift, decided_at_s=800.0, checked_at_s=860.0)
    assert done_note(incident(pod, later), ()) == ""
    assert "22 % were bad; just before the check, none" in (
        done_of(incident(pod, later), ())[0].verdict_reason
    )


def test_measurements_are_told_with_the_clock_of_the_users():
    assert told("config 1 -> 2, 5 s before the onset") == (
        "config 1 → 2, 5 s before users were hurt"
    )
    assert told("Killing x1, first -7 s from the onset") == (
        "Killing x1, first 7 s before users were hurt"
    )
    assert told("caller sees more than the callee by 1 s -> 2 s") == (
        "time on the way from caller to callee 1 s → 2 s"
    )


def series(values, **more):
    told_series = EvidenceSeries(
        label="a",
        unit="s",
        times_s=tuple(600.0 + 5.0 * k for k in range(len(values))),
        values=tuple(values),
        **{
            "normal_low": 0.9,
            "normal_high": 1.1,
            "before": 1.0,
            "after": 9.0,
            "onset_s": 600.0,
            "own": True,
            **more,
        },
    )
    return (told_series,)


@pytest.mark.parametrize(
    ("found", "usual"),
    [
        (series([9.0] * 20 + [2.9] * 20), True),
        (series([9.0] * 20 + [3.1] * 20), False),
        (series([1.0] * 20 + [9.0] * 20), False),
        (series([9.0] * 20 + [math.nan] * 20), None),
        (series([9.0] * 40, own=False), None),
        (series([9.0] * 40, onset_s=None), None),
    ],
)
def test_the_cause_is_usual_again_only_where_its_own_series_say_so(found, usual):
    assert usual_again(found, 800.0) is usual


def test_samples_that_end_long_before_the_record_say_nothing():
    assert usual_again(series([1.0] * 40), 2000.0) is None


def test_the_demand_has_the_figures_of_the_diagnosis_and_no_queue_hides_it():
    times = np.arange(5.0, 1001.0, 5.0)
    asked = np.where(times < 600.0, 2.0, 6.0)
    answered = np.full(len(times), 2.0)
    waiting = np.cumsum((asked - answered) * 5.0)
    rows = (("http_requests_total", 1.0), ("http_server_active_requests", 1.0))
    known = tuple(
        Series(name, (("region", "west"), ("service", "door"), ("slo_class", "fast"),
                      ("status", "2xx")))
        for name, _ in rows
    )  # fmt: skip
    catalogue = Catalogue.load()
    frame = MetricFrame(
        times_s=times,
        values=np.stack([np.cumsum(answered * 5.0), waiting], axis=1),
        series=known,
        roles=tuple(catalogue.resolve(s) for s in known),
        step_s=5.0,
    )
    one = incident()
    measured = measure(frame, one)
    told_rise = Evidence(
        channel="load", text="users send 2 -> 6", strength=1.0, before=2.0, after=6.0
    )
    traffic = replace(
        cause("workload:west", "service:west/door", resource=ResourceClass.LOAD),
        evidence=(told_rise,),
    )
    found = demand_of(measured, one, traffic)
    assert (found.before, found.after, found.own) == (2.0, 6.0, True)
    assert found.values[-1] == pytest.approx(6.0, abs=0.1)
    assert demand_of(measured, one, cause(*POD)) is None


def test_the_morning_does_not_repeat_what_tonight_shows():
    look_now, query = Command(label="Look", text="kubectl x"), Command(label="Query", text="up")
    tonight = Step(title="Look.", commands=(look_now,))
    later = Step(title="Find out.", commands=(query, look_now))
    assert without_repeats(later, tonight).commands == (query,)
    assert without_repeats(None, tonight) is None
