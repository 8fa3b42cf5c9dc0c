"""Moments as Kubernetes objects write them: RFC 3339, UTC, whole seconds."""

from __future__ import annotations

from datetime import UTC, datetime

SECONDS_MAX = 253402300799.0  # the last second of year 9999


def rfc3339(at_s: float) -> str:
    """Seconds since the epoch as `2026-01-02T03:04:05Z`; what lies outside the years is clipped."""
    clipped = min(max(at_s, 0.0), SECONDS_MAX)
    return datetime.fromtimestamp(int(clipped), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def optional(at_s: float | None) -> str | None:
    """The same, None for a moment that has not come."""
    return None if at_s is None else rfc3339(at_s)


def seconds(text: str) -> float:
    """Seconds since the epoch of what `rfc3339` or another client wrote.

    Raises:
        ValueError: no moment with a time zone.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"moment is {text!r}, expected one with a time zone, e.g. ending in Z")
    return moment.timestamp()


def short_span(span_s: float) -> str:
    """A span as kubectl's columns show ages: `21s`, `4m5s`, `3h10m`, `2d4h`."""
    whole = max(0, round(span_s))
    for unit_s, unit, rest_s, rest in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "m")):
        if whole >= unit_s:
            left = whole % unit_s // rest_s
            return f"{whole // unit_s}{unit}{f'{left}{rest}' if left else ''}"
    if whole >= 60:
        left = whole % 60
        return f"{whole // 60}m{f'{left}s' if left else ''}"
    return f"{whole}s"
