"""One fleet's record: the Incident first, what the server says to a recommendation afterwards."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from ops.controller.fleet.record import FleetRecord
from ops.controller.operator_metrics import OperatorMetrics
from ops.controller.resources.fleet import FleetSpec, Mode
from ops.errors import KubeError
from ops.state import Action, ActionKind, DecisionKind
from tests.ops.controller.fake_server import FakeServer
from tests.ops.controller.test_incident_writer import FLEET, POD, T0, named, opened, said

REPLACE = Action(action_id="", kind=ActionKind.REPLACE_POD, target=POD, reason="it is slow")


class DryServer(FakeServer):
    """Answers dry runs without storing anything; `silent` does not answer them."""

    silent = False

    def create(self, path, body, *, params=None, timeout_s=None):
        if params is None:
            return super().create(path, body)
        assert params == {"dryRun": "All"}
        self._check("try", path)
        if self.silent:
            raise KubeError("no answer in 3 s", reason="Timeout")
        return {}


@pytest.fixture
def record():
    made = FleetRecord(api=DryServer(), fleet=FLEET, metrics=OperatorMetrics())
    made.report_queue = SimpleNamespace(
        note=lambda *_: None, forget=lambda _: None, turn=lambda *_: None
    )
    return made


def turn(record, case, *decisions, mode=Mode.RECOMMEND):
    snapshot = SimpleNamespace(now_s=T0 + 30)
    spec = FleetSpec(mode=mode)
    record.take([case], decisions, alerts=(), snapshot=snapshot, spec=spec)
    record.flush(now_s=T0 + 30)


def asked(record, case, **how):
    """The server is asked beside the turns, and the next turn takes its answer in."""
    assert record.wants_dry_run
    record.dry_run()
    turn(record, case, **how)


def action_of(record):
    (stored,) = record.api.of("incidents")
    (action,) = stored["status"]["actions"]
    return action


def calls_of(record):
    return [
        (verb, path.rpartition("/")[2]) for verb, path in record.api.calls if "/events" not in path
    ]


def test_the_incident_is_written_before_the_server_is_asked_for_a_dry_run(record):
    case = named(opened())
    turn(record, case, said(DecisionKind.REFUSE, case, "dry run", REPLACE))
    assert calls_of(record) == [("create", "incidents"), ("patch", "status")]
    asked(record, case)
    assert calls_of(record)[2:] == [("try", "eviction"), ("patch", "status")]
    assert not record.wants_dry_run
    assert action_of(record)["dryRun"] == "accepted: the server would evict the pod"
    assert action_of(record)["request"].startswith("POST /api/v1/namespaces/shop/pods/llm-2")


def test_a_server_that_answers_no_dry_run_keeps_no_incident_from_being_written(record):
    record.api.silent = True
    case = named(opened())
    turn(record, case, said(DecisionKind.REFUSE, case, "dry run", REPLACE))
    asked(record, case)
    assert action_of(record)["dryRun"] == ""
    record.api.silent = False
    asked(record, case)
    assert action_of(record)["dryRun"].startswith("accepted")


def test_nothing_is_asked_while_the_incident_cannot_be_written(record):
    record.api.fail["create", "incidents"] = 422
    case = named(opened())
    turn(record, case, said(DecisionKind.REFUSE, case, "dry run", REPLACE))
    assert not record.wants_dry_run


def test_the_journal_for_the_page_has_the_answer_too(record):
    case = named(opened())
    turn(record, case, said(DecisionKind.REFUSE, case, "dry run", REPLACE))
    asked(record, case)
    (decision,) = record.book.entries["inc-0001"].decisions
    assert decision.details["dry_run"].startswith("accepted")


def test_observe_asks_for_nothing(record):
    case = named(opened())
    decision = said(DecisionKind.REFUSE, case, "dry run", REPLACE)
    turn(record, case, decision, mode=Mode.OBSERVE)
    assert not record.wants_dry_run
