"""How much a fleet can take: saturated throughput, and the highest rate within an SLO.

Source: goodput as in DistServe (OSDI'24), section 2; bisection on the rate as in its section 4.
Differs: every trial replays the same requests, stretched to its rate, so that trials differ in
nothing but the rate.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from serving.errors import ConfigError
from serving.sim.outcomes import Outcome
from serving.sim.run import simulate
from serving.sim.world import FleetConfig, Policies
from serving.state import Slo
from serving.workload import RequestTable, to_rate

SATURATING_REQUESTS = 512
TRIALS_MAX = 24
PRECISION_RATIO = 0.02  # the search ends when the bracket is this narrow
MISSES_MAX = 3  # in a row from the start, before an idle fleet is tried
IDLE_RATIO = 1e-3  # of the last rate that missed
MIDDLE = (0.2, 0.8)  # share of the answers that a saturated instance gives at its steady pace


@dataclass(frozen=True, slots=True)
class Trial:
    """One rate that was tried."""

    rate_rps: float
    attainment_ratio: float
    ttft_s_p99: float
    tpot_s_p99: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """Highest rate within the SLO, between two trials."""

    label: str
    rate_rps: float  # highest tried that meets the SLO; 0 = none did
    rate_rps_failed: float  # lowest tried above it that does not; at 0, of an idle fleet
    goodput_rps_per_gpu: float
    trials: tuple[Trial, ...]  # in the order of trying


def saturated_rps(
    requests: RequestTable, fleet: FleetConfig, policies: Policies, seed: int
) -> float:
    """Requests per second that the fleet answers when its queues are never empty.

    One instance is given up to 512 of the requests at once; its pace between the first and the
    last fifth of its answers, times the number of instances.
    """
    sample = requests.take(np.arange(min(len(requests), SATURATING_REQUESTS)))
    sample = replace(sample, arrival_s=np.zeros(len(sample)))
    slo = Slo(ttft_s=1.0, tpot_s=1.0)
    report = simulate(sample, replace(fleet, num_instances=1), policies, seed, slo=slo)
    ends = np.sort(report.e2e_s[report.outcome == Outcome.DONE])
    first, last = (int(share * (len(ends) - 1)) for share in MIDDLE)
    if last <= first:
        raise ConfigError(
            f"{requests.trace_id}: {len(ends)} of {len(sample)} requests were answered, too few "
            "to measure a throughput; give --rate, or a longer stretch of the trace"
        )
    return fleet.num_instances * (last - first) / float(ends[last] - ends[first])


def find_capacity(
    requests: RequestTable,
    fleet: FleetConfig,
    policies: Policies,
    seed: int,
    *,
    slo: Slo,
    progress: Callable[[Trial], None] | None = None,
) -> Capacity:
    """Highest rate at which the wanted share of requests meets both limits, to 2 %.

    Starts at 70 % of the saturated throughput, grows by half or halves until the answer is
    bracketed, then bisects. After three misses a trial so slow that requests hardly meet tells
    whether any rate can do: where even that misses, the search ends with 0.
    A trial that was interrupted raises KeyboardInterrupt.

    Raises:
        ConfigError: see `simulate`; or a trace without a rate.
    """
    trials: list[Trial] = []

    def meets(rate_rps: float) -> bool:
        report = simulate(to_rate(requests, rate_rps), fleet, policies, seed, slo=slo)
        if not report.complete:
            raise KeyboardInterrupt
        figures = report.figures()
        trial = Trial(
            rate_rps,
            report.attainment_ratio,
            figures["ttft_s"]["p99"],
            figures["tpot_s"]["p99"],
        )
        trials.append(trial)
        if progress is not None:
            progress(trial)
        return trial.attainment_ratio >= slo.target_ratio

    low, high = 0.0, np.inf
    rate_rps = 0.7 * saturated_rps(requests, fleet, policies, seed)
    while len(trials) < TRIALS_MAX and (high == np.inf or high - low > PRECISION_RATIO * high):
        if meets(rate_rps):
            low = rate_rps
        else:
            high = rate_rps
        if low == 0.0 and len(trials) == MISSES_MAX and not meets(IDLE_RATIO * high):
            high = trials[-1].rate_rps
            break
        rate_rps = 1.5 * low if high == np.inf else (low + high) / 2 if low else high / 2
    return Capacity(
        label=policies.label,
        rate_rps=low,
        rate_rps_failed=float(high),
        goodput_rps_per_gpu=low / (fleet.num_instances * fleet.tp_degree),
        trials=tuple(trials),
    )
