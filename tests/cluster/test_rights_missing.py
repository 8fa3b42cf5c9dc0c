"""One right less: a condition names the one that is missing, and only while it is."""

from __future__ import annotations

import time
from contextlib import suppress
from types import SimpleNamespace

import pytest

from ops.adapters.kube.api import KubeApi
from ops.adapters.kube.rights import Right
from ops.controller.checks import operator_checks
from ops.errors import KubeError
from tests.cluster.accounts import without
from tests.cluster.api import ApiError
from tests.cluster.full_fleet import (
    SHIPPED,
    notification,
    open_incidents,
    resolved_incident,
)
from tests.cluster.installing import SYSTEM, body, path_of
from tests.cluster.own_processes import LEASE_PATH
from tests.cluster.processes import WAIT_S, eventually

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.slow,
    pytest.mark.figure("b: rights granted and used, both ways; one right less is named"),
]


# Needed only after a minute of trouble: test_rights shows that the process needs them; that they
# are named is shown on the client and the checks that the process is made of.
SLOW_TO_NEED = {
    Right("create", "", "configmaps"),
    Right("patch", "", "configmaps"),
    Right("patch", "", "events"),
}


@pytest.mark.parametrize("right", sorted(SHIPPED - SLOW_TO_NEED), ids=str)
def test_a_right_that_is_taken_away_is_named(control_plane, shop, make_operator, right):
    admin = control_plane.admin
    for incident in open_incidents(admin, shop):  # what is open would take the alert
        admin.delete(path_of("incidents", shop, incident))
    if right.verb == "delete":  # one too many again
        for number in range(3):
            resolved_incident(
                admin, shop, f"chat-20261102-00000{number}-{time.monotonic_ns():x}"[:40]
            )
    if right.resource == "replays":
        with suppress(ApiError):
            admin.create(path_of("replays", shop), body("Replay", "again", {"incident": "none"}))
    if right.verb == "create" and right.resource == "leases":
        with suppress(ApiError):
            admin.delete(LEASE_PATH)
    with without(control_plane, right):
        operator = make_operator().start()
        mark = f"Alert{time.monotonic_ns()}"
        post = notification(shop, name=mark, fingerprint=mark)
        wide = str(Right(right.verb, right.group, right.resource, right.subresource))
        try:
            began_s = time.monotonic()
            while not (told := names(operator, control_plane, shop, right)):
                assert time.monotonic() - began_s < WAIT_S, operator.program.log_tail()
                if right.verb in ("create", "patch"):
                    operator.post_alerts(post, timeout_s=2.0)
                time.sleep(0.2)
            assert wide.partition(" in ")[0] in told
            assert operator.program.alive
        finally:
            operator.program.kill()


@pytest.mark.parametrize("right", sorted(SLOW_TO_NEED), ids=str)
def test_a_right_that_is_needed_late_is_named_too(control_plane, shop, right):
    token = control_plane.token(SYSTEM, "midwatch-operator")
    api = KubeApi.connect(kubeconfig=control_plane.kubeconfig("midwatch-operator", token))
    folder = f"/api/v1/namespaces/{shop}/{right.resource}"
    # Of ConfigMaps only reports, which an Incident owns, may be written at all; of Events our own.
    involved = {}
    if right.resource == "events":
        involved = {"involvedObject": {"namespace": shop}, "reportingComponent": "midwatch"}
    incident = control_plane.admin.items(path_of("incidents", shop))[0]["metadata"]
    owner = {"apiVersion": "midwatch.dev/v1alpha1", "kind": "Incident",
             "name": incident["name"], "uid": incident["uid"]}  # fmt: skip
    meta = {"name": "late-report", "ownerReferences": [owner]}
    with suppress(ApiError):
        control_plane.admin.create(folder, {"metadata": meta, **involved})
    leads = SimpleNamespace(leader_address=None, holder="me", last_error="")

    def told():
        with suppress(KubeError):
            if right.verb == "create":
                api.create(folder, {"metadata": {"name": "more"}}, params={"dryRun": "All"})
            else:
                api.patch(f"{folder}/late-report", {"metadata": {"labels": {"a": "b"}}})
        checks = operator_checks(
            leads, listed=True, num_fleets=1, forbidden=api.forbidden, watch_trouble=""
        )
        (one,) = [check for check in checks if check.type == "Authorized"]
        return "" if one.ok else one.message

    assert told() == ""
    with without(control_plane, right):
        eventually(told)
        assert str(right).partition(" in ")[0] in told()
    eventually(lambda: told() == "")


def names(operator, plane, namespace, right):
    """The condition that names the right: the operator's own, or the Fleet's."""
    what = str(right).partition(" in ")[0]
    _, told = operator.probe("/readyz")
    conditions = told["conditions"] if isinstance(told, dict) else []
    fleet = plane.admin.get(path_of("fleets", namespace, "chat"))
    for one in [*conditions, *fleet.get("status", {}).get("conditions", [])]:
        if (one["type"], one["status"]) == ("Authorized", "False") and what in one["message"]:
            return one["message"]
    return ""


def not_missed(operator, resource):
    _, told = operator.probe("/readyz")
    return isinstance(told, dict) and resource not in str(told)


def test_a_right_that_comes_back_is_no_longer_missed(control_plane, shop, make_operator):
    with without(control_plane, Right("list", "", "pods")):
        operator = make_operator().start()
        missing = Right("list", "", "pods")
        eventually(lambda: names(operator, control_plane, shop, missing))
    try:
        eventually(lambda: not_missed(operator, "pods"), what="the right to be there again")
    finally:
        operator.stop()
