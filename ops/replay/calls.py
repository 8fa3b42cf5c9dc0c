"""One try of a call and one try of a user's request: plain state of the service graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from ops.replay.pods import Pod, Pool
from ops.replay.visits import Visit
from serving.sim.kernel import EventHandle
from serving.state import Request


@dataclass(slots=True)
class Link:
    """What the network adds to one caller -> callee edge of one region."""

    delay_s: float = 0.0
    loss_ratio: float = 0.0


class Endpoints(Protocol):
    """What the graph asks of the cluster."""

    def endpoints(self, region: str, service: str) -> list[Pod]:
        """Pods that the mesh sends calls to now."""
        ...

    def engine_pod(self, region: str) -> Pod | None:
        """Instance that the dispatch policy chooses."""
        ...

    def node_up(self, pod: Pod) -> bool:
        """Whether packets to the pod arrive."""
        ...

    def call_result(self, pod: Pod, ok: bool) -> None:
        """Outcome that the mesh saw, for outlier ejection."""
        ...


class Attempt:
    """One try of a user's request, as the fleet sees it."""

    __slots__ = ("attempt", "finish", "first_token", "region", "request", "root", "row",
                 "slo_class", "started_at_s", "token_at_s")  # fmt: skip

    def __init__(
        self, request: Request, attempt: int, region: str, slo_class: str, row: list[float]
    ) -> None:
        self.request, self.attempt, self.region = request, attempt, region
        self.slo_class, self.row = slo_class, row
        self.root: Call | None = None
        self.started_at_s = 0.0
        self.token_at_s = -1.0
        self.first_token: Callable[[float], None] = _nothing
        self.finish: Callable[[str, float], None] = _nothing


def _nothing(*_args: object) -> None:
    return


class Call:
    """One try of one visit; `parent` is None at the root and for background calls."""

    __slots__ = ("arrived_at_s", "attempt", "child", "dead", "deadline_s", "done", "handle",
                 "parent", "pod", "pool", "repeat", "sent_at_s", "source", "step", "timer",
                 "visit")  # fmt: skip

    def __init__(
        self, attempt: Attempt, visit: Visit, parent: Call | None, source: Pod | None, repeat: int
    ) -> None:
        self.attempt, self.visit, self.parent, self.source = attempt, visit, parent, source
        self.repeat = repeat
        self.pod: Pod | None = None
        self.pool: Pool | None = None
        self.child: Call | None = None
        self.step = 0
        self.done = False  # the caller no longer waits
        self.dead = False  # the server no longer works on it
        self.sent_at_s = self.arrived_at_s = self.deadline_s = 0.0
        self.timer: EventHandle | None = None
        self.handle: EventHandle | None = None
