"""When a fleet's work is done: decisions, readings, dry runs, the status, each in its own task.

A decision never waits for a Prometheus, a dry run or the status: what was read or answered is taken
in by the next step, and what was decided is published beside it. One task per fleet and job on the
main loop; the work itself runs in threads, no job twice at once for one fleet.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from math import inf
from typing import Protocol

from ops.clock import monotonic_s
from ops.controller.alerts.inbox import AlertInbox
from ops.controller.fleet.backoff import Backoff
from ops.controller.fleet.threads import InPool, Threads
from ops.controller.operator_metrics import OperatorMetrics
from ops.controller.resources.fleet_object import FleetObject
from ops.errors import OpsError
from ops.state import Alert

logger = logging.getLogger(__name__)
DEBOUNCE_S = 0.3  # changes within it share one step
STEP_EVERY_S = 0.5  # between two steps at least
HISTORY_AGAIN_S = 5.0  # before an hour of samples that could not be read is asked for again


class LoopWork(Protocol):
    """What is done for one fleet, in threads."""

    next_read_at_s: float  # of the monotonic clock

    @property
    def gone(self) -> bool:
        """Whether the server seems to hold the object no longer."""
        ...

    @property
    def wants_history(self) -> bool:
        """Whether the hour before is still to be learnt."""
        ...

    @property
    def wants_dry_run(self) -> bool:
        """Whether recommended actions wait for the word of the API server."""
        ...

    @property
    def num_open(self) -> int:
        """Incidents that are not resolved."""
        ...

    @property
    def num_series(self) -> int:
        """Series that are watched."""
        ...

    def renew(self, fleet: FleetObject) -> None:
        """Take over a changed spec at the next step. Called from another thread."""
        ...

    def begin(self) -> tuple[str, ...]:
        """Read back what earlier processes left; digests of the alerts that were counted."""
        ...

    def ask(self) -> None:
        """Ask for what is new of the metrics; the next `decide` takes it in. Beside any other."""
        ...

    def ask_history(self) -> None:
        """The same for the hour before."""
        ...

    def dry_run(self) -> None:
        """The same for what the API server says to recommended actions."""
        ...

    def decide(self, alerts: tuple[Alert, ...], *, write: bool) -> None:
        """Step, and write what was decided. Raises OpsError where it is not written."""
        ...

    def publish(self) -> None:
        """Write the status if it is worth it. Raises OpsError. Beside any other."""
        ...


class FleetLoop:
    """Runs one fleet's work at the right moments. `wake` may be called from any thread."""

    def __init__(
        self,
        work: LoopWork,
        *,
        name: str,
        threads: Threads,
        metrics: OperatorMetrics,
        doubted: Callable[[], None] = lambda: None,
    ) -> None:
        """Prepare; `run` works.

        Args:
            doubted: called where the server says that the Fleet is gone.
        """
        self.work, self.name = work, name
        self.inbox = AlertInbox(wake=self._alerted)
        self._threads, self._metrics = threads.of_one_fleet(), metrics
        self._doubted = doubted
        self._loop = asyncio.get_running_loop()
        self._woken, self._taken = asyncio.Event(), asyncio.Event()
        self._unpublished, self._undried = asyncio.Event(), asyncio.Event()
        self._due_s = inf  # when the next step is due
        self._changed_at_s: float | None = None  # of the first change that no step has seen
        self._asked = False  # an answer waits to be taken in
        self._backoff = Backoff(key=name)
        self.last_error = ""

    def wake(self) -> None:
        """Step soon."""
        self._loop.call_soon_threadsafe(self._due_in, DEBOUNCE_S)

    def renew(self, fleet: FleetObject) -> None:
        """Take over a changed spec."""
        self.work.renew(fleet)
        self.wake()

    def changed(self, at_s: float) -> None:
        """Step soon: the cluster has changed at that monotonic moment. On the main loop only."""
        if self._changed_at_s is None:
            self._changed_at_s = at_s
        self._due_in(DEBOUNCE_S)

    def _alerted(self) -> None:
        self._due_in(0.0)

    def _due_in(self, wait_s: float) -> None:
        self._due_s = min(self._due_s, monotonic_s() + wait_s)
        self._woken.set()

    async def run(self) -> None:
        """Work until cancelled. A fault of one job is logged, and the next try made."""
        jobs = (self._decides, self._reads, self._remembers, self._dry_runs, self._publishes)
        await self._begin()
        while True:
            try:
                async with asyncio.TaskGroup() as group:
                    for job in jobs:
                        group.create_task(job())
            except* Exception:  # a fault of ours between two tries
                logger.exception("fleet=%s jobs ended, begun again", self.name)
                await asyncio.sleep(STEP_EVERY_S)
                self._due_in(0.0)  # what was cut off is looked at again

    async def _begin(self) -> None:
        while True:
            try:
                self.inbox.restore(await self._threads.step(self.work.begin))
            except Exception as error:  # noqa: BLE001  the top of one fleet
                self._failed(error)
                await asyncio.sleep(self._backoff.until_s() - monotonic_s())
            else:
                self._backoff.succeeded()
                return

    async def _decides(self) -> None:
        while True:
            await self._until_due()
            self._due_s, began_s = inf, monotonic_s()
            await self._decide()
            self._unpublished.set()
            if self.work.wants_dry_run:
                self._undried.set()
            if self._backoff.failures:
                self._due_in(self._write_at_s() - monotonic_s())
            await asyncio.sleep(max(0.0, STEP_EVERY_S - (monotonic_s() - began_s)))

    async def _until_due(self) -> None:
        while (left_s := self._due_s - monotonic_s()) > 0.0:
            self._woken.clear()
            # Not wait_for: in Python 3.11 it can swallow a cancellation.
            try:
                async with asyncio.timeout(None if left_s == inf else left_s):
                    await self._woken.wait()
            except TimeoutError:
                return

    def _write_at_s(self) -> float:
        return self._backoff.until_s(urgent=self.inbox.num_waiting > 0)

    async def _decide(self) -> None:
        """Step, and write unless the server is to be spared; alerts wait until it is written."""
        changed_at_s, self._changed_at_s = self._changed_at_s, None
        asked, self._asked = self._asked, False
        write = monotonic_s() >= self._write_at_s()
        try:
            if write:
                with self.inbox.take() as batch:
                    await self._threads.step(lambda: self.work.decide(batch.alerts, write=True))
                self._backoff.succeeded()
                self.last_error = ""
            else:
                await self._threads.step(lambda: self.work.decide((), write=False))
            self._metrics.ticks.labels(result="ok").inc()
            if changed_at_s is not None:
                self._metrics.watch_to_decision_s.observe(monotonic_s() - changed_at_s)
        except Exception as error:  # noqa: BLE001  the top of one fleet's step
            self._failed(error, wrote=write)
        if asked:
            self._taken.set()

    async def _reads(self) -> None:
        while True:
            await asyncio.sleep(max(0.0, self.work.next_read_at_s - monotonic_s()))
            await self._beside(self._threads.read, self.work.ask)
            self._taken.clear()
            self._asked = True
            self._due_in(0.0)
            await self._taken.wait()

    async def _remembers(self) -> None:
        if not self.work.num_open:  # who has an incident open is first
            await asyncio.sleep(HISTORY_AGAIN_S)
        while True:  # a spec that is mended or changed later wants an hour, too
            if self.work.wants_history:
                await self._beside(self._threads.remember, self.work.ask_history)
                self._due_in(DEBOUNCE_S)
            await asyncio.sleep(HISTORY_AGAIN_S)

    async def _dry_runs(self) -> None:
        while True:
            await self._undried.wait()
            self._undried.clear()
            if self.work.wants_dry_run:
                await self._beside(self._threads.dry_run, self.work.dry_run)
                self._due_in(0.0)

    async def _publishes(self) -> None:
        backoff = Backoff(key=self.name)
        while True:
            await self._unpublished.wait()
            self._unpublished.clear()
            try:
                await self._threads.publish(self.work.publish)
            except OpsError as error:
                logger.debug("fleet=%s status not written: %s", self.name, error)
                backoff.failed(error)
                self._unpublished.set()
                await asyncio.sleep(backoff.until_s() - monotonic_s())
            except Exception as error:  # the top of one fleet's status
                logger.exception("fleet=%s status not made", self.name)
                backoff.failed(error)
                await asyncio.sleep(backoff.until_s() - monotonic_s())
            else:
                backoff.succeeded()
                if self.work.gone:
                    self._doubted()

    async def _beside(self, pool: InPool, work: Callable[[], None]) -> None:
        """A job that tells of outages by itself; what it raises is a fault of ours."""
        try:
            await pool(work)
        except Exception as error:  # noqa: BLE001  the top of one fleet's reading
            self._told(error)

    def _failed(self, error: Exception, *, wrote: bool = True) -> None:
        if wrote:
            self._backoff.failed(error)
        self._metrics.ticks.labels(result="failed").inc()
        self._told(error)

    def _told(self, error: Exception) -> None:
        if str(error) != self.last_error:
            expected = isinstance(error, OpsError)
            logger.error(
                "fleet=%s turn failed: %s", self.name, error, exc_info=None if expected else error
            )
        self.last_error = str(error)
