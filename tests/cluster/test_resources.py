"""The three kinds on a real server: what it takes, refuses, fills in, prints and explains."""

from __future__ import annotations

import re

import pytest
import yaml

from ops.controller.made.schema import definition
from ops.controller.resources.fields import parse, to_object
from ops.controller.resources.kinds import KINDS
from tests.cluster.api import ApiError
from tests.cluster.installing import MANIFESTS, body, path_of

pytestmark = pytest.mark.cluster
BY_KIND = {kind.kind: kind for kind in KINDS}
EXAMPLES = sorted((MANIFESTS / "examples").glob("*.yaml"))
T = "2026-11-30T02:10:04Z"
LONG = "x" * 600


def slos(**fields):
    return {"slos": [{"name": "chat", **fields}]}


# kind, spec, what the message must name: the path and the reason.
REFUSED = [
    ("Fleet", {"mode": "Go"}, 'spec.mode: Unsupported value: "Go"'),
    ("Fleet", {"frozen": "yes"}, "spec.frozen: Invalid value"),
    ("Fleet", {"freezeReason": LONG}, "spec.freezeReason: Too long"),
    ("Fleet", slos(target=1.0), "spec.slos[0].target: Invalid value: 1"),
    ("Fleet", slos(target=0), "spec.slos[0].target: Invalid value"),
    ("Fleet", slos(window="28days"), "spec.slos[0].window: Invalid value"),
    ("Fleet", slos(ttftSeconds=-1), "spec.slos[0].ttftSeconds: Invalid value: -1"),
    ("Fleet", {"slos": [{"target": 0.9}]}, "spec.slos[0].name: Required value"),
    ("Fleet", {"slos": [{"name": "a"}, {"name": "a"}]}, "spec.slos[1]: Duplicate value"),
    ("Fleet", {"slos": [{"name": f"s{i}"} for i in range(33)]}, "spec.slos: Too many: 33"),
    ("Fleet", {"regions": ["a", "a"]}, 'spec.regions[1]: Duplicate value: "a"'),
    ("Fleet", {"metrics": {"endpoint": "http://x"}}, "spec.metrics.endpoint: Invalid value"),
    ("Fleet", {"metrics": {"matchLabels": {"a-b": "c"}}}, "spec.metrics.matchLabels: Invalid"),
    ("Fleet", {"selector": {"matchLabels": {"a": "b c"}}}, "spec.selector.matchLabels.a: Invalid"),
    ("Fleet", {"selector": {"matchLabels": {"a b": "c"}}}, "spec.selector.matchLabels: Invalid"),
    ("Fleet", {"budgets": {"blastRatio": 1.5}}, "spec.budgets.blastRatio: Invalid value: 1.5"),
    ("Fleet", {"engine": {"kind": "vllm"}}, 'spec.engine.kind: Unsupported value: "vllm"'),
    ("Incident", None, "spec: Required value"),
    ("Incident", {}, "spec.fleet: Required value"),
    ("Incident", {"fleet": "a", "source": "Me"}, "spec.source: Invalid value"),
    ("Incident", {"fleet": "a", "windowStart": "noon"}, "spec.windowStart: Invalid value"),
    ("Incident", {"fleet": "a", "windowStart": ["noon"]}, "spec.windowStart in body must be"),
    ("Replay", {}, "spec: Invalid value: name either an incident or a scenario"),
    ("Replay", {"incident": "a", "scenario": "b"}, "exactly one of them"),
    ("Replay", {"incident": "a", "faults": [{"kind": "x"}]}, "faults are for scenarios"),
    ("Replay", {"scenario": "a", "checks": ["Fine"]}, "spec.checks[0]: Invalid value"),
    ("Replay", {"scenario": "a", "seed": 2**31}, "spec.seed: Invalid value"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "spec", "words"), REFUSED)
