"""When a fleet's loop runs: at every scrape, and soon after one of its pods or alerts changed.

One task per fleet on the main loop; the work itself runs in a small pool of threads, never twice
at once for one fleet.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from ops.clock import monotonic_s
from ops.controller.alerts.inbox import AlertInbox
from ops.controller.operator_metrics import OperatorMetrics
from ops.controller.resources.fleet_object import FleetObject
from ops.errors import OpsError
from ops.state import Alert

logger = logging.getLogger(__name__)
DEBOUNCE_S = 0.3  # changes within it share one step
STEP_EVERY_S = 0.5  # between two steps at least
FAILED_PAUSE_S, FAILED_PAUSE_S_MAX = 1.0, 30.0

T = TypeVar("T")


class InPool(Protocol):
    """Runs work in a thread and hands its result back."""

    def __call__(self, work: Callable[[], T]) -> Awaitable[T]:
        """Raises what the work raises."""
        ...


class FleetWork(Protocol):
    """What is done for one fleet, in a thread of the pool."""

    next_read_at_s: float  # of the monotonic clock

    @property
    def num_open(self) -> int:
        """Incidents that are not resolved."""
        ...

    @property
    def num_series(self) -> int:
        """Series that are watched."""
        ...

    def renew(self, fleet: FleetObject) -> None:
        """Take over a changed spec at the next turn. Called from another thread."""
        ...

    def begin(self) -> tuple[str, ...]:
        """Read back what earlier processes left; digests of the alerts that were counted."""
        ...

    def read(self) -> None:
        """Read the metrics."""
        ...

    def decide(self, alerts: tuple[Alert, ...]) -> None:
        """Step, and write what was decided. Raises OpsError where it is not written."""
        ...

    def publish(self) -> None:
        """Write the Fleet's status if it is worth it. Raises OpsError where it is not written."""
        ...


class FleetLoop:
    """Runs one fleet's work at the right moments. `wake` may be called from any thread."""

    def __init__(
        self,
        work: FleetWork,
        *,
        name: str,
        in_pool: InPool,
        to_read: InPool,
        to_publish: InPool,
        metrics: OperatorMetrics,
    ) -> None:
        self.work, self.name = work, name
        self.inbox = AlertInbox(wake=self.wake)
        self._in_pool, self._to_read, self._to_publish = in_pool, to_read, to_publish
        self._metrics = metrics
        self._loop = asyncio.get_running_loop()
        self._woken = asyncio.Event()
        self._changed_at_s: float | None = None  # of the first change that no step has seen
        self._begun = self._read = False
        self._failures = 0
        self.last_error = ""

    def wake(self) -> None:
        """Step soon."""
        self._loop.call_soon_threadsafe(self._note, None)

    def renew(self, fleet: FleetObject) -> None:
        """Take over a changed spec."""
        self.work.renew(fleet)
        self.wake()

    def changed(self, at_s: float) -> None:
        """Step soon: the cluster has changed at that monotonic moment. On the main loop only."""
        self._note(at_s)

    def _note(self, changed_at_s: float | None) -> None:
        if self._changed_at_s is None:
            self._changed_at_s = changed_at_s
        self._woken.set()

    async def run(self) -> None:
        """Work until cancelled. A fault of one turn is logged, and the next one tried."""
        while True:
            due_s = 0.0 if not self._begun else self.work.next_read_at_s - monotonic_s()
            if due_s > 0.0:
                await self._wait(due_s)
            began_s = monotonic_s()
            try:
                await self._turn()
                self._failures, self.last_error = 0, ""
            except OpsError as error:
                await self._failed(error, expected=True)
            except Exception as error:  # noqa: BLE001  the top of one fleet's turn
                await self._failed(error, expected=False)
            await asyncio.sleep(max(0.0, STEP_EVERY_S - (monotonic_s() - began_s)))

    async def _wait(self, due_s: float) -> None:
        try:
            # Not wait_for: in Python 3.11 it can swallow a cancellation.
            async with asyncio.timeout(due_s):
                await self._woken.wait()
        except TimeoutError:
            return
        await asyncio.sleep(min(DEBOUNCE_S, max(0.0, due_s)))

    async def _turn(self) -> None:
        if not self._begun:
            self.inbox.restore(await self._in_pool(self.work.begin))
            self._begun = True
        self._woken.clear()
        if monotonic_s() >= self.work.next_read_at_s:
            if self._changed_at_s is not None and self._read:
                await self._decide()  # a changed pod does not wait for a slow Prometheus
            await self._to_read(self.work.read)
            self._read = True
        await self._decide()

    async def _decide(self) -> None:
        """Step, then tell; a status that waits for a busy API server keeps no decision waiting."""
        changed_at_s, self._changed_at_s = self._changed_at_s, None
        failed: OpsError | None = None
        try:
            with self.inbox.take() as batch:  # also what came while a slow Prometheus was read
                await self._in_pool(lambda: self.work.decide(batch.alerts))
            self._metrics.ticks.labels(result="ok").inc()
            if changed_at_s is not None:
                self._metrics.watch_to_decision_s.observe(monotonic_s() - changed_at_s)
        except OpsError as error:
            failed = error  # the status says what is wrong
        await self._to_publish(self.work.publish)
        if failed is not None:
            raise failed

    async def _failed(self, error: Exception, *, expected: bool) -> None:
        self._failures += 1
        self._metrics.ticks.labels(result="failed").inc()
        if str(error) != self.last_error:
            logger.error(
                "fleet=%s turn failed: %s", self.name, error, exc_info=None if expected else error
            )
        self.last_error = str(error)
        pause_s = min(FAILED_PAUSE_S * 2.0 ** min(self._failures, 10), FAILED_PAUSE_S_MAX)
        await self._wait(pause_s)
