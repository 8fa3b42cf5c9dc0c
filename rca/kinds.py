"""Helpers on the kinds of the metric catalogue: orientation, weight, units, plain numbers.

No table from symptoms to faults lives here or anywhere else in this package.
"""

from __future__ import annotations

import math

import numpy as np

from rca.state import Direction, FloatArray, MetricKind, MetricRole, ResourceClass

# How specific a moving series is for its own entity. A hardware reading names a cause; a queue
# or a rate also moves when somebody else is at fault.
_KIND_WEIGHT = {
    MetricKind.AVAILABILITY: 1.0,
    MetricKind.SATURATION: 0.85,
    MetricKind.ERRORS: 0.7,
    MetricKind.STATE: 0.6,
    MetricKind.QUEUE: 0.35,
    MetricKind.LATENCY: 0.35,
    MetricKind.RATE: 0.25,
    MetricKind.INFO: 0.0,
}
_UNITS = (
    ("_seconds_total", "s/s"),
    ("_seconds", "s"),
    ("_bytes_total", "B/s"),
    ("_bytes", "B"),
    ("_total", "/s"),
)
# Classes that say how the work is done rather than that a resource ran out.
SOFT_CLASSES = frozenset({ResourceClass.UNKNOWN, ResourceClass.CODE, ResourceClass.LOAD})


def specificity(role: MetricRole) -> float:
    """Weight 0..1 of a change of this series as evidence against its own entity."""
    return 1.0 if role.hardware else _KIND_WEIGHT[role.kind]


def orientation(role: MetricRole) -> float:
    """1 where a rise is suspicious, -1 where a fall is, 0 where both are."""
    return {Direction.UP: 1.0, Direction.DOWN: -1.0, Direction.BOTH: 0.0}[role.bad]


def squash(score: FloatArray | float, *, low: float = 1.1, high: float = 4.0) -> FloatArray:
    """Map a log(1+z) score to 0..1; `low` is about z = 2, `high` about z = 54."""
    return np.clip((np.asarray(score, dtype=float) - low) / (high - low), 0.0, 1.0)


def limit_role(role: str) -> str:
    """Role that holds the limit of another role, by the catalogue's convention."""
    return f"{role}_limit"


def unit_of(series_name: str, *, counter: bool) -> str:
    """Unit of a level, read from the base-unit suffix of the metric's name."""
    for suffix, unit in _UNITS:
        if series_name.endswith(suffix):
            return unit
    return "/s" if counter else ""


def seconds_per_unit(series_name: str) -> float:
    """Factor that turns a duration series into seconds, from the unit in its name."""
    return 1e-3 if "millisecond" in series_name else 1.0


def plain(value: float) -> str:
    """Three significant digits without an exponent for everyday sizes."""
    if not math.isfinite(value):
        return "unknown"
    if abs(value) < 1e-9:
        return "0"
    digits = 2 - math.floor(math.log10(abs(value)))
    rounded = round(value, digits)
    if 1e-4 <= abs(rounded) < 1e6:
        return (
            f"{rounded:.{max(digits, 0)}f}".rstrip("0").rstrip(".")
            if digits > 0
            else (f"{rounded:.0f}")
        )
    return f"{value:.3g}"


def plain_s(value_s: float) -> str:
    """A duration in ms or s."""
    if math.isfinite(value_s) and abs(value_s) < 1.0:
        return f"{plain(value_s * 1e3)} ms"
    return f"{plain(value_s)} s"
