"""How much of a region's traffic to move, by the loss that users of both regions must expect.

A minute in which more users suffer than the error budget allows is lost as a whole. So moving a
part helps where the rest is then served in time, and must never cost the other region its own
minutes. Pure arithmetic over `EngineLoad`; which region is meant is decided in `ops.remedies`.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isnan

from ops.capacity import EngineLoad

REQUEST_WEIGHT = 0.25  # of a request saved in a minute that is lost anyway
SHARE_STEP = 0.05
TRIES_MAX = 4.0
GAIN_MIN = 0.02  # of the ailing region's traffic; less is not worth a change


@dataclass(frozen=True, slots=True, kw_only=True)
class Ailment:
    """What users of the region that traffic may leave go through."""

    bad_ratio: float  # of the requests that stay
    tries: float = 1.0  # times that a user tries now: each try may go to the other region
    lost_instances: int = 0  # ready ones that will not serve
    by_capacity: bool = False  # what stays is served the better, the less it is


@dataclass(frozen=True, slots=True, kw_only=True)
class Relief:
    """A share to move and what it is worth."""

    share: float
    gain: float  # expected loss avoided, in parts of the ailing region's traffic
    cures: bool  # whether the ailing region's users are then within their budget


def tries_of(*, rate_ratio: float, failed_ratio: float) -> float:
    """Times that a user tries, from the rate of tries over the usual rate of requests.

    Failures bound it: more tries than `1 / (1 - failed)` are other users.
    """
    by_failures = 1.0 / max(1.0 - failed_ratio, 1.0 / TRIES_MAX)
    found = min(rate_ratio, by_failures, TRIES_MAX)
    return found if found > 1.0 else 1.0  # also when it is NaN


def best_relief(
    away: EngineLoad,
    to: EngineLoad,
    ailment: Ailment,
    *,
    share_max: float,
    added: int = 0,
) -> Relief:
    """Share of the traffic of `away` whose move to `to` leaves the least loss for both.

    Args:
        added: instances of `to` that serve by then, on top of the ready ones.
    """
    best = Relief(share=0.0, gain=0.0, cures=False)
    before = _loss(away, to, ailment, share=0.0, added=added)
    demand_rps = max(away.demand_rps, 1e-9)
    for k in range(1, round(share_max / SHARE_STEP) + 1):
        share = k * SHARE_STEP
        late_ratio = _late_there(away, to, ailment, share=share, added=added)
        if not late_ratio <= to.wait_ratio:  # also when it is NaN
            break  # its own users may not be lost for those of the other
        gain = (before - _loss(away, to, ailment, share=share, added=added)) / demand_rps
        if gain > best.gain + 1e-9:  # a NaN is no gain
            cures = staying_ratio(away, ailment, share=share) <= away.wait_ratio
            best = Relief(share=share, gain=gain, cures=cures)
    return best if best.gain >= GAIN_MIN else Relief(share=0.0, gain=0.0, cures=False)


def staying_ratio(away: EngineLoad, ailment: Ailment, *, share: float) -> float:
    """Bad share of the ailing region's users once `share` of their tries go elsewhere."""
    bad_ratio = ailment.bad_ratio
    if ailment.by_capacity:
        ready = max(0, away.instances_ready - ailment.lost_instances)
        late_ratio = away.late_ratio(ready, (1.0 - share) * away.demand_rps)
        bad_ratio = bad_ratio if isnan(late_ratio) else late_ratio
    return float(bad_ratio * (1.0 - share) ** ailment.tries)


def _loss(away: EngineLoad, to: EngineLoad, ailment: Ailment, *, share: float, added: int) -> float:
    """Requests/s of users in lost minutes, plus what single requests are worth."""
    late_ratio = _late_there(away, to, ailment, share=share, added=added)
    stay = _weight(staying_ratio(away, ailment, share=share), away.wait_ratio)
    return away.demand_rps * stay + to.demand_rps * _weight(late_ratio, to.wait_ratio)


def _late_there(
    away: EngineLoad, to: EngineLoad, ailment: Ailment, *, share: float, added: int
) -> float:
    """Share of requests that wait too long in the other region; NaN where nothing is known."""
    moved_rps = away.demand_rps * (1.0 - (1.0 - share) ** ailment.tries)
    return to.late_ratio(to.instances_ready + added, to.demand_rps + moved_rps)


def _weight(bad_ratio: float, budget_ratio: float) -> float:
    """Chance that a minute is lost, rising to 1 at the whole budget, plus its bad requests."""
    spent_ratio = min(1.0, bad_ratio / max(budget_ratio, 1e-9))
    return spent_ratio * spent_ratio + REQUEST_WEIGHT * bad_ratio
