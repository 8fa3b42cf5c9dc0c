"""Alerts on midwatch itself: nobody leads, nothing is read, nothing is diagnosed or taken.

Made by `make manifests` into manifests/components/prometheus-operator; promtool checks them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

NAMESPACE = "midwatch-system"
_OPERATOR, _WORKER = 'job="midwatch-operator"', 'job="midwatch-worker"'
_LOGS = f"kubectl logs -n {NAMESPACE} deployment/midwatch-operator"


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthAlert:
    """One alert; `step` is what to look at first."""

    name: str
    expr: str
    for_: str
    severity: str
    summary: str
    step: str


ALERTS = (
    HealthAlert(
        name="MidwatchNobodyLeads",
        expr=f"absent(ops_leading{{{_OPERATOR}}} == 1)",
        for_="2m",
        severity="critical",
        summary="no operator leads: no fleet is watched, no alert becomes an Incident",
        step=f"kubectl get lease,pods -n {NAMESPACE}; /readyz of an operator names what lacks.",
    ),
    HealthAlert(
        name="MidwatchSeveralLead",
        expr=f"sum(ops_leading{{{_OPERATOR}}}) > 1",
        for_="1m",
        severity="critical",
        summary="{{ $value }} operators say that they lead",
        step=f"Restart the older one; then read {_LOGS} about the Lease.",
    ),
    HealthAlert(
        name="MidwatchRightsMissing",
        expr=f"max(ops_rights_missing{{{_OPERATOR}}}) > 0",
        for_="10m",
        severity="warning",
        summary="the API server refuses {{ $value }} rights that the operator needs",
        step="/readyz names verb, resource and namespace of each; apply the shipped ClusterRole.",
    ),
    HealthAlert(
        name="MidwatchDataNotFresh",
        expr=(
            f'sum by (state) (rate(ops_readings_total{{{_OPERATOR},state!="Fresh"}}[10m]))\n'
            f"/ on () group_left sum(rate(ops_readings_total{{{_OPERATOR}}}[10m])) > 0.5"
        ),
        for_="10m",
        severity="warning",
        summary="{{ $value | humanizePercentage }} of readings are {{ $labels.state }}: fleets "
        "are watched without metrics",
        step="Condition DataFresh of the Fleets says what was seen and what to look at.",
    ),
    HealthAlert(
        name="MidwatchStepsFail",
        expr=f'sum(rate(ops_ticks_total{{{_OPERATOR},result="failed"}}[10m])) > 0',
        for_="10m",
        severity="warning",
        summary="steps of fleets fail",
        step=f"{_LOGS}",
    ),
    HealthAlert(
        name="MidwatchDecidesLate",
        expr=(
            "histogram_quantile(0.99, sum by (le) "
            f"(rate(ops_watch_to_decision_seconds_bucket{{{_OPERATOR}}}[10m]))) > 2"
        ),
        for_="15m",
        severity="warning",
        summary="1 % of pod changes wait {{ $value | humanizeDuration }} for a decision",
        step="ops_stage_seconds tells which stage takes the time; raise the CPU limit.",
    ),
    HealthAlert(
        name="MidwatchWorkerDown",
        expr=f"absent(up{{{_WORKER}}} == 1)",
        for_="5m",
        severity="warning",
        summary="no worker answers: Incidents are opened without a cause",
        step=f"kubectl get pods -n {NAMESPACE} -l app.kubernetes.io/name=midwatch-worker",
    ),
    HealthAlert(
        name="MidwatchDiagnosesFail",
        expr=(
            f'sum(rate(ops_rca_runs_total{{{_OPERATOR},result=~"failed|busy"}}[15m]))\n'
            f"/ sum(rate(ops_rca_runs_total{{{_OPERATOR}}}[15m])) > 0.5"
        ),
        for_="15m",
        severity="warning",
        summary="{{ $value | humanizePercentage }} of diagnoses fail or find the worker busy",
        step=f"kubectl logs -n {NAMESPACE} deployment/midwatch-worker; ops_worker_waiting.",
    ),
    HealthAlert(
        name="MidwatchWebhookOverloaded",
        expr=f'sum(rate(ops_webhook_posts_total{{{_OPERATOR},status=~"5.."}}[5m])) > 0',
        for_="10m",
        severity="warning",
        summary="notifications of Alertmanager are refused; it sends them again",
        step="ops_webhook_posts_total by reason: group alerts wider, or look for a leader.",
    ),
    HealthAlert(
        name="MidwatchAlertsUnrouted",
        expr=f'sum(increase(ops_webhook_alerts_total{{{_OPERATOR},result="unrouted"}}[1h])) > 0',
        for_="5m",
        severity="info",
        summary="{{ $value | humanize }} alerts of the last hour belong to no Fleet",
        step="Their label namespace must be that of a Fleet; the operator's log names them.",
    ),
)


def health_rules() -> dict[str, Any]:
    """A rule file of one group."""
    rules = [
        {
            "alert": one.name,
            "expr": one.expr,
            "for": one.for_,
            "labels": {"severity": one.severity},
            "annotations": {"summary": one.summary, "description": one.step},
        }
        for one in ALERTS
    ]
    return {"groups": [{"name": "midwatch-health", "rules": rules}]}


def health_object() -> dict[str, Any]:
    """The same for the Prometheus Operator."""
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {
            "name": "midwatch-health",
            "namespace": NAMESPACE,
            "labels": {"app.kubernetes.io/name": "midwatch"},
        },
        "spec": health_rules(),
    }
