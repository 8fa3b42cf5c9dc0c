"""A fleet at wall clock: what is scraped is what the mechanisms counted, under real names."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from dataclasses import replace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ops.catalogue import Catalogue
from ops.clock import wall_s
from ops.commands.chaos_files import named_pods
from ops.errors import ScenarioError
from ops.replay.adopt import AdoptedPod, adopted_pods, unshown
from ops.replay.exporters import JOBS
from ops.replay.live import LiveServer
from ops.replay.live_fleet import LiveFleet, LivePlan, make_fleet
from ops.replay.live_truth import first_changed
from ops.replay.openmetrics_read import parse_metrics
from ops.replay.scenario import FaultSpec
from ops.replay.scenarios import load_embedded

WARM_S = 30.0


@pytest.fixture(scope="module")
def catalogue():
    return Catalogue.load()


def plan(**changes):
    scenario = load_embedded("small")
    telemetry = replace(scenario.telemetry, gap_ratio=0.0, gpu_collect_s=0.0)
    values = {
        "scenario": replace(scenario, telemetry=telemetry), "seed": 3, "rate_rps": 2.0,
        "warm_s": WARM_S, "lasts_s": 900.0, "namespace": "prod",
    }  # fmt: skip
    return LivePlan(**{**values, **changes})


@pytest.fixture
def live(catalogue):
    fleet = LiveFleet(plan(), catalogue=catalogue)
    fleet.begin()
    return fleet


def samples(text):
    stamped = [f"{line} 1" for line in text.splitlines() if not line.startswith("#")]
    frame = parse_metrics("\n".join([*stamped, "# EOF"]), step_s=1.0)
    return dict(zip([(s.name, s.labels) for s in frame.series], frame.values[0], strict=True))


def scrape(live, job, name=None, after_s=0.0):
    region, target, _ = next(t for t in live.targets(job) if name in (None, t[1]))
    return live.scrape(region, job, target, now_s=live.epoch_s + WARM_S + after_s)


def test_every_target_answers_with_parsable_samples_that_the_catalogue_knows(live, catalogue):
    roles = set()
    for job in JOBS:
        for region, name, labels in live.targets(job):
            text = live.scrape(region, job, name, now_s=live.epoch_s + WARM_S)
            assert labels["namespace"] == "prod" and labels["instance"] == name
            assert list(text_string_to_metric_families(text))  # whatever else reads the format
            for stored, _ in samples(text):
                entries = catalogue.entries(stored)
                roles.update(info.role for info, _ in entries)
                assert entries or stored.endswith("_info"), stored
    assert {"frontend_requests", "engine_running", "gpu_sm_clock", "node_ready"} <= roles


def test_samples_are_what_the_mechanisms_counted(live):
    pod = next(p for p in live.fleet.pods("home") if p.service == "gateway")
    found = samples(scrape(live, "mesh", pod.name, after_s=7.0))
    answered = sum(v for (name, _), v in found.items() if name == "http_requests_total")
    assert answered == sum(sum(f.by_status.values()) for f in pod.frontends.values()) > 0
    later = samples(scrape(live, "mesh", pod.name, after_s=60.0))
    assert all(later[key] >= value for key, value in found.items() if key[0].endswith("_total"))


def test_moments_are_unix_times(live):
    found = samples(scrape(live, "kube-state"))
    created = {value for (name, _), value in found.items() if name == "kube_pod_created"}
    assert created == {live.epoch_s}
    assert abs(live.epoch_s + WARM_S - wall_s()) < 60.0
    assert not any(value != value for value in found.values())


def test_a_restarted_process_counts_from_zero(live):
    pod = next(p for p in live.fleet.pods("home") if p.engine is not None)
    counted, total = pod.engine, "vllm:prompt_tokens_total"
    live.fleet.cluster.kill_pod(pod, reason="Killing")
    assert scrape(live, "engine", pod.name, after_s=0.5) is None
    after = {name: v for (name, _), v in samples(scrape(live, "engine", pod.name, 120.0)).items()}
    assert pod.engine is not counted and pod.restarts == 1
    assert after[total] == pod.engine.prompt_tokens > 0.0


@pytest.mark.slow
def test_history_holds_the_series_that_a_prometheus_will_store(live, catalogue):
    text = "".join(live.history())
    frame = parse_metrics(text, step_s=5.0, catalogue=catalogue)
    assert frame.times_s[-1] == pytest.approx(live.epoch_s + WARM_S)
    stored = {(s.name, s.labels) for s in frame.series}
    for job in JOBS:
        for region, name, attached in live.targets(job):
            labels = tuple(sorted({**attached}.items()))
            assert ("up", labels) in stored
            text = live.scrape(region, job, name, now_s=live.epoch_s + WARM_S)
            for own, _ in samples(text).items():
                merged = tuple(sorted({**attached, **dict(own[1])}.items()))
                assert (own[0], merged) in stored, own
    column = next(k for k, s in enumerate(frame.series) if s.name == "kube_pod_created")
    assert frame.values[-1, column] == pytest.approx(live.epoch_s)


def test_a_fault_begins_on_command_and_ends_on_command(live):
    spec = FaultSpec(kind="cpu-hog", start_s=0.0, length_s=600.0, target="service:home/retrieval")
    started = live.start_fault(spec)
    pod = live.fleet.cluster.pod(started.truth.entity.name)
    assert pod.hog_cores > 0.0 and started.truth.began_at_s == pytest.approx(WARM_S, abs=5.0)
    ended = live.end_fault(0)
    assert pod.hog_cores == 0.0 and ended.ended_at_s >= started.began_at_s
    live.advance(live.epoch_s + WARM_S + 700.0)
    assert pod.hog_cores == 0.0


def test_a_fault_that_is_ended_in_its_ramp_does_not_come_back(live):
    live.start_fault(FaultSpec(kind="gpu-throttle", start_s=0.0, length_s=600.0, ramp_s=60.0))
    live.advance(live.epoch_s + WARM_S + 20.0)
    live.end_fault(0)
    live.advance(live.epoch_s + WARM_S + 200.0)
    assert set(live.fleet.cluster.cooling.values()) == {1.0}


def test_a_silenced_job_fails_its_scrapes_and_only_those(live):
    gap = FaultSpec(kind="metric-gap", start_s=0.0, target="telemetry:home/cadvisor")
    assert live.start_fault(gap).truth.abstain
    assert len(live.targets("cadvisor")) == 4
    assert scrape(live, "cadvisor", after_s=10.0) is None
    assert scrape(live, "mesh", after_s=10.0)


@pytest.mark.slow
def test_the_first_changed_scrape_is_found_by_a_world_without_the_fault(live, catalogue):
    hog = live.start_fault(
        FaultSpec(kind="cpu-hog", start_s=0.0, length_s=600.0, target="service:home/retrieval")
    )
    began_s = hog.spec.start_s
    for after_s in (5.0, 10.0):
        for job in ("node", "cadvisor"):
            for region, name, _ in live.targets(job):
                live.scrape(region, job, name, now_s=live.epoch_s + began_s + after_s)
    found = first_changed(live, 0, catalogue=catalogue)
    assert found.at_s == pytest.approx(began_s + 5.0) and found.job == "node"


def test_a_fault_that_changes_nothing_scraped_yet_has_no_first_scrape(live, catalogue):
    live.start_fault(FaultSpec(kind="metric-gap", start_s=0.0, target="telemetry:home/dcgm"))
    scrape(live, "mesh", after_s=10.0)
    assert first_changed(live, 0, catalogue=catalogue) is None


# --- real names


def real_pods(num=2):
    places = {"gateway": num, "auth": 2, "retrieval": 2, "llm": 4}
    return tuple(
        AdoptedPod(
            region="home", service=service, name=f"{service}-6f9c-{k}",
            node=f"gpu-node-{k % 2}" if service == "llm" else f"worker-{k % 2}",
        )
        for service, count in places.items()
        for k in range(count)
    )  # fmt: skip


def test_pods_and_nodes_take_real_names_and_places(catalogue):
    live = LiveFleet(plan(pods=real_pods()), catalogue=catalogue)
    live.begin()
    seen = {(p.service, p.name, p.node) for p in live.fleet.pods("home")}
    assert seen == {(p.service, p.name, p.node) for p in real_pods()}
    gpus = {}
    for pod in live.fleet.pods("home"):
        gpus.setdefault(pod.node, []).extend(pod.gpu_indices)
    assert gpus["gpu-node-0"] == [0, 1]
    started = live.start_fault(FaultSpec(kind="gpu-throttle", start_s=0.0))
    assert started.truth.entity.name in {p.name for p in real_pods()} | {"gpu-node-0", "gpu-node-1"}
    text = "".join(scrape(live, job) for job in JOBS)
    assert not re.search(r"home-(cpu|gpu)-\d", text)


def test_too_few_real_pods_are_refused_by_name():
    with pytest.raises(ScenarioError, match="1 real pods of 'gateway'"):
        make_fleet(plan(pods=real_pods(num=1)))


def test_real_pods_are_read_from_what_kubectl_prints():
    items = [
        {"kind": "Node", "metadata": {"name": "n1",
         "labels": {"topology.kubernetes.io/region": "eu"}}},
        {"kind": "Pod", "metadata": {"name": "auth-1", "namespace": "prod",
         "labels": {"app": "auth"}}, "spec": {"nodeName": "n1"}},
        {"kind": "Pod", "metadata": {"name": "auth-2", "namespace": "prod"}, "spec": {}},
        {"kind": "Pod", "metadata": {"name": "x", "namespace": "other"}, "spec": {}},
    ]  # fmt: skip
    assert adopted_pods(items, namespace="prod") == (
        AdoptedPod(region="eu", service="auth", node="n1", name="auth-1"),
    )
    with pytest.raises(ScenarioError, match="kubectl get pods,nodes"):
        adopted_pods([{"kind": "Pod"}], namespace="prod")


# --- HTTP


@pytest.fixture
def server(live):
    server = LiveServer({"prod": live})
    server.start()
    yield server
    server.close()


def ask(url, body=None):
    data = None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data=data), timeout=60.0) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_a_discovered_target_can_be_scraped(server):
    status, text = ask(f"{server.url}/targets/engine")
    group = json.loads(text)[0]
    labels, address = group["labels"], group["targets"][0]
    assert status == 200 and labels["service"] == "llm" and "job" not in labels
    status, text = ask(f"http://{address}{labels['__metrics_path__']}")
    assert status == 200 and "vllm:num_requests_running" in text
    assert ask(f"{server.url}/metrics/prod/home/engine/nobody")[0] == 404
    configs = json.loads(ask(f"{server.url}/scrape-configs")[1])
    assert [one["job_name"] for one in configs] == list(JOBS)


def test_faults_are_commanded_on_the_admin_port_alone(server):
    gap = {"kind": "metric-gap", "target": "telemetry:home/engine"}
    assert ask(f"{server.url}/fault", gap)[0] == 404
    assert ask(f"{server.url}/truth")[0] == 404
    status, text = ask(f"{server.admin_url}/fault?fleet=prod", gap)
    assert status == 200 and json.loads(text)["abstain"]
    path = json.loads(ask(f"{server.url}/targets/engine")[1])[0]["labels"]["__metrics_path__"]
    assert ask(server.url + path)[0] == 503
    assert ask(f"{server.admin_url}/heal", {"fault": 0})[0] == 200
    assert ask(server.url + path)[0] == 200
    truth = json.loads(ask(f"{server.admin_url}/truth")[1])
    assert truth["prod"][0]["entity"] == "telemetry:home/engine"
    assert truth["prod"][0]["ended_at_s"] is not None


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("fault", {"kind": "gremlins"}, "unknown; one of"),
        ("fault", {"kind": "cpu-hog", "target": "service:home/nobody"}, "qualifies as target"),
        ("fault", {"kind": "cpu-hog", "start_s": 4}, "start_s"),
        ("fault", {"kind": "cpu-hog", "severity": 0}, "more than 0"),
        ("fault", [], "expected an object"),
        ("fault?fleet=nope", {"kind": "cpu-hog"}, "one of prod"),
        ("heal", {"fault": 3}, "0 were begun"),
    ],
)
def test_a_command_that_cannot_be_used_says_why(server, path, body, said):
    status, text = ask(f"{server.admin_url}/{path}", body)
    assert status == 400 and said in text


def test_time_stands_still_until_the_moment_that_the_past_is_given(live):
    end_s = live.epoch_s + WARM_S + 100.0
    live.anchor(end_s)
    assert live.advance(end_s - 50.0) == WARM_S
    assert live.advance(end_s + 2.0) == pytest.approx(WARM_S + 2.0)


@pytest.mark.parametrize(("kind", "warned"), [("bad-code", True), ("pool-exhaustion", False)])
def test_a_fault_that_replaces_pods_of_a_cluster_is_told_with_its_answer(catalogue, kind, warned):
    fleet = LiveFleet(plan(pods=named_pods(make_fleet(plan()))), catalogue=catalogue)
    fleet.begin()
    server = LiveServer({"prod": fleet}, admin=None)
    try:
        assert not unshown(fleet.fleet, fleet.plan.pods)
        _, _, raw = server.command("fault", "", json.dumps({"kind": kind}).encode())
        assert ("replaces pods" in json.loads(raw).get("warning", "")) == warned
        assert bool(unshown(fleet.fleet, fleet.plan.pods)) == warned
    finally:
        for one in server._servers:
            one.server_close()


def test_a_fleet_that_took_no_pods_may_replace_its_own(live):
    live.start_fault(FaultSpec(kind="bad-code", start_s=0.0, length_s=60.0, severity=1.0))
    assert not unshown(live.fleet, live.plan.pods)
