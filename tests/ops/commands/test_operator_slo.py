"""`midwatch operator slo`: files in, a Fleet's objectives and rules out."""

from __future__ import annotations

import json

import pytest
import yaml
from typer.testing import CliRunner

from ops.cli import app
from ops.controller.resources.fleet import parse_fleet

OPENSLO = """
apiVersion: openslo/v1
kind: SLO
metadata: {name: chat}
spec:
  indicator:
    metadata: {name: ttft}
    spec:
      thresholdMetric:
        metricSource:
          type: Prometheus
          spec: {query: dynamo_frontend_time_to_first_token_seconds_bucket}
  timeWindow: [{duration: 4w, isRolling: false}]
  budgetingMethod: Occurrences
  objectives: [{op: lte, value: 2, target: 0.99}]
"""
FLEET = """
apiVersion: v1
kind: List
items:
- apiVersion: midwatch.dev/v1alpha1
  kind: Fleet
  metadata: {name: chat, namespace: shop}
  spec: {slos: [{name: fast, target: 0.99, ttftSeconds: 2}, {name: slow, tpotSeconds: 60}]}
"""


def run(*words):
    return CliRunner().invoke(app, ["operator", "slo", *map(str, words)])


@pytest.fixture
def files(tmp_path):
    for name, text in (("slo.yaml", OPENSLO), ("fleet.yaml", FLEET), ("odd.yaml", "a: [")):
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "bad.yaml").write_text(OPENSLO.replace("0.99", "99"), encoding="utf-8")
    return tmp_path


def test_what_is_imported_is_a_fleets_own_form(files):
    done = run("import", files / "slo.yaml")
    assert done.exit_code == 0, done.output
    assert "a calendar window is watched as a rolling one" in done.stderr
    spec = yaml.safe_load(done.stdout)
    (one,) = parse_fleet({"spec": spec}).slos
    assert (one.name, one.ttft_seconds, one.tpot_seconds, one.window) == ("chat", 2.0, 60.0, "28d")
    assert json.loads(run("import", files / "slo.yaml", "--json").stdout) == spec


def test_rules_of_fleets_and_of_files(files):
    made = yaml.safe_load(run("rules", files / "fleet.yaml").stdout)
    assert [group["name"] for group in made["groups"]] == [
        "midwatch-slo-shop-chat-fast", "midwatch-slo-shop-chat-slow",
    ]  # fmt: skip
    slow = [rule.get("record", "") for rule in made["groups"][1]["rules"]]
    assert not any("tpot" in name for name in slow)  # 60 s is no limit
    told = run(
        "rules", files / "slo.yaml", "--prometheus-rule", "--namespace", "shop", "--fleet", "f",
        "--metric", "http_requests_total",
    )  # fmt: skip
    assert "dynamo_frontend_requests" not in told.stdout
    assert yaml.safe_load(told.stdout)["metadata"]["name"] == "midwatch-slo-f"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["import", "bad.yaml"], "target: is 99, expected a share"),
        (["rules", "bad.yaml"], "target: is 99, expected a share"),
        (["rules", "odd.yaml"], "is no YAML"),
        (["import", "none.yaml"], "cannot be read"),
    ],
)
def test_what_does_not_fit_is_told_with_exit_code_2(files, words, told):
    command, name = words
    done = run(command, files / name)
    assert done.exit_code == 2
    assert told in " ".join(done.stderr.replace("│", " ").split())
    assert "Traceback" not in done.stderr
