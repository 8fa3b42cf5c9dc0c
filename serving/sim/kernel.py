"""Event kernel: simulated time, a heap with a stated tie order, named random streams.

What an event does lives with whoever schedules it; the kernel knows no domain.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

import numpy as np

EventHandle = list[Any]  # [time_s, seq, handler or None, args]; mutable so that cancelling is O(1)


def stream(seed: int, name: str) -> np.random.Generator:
    """Random stream of one concern: a new draw in one stream leaves the others as they were."""
    return np.random.default_rng([seed, *name.encode()])


class Kernel:
    """Runs handlers in order of (time, order of scheduling)."""

    __slots__ = ("_heap", "_lines", "_seq", "now_s", "num_events")

    def __init__(self, start_s: float = 0.0) -> None:
        self.now_s = start_s
        self.num_events = 0
        self._heap: list[EventHandle] = []
        self._lines: dict[float, deque[EventHandle]] = {}  # length -> timeouts, the next first
        self._seq = 0

    def at(self, time_s: float, handler: Callable[..., None], *args: Any) -> EventHandle:
        """Schedule `handler(*args)`; a time in the past runs now."""
        self._seq = seq = self._seq + 1
        now_s = self.now_s
        handle: EventHandle = [time_s if time_s > now_s else now_s, seq, handler, args]
        heappush(self._heap, handle)
        return handle

    def after(self, delay_s: float, handler: Callable[..., None], *args: Any) -> EventHandle:
        """Schedule `handler(*args)` in `delay_s` seconds."""
        return self.at(self.now_s + delay_s, handler, *args)

    def timeout(self, length_s: float, handler: Callable[..., None], *args: Any) -> EventHandle:
        """`after` for what is nearly always cancelled and has one of few lengths.

        Timeouts of one length end in the order in which they began: they stand in line, and only
        the first one is in the heap.
        """
        line = self._lines.get(length_s)
        if line is None:
            line = self._lines[length_s] = deque()
        self._seq = seq = self._seq + 1
        handle: EventHandle = [self.now_s + length_s, seq, handler, args]
        if not line:
            heappush(self._heap, [handle[0], seq, self._first_in_line, (line,)])
        line.append(handle)
        return handle

    def _first_in_line(self, line: deque[EventHandle]) -> None:
        _, _, handler, args = handle = line.popleft()
        handle[2] = None
        while line and line[0][2] is None:
            line.popleft()
        if line:
            heappush(self._heap, [line[0][0], line[0][1], self._first_in_line, (line,)])
        if handler is not None:
            handler(*args)

    @staticmethod
    def cancel(handle: EventHandle) -> None:
        """Make a scheduled event do nothing and forget its arguments; harmless after it ran."""
        handle[2], handle[3] = None, ()

    def run_until(self, time_s: float) -> None:
        """Run every event up to and including `time_s`, then set the clock to it."""
        heap, pop, num_events = self._heap, heappop, 0
        while heap and heap[0][0] <= time_s:
            handle = pop(heap)
            handler = handle[2]
            if handler is None:
                continue
            self.now_s = handle[0]
            handle[2] = None
            num_events += 1
            handler(*handle[3])
        self.num_events += num_events
        self.now_s = time_s
