"""Simulated instances behind one interface, and the choice between them."""

from __future__ import annotations

from typing import Protocol

from serving.metrics import EngineMeters
from serving.policies.chunked_prefill import ChunkedPrefill
from serving.policies.protocols import BatchPolicy
from serving.sim.cost_model import CostModel
from serving.sim.flat_instance import FlatInstance
from serving.sim.flat_times import FlatTimes
from serving.sim.instance import FinishHandler, FirstTokenHandler, SimInstance
from serving.sim.kernel import Kernel
from serving.state import InstanceConfig, Request


class EngineInstance(Protocol):
    """What a fleet asks of one simulated engine; see `SimInstance` for what each call promises."""

    cost_model: CostModel
    meters: EngineMeters

    @property
    def load(self) -> int:
        """Outstanding requests."""
        ...

    @property
    def num_running(self) -> int:
        """Requests in the batch."""
        ...

    @property
    def num_waiting(self) -> int:
        """Requests in the queue."""
        ...

    def submit(
        self, request: Request, on_first_token: FirstTokenHandler, on_finish: FinishHandler
    ) -> bool:
        """Queue a request; False when it is rejected."""
        ...

    def abort(self, request_id: int) -> bool:
        """End a request now; False when not here."""
        ...

    def kill(self) -> None:
        """End everything with an error."""
        ...

    def hang(self) -> None:
        """Stop iterations."""
        ...

    def resume(self) -> None:
        """End a hang."""
        ...

    def set_clock_ratio(self, clock_ratio: float) -> None:
        """Change the SM clock."""
        ...

    def reserve_blocks(self, num_blocks: int) -> None:
        """Make KV blocks unusable."""
        ...

    def refresh(self, now_s: float) -> None:
        """Bring meters up to now."""
        ...

    def check_invariants(self) -> None:
        """Assert that every count agrees with the requests."""
        ...


def make_instance(
    kernel: Kernel,
    instance_id: str,
    *,
    config: InstanceConfig,
    policy: BatchPolicy,
    cost_model: CostModel,
    times: dict[float, FlatTimes],
) -> EngineInstance:
    """A flat instance where its rules hold, else the general one.

    Args:
        times: kept by the caller for all instances of one cost model.
    """
    if type(policy) is ChunkedPrefill and not config.prefix_cache:
        return FlatInstance(
            kernel, instance_id, config=config, token_budget=policy.token_budget,
            cost_model=cost_model, times=times,
        )  # fmt: skip
    return SimInstance(kernel, instance_id, config=config, policy=policy, cost_model=cost_model)
