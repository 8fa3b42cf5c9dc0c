"""In-memory adapters: what tests and the simulated fleet use where a real world is not needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ops.encode import to_json_line
from ops.state import Action, Decision, Snapshot
from rca.state import ChangeEvent, ClusterEvent, MetricFrame, RcaResult, Symptom, Topology


@dataclass(slots=True)
class MemoryJournal:
    """Journal that keeps its decisions and the bytes that a file would hold."""

    decisions: list[Decision] = field(default_factory=list)
    lines: list[bytes] = field(default_factory=list)

    def append(self, decision: Decision) -> None:
        """Keep one decision."""
        self.decisions.append(decision)
        self.lines.append(to_json_line(decision))

    def to_bytes(self) -> bytes:
        """The journal as a file would hold it."""
        return b"".join(self.lines)


@dataclass(slots=True)
class FakeDiagnoser:
    """Answers from a list, the last answer for ever; remembers what it was asked."""

    results: Sequence[RcaResult | None]
    asked: list[Symptom] = field(default_factory=list)

    def __call__(
        self,
        frame: MetricFrame,  # noqa: ARG002  the port's signature
        *,
        symptom: Symptom,
        topology: Topology,  # noqa: ARG002
        changes: Sequence[ChangeEvent],  # noqa: ARG002
        events: Sequence[ClusterEvent],  # noqa: ARG002
        now_s: float,  # noqa: ARG002
        seed: int,  # noqa: ARG002
    ) -> RcaResult | None:
        """The next answer; None = not yet."""
        self.asked.append(symptom)
        return self.results[min(len(self.asked), len(self.results)) - 1]


@dataclass(slots=True)
class FakeWorld:
    """Shows the snapshots it was given, in order, and keeps the actions it was told."""

    snapshots: Sequence[Snapshot]
    refuses: str = ""  # reason given to every action; empty = accepts all
    applied: list[Action] = field(default_factory=list)
    shown: int = 0

    def snapshot(self) -> Snapshot:
        """The next snapshot; the last one for ever."""
        self.shown += 1
        return self.snapshots[min(self.shown, len(self.snapshots)) - 1]

    def apply(self, action: Action) -> str:
        """Keep the action."""
        self.applied.append(action)
        return self.refuses
