"""`simulate`: requests, a fleet and policies in, a `SimReport` out. No clock, no files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from serving.errors import ConfigError
from serving.metrics import EngineMeters, Histogram
from serving.policies import BATCH_POLICIES, batch_policy, dispatch_policy
from serving.sim.cluster import Arrivals, Cluster
from serving.sim.cost_model import CostModel
from serving.sim.instance import SimInstance
from serving.sim.kernel import Kernel
from serving.sim.profile_files import load_profile
from serving.sim.profiles import MODELS
from serving.sim.report import SimReport, Timeline
from serving.state import InstanceConfig, Slo
from serving.workload import RequestTable

Progress = Callable[[float], None]

INSTANCES_MAX = 100_000
SAMPLES = 240  # of the timeline, up to the last arrival
DRAIN_S = 86_400.0  # after the last arrival; what has not ended by then is reported as open
STEP_S = 60.0  # how far the clock runs at once after the last arrival
# Gaps between tokens from 1 ms to 100 s, each bound 3 % above the one before.
TBT_BOUNDS_S = tuple((0.001 * 1.03 ** np.arange(391)).tolist())


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetConfig:
    """Equal instances of one model."""

    num_instances: int
    gpu: str  # a key of `find_gpu`, or a coefficients file (.toml)
    model: str
    tp_degree: int = 1
    sequences_max: int = 128
    queue_max: int = 1_000_000_000  # waiting requests per instance; beyond it they are rejected
    block_tokens: int = 16
    memory_ratio: float = 0.9  # share of each GPU's memory that the engine may use

    def __post_init__(self) -> None:
        if not 1 <= self.num_instances <= INSTANCES_MAX:
            raise ConfigError(
                f"num_instances is {self.num_instances}, expected 1 to {INSTANCES_MAX}"
            )

    def cost_model(self) -> CostModel:
        """Iteration times of one instance.

        Raises:
            ConfigError: GPU or model unknown, or a tensor split that does not divide the model.
        """
        if not self.gpu.endswith(".toml"):
            return CostModel.of(gpu=self.gpu, model=self.model, tp_degree=self.tp_degree)
        if self.model not in MODELS:
            raise ConfigError(f"model {self.model!r} is unknown, choose from {sorted(MODELS)}")
        profile = load_profile(Path(self.gpu))
        return CostModel(gpu=profile, model=MODELS[self.model], tp_degree=self.tp_degree)

    def instance_config(self, cost_model: CostModel) -> InstanceConfig:
        """Sizes of one instance: all KV blocks that fit beside the weights."""
        return InstanceConfig(
            num_blocks=cost_model.kv_blocks(
                block_tokens=self.block_tokens, memory_ratio=self.memory_ratio
            ),
            block_tokens=self.block_tokens,
            sequences_max=self.sequences_max,
            queue_max=self.queue_max,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Policies:
    """Names of the policies of one run."""

    batch: str = "chunked-prefill"
    dispatch: str = "least-loaded"
    token_budget: int = 0  # tokens per iteration; 0 = the batch policy's own default

    @property
    def label(self) -> str:
        """How tables and plots call them."""
        budget = f" {self.token_budget}" if self.token_budget else ""
        return f"{self.batch}{budget}, {self.dispatch}"


def simulate(
    requests: RequestTable,
    fleet: FleetConfig,
    policies: Policies,
    seed: int,
    *,
    slo: Slo,
    segments: bool = True,
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
        segments: False = one event per iteration, the slow reference.
        progress: is told the share of arrivals that are simulated, 0 to 1.

    Raises:
        ConfigError: unknown names, sizes that do not fit, rows without tokens.
    """
    run = _Run(requests, fleet, policies, segments=segments)
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
        self, requests: RequestTable, fleet: FleetConfig, policies: Policies, *, segments: bool
    ) -> None:
        if not len(requests):
            raise ConfigError(
                f"{requests.trace_id}: no request to simulate; take a longer stretch of the trace"
            )
        if min(requests.num_prompt_tokens.min(), requests.num_output_tokens.min()) < 1:
            raise ConfigError(
                f"{requests.trace_id}: rows without prompt or output tokens; drop them first"
            )
        cost_model = fleet.cost_model()
        config = fleet.instance_config(cost_model)
        batch = batch_policy(
            policies.batch,
            token_budget=policies.token_budget or BATCH_POLICIES[policies.batch]().token_budget,
        )
        self.requests = requests
        self.kernel = Kernel()
        self.tbt = Histogram(TBT_BOUNDS_S)
        self.busy_s = 0.0
        self.samples = _Samples()
        digits = len(str(fleet.num_instances - 1))
        self.cluster = Cluster(
            self.kernel,
            [
                SimInstance(
                    self.kernel,
                    f"instance-{number:0{digits}}",
                    config=config,
                    policy=batch,
                    cost_model=cost_model,
                    meters=EngineMeters(inter_token_latency=self.tbt),
                    segments=segments,
                )
                for number in range(fleet.num_instances)
            ],
            dispatch=dispatch_policy(policies.dispatch),
            arrivals=Arrivals(
                requests.arrival_s.tolist(),
                requests.num_prompt_tokens.tolist(),
                requests.num_output_tokens.tolist(),
            ),
        )

    def to_the_end(self, progress: Progress | None) -> None:
        """Advance sample by sample to the last arrival, then until nothing is in flight."""
        kernel, cluster = self.kernel, self.cluster
        last_s = float(self.requests.arrival_s[-1])
        for step in range(1, SAMPLES + 1):
            kernel.run_until(last_s * step / SAMPLES)
            self._sample()
            if progress is not None:
                progress(cluster.num_arrived / len(self.requests))
        self.busy_s = self._busy_s()
        while not cluster.is_over and kernel.now_s < last_s + DRAIN_S:
            kernel.run_until(kernel.now_s + STEP_S)

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
        requests, cluster, samples = self.requests, self.cluster, self.samples
        num = cluster.num_arrived
        arrival_s = requests.arrival_s[:num]
        now_s = self.kernel.now_s
        duration_s = min(float(requests.arrival_s[-1]), now_s)
        busy_s = self.busy_s or self._busy_s()
        meters = [instance.meters for instance in cluster.instances]
        end_s = np.frombuffer(cluster.end_s, dtype=np.float64)[:num]
        first_s = np.frombuffer(cluster.first_token_s, dtype=np.float64)[:num]
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
            outcome=np.frombuffer(cluster.outcome, dtype=np.uint8)[:num],
            rank=np.frombuffer(cluster.rank, dtype=np.int32)[:num],
            tbt=self.tbt,
            busy_ratio=busy_s / (fleet.num_instances * duration_s) if duration_s else 0.0,
            preemptions=sum(i.instance.num_preemptions for i in cluster.instances),
            iterations=sum(m.iterations for m in meters),
            events=self.kernel.num_events,
            timeline=Timeline(
                times_s=np.array(samples.times_s),
                running=np.array(samples.running, dtype=np.float64),
                waiting=np.array(samples.waiting, dtype=np.float64),
                kv_ratio_mean=np.array(samples.kv_mean),
                kv_ratio_max=np.array(samples.kv_max),
            ),
        )

    def _busy_s(self) -> float:
        now_s = self.kernel.now_s
        for instance in self.cluster.instances:
            instance.refresh(now_s)
        return sum(instance.meters.busy_s for instance in self.cluster.instances)

    def _sample(self) -> None:
        """Look at every instance; KV in use lags by the decode steps of the segment in flight."""
        samples, instances = self.samples, self.cluster.instances
        used = [instance.instance.pool.num_used for instance in instances]
        num_blocks = instances[0].instance.pool.num_blocks
        samples.times_s.append(self.kernel.now_s)
        samples.running.append(sum(instance.num_running for instance in instances))
        samples.waiting.append(sum(instance.num_waiting for instance in instances))
        samples.kv_mean.append(sum(used) / (len(used) * num_blocks))
        samples.kv_max.append(max(used) / num_blocks)
