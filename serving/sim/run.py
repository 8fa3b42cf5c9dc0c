"""`simulate`: requests, a fleet and policies in, a `SimReport` out. No clock, no files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from serving.errors import ConfigError
from serving.metrics import Histogram
from serving.sim.outcomes import Totals
from serving.sim.report import SimReport, Timeline
from serving.sim.world import FleetConfig, Mode, Policies, make_world
from serving.state import Slo
from serving.workload import RequestTable

Progress = Callable[[float], None]

SAMPLES = 120  # of the timeline, up to the last arrival
LOOKS_MAX = 12_000  # at one instance each; large fleets are sampled less often
STEP_REQUESTS = 4000  # most that arrive, evenly spread, between two returns of the event loop
DRAIN_S = 86_400.0  # after the last arrival; what has not ended by then is reported as open
STEP_S = 60.0  # how far the clock runs at once after the last arrival
# Gaps between tokens from 1 ms to 100 s, each bound 3 % above the one before.
TBT_BOUNDS_S = tuple((0.001 * 1.03 ** np.arange(391)).tolist())


def simulate(
    requests: RequestTable,
    fleet: FleetConfig,
    policies: Policies,
    seed: int,
    *,
    slo: Slo,
    mode: Mode = Mode.EXPRESS,
    progress: Progress | None = None,
) -> SimReport:
    """Run all requests through the fleet until the last one ended.

    Same requests, same policies, same seed: same report. Requests of several runs are shared, so
    that policies are compared on common random numbers. An interrupt (Ctrl-C) ends the run early
    and gives a report of what was simulated, with `complete` False.

    Args:
        requests: rows with at least one prompt and one output token, see `playable`.
        fleet: the instances.
        policies: what decides in them and between them.
        seed: stated in the report; the built-in policies draw nothing.
        slo: limits for attainment and goodput.
        mode: how events are worked off.
        progress: is told the share of arrivals that are simulated, 0 to 1.

    Raises:
        ConfigError: unknown names, sizes that do not fit, rows without tokens.
    """
    run = _Run(requests, fleet, policies, mode=mode)
    complete = True
    try:
        run.to_the_end(progress)
    except KeyboardInterrupt:
        complete = False
    return run.report(fleet, policies, seed, slo=slo, complete=complete)


def playable(requests: RequestTable, *, tokens_max: int = 0) -> RequestTable:
    """Rows that can be simulated: some prompt, some output, at most `tokens_max` of both (0 = any).

    Failed rows of a trace have no output and are left out.
    """
    prompt = requests.num_prompt_tokens
    output = requests.num_output_tokens
    keep = (prompt > 0) & (output > 0)
    if tokens_max:
        keep &= prompt.astype(np.int64) + output <= tokens_max
    return requests.take(keep)


@dataclass(slots=True)
class _Samples:
    """The timeline while it grows."""

    times_s: list[float] = field(default_factory=list)
    running: list[int] = field(default_factory=list)
    waiting: list[int] = field(default_factory=list)
    kv_mean: list[float] = field(default_factory=list)
    kv_max: list[float] = field(default_factory=list)


class _Run:
    """Everything of one simulation that has state."""

    def __init__(
        self, requests: RequestTable, fleet: FleetConfig, policies: Policies, *, mode: Mode
    ) -> None:
        if not len(requests):
            raise ConfigError(
                f"{requests.trace_id}: no request to simulate; take a longer stretch of the trace"
            )
        if min(requests.num_prompt_tokens.min(), requests.num_output_tokens.min()) < 1:
            raise ConfigError(
                f"{requests.trace_id}: rows without prompt or output tokens; drop them first"
            )
        self.requests = requests
        self.now_s = 0.0
        self.tbt = Histogram(TBT_BOUNDS_S)
        self.totals: Totals | None = None  # at the last arrival
        self.samples = _Samples()
        self.world = make_world(requests, fleet, policies, mode=mode, tbt=self.tbt)
        self.num_samples = min(SAMPLES, max(LOOKS_MAX // fleet.num_instances, 12))

    def to_the_end(self, progress: Progress | None) -> None:
        """Advance sample by sample to the last arrival, then until nothing is in flight."""
        world = self.world
        last_s = float(self.requests.arrival_s[-1])
        per_sample = max(1, len(self.requests) // (self.num_samples * STEP_REQUESTS))
        num_steps = self.num_samples * per_sample
        for step in range(1, num_steps + 1):
            self._run_until(last_s * step / num_steps)
            if step % per_sample == 0:
                self._sample()
            if progress is not None:
                progress(world.num_arrived / len(self.requests))
        self.totals = world.totals()
        while not world.is_over and self.now_s < last_s + DRAIN_S:
            self._run_until(self.now_s + STEP_S)

    def _run_until(self, until_s: float) -> None:
        self.world.run_until(until_s)
        self.now_s = until_s

    def report(
        self,
        fleet: FleetConfig,
        policies: Policies,
        seed: int,
        *,
        slo: Slo,
        complete: bool,
    ) -> SimReport:
        """What is known now."""
        requests, samples, outcomes = self.requests, self.samples, self.world.outcomes
        num = self.world.num_arrived
        arrival_s = requests.arrival_s[:num]
        duration_s = min(float(requests.arrival_s[-1]), self.now_s)
        totals = self.world.totals()
        busy_s = (self.totals or totals).busy_s
        end_s = np.frombuffer(outcomes.end_s, dtype=np.float64)[:num]
        first_s = np.frombuffer(outcomes.first_token_s, dtype=np.float64)[:num]
        return SimReport(
            label=policies.label,
            num_instances=fleet.num_instances,
            num_gpus=fleet.num_instances * fleet.tp_degree,
            seed=seed,
            slo=slo,
            complete=complete,
            duration_s=duration_s,
            end_s=float(np.nanmax(end_s, initial=0.0)),
            arrival_s=arrival_s,
            num_prompt_tokens=requests.num_prompt_tokens[:num],
            num_output_tokens=requests.num_output_tokens[:num],
            ttft_s=first_s - arrival_s,
            e2e_s=end_s - arrival_s,
            outcome=np.frombuffer(outcomes.outcome, dtype=np.uint8)[:num],
            rank=np.frombuffer(outcomes.rank, dtype=np.int32)[:num],
            tbt=self.tbt,
            busy_ratio=busy_s / (fleet.num_instances * duration_s) if duration_s else 0.0,
            preemptions=totals.num_preemptions,
            caches=totals.caches,
            iterations=totals.num_iterations,
            events=totals.num_events,
            timeline=Timeline(
                times_s=np.array(samples.times_s),
                running=np.array(samples.running, dtype=np.float64),
                waiting=np.array(samples.waiting, dtype=np.float64),
                kv_ratio_mean=np.array(samples.kv_mean),
                kv_ratio_max=np.array(samples.kv_max),
            ),
        )

    def _sample(self) -> None:
        look, samples = self.world.look(), self.samples
        samples.times_s.append(self.now_s)
        samples.running.append(look.num_running)
        samples.waiting.append(look.num_waiting)
        samples.kv_mean.append(sum(look.kv_ratios) / len(look.kv_ratios))
        samples.kv_max.append(max(look.kv_ratios))
