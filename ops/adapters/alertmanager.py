"""Alertmanager webhook bodies, version 4, from a file or a request. Lenient about what is extra."""

from __future__ import annotations

import hashlib
import re
import reprlib
from datetime import datetime
from typing import Any

import orjson

from ops.errors import AlertError
from ops.state import Alert

BODY_BYTES_MAX = 8 * 1024 * 1024  # of a file; a server passes its own limit
NAME_CHARS_MAX = 512  # of a groupKey or a fingerprint
FAULTS_MAX = 20  # of one body; reading ends there
STATUSES = ("firing", "resolved")
# Go writes nanoseconds; Python's parser takes six digits at most.
_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxlist, _SHORT.maxdict = 2, 60, 3, 3
_EXTRA_DIGITS = re.compile(r"(\.\d{6})\d+")


class _Faults:
    """What is wrong with a body. Half a million faults fit into one: the first ones are enough."""

    def __init__(self) -> None:
        self.items: list[tuple[str, str]] = []

    def add(self, path: str, text: str) -> None:
        """Note a fault.

        Raises:
            AlertError: it is the last one that is read.
        """
        self.items.append((path, text))
        if len(self.items) >= FAULTS_MAX:
            raise self.error()

    def error(self) -> AlertError:
        shown = "; ".join(f"{path}: {text}" for path, text in self.items)
        least = "at least " if len(self.items) >= FAULTS_MAX else ""
        return AlertError(
            f"the alert body has {least}{len(self.items)} faults: {shown}; "
            "send Alertmanager's webhook format, version 4",
            faults=tuple(self.items),
        )


def parse_alerts(raw: bytes, *, body_bytes_max: int = BODY_BYTES_MAX) -> tuple[Alert, ...]:
    """Alerts of one notification in its order, a repeated one only once.

    Unknown fields are ignored; `fingerprint` and `groupKey` may be absent, then labels identify
    the alert.

    Raises:
        AlertError: the body cannot be used; the message lists the first faults with their paths.
    """
    body = _load(raw, body_bytes_max)
    faults = _Faults()
    version = body.get("version", "4")
    if version != "4":
        faults.add("version", f"{_seen(version)}, expected '4'")
    group_key = _kept(_text(body.get("groupKey", ""), "groupKey", faults))
    items = body.get("alerts")
    if not isinstance(items, list):
        faults.add("alerts", f"{_seen(items)}, expected a list")
        items = []
    alerts: dict[tuple[str, str, float], Alert] = {}
    for i, item in enumerate(items):
        alert = _alert(item, f"alerts[{i}]", group_key, faults)
        if alert is not None:
            alerts.setdefault(alert.key, alert)
    if faults.items:
        raise faults.error()
    return tuple(alerts.values())


def _load(raw: bytes, body_bytes_max: int) -> dict[str, Any]:
    if len(raw) > body_bytes_max:
        raise AlertError(
            f"the alert body has {len(raw)} bytes, limit {body_bytes_max}; "
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


def _alert(item: Any, path: str, group_key: str, faults: _Faults) -> Alert | None:
    if not isinstance(item, dict):
        faults.add(path, f"{_seen(item)}, expected an object")
        return None
    status = item.get("status")
    if status not in STATUSES:
        faults.add(f"{path}.status", f"{_seen(status)}, expected firing or resolved")
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
    fingerprint = _kept(fingerprint)
    return Alert(
        group_key=group_key,
        fingerprint=fingerprint,
        starts_at_s=starts_at_s,
        firing=status == "firing",
        labels=labels,
        annotations=annotations,
        ends_at_s=ends_at_s,
    )


def _time(value: Any, path: str, faults: _Faults) -> float:
    """Seconds since the epoch of an RFC 3339 time."""
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(_EXTRA_DIGITS.sub(r"\1", value))
        except ValueError:
            moment = None
        if moment is not None and moment.tzinfo is not None:
            return moment.timestamp()
    faults.add(path, f"{_seen(value)}, expected a time such as 2026-01-02T03:04:05Z")
    return 0.0


def _text(value: Any, path: str, faults: _Faults) -> str:
    if isinstance(value, str):
        return value
    faults.add(path, f"{_seen(value)}, expected text")
    return ""


def _texts(value: Any, path: str, faults: _Faults) -> dict[str, str]:
    if not isinstance(value, dict):
        faults.add(path, f"{_seen(value)}, expected an object")
        return {}
    return {name: _text(text, f"{path}.{name}", faults) for name, text in value.items()}


def _kept(name: str) -> str:
    """A name of an alert, which is remembered for long: what is very long gets a short one."""
    return name if len(name) <= NAME_CHARS_MAX else hashlib.sha256(name.encode()).hexdigest()


def _seen(value: Any) -> str:
    """A value for a message: short, and shallow, as a body may be nested a thousand levels deep."""
    text = _SHORT.repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
