"""From an empty server to a watched fleet, and back to an empty server."""

from __future__ import annotations

import secrets
import time

import pytest

from tests.cluster import binaries
from tests.cluster.api import ApiError
from tests.cluster.control_plane import ControlPlane
from tests.cluster.installing import MANIFESTS, OPERATOR, SYSTEM, apply, body, path_of
from tests.cluster.own_processes import Operator, add_fleet, condition, wait_for_fleet
from tests.cluster.processes import eventually
from tests.cluster.stack import Prometheus, scrape_config
from tests.cluster.workloads import deployment, deployments_path, is_ready, node, pods_path

LIMIT_S = 60.0
LEASE_LOST = 75  # exit status: what it needs to lead is gone, and it says so
INCIDENTS = 50
CALM_S = 3.0
# What the server writes by itself while time passes.
NOT_OURS = ("/events", "/leases", "/endpointslices", "/componentstatuses")
pytestmark = [
    pytest.mark.cluster,
    pytest.mark.figure(f"installed from an empty server and a Fleet Ready within {LIMIT_S:.0f} s"),
    pytest.mark.figure(
        f"uninstalled with {INCIDENTS} live Incidents within {LIMIT_S:.0f} s, the operator alive "
        "or dead; nothing left, no mark of ours on foreign objects"
    ),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A control plane of these tests' own, with a foreign workload on it."""
    folder = tmp_path_factory.mktemp("empty-server")
    plane = ControlPlane(binaries=binaries.find(), folder=folder).start()
    try:
        plane.admin.create("/api/v1/nodes", node("alone"))
        plane.admin.create("/api/v1/namespaces", {"metadata": {"name": "shop"}})
        plane.admin.create(deployments_path("shop"), deployment("chat", replicas=3))
        eventually(lambda: sum(map(is_ready, plane.admin.items(pods_path("shop")))) == 3)
        settled(plane)
        yield plane
    finally:
        plane.stop()


@pytest.fixture
def prometheus(tmp_path):
    """A server that scrapes itself only."""
    one = Prometheus(tmp_path / "prometheus", scrape_config({}))
    one.write(scrape_config({"prometheus": [one.url.removeprefix("http://")]}))
    yield one.start()
    one.stop()


def settled(plane):
    """Wait until a new server has made all that it makes by itself, each object once."""
    seen, since_s = names(plane), time.monotonic()

    def still():
        nonlocal seen, since_s
        if (now := names(plane)) != seen:
            seen, since_s = now, time.monotonic()
        return time.monotonic() - since_s >= CALM_S

    eventually(still, poll_s=0.5, what="a server that has made what it makes")


def names(plane):
    """Every object of the server: list path, namespace, name."""
    return {
        (path, item["metadata"].get("namespace", ""), item["metadata"]["name"])
        for path, item in plane.admin.everything()
        if not path.endswith(NOT_OURS)
    }


def marks_of_ours(plane):
    """Foreign objects that carry an annotation, a label, a finalizer or a field of ours."""
    found = []
    for path, item in plane.admin.everything():
        meta = item["metadata"]
        if "midwatch.dev" in path or "midwatch" in meta.get("namespace", "") + meta["name"]:
            continue
        if path.endswith(("/events", "/configmaps")):  # beside an Incident, in its namespace
            continue
        said = [
            *meta.get("annotations", {}), *meta.get("labels", {}), *meta.get("finalizers", []),
            *(field.get("manager", "") for field in meta.get("managedFields", [])),
        ]  # fmt: skip
        found += [(path, meta["name"], one) for one in said if "midwatch" in one or "kopf" in one]
    return found


def add_incidents(plane, fleet, num):
    """Incidents as the operator makes them: owned by the Fleet, each with its report."""
    owner = {
        "apiVersion": "midwatch.dev/v1alpha1", "kind": "Fleet", "name": fleet["metadata"]["name"],
        "uid": fleet["metadata"]["uid"],
    }  # fmt: skip
    for _ in range(num):
        name = f"chat-20261130-120000-{secrets.token_hex(3)[:5]}"
        labels = {"midwatch.dev/fleet": "chat"}
        made = body(
            "Incident", name, {"fleet": "chat", "source": "Alert"}, labels=labels,
            ownerReferences=[owner],
        )  # fmt: skip
        incident = plane.admin.create(path_of("incidents", "shop"), made)
        own = {**owner, "kind": "Incident", "name": name, "uid": incident["metadata"]["uid"]}
        plane.admin.create(
            "/api/v1/namespaces/shop/configmaps",
            {
                "metadata": {
                    "name": name,
                    "labels": labels,
                    "ownerReferences": [own],
                },
                "data": {"report": "x" * 1000},
            },
        )


def uninstall(plane, before):
    """By the commands of docs/operator.md; seconds until nothing of ours is left."""
    began_s = time.monotonic()
    page = (MANIFESTS.parent / "docs" / "operator.md").read_text(encoding="utf-8")
    block = page.partition("## Uninstall")[2].split("```")[1]
    lines = [line.split() for line in block.strip().splitlines()]
    assert lines and all(words[0] == "kubectl" for words in lines)
    for _, *argv in lines:
        plane.kubectl(
            *(str(MANIFESTS) if word == "manifests/" else word for word in argv),
            timeout_s=LIMIT_S,
        )

    def left():
        try:
            return names(plane) - before
        except ApiError as error:  # a kind that goes while it is listed
            return {(str(error), "", "")}

    while still := left():
        assert time.monotonic() - began_s < LIMIT_S, f"left: {sorted(still)[:10]}"
        time.sleep(0.5)
    return time.monotonic() - began_s


def test_from_an_empty_server_to_a_ready_fleet_and_back(server, prometheus, tmp_path, capsys):
    before = names(server)
    began_s = time.monotonic()
    apply(server)
    established_s = time.monotonic() - began_s
    operator = Operator(server, tmp_path, metrics_url=prometheus.url).start()
    try:
        eventually(lambda: operator.probe("/readyz")[0] == 200, timeout_s=LIMIT_S)
        ready_s = time.monotonic() - began_s
        fleet = add_fleet(server, "shop")
        wait_for_fleet(server, "shop", lambda fleet: condition(fleet, "Ready") == "True")
        fleet_s = time.monotonic() - began_s
        wait_for_fleet(
            server, "shop",
            lambda fleet: [fleet["status"].get(key) for key in ("pods", "readyPods")] == [3, 3],
        )  # fmt: skip
        add_incidents(server, fleet, INCIDENTS)
        assert marks_of_ours(server) == []
        gone_s = uninstall(server, before)
        assert marks_of_ours(server) == []
        assert operator.program.process.poll() in (None, LEASE_LOST), operator.program.log_tail()
    finally:
        operator.stop()
    with capsys.disabled():
        print(
            f"\ndefinitions Established {established_s:.1f} s, operator ready {ready_s:.1f} s, "
            f"Fleet Ready {fleet_s:.1f} s, uninstalled with the operator alive {gone_s:.1f} s"
        )
    assert max(fleet_s, gone_s) <= LIMIT_S
    written = {one.right.namespace for one in server.audit.writes(user=OPERATOR) if one.right}
    assert written <= {"shop", SYSTEM}


def test_uninstalling_needs_no_operator(server, capsys):
    before = names(server)
    apply(server)
    add_incidents(server, add_fleet(server, "shop"), INCIDENTS)
    gone_s = uninstall(server, before)
    with capsys.disabled():
        print(f"\nuninstalled with the operator dead {gone_s:.1f} s")
    assert gone_s <= LIMIT_S
    assert marks_of_ours(server) == []


def test_with_a_fleet_go_its_incidents_and_with_them_their_reports(server):
    apply(server)
    fleet = add_fleet(server, "shop")
    add_incidents(server, fleet, 3)
    # The garbage collector looks for new kinds every 30 s.
    server.admin.delete(path_of("fleets", "shop", "chat"))
    maps = "/api/v1/namespaces/shop/configmaps"
    eventually(
        lambda: (
            not server.admin.items(path_of("incidents", "shop"))
            and not server.admin.items(maps, labelSelector="midwatch.dev/fleet")
        ),
        what="Incidents and reports collected",
    )
