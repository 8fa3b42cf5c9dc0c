"""The one place that reads the machine's clocks; everything else is given `now_s`."""

from __future__ import annotations

import time


def wall_s() -> float:
    """Seconds since the Unix epoch, for drivers of a real world and for file stamps."""
    return time.time()


def monotonic_s() -> float:
    """Seconds on a clock that never steps back, for measuring how long work took."""
    return time.monotonic()


def cpu_s() -> float:
    """CPU seconds of this process, for figures of speed."""
    return time.process_time()
