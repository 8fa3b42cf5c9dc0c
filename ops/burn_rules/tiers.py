"""How fast a budget must burn, over which two windows, before somebody is called.

Source: Google SRE Workbook, "Alerting on SLOs", multiwindow multi-burn-rate alerts.
Differs: factors are scaled to the SLO's own window; a tier that would call for a budget that lasts
is left out; a threshold beyond 90 % bad requests is lowered to that, or a total outage of a class
with a low target would never page; a window of more than an hour counts only where requests were
known half of it ago.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from ops.errors import SloError
from ops.openslo import BurnCondition, SloClass
from ops.openslo.values import duration_text

PAGE, TICKET = "critical", "warning"
_FACTOR_MIN = 0.9  # burning slower than that, the budget outlasts its window
_RATIO_MAX = 0.9
_MINUTE_S = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """One alert: bad share above `ratio` over the long and over the short window."""

    severity: str
    factor: float  # burn rate
    ratio: float
    long_s: int
    short_s: int
    for_s: int = 0


# Severity, share of the budget, long and short window in seconds.
TABLE = (
    (PAGE, 0.02, 3_600, 300),
    (PAGE, 0.05, 21_600, 1_800),
    (TICKET, 0.10, 86_400, 7_200),
    (TICKET, 0.10, 259_200, 21_600),
)


def tiers_of(slo: SloClass) -> tuple[Tier, ...]:
    """Alerts of one class: its own conditions, else those of the table.

    Raises:
        SloError: the SLO's window is too short for any of them.
    """
    budget = 1.0 - slo.target_ratio
    if slo.conditions:
        return tuple(_of_condition(one, budget) for one in slo.conditions)
    tiers = tuple(
        _tier(severity, share * slo.window_s / long_s, budget, long_s, short_s)
        for severity, share, long_s, short_s in TABLE
        if share * slo.window_s / long_s >= _FACTOR_MIN
    )
    if not tiers:
        raise SloError(
            f"class {slo.name}: its window is {duration_text(slo.window_s)}, too short for burn "
            "rates over 1h; give at least 2d, e.g. 28d"
        )
    return tiers


def windows_of(tiers: Sequence[Tier]) -> tuple[int, ...]:
    """Every window that some tiers look at, ascending, seconds."""
    return tuple(sorted({window for tier in tiers for window in (tier.long_s, tier.short_s)}))


def _of_condition(condition: BurnCondition, budget: float) -> Tier:
    # A twelfth, as in the table, in whole minutes.
    short_s = max(_MINUTE_S * ceil(condition.lookback_s / 12 / _MINUTE_S), _MINUTE_S)
    long_s = max(condition.lookback_s, short_s)
    tier = _tier(condition.severity, condition.threshold, budget, long_s, short_s)
    return Tier(
        severity=tier.severity, factor=tier.factor, ratio=tier.ratio, long_s=long_s,
        short_s=short_s, for_s=condition.after_s,
    )  # fmt: skip


def _tier(severity: str, factor: float, budget: float, long_s: int, short_s: int) -> Tier:
    ratio = min(factor * budget, _RATIO_MAX)
    return Tier(
        severity=severity, factor=ratio / budget, ratio=ratio, long_s=long_s, short_s=short_s
    )
