"""Which Incident `kubectl midwatch` takes for a name, and what `status` says of the operator."""

from __future__ import annotations

import pytest

from ops.controller.moments import rfc3339
from ops.errors import KubeError
from tests.ops.controller.plugin_server import Server, runner
from tests.ops.controller.stored_objects import (
    ABSTAINED,
    NAMED,
    NOW_S,
    RESOLVED,
    fleet,
    incident,
    lease,
)

NAME = "chat-20261130-020645-a1b2c"


@pytest.fixture
def run(monkeypatch):
    monkeypatch.setattr("ops.commands.cluster_access.wall_s", lambda: NOW_S)
    return runner(monkeypatch)


def test_a_fleets_name_means_its_only_open_incident(run):
    old = incident("chat-20261129-020645-a1b2c", RESOLVED)
    other = incident("chat-eu-20261130-020645-a1b2c", NAMED, fleet="chat-eu")
    server = Server(incident(NAME, NAMED), old, other)
    assert run(server, "why chat").out.startswith(f"shop/{NAME}\n")
    assert run(server, "why chat-2026").out.startswith(f"shop/{NAME}\n")
    assert run(server, "why chat-20261129").out.startswith("shop/chat-20261129-")


def test_several_of_a_fleet_are_listed_and_none_names_the_resolved_ones(run):
    old = incident("chat-20261129-020645-a1b2c", RESOLVED)
    server = Server(incident(NAME, NAMED), old)
    server.add(incident("chat-20261130-030000-bbbbb", ABSTAINED))
    done = run(server, "why chat")
    assert (done.code, done.out) == (2, "")
    assert "2 incidents of 'chat' are open in namespace shop; name one: chat-2026" in done.err
    assert "20261129" not in done.err
    older = incident("chat-20261128-020645-a1b2c", RESOLVED)
    done = run(Server(old, older), "why chat")
    assert done.code == 2
    assert "no incident of 'chat' is open" in done.err
    assert "name a resolved one: chat-2026112" in done.err


@pytest.mark.parametrize(("silent_s", "code"), [(3.0, 0), (3600.0, 1)])
def test_an_operator_that_is_gone_is_told_though_its_last_status_was_good(run, silent_s, code):
    server = Server(fleet(well=True), lease(renewed=rfc3339(NOW_S - silent_s)))
    done = run(server, "status --context eu")
    assert done.code == code
    assert ("! No operator leads: the Lease was last renewed 1 h" in done.out) == bool(code)
    log = "kubectl --context eu -n midwatch-system logs deployment/midwatch-operator --tail 50"
    assert (log in done.out) == bool(code)
    server.add(incident(NAME, NAMED))
    assert run(server, "why").out.startswith("! No operator leads") == bool(code)


def test_who_may_not_read_the_lease_still_sees_the_fleets(run):
    server = Server(fleet(well=True))
    server.refused = {"leases": KubeError("no", status=403)}
    assert run(server, "status").code == 0


def test_commands_name_what_really_runs_the_pods(run):
    server = Server(incident(NAME, NAMED))
    assert "describe deployment session-store" in run(server, "why chat").out
    server.add({"apiVersion": "apps/v1", "kind": "StatefulSet",
                "metadata": {"name": "session-store", "namespace": "shop"}})  # fmt: skip
    out = run(server, "why chat").out
    assert "describe statefulset session-store" in out
    assert "logs statefulset/session-store" in out
