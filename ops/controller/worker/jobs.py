"""Heavy work beside the event loop: one thread, urgent work first, a stated number that may wait.

One thread, because two diagnoses at once would each take twice as long, and the first answer is
the one that somebody waits for. The event loop stays free for probes.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, TypeVar, cast

from ops.clock import monotonic_s

T = TypeVar("T")


class Urgency(IntEnum):
    """Order of the waiting work; lower goes first."""

    DIAGNOSIS = 0
    REPORT = 1
    REPLAY = 2


class FullError(Exception):
    """As much waits as may wait; `retry_after_s` says when to come again."""

    def __init__(self, waiting: int, retry_after_s: float) -> None:
        super().__init__(f"{waiting} requests wait already")
        self.retry_after_s = retry_after_s


@dataclass(order=True, slots=True)
class _Job:
    urgency: int
    number: int
    work: Callable[[], Any] = field(compare=False)
    done: asyncio.Future[Any] = field(compare=False)


class Jobs:
    """A queue with one worker thread. `run` is called from the event loop only."""

    def __init__(self, *, queue_max: int) -> None:
        self._queue_max = queue_max
        self._queue: asyncio.PriorityQueue[_Job] = asyncio.PriorityQueue()
        self._numbers = itertools.count()
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="worker")
        self._loop: asyncio.Task[None] | None = None
        self._busy_since_s: float | None = None
        self._last_s = 1.0  # how long the last job took
        self._in_hand = 0  # jobs that wait or run

    @property
    def waiting(self) -> int:
        """Jobs that were not begun yet."""
        return self._queue.qsize()

    @property
    def busy_s(self) -> float:
        """Seconds that the running job has taken so far, 0 when none runs."""
        since_s = self._busy_since_s
        return 0.0 if since_s is None else monotonic_s() - since_s

    async def run(self, urgency: Urgency, work: Callable[[], T]) -> T:
        """Do `work` on the thread and hand back what it returns or raises.

        A caller that is cancelled while its work waits gives its place free.

        Raises:
            FullError: too much waits.
        """
        if self._in_hand > self._queue_max:
            raise FullError(self._in_hand - 1, min(60.0, max(1.0, self._in_hand * self._last_s)))
        if self._loop is None:
            self._loop = asyncio.create_task(self._serve())
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._queue.put_nowait(_Job(int(urgency), next(self._numbers), work, done))
        self._in_hand += 1
        try:
            return cast("T", await done)
        finally:
            self._in_hand -= 1

    async def close(self) -> None:
        """Begin nothing more; what runs is left to end with the process."""
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)
        while not self._queue.empty():
            self._queue.get_nowait().done.cancel()
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            job = await self._queue.get()
            if job.done.done():  # nobody waits for it any more
                continue
            began_s = self._busy_since_s = monotonic_s()
            try:
                result = await loop.run_in_executor(self._pool, job.work)
            except asyncio.CancelledError:
                job.done.cancel()
                raise
            except BaseException as error:  # noqa: BLE001  the caller gets it, whatever it is
                if not job.done.done():
                    job.done.set_exception(error)
            else:
                if not job.done.done():
                    job.done.set_result(result)
            finally:
                self._busy_since_s = None
                self._last_s = monotonic_s() - began_s
