"""`midwatch rca rank --prometheus`: what is found, what is told, what is refused."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
from typer.testing import CliRunner

from ops.cli import app

START_S, STEP_S, ROWS, FAULT_ROW = 1_700_000_000, 15, 80, 60
SERVICES = ("cart", "checkout", "search", "users")


def rank(fake, *more, start=START_S, end=START_S + STEP_S * (ROWS - 1), json_too=True):
    arguments = ["rca", "rank", "--prometheus", fake.url, "--granger", "off"]
    if start is not None:
        arguments += ["--start", str(start), "--end", str(end)]
    return CliRunner().invoke(app, [*arguments, *map(str, more), *(["--json"] * json_too)])


def told(done):
    """What a person reads on stderr, without the frame around it."""
    return " ".join(done.stderr.replace("│", " ").split())


def pods_of(service):
    return [f"{service}-6d9c7bcd5f-{end}" for end in ("x2x4q", "zzt4k")]


def samples(values):
    return [[(START_S + STEP_S * row) * 1000, repr(float(v))] for row, v in enumerate(values)
            if np.isfinite(v)]  # fmt: skip


def fill(fake, *, service="kubelet", hurt="checkout", region=None, metric=None):
    """Two pods per service; the CPU of one service is three times as much after the fault."""
    rng = np.random.default_rng(3)
    where = {} if region is None else {"region": region}
    for name in SERVICES:
        for pod in pods_of(name):
            used = rng.normal(3.0, 0.2, ROWS)
            held = rng.normal(2e8, 1e6, ROWS)
            used[FAULT_ROW:] *= 3.0 if name == hurt else 1.0
            labels = {"pod": pod, "container": name, "service": service, "node": "n1", **where}
            if metric is None:
                fake.add("container_cpu_usage_seconds_total", samples(np.cumsum(used)), **labels)
                fake.add("container_memory_working_set_bytes", samples(held), **labels)
            else:
                fake.add(metric, samples(used), **labels)


@pytest.fixture
def now(fake_prometheus):
    """The server's clock stands right after the window unless a test says otherwise."""
    at = {"s": START_S + STEP_S * ROWS}
    plain = fake_prometheus.answer

    def answer(asked):
        if asked.query == "time()":
            with fake_prometheus.lock:
                fake_prometheus.asked.append(asked)
                if fake_prometheus.script:
                    return fake_prometheus.script.pop(0)
            data = {"resultType": "scalar", "result": [at["s"], str(at["s"])]}
            return 200, {}, json.dumps({"status": "success", "data": data}).encode()
        return plain(asked)

    fake_prometheus.answer = answer
    return at


def test_the_service_is_found_by_the_label_that_tells_services_apart(fake_prometheus, now):
    fill(fake_prometheus)  # `service` is the collector's: kubelet everywhere
    done = rank(fake_prometheus)
    found = json.loads(done.stdout)
    assert found["services"][0]["name"] == "checkout"
    assert sorted(s["name"] for s in found["services"]) == sorted(SERVICES)
    assert found["metrics"][0]["name"].startswith("checkout-6d9c7bcd5f-")
    assert found["metrics"][0]["name"].endswith("_container-cpu")
    assert any("services are named by container of 8 pods" in note for note in found["notes"])
    assert found["split"]["fault_start_s"] == pytest.approx(START_S + STEP_S * FAULT_ROW, abs=30)


def fill_cluster(fake, hurt="checkout"):
    """A cluster as usual charts install it: collectors put their own labels on every series."""
    rng = np.random.default_rng(4)
    kubelet = {"service": "kubelet", "job": "kubelet", "namespace": "shop", "node": "n1"}
    state = {"service": "kube-state-metrics", "job": "kube-state-metrics", "namespace": "shop",
             "container": "kube-state-metrics", "instance": "10.0.0.9:8080"}  # fmt: skip
    mesh = {"job": "istio-proxies", "namespace": "shop", "reporter": "destination"}
    for name in SERVICES:
        for pod in pods_of(name):
            factor = np.where(np.arange(ROWS) >= FAULT_ROW, 3.0 if name == hurt else 1.0, 1.0)
            used = np.cumsum(rng.normal(3.0, 0.2, ROWS) * factor)
            metric = "container_cpu_usage_seconds_total"
            fake.add(metric, samples(used), pod=pod, container="app", **kubelet)
            fake.add(metric, samples(used / 50), pod=pod, container="istio-proxy", **kubelet)
            fake.add(metric, samples(np.full(ROWS, 0.1)), pod=pod, container="POD", **kubelet)
            fake.add(metric, samples(used * 1.02), pod=pod, **kubelet)
            fake.add("kube_pod_status_ready", samples(np.ones(ROWS)), pod=pod, condition="true",
                     **state)  # fmt: skip
        ends = {"source_workload": "gateway", "destination_workload": name}
        took, served = np.cumsum(rng.normal(40.0, 2.0, ROWS) * factor), 1.0 + np.arange(ROWS)
        metric = "istio_request_duration_milliseconds"
        fake.add(f"{metric}_sum", samples(took), **ends, **mesh)
        fake.add(f"{metric}_count", samples(served), **ends, **mesh)


