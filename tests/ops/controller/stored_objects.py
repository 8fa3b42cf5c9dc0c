"""Fleets and Incidents as a cluster stores them, made by hand, for tests of what people see."""

from __future__ import annotations

import gzip
import hashlib
from base64 import b64encode
from dataclasses import replace

from ops.controller.conditions import AS_SCRAPED
from ops.controller.resources.cause import CauseStatus, EvidenceStatus
from ops.controller.resources.fields import (
    API_VERSION,
    Condition,
    ConditionStatus,
    ReportRef,
    to_object,
)
from ops.controller.resources.fleet import FleetSpec, FleetStatus, Mode
from ops.controller.resources.incident import (
    ActionStatus,
    AlertSource,
    CurrentStatus,
    IncidentSpec,
    IncidentStatus,
    Phase,
    RuledOut,
    Severity,
)

NOW = "2026-11-30T02:19:00Z"
NOW_S = 1_796_005_140.0
PAGE = b"<!doctype html><title>Incident</title><p>store ran out of connections</p>\n"


def said(kind, status, message, reason="Said"):
    return Condition(
        type=kind, status=ConditionStatus(status), reason=reason, message=message,
        last_transition_time="2026-11-30T02:07:06Z",
    )  # fmt: skip


NAMED = IncidentStatus(
    phase=Phase.DIAGNOSED,
    severity=Severity.CRITICAL,
    summary="session-store in eu-west ran out of connections after config session-store 117 → 118.",
    cause="service:eu-west/session-store",
    confidence=0.82,
    symptom="requests miss their limits in eu-west/interactive: 31 % bad",
    current=CurrentStatus(
        at="2026-11-30T02:18:20Z", key="eu-west/batch", bad_ratio=0.44, requests=1240, seconds=60.0
    ),
    keys=["eu-west/interactive", "eu-west/batch"],
    began="2026-11-30T02:06:45Z",
    detected="2026-11-30T02:06:50Z",
    diagnosed="2026-11-30T02:07:06Z",
    time_to_cause="21s",
    reason="pool evidence of session-store",
    causes=[
        CauseStatus(
            rank=1, entity="service:eu-west/session-store", resource="pool", confidence=0.82,
            began="2026-11-30T02:06:40Z",
            evidence=[
                EvidenceStatus(
                    channel="resource",
                    text="calls to session-db in flight 30 -> 24, flat at the new limit",
                ),
                EvidenceStatus(
                    channel="latency",
                    text="gateway call time to session-store, p99 0.21 -> 2.4 s; the database "
                    "itself stays at 150 ms",
                ),
                EvidenceStatus(channel="change", text="config 117 -> 118, 85 s before"),
            ],
        ),
        CauseStatus(
            rank=2, entity="service:eu-west/session-db", resource="load", confidence=0.09
        ),
    ],
    ruled_out=[
        RuledOut(
            entity="node:eu-west/gpu-node-2",
            reason="its GPU clock stays at 1.41 GHz and its pods answer as fast as the others",
        ),
        RuledOut(entity="service:eu-west/session-db", reason="its own time did not change"),
        RuledOut(entity="link:eu-west/gateway->session-store", reason="no retransmissions"),
        RuledOut(entity="workload:eu-west", reason="no more requests than usual"),
    ],
    actions=[
        ActionStatus(
            kind="rollback", target="service:eu-west/session-store",
            reason="its configuration changed 85 s before the onset",
            command="kubectl --namespace shop rollout undo deployment/session-store",
            undo="kubectl --namespace shop rollout undo deploy/session-store  # to 118",
            allowed=True,
            decided="2026-11-30T02:07:06Z",
        ),
    ],
    alerts=12,
    report=ReportRef(
        config_map="chat-20261130-020645-a1b2c-report",
        sha256=hashlib.sha256(PAGE).hexdigest(),
        bundle="/var/lib/midwatch/shop/chat-20261130-020645-a1b2c",
    ),
    conditions=[
        said("Detected", "True", "requests miss their limits"),
        said("Diagnosed", "True", "service:eu-west/session-store pool, confidence 0.82"),
        said("Mitigated", "False", "users still suffer"),
        said("Recorded", "True", "bundle of 214 series", "BundleWritten"),
    ],
)  # fmt: skip

