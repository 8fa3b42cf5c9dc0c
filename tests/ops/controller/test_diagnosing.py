"""The remote diagnoser: never waits, asks once, forgives an outage."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import replace

import pytest

from ops.controller.fleet.diagnosing import PAUSE_S, USABLE_S, RemoteDiagnoser
from ops.controller.operator_metrics import OperatorMetrics
from ops.controller.worker_link.wire import DiagnoseAnswer, FleetPlace
from ops.errors import WorkerBusyError, WorkerError
from rca.state import Symptom, Topology

SYMPTOM = Symptom(
    region="east", slo_class="chat", began_at_s=1000.0, detected_at_s=1020.0, bad_ratio=0.4,
    reason="latency",
)  # fmt: skip


class World:
    def __init__(self, make_result):
        self.now_s, self.asked, self.futures, self.woken = 0.0, [], [], 0
        self.result = make_result(abstained=True)
        self.diagnoser = RemoteDiagnoser(
            place=FleetPlace(namespace="shop", fleet="chat"),
            ask=self.ask,
            wake=self.wake,
            metrics=OperatorMetrics(),
            name_of=lambda symptom: f"chat-{symptom.detected_at_s:.0f}",
            clock=lambda: self.now_s,
        )

    def wake(self):
        self.woken += 1

    def ask(self, request, *, wake):
        self.asked.append(request)
        self.futures.append(Future())
        return self.futures[-1]

    def answer(self):
        answer = DiagnoseAnswer(result=self.result, ranking_sha256="x")
        self.futures[-1].set_result(answer)

    def __call__(self, symptom=SYMPTOM, *, now_s=1100.0):
        return self.diagnoser(
            None, symptom=symptom, topology=Topology(), changes=(), events=(), now_s=now_s, seed=0
        )


@pytest.fixture
def world(make_result):
    return World(make_result)


def test_a_question_is_asked_once_and_its_answer_given_once(world):
    assert world() is None
    assert world() is None
    assert len(world.asked) == 1
    world.answer()
    assert world() is world.result
    assert world() is None  # whoever asks again gets the newest metrics
    assert len(world.asked) == 2


def test_the_window_holds_what_is_usual_and_ends_now(world):
    world(now_s=9000.0)
    request = world.asked[0]
    assert request.window.end_s == 9000.0
    assert request.window.start_s == 1800.0  # two hours at most
    world(replace(SYMPTOM, began_at_s=8000.0, region="west"), now_s=9000.0)
    assert world.asked[1].window.start_s == 6800.0
    assert request.incident == "chat-1020"


def test_an_onset_that_moves_a_little_is_the_same_question(world):
    world()
    assert world(replace(SYMPTOM, began_at_s=1010.0)) is None
    assert len(world.asked) == 1
    world(replace(SYMPTOM, began_at_s=1200.0))
    assert len(world.asked) == 2


def test_what_was_asked_before_users_were_seen_to_suffer_is_no_answer_later(world):
    assert world(replace(SYMPTOM, bad_ratio=0.0)) is None
    assert world() is None
    assert [request.symptom.bad_ratio for request in world.asked] == [0.0, 0.4]
    world.futures[0].set_result(DiagnoseAnswer(result=world.result, ranking_sha256="x"))
    assert world() is None


def test_a_worker_that_fails_is_asked_again_after_a_pause(world):
    world()
    world.futures[-1].set_exception(WorkerError("down"))
    assert world() is None
    assert world() is None
    assert len(world.asked) == 1
    assert world.diagnoser.trouble == "down"
    world.now_s += 2 * PAUSE_S
    world()
    assert len(world.asked) == 2
    world.answer()
    assert world() is world.result
    assert world.diagnoser.trouble == ""


def test_a_busy_worker_is_asked_again_when_it_says(world):
    world()
    world.futures[-1].set_exception(WorkerBusyError("busy", retry_after_s=7.0))
    world()
    world.now_s += 6.9
    world()
    assert len(world.asked) == 1
    world.now_s += 0.2
    world()
    assert len(world.asked) == 2


def test_an_answer_that_took_too_long_is_not_used(world):
    world()
    world.now_s += USABLE_S + 1.0
    world.answer()
    assert world() is None
    assert world() is None
    assert len(world.asked) == 2


def test_a_gap_in_telemetry_is_no_question(world):
    assert world(replace(SYMPTOM, slo_class="", reason="missing")) is None
    assert world.asked == []


def test_questions_are_bounded(world):
    for k in range(50):
        world(replace(SYMPTOM, began_at_s=1000.0 * k))
    assert sum(not f.done() for f in world.futures) <= 8


@pytest.mark.parametrize("stale", [False, True])
def test_the_question_says_whether_the_cluster_is_seen_as_it_is_now(world, stale):
    world.diagnoser.cluster_stale = stale
    world()
    assert world.asked[0].cluster_stale is stale