def test_labels_of_collectors_are_seen_through(fake_prometheus, now):
    fill_cluster(fake_prometheus)
    found = json.loads(rank(fake_prometheus).stdout)
    names = [s["name"] for s in found["services"]]
    assert names[0] == "checkout" and sorted(names) == sorted(SERVICES)
    pods = [i["name"] for i in found["instances"] if "-" in i["name"]]
    assert sorted(pods[:2]) == pods_of("checkout")
    assert any("services are named by pod's name of 8 pods" in note for note in found["notes"])


def test_an_option_names_the_label_of_the_service(fake_prometheus, now):
    fill(fake_prometheus, service="one")
    for labels, _ in fake_prometheus.series:
        labels["team"] = "money" if "c" in labels["container"][0] else "other"
    done = rank(fake_prometheus, "--service-label", "team")
    assert [s["name"] for s in json.loads(done.stdout)["services"]] == ["money", "other"]


def test_without_any_region_everything_is_one(fake_prometheus, now):
    fill(fake_prometheus)
    assert json.loads(rank(fake_prometheus).stdout)["incident_id"].endswith("/all")


def test_series_without_a_region_belong_to_the_only_one(fake_prometheus, now):
    fill(fake_prometheus, region="north")
    for labels, _ in fake_prometheus.series[::2]:
        del labels["region"]
    found = json.loads(rank(fake_prometheus).stdout)
    assert found["incident_id"].endswith("/north")
    assert sorted(s["name"] for s in found["services"]) == sorted(SERVICES)
    assert any("8 series name no region: taken as north" in note for note in found["notes"])


def test_unknown_metrics_are_added_by_a_selector(fake_prometheus, now):
    fill(fake_prometheus, metric="shop_heap_used")
    refused = rank(fake_prometheus)
    assert refused.exit_code == 2 and "--match" in told(refused)
    found = json.loads(rank(fake_prometheus, "--match", '{__name__=~"shop_.+"}').stdout)
    assert found["services"][0]["name"] == "checkout"
    assert found["metrics"][0]["name"].endswith("_shop-heap-used")


def test_conditions_narrow_what_is_read(fake_prometheus, now):
    fill(fake_prometheus)
    done = rank(fake_prometheus, "--where", "container=~cart|users")
    assert [s["name"] for s in json.loads(done.stdout)["services"]] == ["cart", "users"]
    assert 'container=~"cart|users"' in fake_prometheus.queries()[-1]


def test_now_is_the_servers(fake_prometheus, now):
    fill(fake_prometheus)
    done = rank(fake_prometheus, "--start", "now-20m", "--fault-at", "now-5m", start=None)
    found = json.loads(done.stdout)
    assert found["services"][0]["name"] == "checkout"
    assert any("clock is" in note and "ahead of the server's" in note for note in found["notes"])


def test_an_end_in_the_servers_future_is_cut_and_told(fake_prometheus, now):
    fill(fake_prometheus)
    done = rank(fake_prometheus, "--end", START_S + 10 * STEP_S * ROWS)
    found = json.loads(done.stdout)
    assert any("in the server's future" in note for note in found["notes"])
    assert found["services"][0]["name"] == "checkout"


def test_rows_in_which_nothing_was_scraped_are_left_out(fake_prometheus, now):
    fill(fake_prometheus)
    done = rank(fake_prometheus, "--start", START_S - 20 * STEP_S)
    notes = json.loads(done.stdout)["notes"]
    assert any("nothing was scraped at 20 of 100 rows" in note for note in notes)


def test_changes_are_candidates(fake_prometheus, now, tmp_path):
    fill(fake_prometheus)
    changes = tmp_path / "changes.jsonl"
    at_s = START_S + STEP_S * FAULT_ROW - 20
    changes.write_text(json.dumps({"at_s": at_s, "kind": "deploy", "service": "checkout"}))
    found = json.loads(rank(fake_prometheus, "--changes", changes).stdout)
    assert "change" in found["services"][0]["channels"]


