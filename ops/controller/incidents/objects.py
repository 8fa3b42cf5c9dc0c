"""Objects that belong to an Incident, as the API server takes them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isnan
from typing import Any

from ops.adapters.kube.paths import path_of
from ops.controller.conditions import cut
from ops.controller.moments import rfc3339
from ops.controller.report_map import label_value, name_with, owner, report_map
from ops.controller.resources.fields import API_VERSION, GROUP, VERSION, to_object
from ops.controller.resources.fleet_object import FleetObject
from ops.controller.resources.incident import AlertSource, IncidentSpec, SymptomSpec
from ops.controller.worker_link.wire import ReportAnswer
from ops.state import Alert, Incident
from rca.state import Symptom

FLEET_LABEL, INCIDENT_LABEL = f"{GROUP}/fleet", f"{GROUP}/incident"
INCIDENTS = "incidents"
KINDS_OF_SYMPTOM = ("latency", "errors", "missing", "alert")


def incident_body(
    name: str,
    incident: Incident,
    fleet: FleetObject,
    *,
    alerts: Sequence[Alert] = (),
    window_start_s: float | None = None,
) -> dict[str, Any]:
    """A new Incident object; its status is written afterwards."""
    spec = IncidentSpec(
        fleet=fleet.name,
        source="Alert" if incident.symptom.reason == "alert" else "Detection",
        alert=_source(alerts) if incident.symptom.reason == "alert" else None,
        symptom=symptom_spec(incident.symptom),
        window_start=None if window_start_s is None else rfc3339(window_start_s),
    )
    return {
        "apiVersion": API_VERSION,
        "kind": "Incident",
        "metadata": {
            "name": name,
            "namespace": fleet.namespace,
            "labels": {FLEET_LABEL: fleet.name},
            "ownerReferences": [owner("Fleet", fleet.name, fleet.uid)],
        },
        "spec": to_object(spec),
    }


def symptom_spec(symptom: Symptom) -> SymptomSpec:
    """What users suffered, so that the same symptom can be made of it again."""
    return SymptomSpec(
        region=cut(symptom.region, 63),
        slo_class=cut(symptom.slo_class, 63),
        kind=symptom.reason if symptom.reason in KINDS_OF_SYMPTOM else "alert",
        bad_ratio=exact_ratio(symptom.bad_ratio),
        began_seconds=max(0.0, symptom.began_at_s),
        detected_seconds=max(0.0, symptom.detected_at_s),
    )


def exact_ratio(value: float) -> float | None:
    """A share as an object keeps it, None where nobody measures it."""
    return None if isnan(value) else min(max(value, 0.0), 1.0)


def report_name(incident: str) -> str:
    """Name of the ConfigMap of an Incident's report."""
    return name_with(incident, "-report")


def report_body(
    answer: ReportAnswer, *, incident: str, uid: str, fleet: FleetObject
) -> dict[str, Any]:
    """The ConfigMap with an Incident's pages."""
    return report_map(
        answer,
        name=report_name(incident),
        namespace=fleet.namespace,
        labels={FLEET_LABEL: fleet.name, INCIDENT_LABEL: label_value(incident)},
        owned_by=owner("Incident", incident, uid),
    )


def incidents_path(namespace: str, name: str = "", subresource: str = "") -> str:
    """Path of Incidents on the server."""
    return path_of(GROUP, VERSION, INCIDENTS, namespace, name, subresource)


def merge_of(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """The merge patch that makes `new` of `old`; empty where they are equal.

    Source: RFC 7396.
    """
    patch: dict[str, Any] = {key: None for key in old if key not in new}
    for key, value in new.items():
        before = old.get(key)
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            inner = merge_of(before, value)
            if inner:
                patch[key] = inner
        elif key not in old or before != value:
            patch[key] = value
    return patch


def _source(alerts: Sequence[Alert]) -> AlertSource | None:
    """The first alert that fires."""
    firing = sorted((a for a in alerts if a.firing), key=lambda a: (a.starts_at_s, a.key))
    if not firing:
        return None
    first = firing[0]
    return AlertSource(
        name=cut(first.labels.get("alertname", ""), 253),
        fingerprint=cut(first.fingerprint, 253),
        starts_at=rfc3339(first.starts_at_s),
    )
