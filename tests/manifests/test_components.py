"""The opt-in components: alerts on midwatch itself, and the dashboard."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

from ops.burn_rules import FleetName, rule_file
from ops.catalogue import Catalogue
from ops.controller.alerts.metrics import WebhookMetrics
from ops.controller.made.health_rules import ALERTS, health_rules
from ops.controller.operator_metrics import OperatorMetrics
from ops.openslo import SloClass
from tests.manifests.installs import MANIFESTS
from tests.manifests.render import made_files

CATALOGUE = Catalogue.load()
COMPONENTS = MANIFESTS / "components"
NAME = re.compile(r"(?<![\w:$\"'])([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(?=[{\[])")
needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None,
    reason="promtool is not installed (Debian package 'prometheus')",
)


def dashboard() -> dict[str, Any]:
    read: dict[str, Any] = json.loads((COMPONENTS / "grafana" / "midwatch.json").read_bytes())
    return read


def expressions() -> list[str]:
    panels = [t["expr"] for panel in dashboard()["panels"] for t in panel.get("targets", [])]
    return panels + [one["expr"] for one in dashboard()["annotations"]["list"]]


def ours() -> set[str]:
    """Every name that operator and worker expose."""
    registry = CollectorRegistry()
    WebhookMetrics(registry)
    names = set(registry._names_to_collectors)
    operator = OperatorMetrics().registry
    names |= set(operator._names_to_collectors)
    names |= {sample.name for family in operator.collect() for sample in family.samples}
    worker = (Path(__file__).parents[2] / "ops/controller/worker/metrics.py").read_text("utf-8")
    for name in re.findall(r'"(ops_worker_\w+)"', worker):
        names |= {name, f"{name}_total", f"{name}_bucket"}
    return names


def recorded() -> set[str]:
    classes = [SloClass(name="chat", ttft_s=2.0, tpot_s=0.2, window_s=30 * 86_400)]
    made = rule_file(classes, CATALOGUE, FleetName(namespace="a", name="b"))
    return {rule["record"] for rule in made["groups"][0]["rules"] if "record" in rule}


def test_made_files_are_those_of_today() -> None:
    for path, content in made_files().items():
        assert path.read_bytes() == content, f"{path.name} is old: make manifests"


def test_every_metric_of_dashboard_and_alerts_exists() -> None:
    known, used = ours() | recorded(), set()
    for expr in [*expressions(), *(alert.expr for alert in ALERTS)]:
        names = set(NAME.findall(expr)) - {"by", "on"}
        assert names, expr
        used |= names
    unknown = {n for n in used if n not in known and not CATALOGUE.entries(n)}
    assert unknown == set()
    assert {"ops_incident_open", "midwatch:slo_error:ratio1h", "ops_worker_waiting"} <= used


def test_panels_do_not_overlap_and_have_ids_of_their_own() -> None:
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        mine = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & mine, panel["title"]
        assert max(x for x, _ in mine) < 24
        cells |= mine


def test_what_is_chosen_narrows_every_panel_of_a_fleet() -> None:
    names = {one["name"] for one in dashboard()["templating"]["list"]}
    assert names == {"datasource", "namespace", "fleet", "region"}
    for expr in expressions():
        assert "job=" in expr or 'namespace="$namespace"' in expr or "job=~" in expr, expr


@pytest.mark.integration
@needs_promtool
def test_promtool_takes_every_expression(tmp_path: Path) -> None:
    values = {"$namespace": "shop", "$fleet": "chat", "$region": ".*"}
    rules = []
    for k, expr in enumerate(expressions()):
        for name, value in values.items():
            expr = expr.replace(name, value)
        assert "$" not in expr
        rules.append({"record": f"panel:{k}", "expr": expr})
    groups = [{"name": "panels", "rules": rules}, *health_rules()["groups"]]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": groups}), encoding="utf-8")
    done = subprocess.run(
        ["promtool", "check", "rules", "rules.yml"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


HEALTHY = {
    'ops_leading{job="midwatch-operator",pod="a"}': "1x60",
    'ops_leading{job="midwatch-operator",pod="b"}': "0x60",
    'ops_rights_missing{job="midwatch-operator",pod="a"}': "0x60",
    'ops_readings_total{job="midwatch-operator",state="Fresh"}': "0+60x60",
    'ops_readings_total{job="midwatch-operator",state="Stale"}': "0+1x60",
    'ops_ticks_total{job="midwatch-operator",result="ok"}': "0+60x60",
    'ops_watch_to_decision_seconds_bucket{job="midwatch-operator",le="1"}': "0+10x60",
    'ops_watch_to_decision_seconds_bucket{job="midwatch-operator",le="+Inf"}': "0+10x60",
    'up{job="midwatch-worker"}': "1x60",
    'ops_rca_runs_total{job="midwatch-operator",result="named"}': "0+1x60",
    'ops_webhook_posts_total{job="midwatch-operator",status="200"}': "0+1x60",
    'ops_webhook_alerts_total{job="midwatch-operator",result="written"}': "0+1x60",
}
ILL = {
    "MidwatchNobodyLeads": {'ops_leading{job="midwatch-operator",pod="a"}': "1x10 0x50"},
    "MidwatchSeveralLead": {'ops_leading{job="midwatch-operator",pod="b"}': "0x10 1x50"},
    "MidwatchRightsMissing": {'ops_rights_missing{job="midwatch-operator",pod="a"}': "2x60"},
    "MidwatchDataNotFresh": {
        'ops_readings_total{job="midwatch-operator",state="Fresh"}': "0+60x10 600x50",
        'ops_readings_total{job="midwatch-operator",state="Stale"}': "0x10 0+60x50",
    },
    "MidwatchStepsFail": {'ops_ticks_total{job="midwatch-operator",result="failed"}': "0+1x60"},
    "MidwatchDecidesLate": {
        'ops_watch_to_decision_seconds_bucket{job="midwatch-operator",le="1"}': "0+5x60",
        'ops_watch_to_decision_seconds_bucket{job="midwatch-operator",le="10"}': "0+10x60",
    },
    "MidwatchWorkerDown": {'up{job="midwatch-worker"}': "1x10 0x50"},
    "MidwatchDiagnosesFail": {
        'ops_rca_runs_total{job="midwatch-operator",result="failed"}': "0+3x60"
    },
    "MidwatchWebhookOverloaded": {
        'ops_webhook_posts_total{job="midwatch-operator",status="503"}': "0+1x60"
    },
    "MidwatchAlertsUnrouted": {
        'ops_webhook_alerts_total{job="midwatch-operator",result="unrouted"}': "0+1x60"
    },
}


@pytest.mark.integration
@needs_promtool
def test_alerts_on_midwatch_itself_fire_each_for_its_own_trouble(tmp_path: Path) -> None:
    assert set(ILL) == {alert.name for alert in ALERTS}
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(health_rules()), encoding="utf-8")
    cases: list[tuple[dict[str, str], list[str]]] = [({}, [])]
    cases += [(series, [name]) for name, series in ILL.items()]
    # With nothing scraped at all the absence itself is told.
    tests = [
        {
            "interval": "1m",
            "input_series": [{"series": k, "values": v} for k, v in (HEALTHY | change).items()],
            "promql_expr_test": [
                {
                    "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
                    "eval_time": "50m",
                    "exp_samples": [
                        {"labels": f'{{alertname="{name}"}}', "value": 1} for name in firing
                    ],
                }
            ],
        }
        for change, firing in cases
    ]
    tests.append(
        {
            "interval": "1m",
            "input_series": [],
            "promql_expr_test": [
                {
                    "expr": 'count(ALERTS{alertstate="firing"})',
                    "eval_time": "50m",
                    "exp_samples": [{"labels": "{}", "value": 2}],
                }
            ],
        }
    )
    whole = {"rule_files": ["rules.yml"], "evaluation_interval": "1m", "tests": tests}
    (tmp_path / "test.yml").write_text(yaml.safe_dump(whole), encoding="utf-8")
    done = subprocess.run(
        ["promtool", "test", "rules", "test.yml"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
