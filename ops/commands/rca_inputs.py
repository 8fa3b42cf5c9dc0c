"""What `midwatch rca rank` is given -> incidents: bundle, case folder, table, stdin, Prometheus."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import typer

from ops.adapters.prometheus_selectors import parse_moment
from ops.bundle import MANIFEST
from ops.clock import moment_text, wall_s
from ops.commands.rca_options import PrometheusOptions, Source
from ops.commands.rca_prometheus import incidents_of_prometheus
from ops.errors import PrometheusError
from ops.replay.bundle_incident import incidents_of_bundle
from rca.case_json import read_changes
from rca.datasets import find_cases, incident_of_table, read_incident
from rca.errors import DatasetError
from rca.incident import Incident
from rca.state import ChangeEvent

STDIN = Path("-")


def read_incidents(source: Source) -> list[Incident]:
    """Every incident of the source: one, or one per region.

    Raises:
        typer.BadParameter: options that do not go together.
        OpsError, RcaError: what cannot be read.
    """
    changes = () if source.changes is None else read_changes(source.changes)
    if source.prometheus.url:
        return _from_prometheus(source, changes)
    _refuse_prometheus_options(source.prometheus)
    if source.path is None:
        raise typer.BadParameter(
            "nothing to read; give a case folder, a table, a bundle, - for stdin, "
            "or --prometheus URL"
        )
    fault_at_s = _fault_at_s(source)
    if _is_bundle(source.path):
        found = incidents_of_bundle(source.path, service_label=source.service_label)
        return [_with(incident, fault_at_s, changes) for incident in found.values()]
    if source.service_label:
        raise typer.BadParameter(
            "--service-label goes with --prometheus or a bundle; columns of a table name their "
            "service, pods theirs in case.json under 'instances'"
        )
    return [_with(_of_path(source.path), fault_at_s, changes)]


def _is_bundle(path: Path) -> bool:
    try:
        return (path / MANIFEST).is_file()
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}; check its rights") from error


def _from_prometheus(source: Source, changes: tuple[ChangeEvent, ...]) -> list[Incident]:
    if source.path is not None:
        raise typer.BadParameter(f"give {source.path} or --prometheus, not both")
    if source.fault_at and source.fault_at_s is not None:
        raise typer.BadParameter("give --fault-at or --fault-at-s, not both")
    fault_at = source.fault_at or ("" if source.fault_at_s is None else f"{source.fault_at_s!r}")
    found = incidents_of_prometheus(
        source.prometheus, fault_at=fault_at, changes=changes, service_label=source.service_label
    )
    return list(found.values())


def _refuse_prometheus_options(options: PrometheusOptions) -> None:
    plain = PrometheusOptions()
    names = {"labels": "label", "headers": "header"}
    for name in PrometheusOptions.__dataclass_fields__:
        if getattr(options, name) != getattr(plain, name):
            option = names.get(name, name).replace("_", "-")
            raise typer.BadParameter(f"--{option} goes with --prometheus URL only")


def _fault_at_s(source: Source) -> float | None:
    if not source.fault_at:
        return source.fault_at_s
    if source.fault_at_s is not None:
        raise typer.BadParameter("give --fault-at or --fault-at-s, not both")
    try:
        return parse_moment(source.fault_at, now_s=wall_s())
    except PrometheusError as error:
        raise typer.BadParameter(f"--fault-at: {error}") from error


def _with(
    incident: Incident, fault_at_s: float | None, changes: tuple[ChangeEvent, ...]
) -> Incident:
    if fault_at_s is not None:
        first_s, last_s = float(incident.times_s[0]), float(incident.times_s[-1])
        if not first_s < fault_at_s <= last_s:
            raise typer.BadParameter(
                f"the fault time {moment_text(fault_at_s)} is not within the rows, "
                f"{moment_text(first_s)} to {moment_text(last_s)}; give it on their clock, or "
                "leave it out"
            )
        incident = replace(incident, fault_at_s=fault_at_s)
    return replace(incident, changes=tuple(sorted({*incident.changes, *changes})))


def _of_path(path: Path) -> Incident:
    if path == STDIN:
        return incident_of_table(Path("stdin"), raw=sys.stdin.buffer.read())
    if path.is_dir():
        cases = find_cases(path)
        if len(cases) > 1:
            raise typer.BadParameter(
                f"{path} holds {len(cases)} cases; give one, such as {cases[0].folder}"
            )
        return read_incident(cases[0])
    return incident_of_table(path)