ABSTAINED = replace(
    NAMED,
    severity=Severity.WARNING,
    phase=Phase.OPEN,
    summary="Cannot tell what makes eu-west interactive miss its SLO.",
    cause="",
    confidence=None,
    diagnosed=None,
    abstained=True,
    causes=[
        CauseStatus(
            rank=1, entity="node:eu-west/gpu-node-2", resource="gpu-device", confidence=0.34
        )
    ],
    missing=["engine metrics of eu-west, 9 pods", "spans"],
    actions=[],
    report=None,
    current=None,  # as an object of an earlier release
    conditions=[
        said(
            "Diagnosed", "False",
            "two candidates explain the onset equally well; missing: engine metrics of eu-west; "
            "would settle it: DCGM_FI_DEV_XID_ERRORS of gpu-node-2", "Abstained",
        ),
        said("Mitigated", "False", "users still suffer"),
        said("Recorded", "False", "no volume is mounted, the bundle was dropped", "NoVolume"),
    ],
)  # fmt: skip

UNDER_WAY = IncidentStatus(
    summary="eu-west interactive misses its SLO.",
    symptom="requests miss their limits in eu-west/interactive: 31 % bad",
    keys=["eu-west/interactive"],
    began="2026-11-30T02:18:45Z",
    detected="2026-11-30T02:18:50Z",
    alerts=1,
    conditions=[said("Diagnosed", "Unknown", "the first diagnosis is under way", "UnderWay")],
)

RESOLVED = replace(
    NAMED,
    phase=Phase.RESOLVED,
    mitigated="2026-11-30T02:12:00Z",
    resolved="2026-11-30T02:17:00Z",
    actions=[],
)


def incident(name, status, *, fleet="chat", namespace="shop", source="Alert"):
    spec = IncidentSpec(
        fleet=fleet, source=source,
        alert=AlertSource(name="SLOBurnPage", fingerprint="5ef77f1f8a3ecf8d"),
    )  # fmt: skip
    return {
        "apiVersion": API_VERSION,
        "kind": "Incident",
        "metadata": {
            "name": name, "namespace": namespace, "labels": {"midwatch.dev/fleet": fleet},
            "creationTimestamp": "2026-11-30T02:06:50Z",
        },
        "spec": to_object(spec),
        "status": {} if status is None else to_object(status),
    }  # fmt: skip


def fleet(name="chat", *, namespace="shop", conditions=(), seen=True, well=False, **spec):
    slo = ("True", "1 pair of region and class is within its error budget") if well else (
        "False", "eu-west/interactive burns its budget 21 times too fast (5m)",
    )  # fmt: skip
    usual = [
        said("Ready", "True", "watched"), said("DataFresh", "True", AS_SCRAPED),
        said("SLOMet", *slo), said("Acting", "False", "mode Observe", "Observing"),
    ]  # fmt: skip
    given = {item.type for item in conditions}
    status = FleetStatus(
        pods=12, ready_pods=11, open_incidents=1,
        conditions=[*(item for item in usual if item.type not in given), *conditions],
    )  # fmt: skip
    return {
        "apiVersion": API_VERSION,
        "kind": "Fleet",
        "metadata": {"name": name, "namespace": namespace},
        "spec": to_object(FleetSpec(**{"mode": Mode.OBSERVE} | spec)),
        "status": to_object(status) if seen else {},
    }


def lease(renewed="2026-11-30T02:18:58.123456Z", holder="midwatch-operator-7d9f-x"):
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "midwatch-operator", "namespace": "midwatch-system"},
        "spec": {"holderIdentity": holder, "renewTime": renewed, "leaseDurationSeconds": 7},
    }


def report_map(name="chat-20261130-020645-a1b2c-report", *, namespace="shop", page=PAGE):
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace},
        "binaryData": {"report.html.gz": b64encode(gzip.compress(page)).decode()},
        "data": {"report.md": "# Incident\n"},
    }
