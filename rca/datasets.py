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

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from rca.case_json import names, parse_changes, parse_labels, read_graph, read_object, seconds, text
from rca.errors import DatasetError
from rca.incident import Column, Incident, Labels, Logs, Spans
from rca.records import read_logs, read_spans
from rca.state import FloatArray
from rca.wide import read_wide

FAULT_FREE = "_fault_free"
TABLES = ("metrics.csv.gz", "metrics.csv", "metrics.parquet")
_SHOWN_MAX = 8
Block = TypeVar("Block", Spans, Logs)
_Reader = Callable[[Path, float, list[str]], Block]


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
    root = root.absolute() if not root.name else root  # "." has no name of its own
    if not root.is_dir():
        what = "is no folder" if root.exists() else "does not exist"
        raise DatasetError(f"{root} {what}; name the folder that holds the incident sets")
    try:
        if _table(root) is not None:
            return [Case(root.parent.name, root.name, root)]
        sets = [root] if _case_folders(root) else sorted(p for p in root.iterdir() if p.is_dir())
        found = [Case(s.name, c.name, c) for s in sets if not only or s.name == only
                 for c in _case_folders(s)]  # fmt: skip
        there = [s.name for s in sets if _case_folders(s)]
    except OSError as error:
        raise DatasetError(
            f"{error.filename or root} cannot be read: {error.strerror}; check its rights"
        ) from error
    if not found:
        wanted = f"set {only!r}" if only else f"case (a folder with {', '.join(TABLES)})"
        shown = ", ".join(there[:_SHOWN_MAX]) + (", ..." if len(there) > _SHOWN_MAX else "")
        raise DatasetError(f"{root} holds no {wanted}; sets there: {shown or 'none'}")
    return found


def _case_folders(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir() and _table(p) is not None)


def _table(folder: Path) -> Path | None:
    return next((folder / name for name in TABLES if (folder / name).is_file()), None)


def read_case(case: Case) -> tuple[Incident, Labels]:
    """Read one case and, apart from it, its labels.

    Raises:
        DatasetError: a file is damaged or a field has the wrong shape.
    """
    return read_incident(case), read_labels(case)


def read_labels(case: Case) -> Labels:
    """What the case really was, from its case.json.

    Raises:
        DatasetError: the file is damaged or a label has the wrong type.
    """
    path = case.folder / "case.json"
    return parse_labels(read_object(path), path, dataset=case.dataset, name=case.name)


def read_incident(case: Case) -> Incident:
    """What a method may see of one case.

    Raises:
        DatasetError: a file is damaged or a field has the wrong shape.
    """
    table = _table(case.folder)
    if table is None:
        raise DatasetError(f"{case.folder} holds none of {', '.join(TABLES)}; give a case folder")
    wide = read_wide(table)
    path = case.folder / "case.json"
    meta = read_object(path)
    step_s = seconds(meta, "sampling_s", path)
    if step_s is not None and step_s <= 0.0:
        raise DatasetError(f"{path}: sampling_s is {step_s:g}, expected more than 0; mend it")
    fault_at_s, instances = seconds(meta, "inject_time", path), names(meta, "instances", path)
    notes = list(wide.notes)
    owners = {column.owner for column in wide.columns}
    strangers = sorted(set(instances) - owners)
    if instances and not owners & set(instances):
        raise DatasetError(
            f"{path}: none of {len(instances)} instances has a column, such as {strangers[0]!r}; "
            "columns are <instance>_<metric>, or leave 'instances' out"
        )
    calls, nodes = read_graph(case.folder.parent, owners | set(instances.values()), notes)
    origin_s = fault_at_s if fault_at_s is not None else 0.0
    sets = case.folder.parent
    return Incident(
        incident_id=case.name,
        times_s=wide.times_s,
        values=wide.values,
        columns=wide.columns,
        step_s=step_s or _step(wide.times_s),
        fault_at_s=fault_at_s,
        instances=instances,
        nodes=nodes | names(meta, "runs_on", path),
        calls=calls,
        entry=text(meta, "entry", path) or _symptom_service(meta, wide.columns, instances),
        spans=_optional(case.folder, "spans", origin_s, notes, read_spans),
        logs=_optional(case.folder, "logs", origin_s, notes, read_logs),
        changes=parse_changes(meta.get("changes"), path),
        normal_spans=tuple(_fault_free(sets, "spans", notes, read_spans)),
        normal_logs=tuple(_fault_free(sets, "logs", notes, read_logs)),
        notes=tuple(notes),
    )


def _symptom_service(
    meta: Mapping[str, Any], columns: Collection[Column], instances: Mapping[str, str]
) -> str:
    """Service whose columns measure what users get, from `target` or `sli`; empty unless it is one.

    Both name a service or a column; a symptom that is no service's own says nothing here.
    """
    found = set()
    owners = {c.owner for c in columns if c.owner and not c.is_symptom}
    owners |= {instances[owner] for owner in owners if owner in instances}
    for key in ("target", "sli"):
        value = meta.get(key)
        for name in [value] if isinstance(value, str) else value if isinstance(value, list) else ():
            for owner in (str(name), Column.parse(str(name)).owner):
                if owner in owners:
                    found.add(instances.get(owner, owner))
                    break
        if found:
            break
    return found.pop() if len(found) == 1 else ""


def incident_of_table(path: Path, *, raw: bytes | None = None) -> Incident:
    """Read a wide table that comes without anything else.

    Args:
        raw: content, if it does not come from `path`, which then only names it.

    Raises:
        DatasetError: no such file, or one that is no such table.
    """
    wide = read_wide(path, raw=raw)
    return Incident(
        incident_id=path.name,
        times_s=wide.times_s,
        values=wide.values,
        columns=wide.columns,
        step_s=_step(wide.times_s),
        notes=wide.notes,
    )


def _step(times_s: FloatArray) -> float:
    return float(np.median(np.diff(times_s))) if len(times_s) > 1 else 1.0


def _optional(
    folder: Path, name: str, origin_s: float, notes: list[str], read: _Reader[Block]
) -> Block | None:
    for suffix in (".csv.gz", ".csv"):
        path = folder / f"{name}{suffix}"
        if path.is_file():
            return read(path, origin_s, notes)
    return None


def _fault_free(folder: Path, name: str, notes: list[str], read: _Reader[Block]) -> Iterator[Block]:
    for path in sorted((folder / FAULT_FREE).glob(f"*.{name}.csv*")):
        yield read(path, 0.0, notes)