def test_what_does_not_fit_is_refused_with_its_path(installed, kind, spec, words):
    with pytest.raises(ApiError) as refused:
        installed.admin.create(
            path_of(BY_KIND[kind].plural, "default"), body(kind, "bad", spec), dryRun="All"
        )
    assert refused.value.status == 422
    assert words in str(refused.value)


@pytest.mark.parametrize("name", ["a.b", "x" * 64])
def test_a_fleet_has_a_name_that_fits_into_a_label(installed, name):
    with pytest.raises(ApiError, match="a Fleet's name is a label of its Incidents"):
        installed.admin.create(path_of("fleets", "default"), body("Fleet", name), dryRun="All")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_taken_and_keeps_the_defaults_of_the_types(installed, namespace, path):
    given = yaml.safe_load(path.read_text(encoding="utf-8"))
    kind = BY_KIND[given["kind"]]
    installed.kubectl("apply", "-n", namespace, "--validate=strict", "-f", path)
    stored = installed.admin.get(path_of(kind.plural, namespace, given["metadata"]["name"]))
    typed = parse(kind.spec, given["spec"], path="test")
    assert parse(kind.spec, stored["spec"], path="test") == typed
    assert without_empty(stored["spec"]) == without_empty(to_object(typed))


def without_empty(value):
    if not isinstance(value, dict):
        return value
    kept = {name: without_empty(inner) for name, inner in value.items()}
    return {name: inner for name, inner in kept.items() if inner not in ({}, [])}


def test_a_fleet_of_nothing_watches_its_namespace_in_observe(installed, namespace):
    made = installed.admin.create(path_of("fleets", namespace), body("Fleet", "all"))
    assert made["spec"]["mode"] == "Observe"
    assert made["spec"]["frozen"] is False
    assert made["spec"]["metrics"]["endpoint"] == "default"


def test_what_the_schema_does_not_know_is_not_kept(installed, namespace):
    fleet = body("Fleet", "odd", {"mode": "Observe", "url": "http://elsewhere", "engine": {"x": 1}})
    made = installed.admin.create(path_of("fleets", namespace), fleet)
    assert "url" not in made["spec"]
    assert "x" not in made["spec"]["engine"]
    with pytest.raises(ApiError, match=r'unknown field "spec\.url"'):
        installed.admin.create(path_of("fleets", namespace), fleet, fieldValidation="Strict")


@pytest.mark.parametrize(
    ("kind", "spec", "change", "words"),
    [
        ("Incident", {"fleet": "chat"}, {"fleet": "other"}, "written once, never changed"),
        ("Replay", {"scenario": "small"}, {"seed": 8}, "a Replay runs once"),
    ],
)
def test_a_record_is_not_rewritten(installed, namespace, kind, spec, change, words):
    path = path_of(BY_KIND[kind].plural, namespace)
    installed.admin.create(path, body(kind, "one", spec))
    with pytest.raises(ApiError, match=words):
        installed.admin.patch(f"{path}/one", {"spec": change})
    installed.admin.patch(f"{path}/one", {"metadata": {"labels": {"a": "b"}}})


def test_status_is_written_apart_and_does_not_raise_the_generation(installed, namespace):
    path = path_of("fleets", namespace)
    made = body("Fleet", "chat") | {"status": {"pods": 9}}
    assert "status" not in installed.admin.create(path, made)
    written = installed.admin.patch(f"{path}/chat/status", {"status": {"pods": 3}})
    assert (written["status"]["pods"], written["metadata"]["generation"]) == (3, 1)
    frozen = installed.admin.patch(f"{path}/chat", {"spec": {"frozen": True}})
    assert (frozen["status"]["pods"], frozen["metadata"]["generation"]) == (3, 2)


def test_a_status_is_held_to_the_schema_too(installed, namespace):
    path = path_of("incidents", namespace)
    installed.admin.create(path, body("Incident", "one", {"fleet": "chat"}))
    for status, words in (
        ({"phase": "Over"}, "status.phase: Unsupported value"),
        ({"confidence": 1.2}, "status.confidence: Invalid value"),
        ({"summary": LONG}, "status.summary: Too long"),
    ):
        with pytest.raises(ApiError, match=re.escape(words)):
            installed.admin.patch(f"{path}/one/status", {"status": status})


