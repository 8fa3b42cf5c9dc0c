"""A fault in a played fleet becomes an Incident with its cause, and goes as the metrics recover.

Three fleets live through it at once, on one control plane, Prometheus and Alertmanager: a fault in
a microservice, a slow GPU, and a gap in the metrics that accuses nobody. In the middle the leading
operator is killed. Truth comes from the simulation; no name of it stands here.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import time
from dataclasses import dataclass, field
from typing import Any

import pytest

from ops.replay.scenario import FaultSpec
from tests.cluster import binaries
from tests.cluster.control_plane import ControlPlane
from tests.cluster.granted import granted, used
from tests.cluster.installing import OPERATOR, SYSTEM
from tests.cluster.played_fleet import busy_service
from tests.cluster.processes import eventually
from tests.cluster.whole_stack import Wanted, WholeStack

CAUSE_S = 600.0  # from the fault; the figure itself is measured by make bench-cluster
RESOLVED_S = 1200.0  # three minutes of calm, and what the queues need before
GAP_S = 60.0
SEVERITY, SETTLE_S = 2.5, 10.0
# tag of the fleet -> kind of its fault, mode of the Fleet
CASES = {"svc": ("cpu-hog", "Recommend"), "gpu": ("gpu-throttle", "Observe"),
         "gap": ("metric-gap", "Observe")}  # fmt: skip
OWN_PLACES = {
    ("midwatch.dev", "fleets", "status"),
    ("midwatch.dev", "incidents", ""),
    ("midwatch.dev", "incidents", "status"),
    ("", "configmaps", ""),
    ("", "events", ""),
}

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.slow,
    pytest.mark.figure("fault in a microservice, slow GPU, metric gap: Incident to resolution"),
]


@dataclass
class Story:
    """What happened to each fleet, by its tag."""

    stack: WholeStack
    truths: dict[str, Any] = field(default_factory=dict)
    named: dict[str, Any] = field(default_factory=dict)  # Incident when its cause was there
    took_s: dict[str, float] = field(default_factory=dict)
    gap: list[Any] = field(default_factory=list)  # Incidents at the end of the gap
    resolved: dict[str, Any] = field(default_factory=dict)
    accesses: list[Any] = field(default_factory=list)
    granted: set[Any] = field(default_factory=set)
    used: set[Any] = field(default_factory=set)
    refused: set[Any] = field(default_factory=set)

    def space(self, tag):
        return self.stack.fleets[tag].namespace

    def incidents(self, tag):
        return self.stack.fleets[tag].incidents()


@pytest.fixture(scope="module")
def story(tmp_path_factory):
    """The whole story, told once, on a control plane of its own: it installs more than others."""
    folder = tmp_path_factory.mktemp("end-to-end-plane")
    plane = ControlPlane(binaries=binaries.find(), folder=folder).start()
    stack = WholeStack(
        plane=plane,
        folder=tmp_path_factory.mktemp("end-to-end"),
        manifests="overlays/recommend",
        wanted=[
            Wanted(tag=tag, mode=mode) for tag, (_, mode) in CASES.items()
        ],
    )  # fmt: skip
    told = Story(stack)
    try:
        stack.start()
        tell(told)
        told.accesses = plane.audit.accesses(user=f"system:serviceaccount:{SYSTEM}:")
        told.granted, told.used = granted(plane), used(plane)
        told.refused = plane.audit.rights_refused(user=OPERATOR)
        yield told
    finally:
        stack.stop()
        plane.stop()


def tell(told):
    stack = told.stack
    time.sleep(SETTLE_S)
    began_s = time.monotonic()
    for tag, (kind, _) in CASES.items():
        live = stack.fleets[tag].live
        region = live.plan.scenario.regions[0].name
        target = f"service:{region}/{busy_service(live.plan.scenario)}" if tag == "svc" else ""
        spec = FaultSpec(
            kind=kind, start_s=0.0, length_s=3600.0, severity=SEVERITY, target=target
        )  # fmt: skip
        told.truths[tag] = live.start_fault(spec).truth

    def all_named():
        for tag in set(CASES) - {"gap"} - set(told.named):
            for one in told.incidents(tag):
                if one.get("status", {}).get("cause"):
                    told.named[tag] = one
                    told.took_s[tag] = time.monotonic() - began_s
        return len(told.named) == len(CASES) - 1

    eventually(all_named, timeout_s=CAUSE_S, what="a named cause in both fleets", poll_s=0.5)
    for tag in told.named:  # the report follows the cause
        eventually(
            lambda tag=tag: told.incidents(tag)[0].get("status", {}).get("report"),
            what=f"report of {tag}", poll_s=0.5,
        )  # fmt: skip
    time.sleep(max(0.0, GAP_S - (time.monotonic() - began_s)))
    told.gap = told.incidents("gap")
    stack.operator.program.kill()
    stack.add_operator()
    for fleet in stack.fleets.values():
        fleet.live.end_fault(0)

    def all_resolved():
        for tag in told.named:
            found = told.incidents(tag)
            if all(one.get("status", {}).get("phase") == "Resolved" for one in found):
                told.resolved[tag] = found
        return len(told.resolved) == len(told.named)

    eventually(all_resolved, timeout_s=RESOLVED_S, what="both resolved", poll_s=1.0)


@pytest.mark.parametrize("tag", ["svc", "gpu"])
def test_the_cause_is_the_one_that_the_simulation_knows(story, tag):
    truth, status = story.truths[tag], story.named[tag]["status"]
    right = {str(truth.entity), *map(str, truth.alternatives)}
    first = status["causes"][0]
    assert first["entity"] in right, (first, right)
    assert first["resource"] in truth.resource_classes
    assert status["phase"] in ("Diagnosed", "Mitigated") and status["summary"]
    assert first["evidence"] and status["rankingSha256"]


@pytest.mark.parametrize("tag", ["svc", "gpu"])
def test_one_fault_is_one_incident_through_a_killed_operator(story, tag):
    (one,) = story.resolved[tag]
    assert one["metadata"]["uid"] == story.named[tag]["metadata"]["uid"]
    owner = one["metadata"]["ownerReferences"][0]
    assert (owner["kind"], owner["name"]) == ("Fleet", "chat")
    status = one["status"]
    assert status["began"] <= status["detected"] <= status["diagnosed"] <= status["mitigated"]
    assert status["mitigated"] <= status["resolved"]
    assert status["cause"] == story.named[tag]["status"]["cause"]


@pytest.mark.parametrize("tag", ["svc", "gpu"])
def test_the_report_names_the_cause_and_belongs_to_the_incident(story, tag):
    (one,) = story.resolved[tag]
    reference = one["status"]["report"]
    space = one["metadata"]["namespace"]
    found = story.stack.plane.admin.get(
        f"/api/v1/namespaces/{space}/configmaps/{reference['configMap']}"
    )
    assert found["metadata"]["ownerReferences"][0]["uid"] == one["metadata"]["uid"]
    packed = next(iter(found["binaryData"].values()))
    page = gzip.decompress(base64.b64decode(packed)).decode()
    assert hashlib.sha256(page.encode()).hexdigest() == reference["sha256"]
    name = one["status"]["causes"][0]["entity"].rpartition("/")[2]
    assert name in page and "<html" in page


def test_what_to_do_is_told_with_the_servers_own_answer(story):
    (one,) = story.resolved["svc"]
    actions = one["status"]["actions"]
    assert actions, one["status"]
    for action in actions:
        assert action["command"] and action["undo"] and (action["allowed"] or action["guard"])
    tried = [action for action in actions if action.get("patch")]
    assert tried and all(json.loads(a["patch"]) and a["request"] and a["dryRun"] for a in tried)
    # What no request can do says so.
    assert all("no request" in a["dryRun"] for a in actions if not a.get("patch")), actions


def test_in_observe_no_request_is_tried(story):
    (one,) = story.resolved["gpu"]
    assert all(not a.get("dryRun") and not a.get("patch") for a in one["status"]["actions"])


def test_a_gap_in_the_metrics_accuses_nobody(story):
    assert story.truths["gap"].abstain
    assert [one["status"].get("cause") for one in story.gap] in ([], [""], [None])
    assert story.incidents("gap") == story.gap or not any(
        one["status"].get("cause") for one in story.incidents("gap")
    )


def test_no_right_is_used_but_those_granted(story, say):
    """The other half of equality, that each is used, is `test_rights.py`'s: it makes rare needs."""
    unused = story.granted - story.used
    say(f"{len(story.used)} of {len(story.granted)} granted rights used in these runs; not: "
        + ", ".join(sorted(map(str, unused))))  # fmt: skip
    assert sorted(map(str, story.used - story.granted)) == []
    assert sorted(map(str, story.refused)) == []


def test_nothing_foreign_was_written(story):
    """Not by the operator, not by the worker, whatever the mode of the Fleet."""
    written = [one for one in story.accesses if one.writes]
    assert {one.user for one in written} == {OPERATOR}
    spaces = {story.space(tag) for tag in CASES}
    places = {
        (one.right.group, one.right.resource, one.right.subresource)
        for one in written if one.right.namespace in spaces
    }  # fmt: skip
    assert places <= OWN_PLACES
    assert ("midwatch.dev", "incidents", "") in places
    elsewhere = {(o.right.resource, o.right.namespace) for o in written} - {
        (resource, space) for _, resource, _ in OWN_PLACES for space in spaces
    }
    assert elsewhere == {("leases", SYSTEM)}


def test_in_observe_nothing_is_asked_of_the_server_but_its_own(story):
    """Dry runs count as well here: only the Fleet of mode Recommend may ask for them."""
    asking = {tag for tag, (_, mode) in CASES.items() if mode == "Recommend"}
    tried = {one.right.namespace for one in story.accesses if one.dry_run and one.right}
    assert tried <= {story.space(tag) for tag in asking} | {""}  # nodes have no namespace
    assert tried
