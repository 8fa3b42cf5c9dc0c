"""`midwatch chaos serve`: says where it serves, writes the past, refuses what it cannot use."""

from __future__ import annotations

import json
import re
import subprocess
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from typer.testing import CliRunner

from ops.catalogue import Catalogue
from ops.cli import app
from ops.commands.chaos_files import TryOut
from ops.commands.operator_manifests import manifests_folder
from ops.controller.resources.fleet import parse_fleet
from ops.controller.settings import load_settings
from ops.replay.live import LiveServer
from ops.replay.openmetrics_read import parse_metrics
from ops.replay.scenarios import load_embedded

FREE = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]


def serve(*arguments):
    return CliRunner().invoke(app, ["chaos", "serve", *map(str, arguments)])


def test_it_serves_its_past_and_its_present_until_interrupted(monkeypatch, tmp_path):
    seen = []

    def wait(server, _seconds):
        with urllib.request.urlopen(f"{server.url}/targets/engine", timeout=60.0) as answer:
            seen.extend(json.load(answer))
        raise KeyboardInterrupt

    monkeypatch.setattr(LiveServer, "wait", wait)
    history = tmp_path / "past.om"
    done = serve(
        "small", *FREE, "--rate", 1, "--warm-up-s", 30, "--lasts-s", 60, "--history", history,
        "--namespace", "prod", "--json",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["rate_rps"] == 1.0 and told["metrics"] != told["admin"]
    assert {group["labels"]["namespace"] for group in seen} == {"prod"}
    frame = parse_metrics(history.read_text(), step_s=5.0, catalogue=Catalogue.load())
    assert len(frame.times_s) == 6


@pytest.fixture(scope="module")
def tried(tmp_path_factory):
    """The folder that --try-out fills, and what was printed."""
    folder = tmp_path_factory.mktemp("try")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(LiveServer, "wait", interrupted)
        done = serve("small", *FREE, "--rate", 1, "--warm-up-s", 30, "--lasts-s", 60,
                     "--namespace", "shop", "--try-out", folder)  # fmt: skip
    assert done.exit_code == 0, done.output
    return SimpleNamespace(folder=folder, out=done.stdout, load=lambda name: list(
        yaml.safe_load_all((folder / name).read_text())))  # fmt: skip


def interrupted(_server, _seconds):
    raise KeyboardInterrupt


def test_a_try_out_has_all_that_watches_the_fleet_and_says_how_it_is_started(tried):
    (prometheus,) = tried.load("prometheus.yml")
    assert {"scrape_configs", "rule_files", "alerting", "global"} == set(prometheus)
    for name in ("operator.yaml", "worker.yaml"):
        load_settings(tried.folder / name)
        assert f"{tried.folder}/{name}" in tried.out
    (alerts,) = tried.load("alertmanager.yml")
    (hook,) = alerts["receivers"][0]["webhook_configs"]
    token = Path(hook["http_config"]["authorization"]["credentials_file"])
    assert len(token.read_text()) == 64
    assert token.stat().st_mode & 0o077 == 0
    assert hook["url"].partition("//")[2].startswith(load_settings(
        tried.folder / "operator.yaml").webhook.listen)  # fmt: skip
    assert f"kubectl apply -f {tried.folder}/fleet.yaml" in tried.out
    assert (tried.folder / "past.om").stat().st_size > 0


def test_the_commands_of_a_try_out_can_be_typed_anywhere(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    made = TryOut(folder=Path("try"), scenario=None, fleet=None, namespace="shop",
                  scrape_configs=[])  # fmt: skip
    (tmp_path / "prometheus-alertmanager").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    commands = made.commands()
    assert not [one for one in commands if " try/" in one or "=try/" in one]
    assert f"kubectl apply -f {tmp_path}/try/fleet.yaml" in commands
    assert any('--kubeconfig "${KUBECONFIG:-$HOME/.kube/config}"' in one for one in commands)
    assert any(one.startswith("prometheus-alertmanager --config.file=") for one in commands)


def test_the_fleet_of_a_try_out_speaks_of_the_scenarios_classes_and_pods(tried):
    (fleet,) = tried.load("fleet.yaml")
    scenario = load_embedded("small")
    spec = parse_fleet(fleet)
    assert [(s.name, s.target, s.ttft_seconds, s.tpot_seconds) for s in spec.slos] == [
        (s.name, s.target_ratio, s.ttft_s, s.tpot_s) for s in scenario.slos
    ]
    namespace, *others = tried.load("cluster.yaml")
    assert namespace["metadata"]["name"] == fleet["metadata"]["namespace"] == "shop"
    pods = [one for one in others if one["kind"] == "Pod"]
    nodes = {one["metadata"]["name"] for one in others if one["kind"] == "Node"}
    wanted = spec.selector.match_labels.items()
    assert all(wanted <= pod["metadata"]["labels"].items() for pod in pods)
    assert {pod["spec"]["nodeName"] for pod in pods} <= nodes
    services = {pod["metadata"]["labels"]["app.kubernetes.io/name"] for pod in pods}
    names = {pod["metadata"]["name"] for pod in pods}
    assert services == {*(s.name for s in scenario.services), scenario.engine.name}
    for one in (one for one in others if one["kind"] == "ReplicaSet"):
        selector = one["spec"]["selector"]["matchLabels"].items()
        adopted = [pod for pod in pods if selector <= pod["metadata"]["labels"].items()]
        assert len(adopted) == one["spec"]["replicas"]
        assert selector <= one["spec"]["template"]["metadata"]["labels"].items()
        pods = [pod for pod in pods if pod not in adopted]
    assert pods == []  # each has a controller, so that it may be recommended to be replaced
    past = (tried.folder / "past.om").read_text()
    assert set(re.findall(r'[{,]pod="([^"]+)"', past)) == names  # metrics and cluster agree


def test_the_shipped_example_fits_the_scenario_that_the_documents_play():
    path = manifests_folder() / "examples" / "fleet-slos.yaml"
    slos = parse_fleet(yaml.safe_load(path.read_text())).slos
    assert [(s.name, s.target, s.ttft_seconds, s.tpot_seconds) for s in slos] == [
        (s.name, s.target_ratio, s.ttft_s, s.tpot_s) for s in load_embedded("chat").slos
    ]


@pytest.mark.integration
def test_promtool_takes_the_files_of_a_try_out(tried):
    for words in (["check", "config", "prometheus.yml"], ["check", "rules", "rules.yml"]):
        done = subprocess.run(["promtool", *words], cwd=tried.folder, capture_output=True)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "neither a file"),
        (["small", "--listen", "9400"], "HOST:PORT"),
        (["small", *FREE, "--fault", "gremlins"], "unknown kinds"),
        (["small", *FREE, "--fault", "cpu-hog", "--fault-severity", "0"], "more than 0"),
        (["small", *FREE, "--rate", "0"], "more than 0"),
        (["small", "--rate", "1", "--listen", "192.0.2.1:9400"], "choose free ports"),
        (["small", *FREE, "--warm-up-s", "-1"], "together"),
        (["small", *FREE, "--rate", "1", "--pods", __file__], "kubectl get pods,nodes"),
    ],
)
def test_wrong_use_is_told_before_anything_is_simulated(arguments, said):
    done = serve(*arguments)
    assert done.exit_code == 2
    assert said in " ".join(done.output.replace("│", " ").split())
