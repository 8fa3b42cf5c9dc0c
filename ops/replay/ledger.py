"""Requests to come, and what became of each."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from serving.state import Prefix


@dataclass(slots=True)
class Arrivals:
    """Requests to come, sorted by time; parallel lists."""

    at_s: list[float] = field(default_factory=list)
    num_prompt_tokens: list[int] = field(default_factory=list)
    num_output_tokens: list[int] = field(default_factory=list)
    region: list[str] = field(default_factory=list)
    prefix: list[Prefix] = field(default_factory=list)  # what prompts begin with; empty = unknown

    def __len__(self) -> int:
        return len(self.at_s)


@dataclass(slots=True)
class Ledger:
    """What became of every request. Both sums must balance at any moment."""

    arrived: int = 0
    ok: int = 0
    failed: int = 0
    timed_out: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    cancelled: int = 0
    attempts: int = 0
    retries: int = 0

    @property
    def in_flight(self) -> int:
        """Requests without an outcome yet."""
        done = self.ok + self.failed + self.timed_out + self.cancelled + self.rejected.total()
        return self.arrived - done
