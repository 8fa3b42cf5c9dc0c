"""Fleets by configuration and policies: what they consist of, and the fastest form that fits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from serving.errors import ConfigError
from serving.metrics import EngineMeters, Histogram
from serving.policies import BATCH_POLICIES, batch_policy, dispatch_policy
from serving.policies.chunked_prefill import ChunkedPrefill
from serving.policies.dispatch import PrefixAware
from serving.policies.dispatch_index import dispatch_index
from serving.policies.fcfs import PrefillFirst
from serving.policies.protocols import BatchPolicy
from serving.sim.cluster import Cluster
from serving.sim.cost_model import CostModel
from serving.sim.express import ExpressFleet
from serving.sim.express_chunked import ChunkedLane
from serving.sim.express_lane import Lane
from serving.sim.express_prefill_first import PrefillFirstLane
from serving.sim.instance import SimInstance
from serving.sim.kernel import Kernel
from serving.sim.outcomes import Arrivals, Look, Outcomes, Totals
from serving.sim.profile_files import load_profile
from serving.sim.profiles import MODELS
from serving.sim.step_times import StepTimes
from serving.state import InstanceConfig, Prefix
from serving.workload import RequestTable

INSTANCES_MAX = 100_000
LANES: dict[type[BatchPolicy], type[Lane]] = {
    ChunkedPrefill: ChunkedLane,
    PrefillFirst: PrefillFirstLane,
}


class Mode(StrEnum):
    """How the same events are worked off; token times agree to a nanosecond."""

    EXPRESS = "express"  # fused loop where policies allow it, else as `SEGMENTS`
    SEGMENTS = "segments"  # `SimInstance`, an event per change of batch
    ITERATIONS = "iterations"  # `SimInstance`, an event per iteration: the reference


class World(Protocol):
    """A fleet that can be advanced and looked at."""

    @property
    def outcomes(self) -> Outcomes:
        """What became of each request."""
        ...

    @property
    def num_arrived(self) -> int:
        """Requests that have arrived."""
        ...

    @property
    def is_over(self) -> bool:
        """Whether every request has arrived and ended."""
        ...

    def run_until(self, until_s: float) -> None:
        """Advance."""
        ...

    def look(self) -> Look:
        """The fleet now."""
        ...

    def totals(self) -> Totals:
        """Work so far."""
        ...


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
    prefix_cache: bool = False  # keep the KV of prompts for later ones that begin alike

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
            prefix_cache=self.prefix_cache,
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
        return f"{self.batch} {self.tokens_per_iteration}, {self.dispatch}"

    @property
    def tokens_per_iteration(self) -> int:
        """The chunk that holds: the one given, else the batch policy's own."""
        return self.token_budget or BATCH_POLICIES[self.batch]().token_budget


def make_world(
    requests: RequestTable,
    fleet: FleetConfig,
    policies: Policies,
    *,
    mode: Mode,
    tbt: Histogram,
) -> World:
    """The fastest fleet that the policies allow."""
    cost_model = fleet.cost_model()
    config = fleet.instance_config(cost_model)
    token_budget = policies.tokens_per_iteration
    batch = batch_policy(policies.batch, token_budget=token_budget)
    dispatch = dispatch_policy(policies.dispatch)
    if isinstance(dispatch, PrefixAware):
        dispatch = PrefixAware(tokens_max=config.num_blocks * config.block_tokens)
    arrivals = Arrivals(
        requests.arrival_s.tolist(),
        requests.num_prompt_tokens.tolist(),
        requests.num_output_tokens.tolist(),
        prefix_of=_prefixes(requests),
    )
    index = dispatch_index(dispatch, fleet.num_instances)
    fits = mode is Mode.EXPRESS and not fleet.prefix_cache  # a fused loop knows no cache
    lane_type = LANES.get(type(batch))
    if fits and lane_type is not None and index is not None:
        times = StepTimes(cost_model, token_budget=token_budget, sequences_max=config.sequences_max)
        return ExpressFleet(
            fleet.num_instances,
            lane_type,
            config=config,
            times=times,
            token_budget=token_budget,
            index=index,
            arrivals=arrivals,
            tbt=tbt,
        )
    kernel = Kernel()
    digits = len(str(fleet.num_instances - 1))
    instances = [
        SimInstance(
            kernel,
            f"instance-{number:0{digits}}",
            config=config,
            policy=batch,
            cost_model=cost_model,
            meters=EngineMeters(inter_token_latency=tbt),
            segments=mode is not Mode.ITERATIONS,
        )
        for number in range(fleet.num_instances)
    ]
    return Cluster(kernel, instances, dispatch=dispatch, arrivals=arrivals)


def _prefixes(requests: RequestTable) -> Callable[[int], Prefix | None]:
    """What the prompt of a row begins with; None when the trace has no ids."""

    def of(row: int) -> Prefix | None:
        if not requests.prefix_block_tokens:
            return None
        return Prefix(requests.prefix_block_tokens, tuple(requests.prefix_of(row).tolist()))

    return of
