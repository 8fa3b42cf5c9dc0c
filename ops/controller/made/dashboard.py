"""The Grafana dashboard as data: what users get, what the engines do, how midwatch itself is.

Made by `make manifests` into manifests/components/grafana; a test compares, another asks promtool
whether each expression is one and whether each metric is ours, recorded or in the catalogue.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from ops.burn_rules.expressions import spelled_names
from ops.catalogue import Catalogue
from ops.controller.made.dashboard_layout import SOURCE, Panel, Section, laid_out

UID = "midwatch"
_FLEET = 'namespace="$namespace",fleet="$fleet",region=~"$region"'
_PODS = 'namespace="$namespace"'
_OURS = 'job="midwatch-operator"'
_BUDGET = 'midwatch:slo_budget:ratio{namespace="$namespace",fleet="$fleet"}'


def dashboard(catalogue: Catalogue) -> dict[str, Any]:
    """The dashboard as Grafana imports it."""
    return {
        "uid": UID,
        "title": "midwatch",
        "description": "Service levels of a fleet, its engines, open incidents, and midwatch.",
        "tags": ["midwatch", "slo", "llm"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "timezone": "",
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {"list": list(_variables())},
        "annotations": {"list": [_incidents()]},
        "panels": list(laid_out(_sections(catalogue))),
    }


def dashboard_json(catalogue: Catalogue) -> bytes:
    """The file."""
    options = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    return orjson.dumps(dashboard(catalogue), option=options)


def _sections(catalogue: Catalogue) -> tuple[Section, ...]:
    return (
        Section(title="What users get", panels=_users(catalogue)),
        Section(title="Engines", panels=_engines(catalogue)),
        Section(title="Incidents", panels=_incident_panels()),
        Section(title="midwatch itself", panels=_health()),
    )


def _users(catalogue: Catalogue) -> tuple[Panel, ...]:
    def burn(window: str) -> str:
        return (
            f"midwatch:slo_error:ratio{window}{{{_FLEET}}}\n"
            f"/ on (namespace, fleet, slo_class) group_left {_BUDGET}"
        )

    legend = "{{slo_class}} {{region}}"
    return (
        Panel(
            title="Good requests, 3 days",
            queries=((f"1 - midwatch:slo_error:ratio3d{{{_FLEET}}}", legend),),
            unit="percentunit", kind="stat", least=None,
            told="Share of requests that met every limit of their class.",
        ),
        Panel(
            title="Burn rate, 1 hour", queries=((burn("1h"), legend),), limit=14.4,
            told="1 spends the error budget exactly by the end of its window. The line pages "
            "for a window of 30 days, if 5 minutes burn as fast.",
        ),
        Panel(title="Burn rate, 6 hours", queries=((burn("6h"), legend),), limit=6.0),
        Panel(
            title="Requests per second",
            queries=((f"midwatch:slo_requests:rate5m{{{_FLEET}}}", legend),), unit="reqps",
        ),
        Panel(
            title="Bad requests, 5 minutes",
            queries=((f"midwatch:slo_error:ratio5m{{{_FLEET}}}", legend),), unit="percentunit",
        ),
        Panel(
            title="Requests in flight",
            queries=((_summed(catalogue, "frontend_in_flight", "slo_class, region"), legend),),
        ),
        _times("Time to first token", "frontend_ttft", catalogue),
        _times("Time per output token", "frontend_tpot", catalogue),
        Panel(
            title="Scrape targets that answer",
            queries=((f'avg by (job) (up{{{_PODS}}})', "{{job}}"),), unit="percentunit",
            told="What is not scraped cannot be judged; midwatch then says so and accuses nobody.",
        ),
    )  # fmt: skip


def _engines(catalogue: Catalogue) -> tuple[Panel, ...]:
    def top(role: str) -> tuple[tuple[str, str], ...]:
        return ((f"topk(10, {_summed(catalogue, role, 'pod')})", "{{pod}}"),)

    return (
        Panel(title="Waiting requests, ten longest queues", queries=top("engine_waiting")),
        Panel(title="Running requests, ten busiest", queries=top("engine_running")),
        Panel(
            title="KV cache in use, ten fullest", queries=top("engine_kv_usage"),
            unit="percentunit",
        ),
    )  # fmt: skip


def _incident_panels() -> tuple[Panel, ...]:
    return (
        Panel(
            title="Open incidents", queries=((f"sum(ops_incident_open{{{_OURS}}})", "open"),),
            kind="stat", told="Of all fleets. kubectl get incidents -A",
        ),
        Panel(
            title="Opened, by severity",
            queries=(
                (f"sum by (severity) (increase(ops_incidents_total{{{_OURS}}}[1h]))",
                 "{{severity}}"),
            ),
        ),
        Panel(
            title="Start of the trouble to its named cause",
            queries=_quantiles("ops_time_to_cause_seconds", _OURS, "1h"), unit="s", limit=60.0,
        ),
        Panel(
            title="Diagnoses by result",
            queries=((f"sum by (result) (rate(ops_rca_runs_total{{{_OURS}}}[5m]))", "{{result}}"),),
        ),
        Panel(
            title="Question to the worker, until its answer",
            queries=_quantiles("ops_rca_duration_seconds", _OURS, "15m"), unit="s",
        ),
        Panel(
            title="Actions proposed",
            queries=(
                (f"sum by (action, result) (increase(ops_actions_total{{{_OURS}}}[1h]))",
                 "{{action}} {{result}}"),
            ),
            told="Nothing is carried out in this release.",
        ),
    )  # fmt: skip


def _health() -> tuple[Panel, ...]:
    worker = 'job="midwatch-worker"'
    both = 'job=~"midwatch-(operator|worker)"'
    return (
        Panel(title="Leader", queries=((f"ops_leading{{{_OURS}}}", "{{pod}}"),), width=6),
        Panel(
            title="Readings of metrics by state", width=6,
            queries=(
                (f"sum by (state) (rate(ops_readings_total{{{_OURS}}}[5m]))", "{{state}}"),
            ),
        ),
        Panel(
            title="Pod change to the end of its fleet's step", width=6, unit="s", limit=2.0,
            queries=_quantiles("ops_watch_to_decision_seconds", _OURS, "5m"),
        ),
        Panel(
            title="Alertmanager's notifications by answer", width=6,
            queries=(
                (f"sum by (status) (rate(ops_webhook_posts_total{{{_OURS}}}[5m]))", "{{status}}"),
            ),
        ),
        Panel(
            title="Resident memory", unit="bytes", width=6,
            queries=((f"process_resident_memory_bytes{{{both}}}", "{{pod}}"),),
        ),
        Panel(
            title="CPU", width=6,
            queries=((f"rate(process_cpu_seconds_total{{{both}}}[5m])", "{{pod}}"),),
        ),
        Panel(
            title="Series and rights", width=6,
            queries=(
                (f"sum(ops_series_tracked{{{_OURS}}})", "series of all fleets"),
                (f"max(ops_rights_missing{{{_OURS}}})", "rights that are refused"),
            ),
        ),
        Panel(
            title="Worker: questions that wait", width=6,
            queries=(
                (f"ops_worker_waiting{{{worker}}}", "{{pod}} waiting"),
                (f"sum by (result) (rate(ops_worker_questions_total{{{worker}}}[5m]))",
                 "{{result}} a second"),
            ),
        ),
    )  # fmt: skip


def _times(title: str, role: str, catalogue: Catalogue) -> Panel:
    """Median and 99th percentile of a histogram of users, whatever its name."""
    rates = "\nor ".join(
        f'sum by (le, slo_class) (rate({name}{{{_PODS},region=~"$region"}}[5m]))'
        for name in spelled_names(catalogue, role, "bucket")
    )
    return Panel(
        title=title,
        queries=tuple(
            (f"histogram_quantile({q}, {rates})", f"{{{{slo_class}}}} {told}")
            for q, told in ((0.5, "median"), (0.99, "99 %"))
        ),
        unit="s",
    )


def _quantiles(name: str, labels: str, window: str) -> tuple[tuple[str, str], ...]:
    rates = f"sum by (le) (rate({name}_bucket{{{labels}}}[{window}]))"
    return tuple(
        (f"histogram_quantile({q}, {rates})", told) for q, told in ((0.5, "median"), (0.95, "95 %"))
    )


def _summed(catalogue: Catalogue, role: str, by: str) -> str:
    """A gauge under any of its names."""
    return "\nor ".join(
        f"sum by ({by}) ({name}{{{_PODS}}})" for name in spelled_names(catalogue, role, "")
    )


def _variables() -> Iterator[dict[str, Any]]:
    yield {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Source"}
    told = "midwatch:slo_requests:rate5m"
    for name, within, several in (
        ("namespace", "", False),
        ("fleet", '{namespace="$namespace"}', False),
        ("region", '{namespace="$namespace",fleet="$fleet"}', True),
    ):
        query = f"label_values({told}{within}, {name})"
        yield {
            "name": name, "type": "query", "label": name.capitalize(), "datasource": SOURCE,
            "query": {"query": query, "refId": name}, "definition": query, "refresh": 2, "sort": 1,
            "multi": several, "includeAll": several, "allValue": ".*" if several else None,
        }  # fmt: skip


def _incidents() -> dict[str, Any]:
    return {
        "name": "incidents opened", "datasource": SOURCE, "enable": True, "iconColor": "red",
        "expr": f"sum by (severity) (changes(ops_incidents_total{{{_OURS}}}[1m])) > 0",
        "titleFormat": "incident", "tagKeys": "severity",
    }  # fmt: skip
