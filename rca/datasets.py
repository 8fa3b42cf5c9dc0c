"""Incident sets on disk -> arrays: one folder a case, a folder of cases, or a single wide table.

Layout of a set (`<set>/<case>/...`; every extra may be absent):

    metrics.csv[.gz] | metrics.parquet   `time` in seconds + one column per `<service>_<metric>`
    case.json                            times, instances, runs_on, entry, changes, labels
    spans.csv[.gz]                       t_ms, trace, span, parent (-1 root), service, op, dur_us
    logs.csv[.gz]                        t_ms, service, trace, message
    ../_fault_free/<day>.{spans,logs}.csv[.gz]
    ../graph*.json                       `calls` [caller, callee], `runs_on` [service, node]

`t_ms` counts from the moment of the fault. Labels are read into `Labels` and nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from rca.errors import DatasetError
from rca.incident import Incident, Labels, Logs, Spans
from rca.state import ChangeEvent, ChangeKind, FloatArray
from rca.tables import codes, floats, identifiers, read_columns, read_text, read_wide

FAULT_FREE = "_fault_free"
_SPAN_FIELDS = ("t_ms", "trace", "span", "parent", "service", "op", "dur_us")
_LOG_FIELDS = ("t_ms", "service", "trace", "message")
Block = TypeVar("Block", Spans, Logs)
_Reader = Callable[[Path, float], Block]


@dataclass(frozen=True, slots=True)
class Case:
    """Where one case lies; nothing is read before it is asked for."""

    dataset: str
    name: str
    folder: Path

    @property
    def case_id(self) -> str:
        """`<set>/<case>`."""
        return f"{self.dataset}/{self.name}"


def find_cases(root: Path, *, only: str = "") -> list[Case]:
    """Cases below `root`: a folder of sets, one set, or one case; sorted.

    Raises:
        DatasetError: nothing there, or `only` names no set.
    """
    if not root.is_dir():
        raise DatasetError(f"{root} is no folder; name the folder that holds the incident sets")
    if _table(root) is not None:
        return [Case(root.parent.name, root.name, root)]
    sets = [root] if _case_folders(root) else sorted(p for p in root.iterdir() if p.is_dir())
    found = [Case(s.name, c.name, c) for s in sets if not only or s.name == only
             for c in _case_folders(s)]  # fmt: skip
    if not found:
        names = ", ".join(s.name for s in sets if _case_folders(s))
        wanted = f"set {only!r}" if only else "case (a folder with metrics.csv.gz)"
        raise DatasetError(f"{root} holds no {wanted}; sets there: {names or 'none'}")
    return found


def _case_folders(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir() and _table(p) is not None)


def _table(folder: Path) -> Path | None:
    for name in ("metrics.csv.gz", "metrics.csv", "metrics.parquet"):
        if (folder / name).is_file():
            return folder / name
    return None


def read_case(case: Case) -> tuple[Incident, Labels]:
    """Read one case and, apart from it, its labels.

    Raises:
        DatasetError: a file is damaged or a field has the wrong shape.
    """
    table = _table(case.folder)
    if table is None:
        raise DatasetError(f"{case.folder} holds no metrics.csv, metrics.csv.gz or metrics.parquet")
    times_s, columns, values = read_wide(table)
    meta_path = case.folder / "case.json"
    meta = _json(meta_path) if meta_path.is_file() else {}
    fault_at_s = _number(meta, "inject_time", meta_path)
    step_s = _number(meta, "sampling_s", meta_path) or _step(times_s)
    calls, nodes = _graph(case.folder.parent)
    origin_s = fault_at_s if fault_at_s is not None else 0.0
    incident = Incident(
        incident_id=case.name,
        times_s=times_s,
        values=values,
        columns=columns,
        step_s=step_s,
        fault_at_s=fault_at_s,
        instances={str(k): str(v) for k, v in _mapping(meta, "instances", meta_path).items()},
        nodes=nodes | {str(k): str(v) for k, v in _mapping(meta, "runs_on", meta_path).items()},
        calls=calls,
        entry=str(meta.get("entry") or ""),
        spans=_optional(case.folder, "spans", origin_s, _spans),
        logs=_optional(case.folder, "logs", origin_s, _logs),
        changes=_changes(meta, meta_path),
        normal_spans=tuple(_fault_free(case.folder.parent, "spans", _spans)),
        normal_logs=tuple(_fault_free(case.folder.parent, "logs", _logs)),
    )
    return incident, _labels(case, meta, fault_at_s)


def incident_of_table(path: Path) -> Incident:
    """Read a wide table that comes without anything else.

    Raises:
        DatasetError: no such file, or one that is no such table.
    """
    if not path.is_file():
        raise DatasetError(f"{path} does not exist; give a case folder, a wide table or a bundle")
    times_s, columns, values = read_wide(path)
    return Incident(
        incident_id=path.name,
        times_s=times_s,
        values=values,
        columns=columns,
        step_s=_step(times_s),
    )


def read_changes(path: Path) -> tuple[ChangeEvent, ...]:
    """Read announced changes: a JSON array, or one JSON object a line.

    Raises:
        DatasetError: unreadable, or no such changes.
    """
    text = read_text(path).strip()
    try:
        raw = json.loads(text) if text.startswith("[") else [
            json.loads(line) for line in text.splitlines() if line.strip()
        ]  # fmt: skip
    except (json.JSONDecodeError, RecursionError) as error:
        raise DatasetError(
            f"{path}: {error}; write one JSON object a line with at_s, kind and service"
        ) from error
    return _changes({"changes": raw}, path)


def _labels(case: Case, meta: Mapping[str, Any], injected_at_s: float | None) -> Labels:
    metrics = meta.get("root_cause_metrics")
    return Labels(
        incident_id=case.name,
        dataset=case.dataset,
        system=str(meta.get("system") or case.dataset),
        service=str(meta.get("root_cause_service") or ""),
        also=tuple(str(s) for s in (meta.get("root_cause_services") or ())[1:]),
        alternatives=tuple(str(s) for s in meta.get("root_cause_alternatives") or ()),
        felt=meta.get("slo_effect") is not False,
        instance=str(meta.get("root_cause_instance") or ""),
        metrics=tuple(str(m) for m in metrics) if metrics else None,
        fault_type=str(meta.get("fault_type") or "unknown"),
        contiguous=meta.get("baseline", "contiguous") != "spliced",
        injected_at_s=injected_at_s,
    )


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise DatasetError(f"{path}: {error}") from error
    if not isinstance(found, dict):
        raise DatasetError(f"{path}: expected an object, found {type(found).__name__}")
    return found


def _number(meta: Mapping[str, Any], key: str, path: Path) -> float | None:
    value = meta.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise DatasetError(f"{path}: {key} is {value!r}, expected a number of seconds")
    return float(value)


def _mapping(meta: Mapping[str, Any], key: str, path: Path) -> Mapping[str, Any]:
    value = meta.get(key) or {}
    if not isinstance(value, dict):
        raise DatasetError(f"{path}: {key} is {value!r}, expected an object")
    return value


def _step(times_s: FloatArray) -> float:
    return float(np.median(np.diff(times_s))) if len(times_s) > 1 else 1.0


def _changes(meta: Mapping[str, Any], path: Path) -> tuple[ChangeEvent, ...]:
    found = []
    for one in meta.get("changes") or ():
        try:
            found.append(
                ChangeEvent(
                    at_s=float(one["at_s"]),
                    kind=ChangeKind(one["kind"]),
                    region=str(one.get("region", "")),
                    service=str(one["service"]),
                    revision_from=str(one.get("revision_from", "")),
                    revision_to=str(one.get("revision_to", "")),
                    summary=str(one.get("summary", "")),
                )
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise DatasetError(
                f"{path}: change {one!r} needs at_s (seconds), kind ({', '.join(ChangeKind)}) "
                "and service"
            ) from error
    return tuple(sorted(found))


def _graph(folder: Path) -> tuple[tuple[tuple[str, str], ...], dict[str, str]]:
    calls: set[tuple[str, str]] = set()
    nodes: dict[str, str] = {}
    for path in sorted(folder.glob("graph*.json")):
        found = _json(path)
        for key in ("calls", "runs_on"):
            for pair in found.get(key) or ():
                if not (isinstance(pair, list) and len(pair) == 2):
                    raise DatasetError(f"{path}: {key} holds {pair!r}, expected pairs of names")
                if key == "calls":
                    calls.add((str(pair[0]), str(pair[1])))
                else:
                    nodes[str(pair[0])] = str(pair[1])
    return tuple(sorted(calls)), nodes


def _optional(folder: Path, name: str, origin_s: float, read: _Reader[Block]) -> Block | None:
    for suffix in (".csv.gz", ".csv"):
        path = folder / f"{name}{suffix}"
        if path.is_file():
            return read(path, origin_s)
    return None


def _fault_free(folder: Path, name: str, read: _Reader[Block]) -> Iterator[Block]:
    for path in sorted((folder / FAULT_FREE).glob(f"*.{name}.csv*")):
        yield read(path, 0.0)


def _spans(path: Path, origin_s: float) -> Spans:
    fields = read_columns(path, _SPAN_FIELDS)
    service, services = codes(fields["service"])
    operation, operations = codes(fields["op"])
    return Spans(
        start_s=origin_s + floats(path, "t_ms", fields) / 1e3,
        trace=identifiers(fields["trace"]),
        span=identifiers(fields["span"]),
        parent=identifiers(fields["parent"]),
        service=service,
        operation=operation,
        duration_s=floats(path, "dur_us", fields) / 1e6,
        services=services,
        operations=operations,
    )


def _logs(path: Path, origin_s: float) -> Logs:
    fields = read_columns(path, _LOG_FIELDS)
    service, services = codes(fields["service"])
    return Logs(
        at_s=origin_s + floats(path, "t_ms", fields) / 1e3,
        service=service,
        trace=identifiers(fields["trace"]),
        messages=tuple(fields["message"]),
        services=services,
    )
