"""The JSON of a case: context that a method may see, labels that it may not, graph, changes."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from rca.errors import DatasetError
from rca.incident import Labels
from rca.state import ChangeEvent, ChangeKind
from rca.tables import read_text, seen

_SHOWN_MAX = 3


def read_object(path: Path) -> dict[str, Any]:
    """A file that holds one JSON object; empty where the file is absent.

    Raises:
        DatasetError: unreadable, or another thing than an object.
    """
    if not path.exists():
        return {}
    found = _parsed(path, read_text(path))
    if not isinstance(found, dict):
        raise DatasetError(f"{path} holds {_kind(found)}, expected an object {{...}}; mend it")
    return found


def _parsed(path: Path, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{path} is no JSON: {error}; mend it, or remove it") from error


def seconds(meta: Mapping[str, Any], key: str, path: Path) -> float | None:
    """A finite number of seconds, None where the key is absent.

    Raises:
        DatasetError: something else.
    """
    value = meta.get(key)
    if value is None:
        return None
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or abs(value) > 1e15:
        raise DatasetError(
            f"{path}: {key} is {_seen(value)}, expected a number of seconds; mend or remove it"
        )
    return float(value)


def text(meta: Mapping[str, Any], key: str, path: Path) -> str:
    """A text, empty where the key is absent.

    Raises:
        DatasetError: something else.
    """
    value = meta.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise DatasetError(f"{path}: {key} is {_seen(value)}, expected a text; mend or remove it")
    return value


def names(meta: Mapping[str, Any], key: str, path: Path) -> dict[str, str]:
    """A map of names to names, empty where the key is absent.

    Raises:
        DatasetError: something else.
    """
    value = meta.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise DatasetError(
            f"{path}: {key} is {_seen(value)}, expected an object of names; mend or remove it"
        )
    for name, other in value.items():
        if not name or not isinstance(other, str) or not other:
            raise DatasetError(
                f"{path}: {key} maps {_seen(name)} to {_seen(other)}, expected a name; "
                "mend or remove it"
            )
    return dict(value)


def _texts(meta: Mapping[str, Any], key: str, path: Path) -> tuple[str, ...]:
    """A list of texts, or one text for a list of one."""
    value = meta.get(key)
    if value is None:
        return ()
    if isinstance(value, str):
        return (value,) if value else ()
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise DatasetError(
            f"{path}: {key} is {_seen(value)}, expected a list of texts; mend or remove it"
        )
    return tuple(value)


def parse_labels(meta: Mapping[str, Any], path: Path, *, dataset: str, name: str) -> Labels:
    """What the case really was.

    Raises:
        DatasetError: a label of the wrong type.
    """
    metrics = _texts(meta, "root_cause_metrics", path)
    more = _texts(meta, "root_cause_services", path)
    services = _texts(meta, "root_cause_service", path) or more
    return Labels(
        incident_id=name,
        dataset=dataset,
        system=text(meta, "system", path) or dataset,
        service=services[0] if services else "",
        also=tuple(s for s in (*services[1:], *more) if s != services[0]) if services else (),
        alternatives=_texts(meta, "root_cause_alternatives", path),
        felt=meta.get("slo_effect") is not False,
        instance=text(meta, "root_cause_instance", path),
        metrics=metrics or None,
        fault_type=text(meta, "fault_type", path) or "unknown",
        contiguous=text(meta, "baseline", path) != "spliced",
        injected_at_s=seconds(meta, "inject_time", path),
    )


def read_changes(path: Path) -> tuple[ChangeEvent, ...]:
    """Announced changes of a file: a JSON array, or one JSON object a line.

    Raises:
        DatasetError: unreadable, or no such changes.
    """
    content = read_text(path).strip()
    if content.startswith("["):
        return parse_changes(_parsed(path, content), path)
    return parse_changes([_parsed(path, line) for line in content.splitlines() if line], path)


def parse_changes(raw: Any, path: Path) -> tuple[ChangeEvent, ...]:
    """Announced changes, sorted.

    Raises:
        DatasetError: no list, or an entry without time, kind or service.
    """
    if raw is None:
        return ()
    if not isinstance(raw, list):
        raise DatasetError(f"{path}: changes is {_seen(raw)}, expected a list; mend or remove it")
    found = []
    for one in raw:
        try:
            service = one["service"]
            at_s = float(one["at_s"])
            if not isinstance(service, str) or not service or not math.isfinite(at_s):
                raise ValueError
            found.append(
                ChangeEvent(
                    at_s=at_s,
                    kind=ChangeKind(one["kind"]),
                    region=str(one.get("region", "")),
                    service=service,
                    revision_from=str(one.get("revision_from", "")),
                    revision_to=str(one.get("revision_to", "")),
                    summary=str(one.get("summary", "")),
                )
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise DatasetError(
                f"{path}: change {_seen(one)} needs at_s (seconds), kind "
                f"({', '.join(ChangeKind)}) and service; mend or remove it"
            ) from error
    return tuple(sorted(found))


def read_graph(
    folder: Path, owners: Collection[str], notes: list[str]
) -> tuple[tuple[tuple[str, str], ...], dict[str, str]]:
    """Calls and machines of `graph*.json` in a folder.

    Args:
        owners: who has a column; if most of the graph's services are none of them, a note says so.

    Raises:
        DatasetError: a file that is no such graph.
    """
    calls: set[tuple[str, str]] = set()
    nodes: dict[str, str] = {}
    for path in sorted(folder.glob("graph*.json")):
        graph = read_object(path)
        calls.update(_pairs(graph, "calls", path))
        nodes |= dict(_pairs(graph, "runs_on", path))
    named = {service for pair in calls for service in pair}
    strangers = sorted(named - set(owners))
    if 2 * len(strangers) > len(named):
        shown = ", ".join(strangers[:_SHOWN_MAX])
        notes.append(
            f"graph: {len(strangers)} of {len(named)} services have no column, such as {shown}"
        )
    return tuple(sorted(calls)), nodes


def _pairs(graph: Mapping[str, Any], key: str, path: Path) -> list[tuple[str, str]]:
    raw = graph.get(key)
    if raw is None:
        return []
    entries: Sequence[Any] = raw if isinstance(raw, list) else [raw]
    for pair in entries:
        fits = isinstance(pair, list) and len(pair) == 2
        if not fits or not all(isinstance(name, str) and name for name in pair):
            raise DatasetError(
                f"{path}: {key} holds {_seen(pair)}, expected pairs of names [caller, callee]; "
                "mend or remove it"
            )
    return [(pair[0], pair[1]) for pair in entries]


def _kind(value: object) -> str:
    return {list: "a list", str: "a text", type(None): "null"}.get(type(value), "a number")


def _seen(value: object) -> str:
    return seen(value) if isinstance(value, str) else seen(json.dumps(value))[1:-1]
