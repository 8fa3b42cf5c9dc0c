"""Which threads a fleet's jobs wait in, and that no job of one fleet works in two at once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, cast

T = TypeVar("T")


class InPool(Protocol):
    """Runs work in a thread and hands its result back."""

    def __call__(self, work: Callable[[], T]) -> Awaitable[T]:
        """Raises what the work raises."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Threads:
    """Who waits for whom: each sort of waiting has threads of its own.

    Attributes:
        step: for decisions and what must be stored with them.
        read: for what is new in a Prometheus; remember: for an hour of it.
        dry_run: for what the server says to recommended actions.
        publish: for the status.
    """

    step: InPool
    read: InPool
    remember: InPool
    dry_run: InPool
    publish: InPool

    def of_one_fleet(self) -> Threads:
        """The same threads, in each of which one fleet does one thing at a time."""
        return Threads(
            step=OneAtATime(self.step),
            read=OneAtATime(self.read),
            remember=OneAtATime(self.remember),
            dry_run=OneAtATime(self.dry_run),
            publish=OneAtATime(self.publish),
        )


class OneAtATime:
    """An `InPool` for one job of one fleet: what it left in its thread ends before more begins.

    Nothing ends a thread: who waits for it can be cancelled, its work goes on. A job that is begun
    again must not work beside that.
    """

    def __init__(self, pool: InPool) -> None:
        """Use the threads of `pool`."""
        self._pool = pool
        self._running: asyncio.Future[Any] | None = None

    async def __call__(self, work: Callable[[], T]) -> T:
        """Raises what the work raises. Cancelled before its thread has begun, it does nothing."""
        if self._running is not None and not self._running.done():
            await asyncio.wait({self._running})
        left = threading.Event()

        def unless_left() -> T | None:
            return None if left.is_set() else work()

        # Shielded: a future that is cancelled would say at once that its thread is done.
        running: asyncio.Future[T | None] = asyncio.ensure_future(self._pool(unless_left))
        self._running = running
        try:
            return cast("T", await asyncio.shield(running))
        except asyncio.CancelledError:
            left.set()
            raise