def test_slos_of_two_owners_stand_side_by_side(installed, namespace):
    path = path_of("fleets", namespace, "shared")
    for owner, slo in (("one", "chat"), ("two", "batch")):
        spec = {"slos": [{"name": slo, "target": 0.9}]}
        installed.admin.patch(path, body("Fleet", "shared", spec), kind="apply", fieldManager=owner)
    stored = installed.admin.get(path)["spec"]["slos"]
    assert {slo["name"] for slo in stored} == {"chat", "batch"}


def conditions(**states):
    return [
        {"type": name, "status": state, "reason": "Test", "message": "", "lastTransitionTime": T}
        for name, state in states.items()
    ]


def test_get_reads_well(installed, namespace):
    admin = installed.admin
    admin.create(path_of("fleets", namespace), body("Fleet", "chat"))
    admin.patch(
        path_of("fleets", namespace, "chat") + "/status",
        {
            "status": {
                "conditions": conditions(Ready="True", SLOMet="False"),
                "pods": 12,
                "openIncidents": 1,
            }
        },
    )
    spec = {"fleet": "chat"}
    admin.create(path_of("incidents", namespace), body("Incident", "chat-1", spec))
    status = {
        "phase": "Diagnosed", "severity": "critical", "cause": "pod:west/chat-7f9c gpu_clock",
        "confidence": 0.93, "began": T, "timeToCause": "21s",
    }  # fmt: skip
    admin.patch(path_of("incidents", namespace, "chat-1") + "/status", {"status": status})
    admin.create(path_of("replays", namespace), body("Replay", "again", {"incident": "chat-1"}))
    verdict = {"status": {"phase": "Complete", "verdict": "same ranking"}}
    admin.patch(path_of("replays", namespace, "again") + "/status", verdict)
    shown = installed.kubectl("get", "fl,inc,rp", "-n", namespace).stdout
    rows = [re.split(r"\s{2,}", line.strip()) for line in shown.splitlines() if line]
    fleet_head, fleet, incident_head, incident, replay_head, replay = rows
    assert fleet_head == ["NAME", "MODE", "READY", "SLO", "PODS", "OPEN", "AGE"]
    assert fleet[:6] == ["fleet.midwatch.dev/chat", "Observe", "True", "False", "12", "1"]
    assert incident_head == ["NAME", "PHASE", "SINCE", "CAUSE"]
    assert incident[1] == "Diagnosed"
    assert re.fullmatch(r"\d+[smhdy]\w*", incident[2])
    assert incident[3] == "pod:west/chat-7f9c gpu_clock"
    wide = installed.kubectl("get", "inc", "-n", namespace, "-o", "wide").stdout
    assert {"critical", "0.93", "21s"} <= set(wide.split())
    assert replay_head == ["NAME", "PHASE", "PASSED", "AGE"]
    assert replay[:2] == ["replay.midwatch.dev/again", "Complete"]
    every = installed.kubectl("get", "midwatch", "-n", namespace, "-o", "name").stdout.split()
    assert every == [
        "fleet.midwatch.dev/chat", "incident.midwatch.dev/chat-1", "replay.midwatch.dev/again",
    ]  # fmt: skip


def fields_of(schema):
    for name, inner in schema.get("properties", {}).items():
        yield name
        if name != "metadata":
            yield from fields_of(inner)
    if "items" in schema:
        yield from fields_of(schema["items"])


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_explain_names_every_field(installed, kind):
    shown = installed.kubectl("explain", kind.short, "--recursive").stdout
    (version,) = definition(kind)["spec"]["versions"]
    named = {line.split("\t")[0].strip() for line in shown.splitlines() if "\t<" in line}
    assert set(fields_of(version["schema"]["openAPIV3Schema"])) - named == set()
    assert kind.description in " ".join(shown.split())
