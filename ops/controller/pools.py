"""The threads of an operator: each sort of waiting has its own, so that none holds up another."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from ops.controller.fleet.threads import InPool, Threads

STEP, READ, REMEMBER, DRY_RUN, PUBLISH = 4, 8, 2, 2, 4  # threads
T = TypeVar("T")


class Pools:
    """Made once; `threads` is what the loops of all fleets use."""

    def __init__(self) -> None:
        self._step = ThreadPoolExecutor(STEP, thread_name_prefix="fleet")
        self._read = ThreadPoolExecutor(READ, thread_name_prefix="metrics")
        self._remember = ThreadPoolExecutor(REMEMBER, thread_name_prefix="history")
        self._dry_run = ThreadPoolExecutor(DRY_RUN, thread_name_prefix="dry-run")
        self._publish = ThreadPoolExecutor(PUBLISH, thread_name_prefix="status")

    @property
    def threads(self) -> Threads:
        """As the loops want them."""
        return Threads(
            step=_within(self._step),
            read=_within(self._read),
            remember=_within(self._remember),
            dry_run=_within(self._dry_run),
            publish=_within(self._publish),
        )

    async def stop(self, *, wait_s: float) -> None:
        """Begin nothing any more, and wait a moment for writes under way."""
        for pool in (self._read, self._remember, self._dry_run):
            pool.shutdown(wait=False, cancel_futures=True)
        writers = (self._step, self._publish)
        idle = [asyncio.to_thread(p.shutdown, wait=True, cancel_futures=True) for p in writers]
        await asyncio.wait([asyncio.ensure_future(one) for one in idle], timeout=wait_s)


def _within(pool: ThreadPoolExecutor) -> InPool:
    def run(work: Callable[[], T]) -> Awaitable[T]:
        return asyncio.get_running_loop().run_in_executor(pool, work)

    return run
