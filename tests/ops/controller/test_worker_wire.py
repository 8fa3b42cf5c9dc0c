"""What is sent is what arrives, to the last bit; what does not fit is named with its path."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from ops.controller.worker_link.codec import decode, encode
from ops.controller.worker_link.wire import (
    DiagnoseAnswer,
    DiagnoseRequest,
    FleetPlace,
    ReplayRequest,
    ReportRequest,
    Window,
)
from ops.errors import WorkerError
from ops.state import (
    Action,
    ActionKind,
    ActionRecord,
    Alert,
    Capability,
    Decision,
    DecisionKind,
    Incident,
    IncidentPhase,
    PodPhase,
    PodRecord,
    SloTarget,
)
from rca.state import (
    CausalArc,
    ChangeEvent,
    ChangeKind,
    ClusterEvent,
    Entity,
    EntityKind,
    Evidence,
    RankedCause,
    RcaResult,
    ResourceClass,
    Series,
    Symptom,
)

T0 = 1_795_000_000.123456
POD = Entity(EntityKind.POD, "eu", "p-1")
SYMPTOM = Symptom(
    region="eu", slo_class="chat", began_at_s=T0, detected_at_s=T0 + 9.5, bad_ratio=1 / 3,
    reason="latency",
)  # fmt: skip
RESULT = RcaResult(
    began_at_s=T0,
    causes=(
        RankedCause(
            rank=1, entity=POD, resource_class=ResourceClass.GPU_CLOCK, score=0.1 + 0.2,
            confidence=0.9, onset_s=T0 - 3,
            evidence=(
                Evidence(
                    channel="metric", text="fell", strength=0.4,
                    series=Series("m", (("pod", "p-1"), ("region", "eu"))), before=1e-9, after=2.0,
                ),
            ),
            path=("pod:eu/p-1",),
        ),
    ),
    abstained=False,
    reason="own time",
    ruled_out=((Entity(EntityKind.WORKLOAD, "eu"), "as usual"),),
    arcs=(CausalArc(cause=POD, effect=Entity(EntityKind.SERVICE, "eu", "s"), weight=0.5),),
)  # fmt: skip
REQUEST = DiagnoseRequest(
    place=FleetPlace(namespace="shop", fleet="chat", match_labels={"team": "a"}),
    window=Window(start_s=T0 - 900, end_s=T0, step_s=5.0),
    symptom=SYMPTOM,
    incident="chat-20261117-120000-abcde",
    pods=(
        PodRecord(
            name="p-1", region="eu", service="s", node="n", phase=PodPhase.RUNNING, ready=True,
            restarts=1, created_at_s=T0, engine=True,
            capabilities=frozenset({Capability.CAN_MIGRATE, Capability.CAN_DRAIN}),
        ),
    ),
    changes=(ChangeEvent(at_s=T0, kind=ChangeKind.DEPLOY, region="eu", service="s",
                         revision_from="1", revision_to="2"),),
    events=(ClusterEvent(at_s=T0, reason="Killing", entity=POD),),
    slos=(SloTarget(name="chat", ttft_s=2.0, tpot_s=0.2),),
    now_s=T0,
    seed=7,
)  # fmt: skip


def test_a_question_arrives_as_it_was_sent():
    assert decode(DiagnoseRequest, encode(REQUEST)) == REQUEST


def test_a_ranking_arrives_with_every_bit_of_its_scores():
    answer = DiagnoseAnswer(result=RESULT, ranking_sha256="0" * 64)
    read = decode(DiagnoseAnswer, encode(answer))
    assert read == answer
    assert read.result.causes[0].score.hex() == (0.1 + 0.2).hex()


def test_numpy_numbers_are_numbers():
    answer = DiagnoseAnswer(
        result=replace(RESULT, began_at_s=np.float64(T0)),
        ranking_sha256="",
        stages_s={"read": np.float64(1.5)},
    )
    assert decode(DiagnoseAnswer, encode(answer)).stages_s == {"read": 1.5}


def test_a_journal_arrives_with_incidents_and_actions_in_it():
    action = Action(
        action_id="a1", kind=ActionKind.SHIFT_TRAFFIC, target=POD,
        params={"to_region": "us", "share": 0.5},
    )  # fmt: skip
    incident = Incident(
        incident_id="inc-0001", phase=IncidentPhase.DIAGNOSED, symptom=SYMPTOM, began_at_s=T0,
        detected_at_s=T0 + 9.5, diagnosed_at_s=T0 + 20, result=RESULT,
        actions=(ActionRecord(action=action, decided_at_s=T0),),
    )  # fmt: skip
    decision = Decision(
        at_s=T0, kind=DecisionKind.REFUSE, incident_id="inc-0001", reason="dry run",
        action=action, incident=incident, details={"num_alerts": 3},
    )  # fmt: skip
    request = ReportRequest(
        place=REQUEST.place, window=REQUEST.window, incident="i", decisions=(decision,), now_s=T0,
        alerts=(Alert(group_key="g", fingerprint="f", starts_at_s=T0, firing=True),),
    )  # fmt: skip
    assert decode(ReportRequest, encode(request)) == request


def test_a_share_that_was_not_measured_stays_unknown():
    sent = replace(REQUEST, symptom=replace(SYMPTOM, bad_ratio=math.nan, reason="alert"))
    assert math.isnan(decode(DiagnoseRequest, encode(sent)).symptom.bad_ratio)


def test_every_fault_is_named_with_its_path():
    raw = encode(REQUEST).replace(b'"shop"', b'"Sh/op"').replace(b'"pod"', b'"pid"')
    with pytest.raises(WorkerError) as found:
        decode(DiagnoseRequest, raw.replace(b'"seed":7', b'"seed":-1'))
    for path in ("place.namespace", "events.0.entity.kind", "seed", "'Sh/op'"):
        assert path in str(found.value)


@pytest.mark.parametrize(
    ("start_s", "end_s"), [(T0, T0), (T0, T0 - 1), (T0 - 30 * 3600, T0), (T0 - 900, math.nan)]
)
def test_a_window_has_a_bounded_length(start_s, end_s):
    with pytest.raises(ValueError, match="window"):
        Window(start_s=start_s, end_s=end_s)


@pytest.mark.parametrize("name", ["../../etc", "a/b", ".hidden", "A", "-a", "a\n"])
def test_a_name_that_could_leave_its_folder_is_refused(name):
    raw = encode(REQUEST).replace(b"chat-20261117-120000-abcde", name.encode())
    with pytest.raises(WorkerError):
        decode(DiagnoseRequest, raw)


def test_a_replay_is_of_one_thing():
    for more in ({}, {"incident": "a", "scenario": "chat"}):
        with pytest.raises(ValueError, match="either"):
            ReplayRequest(namespace="shop", name="r", **more)


def test_what_is_no_json_says_where_it_came_from():
    with pytest.raises(WorkerError, match="same version"):
        decode(DiagnoseRequest, b"<html>")
