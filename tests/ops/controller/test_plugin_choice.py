"""Which Incident `kubectl midwatch` takes for a name, and what `status` says of the operator."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ops.controller.moments import rfc3339
from ops.controller.resources.incident import Phase
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


def test_of_several_the_one_that_users_suffer_from_is_taken_and_the_others_are_told(run):
    calm = incident("chat-20261130-010000-bbbbb", replace(NAMED, phase=Phase.MITIGATED))
    server = Server(incident(NAME, NAMED), calm)
    for line in ("why", "why chat", "why -A"):
        done = run(server, line)
        assert (done.code, done.out.startswith(f"shop/{NAME}\n")) == (0, True), line
        assert done.err == (
            "note: also open, but mitigated: chat-20261130-010000-bbbbb; name one to see it\n"
        )
    server.add(incident("chat-20261130-030000-ccccc", ABSTAINED))
    assert run(server, "why").code == 2
    assert run(Server(calm), "why").out.startswith("shop/chat-20261130-010000-bbbbb\n")


def test_what_burns_in_another_namespace_is_told_where_nothing_burns_here(run):
    server = Server(
        incident("pay-1", NAMED, namespace="pay", fleet="pay"),
        incident("pay-2", ABSTAINED, namespace="pay", fleet="pay"),
        incident("web-1", NAMED, namespace="web", fleet="web"),
        incident("web-0", RESOLVED, namespace="web", fleet="web"),
    )
    done = run(server, "why")
    assert (done.code, done.out) == (2, "")
    assert done.err == (
        "error: no incident is open in namespace shop; "
        "open elsewhere: 2 in pay, one in web, add -n pay or -A\n"
    )
    assert "there is one in web: add -n web" in run(server, "why web").err
    server.add(incident("chat-20261129-020645-a1b2c", RESOLVED))
    assert "-A; name a resolved one: chat-20261129-020645-a1b2c" in run(server, "why").err


def test_who_may_look_into_one_namespace_alone_gets_one_error(run):
    server = Server(incident("pay-1", NAMED, namespace="pay", fleet="pay"))
    server.refused = {"v1alpha1/incidents": KubeError("no", status=403)}
    for line in ("why", "why pay-1"):
        done = run(server, line)
        assert (done.code, done.err.count("\n"), "pay" in done.err) == (2, 1, "pay" in line)


def test_status_tells_that_no_operator_was_ever_there_before_there_is_a_fleet(run):
    done = run(Server(), "status")
    assert done.code == 1
    assert "! No operator leads: there is no Lease midwatch-operator in" in done.out
    assert "No fleet in namespace shop." in done.out
    # One whose status is written has an operator, wherever its Lease is.
    assert "No operator leads" not in run(Server(fleet(well=True)), "status").out


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
