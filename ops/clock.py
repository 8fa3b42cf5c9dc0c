"""The one place that reads the machine's clocks; everything else is given `now_s`."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime

EPOCH_S_MIN = 1e9  # September 2001: what is less counts from a start of its own


def wall_s() -> float:
    """Seconds since the Unix epoch, for drivers of a real world and for file stamps."""
    return time.time()


def monotonic_s() -> float:
    """Seconds on a clock that never steps back, for measuring how long work took."""
    return time.monotonic()


def cpu_s() -> float:
    """CPU seconds of this process, for figures of speed."""
    return time.process_time()


def moment_text(at_s: float) -> str:
    """A moment for people: a date in UTC, or seconds where the clock is not the epoch's."""
    if at_s < EPOCH_S_MIN:
        return f"{at_s:.0f} s"
    try:
        return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return f"{at_s:.0f} s"


@dataclass(frozen=True, slots=True)
class Deadline:
    """A moment on the monotonic clock after which nobody waits any longer."""

    at_s: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        """The moment that many seconds from now."""
        return cls(monotonic_s() + seconds)

    def left_s(self) -> float:
        """Seconds until then, never negative."""
        return max(0.0, self.at_s - monotonic_s())