def test_plain_output_names_the_first(fake_prometheus, now):
    fill(fake_prometheus)
    done = rank(fake_prometheus, json_too=False)
    assert "  1 checkout" in done.stdout
    assert "read 16 series of 2 metrics, 80 rows every 15 s" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--start", START_S + 9999], "exchange them"),
        (["--start", "yesterday"], "--start: time is 'yesterday'"),
        (["--where", "namespace=nowhere"], "check the condition, start, end"),
        (["--ca-file", "/no/such/ca"], "'/no/such/ca' does not exist"),
        (["--start", f"{START_S}000"], "if these are milliseconds"),
        (["--start", "2023-11-14T22:13:20"], "without a time zone"),
        (["--step", "0"], "--step is '0', expected more than 0"),
        (["--step", "often"], "--step is 'often'"),
        (["--step", "2h"], "step is 7200 s for a window of 1185 s"),
        (["--fault-at", START_S - 60], "widen the window"),
        (["--fault-at", "now-5m", "--fault-at-s", "3"], "not both"),
        (["--label", "north"], "expected name=value"),
        (["--where", "namespace"], "expected label=value"),
        (["--match", "sum(x)"], "selector is 'sum(x)'"),
        (["--match", "{}"], "selector is '{}'"),
        (["--match", "no_such_metric"], 'no series of that time matches {__name__="no_such_met'),
        (["--header", "X"], "expected name:value"),
        (["--token-file", "/no/such/token"], "token file /no/such/token cannot be read"),
        (["--changes", "/no/such/changes"], "/no/such/changes"),
        (["--timeout-s", "0"], "timeout is 0.0 s"),
        (["somewhere"], "not both"),
    ],
)
def test_what_cannot_be_used_is_named_with_the_next_step(fake_prometheus, now, more, said):
    fill(fake_prometheus)
    done = rank(fake_prometheus, *more)
    assert done.exit_code == 2, done.output
    assert said in told(done)
    assert "Traceback" not in done.output and not done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((401, {}, b"no"), "(--token-file; "),
        ((302, {"Location": "https://login"}, b""), "sends us to 'https://login'"),
        ((404, {}, b"404 page not found"), "address before /api/v1"),
        ((200, {}, b"<html>"), "answered no JSON"),
        ((200, {}, b'{"status":"success","data":{"resultType":"scalar","result":[1]}}'), "number"),
        ((400, {}, b'{"status":"error","error":"bad regex"}'), "bad regex"),
    ],
)
def test_a_server_that_is_none_is_told(fake_prometheus, now, answer, said):
    fill(fake_prometheus)
    fake_prometheus.script = [answer]
    done = rank(fake_prometheus)
    assert done.exit_code == 2 and said in told(done) and fake_prometheus.url in told(done)
    assert "Traceback" not in done.output


def test_an_empty_window_is_told(fake_prometheus, now):
    done = rank(fake_prometheus)
    assert done.exit_code == 2
    assert "no metrics are stored about that time" in told(done)


def test_too_many_samples_are_told_with_what_to_narrow(fake_prometheus, now):
    fill(fake_prometheus)
    fake_prometheus.samples_max = 0
    done = rank(fake_prometheus)
    assert done.exit_code == 2 and "narrow time or matchers" in told(done)


def test_a_dead_server_is_told():
    done = CliRunner().invoke(app, ["rca", "rank", "--prometheus", "http://127.0.0.1:9"])
    assert done.exit_code == 2
    assert "nothing listens there" in told(done)


def test_a_start_in_the_servers_future_is_a_clock_that_is_wrong(fake_prometheus, now):
    fill(fake_prometheus)
    now["s"] = START_S - 100
    done = rank(fake_prometheus)
    assert done.exit_code == 2 and "in the future of the server" in told(done)


def test_a_long_reading_is_seen_on_stderr(fake_prometheus, now, monkeypatch):
    fill(fake_prometheus)
    monkeypatch.setattr("ops.commands.rca_prometheus.QUIET_S", 0.0)
    done = rank(fake_prometheus)
    assert "questions" in done.stderr and json.loads(done.stdout)["services"]


def test_reading_takes_no_longer_than_its_deadline(fake_prometheus, now):
    fill(fake_prometheus)
    fake_prometheus.script = [None]
    began = time.monotonic()
    done = rank(fake_prometheus, "--timeout-s", "0.2")
    assert done.exit_code == 2 and "--timeout-s" in told(done)
    assert time.monotonic() - began < 15.0


@pytest.mark.parametrize("option", ["--step=15", "--label=a=b", "--where=a=b", "--timeout-s=3"])
def test_options_of_a_prometheus_need_one(tmp_path, option):
    table = tmp_path / "a.csv"
    table.write_text("time,a_x\n1,1\n")
    done = CliRunner().invoke(app, ["rca", "rank", str(table), option])
    assert done.exit_code == 2 and "goes with --prometheus" in told(done)
