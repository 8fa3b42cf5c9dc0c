"""A Replay is answered once; what cannot be run says why."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future

from ops.controller.replays import desk
from ops.controller.replays.desk import ReplayDesk
from ops.controller.worker_link.wire import CheckResult, ReplayAnswer, ReplayCheck
from ops.errors import WorkerBusyError, WorkerError

HASH = "ab" * 32


class FakeApi:
    def __init__(self):
        self.statuses, self.created = [], []

    def get(self, path, *, params):
        assert params == {"fieldSelector": "metadata.name=chat-1"}
        return {"items": [{"status": {"rankingSha256": HASH}}]}

    def create(self, path, body):
        self.created.append((path, body))

    def patch(self, path, body):
        self.statuses.append(body["status"])


class FakeWorker:
    def __init__(self, *answers):
        self.answers, self.asked = list(answers), []

    def replay(self, request, *, wake):
        self.asked.append(request)
        future = Future()
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(answer)
        return future


def replay(spec, *, phase=""):
    return {
        "metadata": {"namespace": "shop", "name": "again", "uid": "u1", "generation": 1},
        "spec": spec,
        "status": {"phase": phase} if phase else {},
    }


def answered(worker, *bodies):
    api = FakeApi()

    async def main():
        desk = ReplayDesk(api, worker)
        for body in bodies:
            desk.put(body)
        async with asyncio.timeout(5.0):
            while desk._tasks:
                await asyncio.sleep(0.001)

    asyncio.run(main())
    return api


def conditions(status):
    return {c["type"]: (c["status"], c["reason"]) for c in status["conditions"]}


def test_an_incident_is_replayed_against_the_ranking_that_its_object_shows():
    check = CheckResult(check=ReplayCheck.SAME_RANKING, passed=True, message="ranking abab")
    answer = ReplayAnswer(
        verdict="It was the pod.", checks=(check,), ranking_sha256=HASH, html_gzip="AAAA",
        sha256="cd" * 32, markdown="# It was the pod",
    )  # fmt: skip
    worker = FakeWorker(answer)
    body = replay({"incident": "chat-1", "checks": ["SameRanking"]})
    api = answered(worker, body, body)  # an event comes twice
    assert len(worker.asked) == 1
    assert worker.asked[0].ranking_sha256 == HASH
    first, last = api.statuses
    assert first["phase"] == "Running"
    assert last["phase"] == "Complete"
    assert conditions(last) == {"Complete": ("True", "Answered"), "Passed": ("True", "ChecksHold")}
    assert last["report"]["configMap"] == "again-replay-report"
    assert api.created[0][1]["metadata"]["ownerReferences"][0]["kind"] == "Replay"


def test_a_check_that_fails_is_told():
    check = CheckResult(check=ReplayCheck.CAUSE_NAMED, passed=False, message="cannot be told")
    answer = ReplayAnswer(verdict="Cannot be told.", checks=(check,))
    api = answered(FakeWorker(answer), replay({"incident": "chat-1", "checks": ["CauseNamed"]}))
    assert conditions(api.statuses[-1])["Passed"] == ("False", "CheckFailed")


def test_one_that_was_answered_is_left_alone():
    worker = FakeWorker()
    assert answered(worker, replay({"incident": "chat-1"}, phase="Complete")).statuses == []
    assert worker.asked == []


def test_a_spec_of_neither_incident_nor_scenario_fails_with_its_reason():
    api = answered(FakeWorker(), replay({}))
    assert api.statuses[-1]["phase"] == "Failed"
    assert "give either incident or scenario" in str(api.statuses[-1]["conditions"])


def test_a_busy_worker_is_waited_for_and_a_dead_one_given_up(monkeypatch):
    monkeypatch.setattr(desk, "PAUSE_S", 0.001)
    answer = ReplayAnswer(verdict="It was the pod.")
    worker = FakeWorker(WorkerBusyError("busy", retry_after_s=0.001), WorkerError("down"), answer)
    api = answered(worker, replay({"scenario": "chat"}))
    assert api.statuses[-1]["phase"] == "Complete"
    dead = FakeWorker(*[WorkerError("down")] * desk.TRIES)
    api = answered(dead, replay({"scenario": "chat"}))
    assert conditions(api.statuses[-1])["Complete"] == ("False", "Failed")
