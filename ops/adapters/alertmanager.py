"""Alertmanager webhook bodies, version 4, from a file or a request. Lenient about what is extra."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

import orjson

from ops.errors import AlertError
from ops.state import Alert

BODY_BYTES_MAX = 8 * 1024 * 1024
STATUSES = ("firing", "resolved")
# Go writes nanoseconds; Python's parser takes six digits at most.
_EXTRA_DIGITS = re.compile(r"(\.\d{6})\d+")


def parse_alerts(raw: bytes) -> tuple[Alert, ...]:
    """Alerts of one notification in its order, a repeated one only once.

    Unknown fields are ignored; `fingerprint` and `groupKey` may be absent, then labels identify
    the alert.

    Raises:
        AlertError: the body cannot be used; the message lists every fault with its path.
    """
    body = _load(raw)
    faults: list[str] = []
    version = body.get("version", "4")
    if version != "4":
        faults.append(f"version: {version!r}, expected '4'")
    group_key = _text(body.get("groupKey", ""), "groupKey", faults)
    items = body.get("alerts")
    if not isinstance(items, list):
        faults.append(f"alerts: {_seen(items)}, expected a list")
        items = []
    alerts: dict[tuple[str, str, float], Alert] = {}
    for i, item in enumerate(items):
        alert = _alert(item, f"alerts[{i}]", group_key, faults)
        if alert is not None:
            alerts.setdefault(alert.key, alert)
    if faults:
        raise AlertError(
            f"the alert body has {len(faults)} faults: {'; '.join(faults[:20])}; "
            "send Alertmanager's webhook format, version 4"
        )
    return tuple(alerts.values())


def _load(raw: bytes) -> dict[str, Any]:
    if len(raw) > BODY_BYTES_MAX:
        raise AlertError(
            f"the alert body has {len(raw)} bytes, limit {BODY_BYTES_MAX}; "
            "set max_alerts in the receiver"
        )
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise AlertError(
            f"the alert body is not JSON: {error}, it begins {raw[:40]!r}; "
            "send Alertmanager's webhook format, version 4"
        ) from error
    if not isinstance(body, dict):
        raise AlertError(
            f"the alert body is {_seen(body)}, expected an object; "
            "send Alertmanager's webhook format, version 4"
        )
    return body


def _alert(item: Any, path: str, group_key: str, faults: list[str]) -> Alert | None:
    if not isinstance(item, dict):
        faults.append(f"{path}: {_seen(item)}, expected an object")
        return None
    status = item.get("status")
    if status not in STATUSES:
        faults.append(f"{path}.status: {_seen(status)}, expected firing or resolved")
    labels = _texts(item.get("labels"), f"{path}.labels", faults)
    annotations = _texts(item.get("annotations", {}), f"{path}.annotations", faults)
    starts_at_s = _time(item.get("startsAt"), f"{path}.startsAt", faults)
    ends_at = item.get("endsAt")
    ends_at_s = None
    if status == "resolved" and ends_at is not None:
        ends_at_s = _time(ends_at, f"{path}.endsAt", faults)
    fingerprint = _text(item.get("fingerprint", ""), f"{path}.fingerprint", faults)
    if not fingerprint:
        fingerprint = ",".join(f"{name}={value}" for name, value in sorted(labels.items()))
    return Alert(
        group_key=group_key,
        fingerprint=fingerprint,
        starts_at_s=starts_at_s,
        firing=status == "firing",
        labels=labels,
        annotations=annotations,
        ends_at_s=ends_at_s,
    )


def _time(value: Any, path: str, faults: list[str]) -> float:
    """Seconds since the epoch of an RFC 3339 time."""
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(_EXTRA_DIGITS.sub(r"\1", value))
        except ValueError:
            moment = None
        if moment is not None and moment.tzinfo is not None:
            return moment.timestamp()
    faults.append(f"{path}: {_seen(value)}, expected a time such as 2026-01-02T03:04:05Z")
    return 0.0


def _text(value: Any, path: str, faults: list[str]) -> str:
    if isinstance(value, str):
        return value
    faults.append(f"{path}: {_seen(value)}, expected text")
    return ""


def _texts(value: Any, path: str, faults: list[str]) -> dict[str, str]:
    if not isinstance(value, dict):
        faults.append(f"{path}: {_seen(value)}, expected an object")
        return {}
    return {name: _text(text, f"{path}.{name}", faults) for name, text in value.items()}


def _seen(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
