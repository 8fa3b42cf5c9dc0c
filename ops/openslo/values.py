"""What is left of OpenSLO documents: one entry per class of requests."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

_DURATION = re.compile(r"(\d+)(m|h|d|w|M|Q|Y)")
_UNIT_S = {
    "m": 60, "h": 3600, "d": 86_400, "w": 604_800, "M": 2_592_000, "Q": 7_776_000,
    "Y": 31_536_000,
}  # fmt: skip


class Budgeting(StrEnum):
    """How an error budget is counted."""

    OCCURRENCES = "Occurrences"  # requests
    TIMESLICES = "Timeslices"  # slices of time, each good or bad
    RATIO_TIMESLICES = "RatioTimeslices"  # mean of the slices' shares of good requests


@dataclass(frozen=True, slots=True, kw_only=True)
class BurnCondition:
    """One AlertCondition of kind burnrate."""

    severity: str
    threshold: float  # burn rate
    lookback_s: int
    after_s: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SloClass:
    """Limits of one class of requests. None: no limit on that."""

    name: str
    target_ratio: float = 0.99
    ttft_s: float | None = None
    tpot_s: float | None = None
    window_s: int = 28 * 86_400
    budgeting: Budgeting = Budgeting.OCCURRENCES
    slice_s: int = 60
    slice_target_ratio: float = 0.0
    conditions: tuple[BurnCondition, ...] = ()  # instead of the usual ones


def duration_s(text: str) -> int:
    """Seconds of `5m`, `1h`, `28d`, `4w`, `1M` (30 d), `1Q` (90 d), `1Y` (365 d).

    Raises:
        ValueError: another form.
    """
    found = _DURATION.fullmatch(text)
    if found is None or not int(found.group(1)):
        raise ValueError(f"is {text!r}, expected a duration such as 5m, 1h or 28d")
    return int(found.group(1)) * _UNIT_S[found.group(2)]


def duration_text(seconds: int) -> str:
    """The same in Prometheus' form, in the largest unit that fits: 28d, 90m."""
    for unit in ("d", "h", "m"):
        if seconds % _UNIT_S[unit] == 0:
            return f"{seconds // _UNIT_S[unit]}{unit}"
    return f"{seconds}s"
