"""One try of a call and one try of a user's request: plain state of the service graph."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from ops.replay.pods import Pod, Pool
from ops.replay.visits import Visit
from serving.sim.kernel import EventHandle
from serving.state import Request

RETRANSMIT_S = 0.2  # TCP's minimum retransmission timeout; doubles
RETRANSMITS_MAX = 6
FAST_LINK_S = 0.005  # a delay below it is folded into the arrival
REQUEST_BYTES, RESPONSE_BYTES = 2048.0, 8192.0


@dataclass(slots=True)
class Link:
    """What the network adds to one caller -> callee edge of one region."""

    delay_s: float = 0.0
    loss_ratio: float = 0.0

    def extra_s(self, draw: float) -> float:
        """Delay of one call, for a draw in 0..1: jitter, and a wait for each lost packet."""
        delay_s = self.delay_s * (0.7 + 0.6 * draw)
        if self.loss_ratio > 0.0:
            fresh = (draw * 7919.0) % 1.0
            lost = int(math.log(max(fresh, 1e-12)) / math.log(self.loss_ratio))
            delay_s += RETRANSMIT_S * (2 ** min(lost, RETRANSMITS_MAX) - 1)
        return delay_s


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
    """One try of a user's request, as the fleet sees it.

    `user` is whoever made it and wants to hear of it; the graph only passes it on.
    """

    __slots__ = ("attempt", "region", "request", "root", "row", "slo_class", "started_at_s",
                 "token_at_s", "user")  # fmt: skip

    def __init__(
        self,
        request: Request,
        attempt: int,
        region: str,
        slo_class: str,
        row: list[float],
        user: object = None,
    ) -> None:
        self.request, self.attempt, self.region = request, attempt, region
        self.slo_class, self.row, self.user = slo_class, row, user
        self.root: Call | None = None
        self.started_at_s = 0.0
        self.token_at_s = -1.0

    @property
    def engine_id(self) -> int:
        """Id of the request that the engine serves for this attempt."""
        return self.request.request_id * 64 + min(self.attempt, 63)


class Call:
    """One try of one visit; `parent` is None at the root and for background calls."""

    __slots__ = ("arrived_at_s", "attempt", "child", "dead", "deadline_s", "done", "handle",
                 "parent", "pod", "pool", "repeat", "sent_at_s", "source", "step", "timeout_s",
                 "timer", "visit")  # fmt: skip

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
        self.sent_at_s = self.arrived_at_s = self.deadline_s = self.timeout_s = 0.0
        self.timer: EventHandle | None = None
        self.handle: EventHandle | None = None
