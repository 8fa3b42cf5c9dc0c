"""What the loop is given: Protocols between the pure pipeline and a world."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ops.state import Action, Decision, Snapshot
from rca.state import ChangeEvent, ClusterEvent, MetricFrame, RcaResult, Symptom, Topology


class Diagnoser(Protocol):
    """Names causes, at once or later.

    One that answers at once is pure: same arguments, same result. One that works elsewhere
    answers None until it has a result; it is then asked again at every step.
    """

    def __call__(
        self,
        frame: MetricFrame,
        *,
        symptom: Symptom,
        topology: Topology,
        changes: Sequence[ChangeEvent],
        events: Sequence[ClusterEvent],
        now_s: float,
        seed: int,
    ) -> RcaResult | None:
        """Rank the causes of `symptom` from what is known at `now_s`; None = not yet."""
        ...


class World(Protocol):
    """A fleet that can be watched and changed."""

    def snapshot(self) -> Snapshot:
        """What is known now."""
        ...

    def apply(self, action: Action) -> str:
        """Start an action; it takes effect after the world's own delay.

        Returns:
            Empty when accepted, else the reason why the world refuses.
        """
        ...


class Journal(Protocol):
    """Append-only record of decisions."""

    def append(self, decision: Decision) -> None:
        """Write one decision durably before it takes effect."""
        ...
