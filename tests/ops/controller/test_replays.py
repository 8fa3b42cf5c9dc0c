"""A Replay is answered once; what cannot be run says why."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future

from ops.controller.replays import desk
from ops.controller.replays.desk import ReplayDesk
from ops.controller.worker_link.wire import CheckResult, ReplayAnswer, ReplayCheck
from ops.errors import KubeError, WorkerBusyError, WorkerError

HASH = "ab" * 32


class FakeApi:
    """Takes what it is given; `refusals` are answered first, by what is asked."""

    def __init__(self, **refusals):
        self.statuses, self.created, self.refusals = [], [], refusals

    def _refused(self, what):
        if self.refusals.get(what):
            status = self.refusals[what].pop(0)
            if status:
                raise KubeError(f"{what}: {status}", status=status)

    def get(self, path, *, params):
        assert params == {"fieldSelector": "metadata.name=chat-1"}
        self._refused("get")
        return {"items": [{"status": {"rankingSha256": HASH}}]}

    def create(self, path, body):
        self._refused("create")
        self.created.append((path, body))

    def patch(self, path, body):
        self._refused("patch")
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


def answered(worker, *bodies, api=None):
    """One after the other; a body that comes while another runs finds it running."""
    api = api or FakeApi()

    async def main():
        desk = ReplayDesk(api, worker)
        for body in bodies:
            desk.put(body)
        async with asyncio.timeout(30.0):
            while desk._tasks:
                await asyncio.sleep(0.001)
        desk.put(bodies[-1])  # an event that was on its way when it was answered
        assert not desk._tasks

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


PAGE = ReplayAnswer(verdict="It was the pod.", html_gzip="AAAA", sha256="cd" * 32, markdown="#")


def test_a_server_that_is_away_leaves_no_replay_running(monkeypatch):
    """At every step: the first status, the Incident that it asks for, the page, the last status."""
    monkeypatch.setattr(desk, "PAUSE_S", 0.001)
    api = FakeApi(patch=[503, 0, 500, 429, 0], get=[403, 503], create=[503])
    worker = FakeWorker(PAGE)
    answered(worker, replay({"incident": "chat-1"}), api=api)
    assert [status["phase"] for status in api.statuses] == ["Running", "Complete"]
    assert api.statuses[-1]["started"]
    assert len(worker.asked) == 1  # what the worker has answered is not asked again
    assert api.statuses[-1]["report"]["configMap"] == "again-replay-report"


def test_a_replay_that_a_dead_leader_left_running_is_taken_up_again():
    left = replay({"incident": "chat-1"}, phase="Running")
    left["status"]["started"] = "2026-11-30T02:00:00Z"
    api = answered(FakeWorker(PAGE), left)
    assert api.statuses[-1]["phase"] == "Complete"
    assert api.statuses[-1]["started"] == "2026-11-30T02:00:00Z"


def test_a_page_that_the_server_refuses_is_told_and_the_answer_stands():
    api = answered(FakeWorker(PAGE), replay({"incident": "chat-1"}), api=FakeApi(create=[413]))
    last = api.statuses[-1]
    assert (last["phase"], "report" in last) == ("Complete", False)
    assert "its page is not stored: create: 413" in str(last["conditions"])


def test_a_replay_that_cannot_be_handled_ends_with_the_reason():
    class Broken(FakeWorker):
        def replay(self, request, *, wake):
            raise AttributeError("no such thing")

    api = answered(Broken(), replay({"incident": "chat-1"}))
    assert api.statuses[-1]["phase"] == "Failed"
    assert "no such thing" in str(api.statuses[-1]["conditions"])


def test_a_replay_that_somebody_deletes_is_left():
    api = FakeApi(patch=[404])
    worker = FakeWorker()
    desk_body = replay({"incident": "chat-1"})

    async def main():
        one = ReplayDesk(api, worker)
        one.put(desk_body)
        async with asyncio.timeout(30.0):
            while one._tasks:
                await asyncio.sleep(0.001)

    asyncio.run(main())
    assert (api.statuses, worker.asked) == ([], [])
