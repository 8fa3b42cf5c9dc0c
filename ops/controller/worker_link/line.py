"""The way from threads that must not wait to the worker, which takes its time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, TypeVar

from ops.controller.settings import WorkerAddress
from ops.controller.worker_link.client import WorkerClient
from ops.controller.worker_link.wire import (
    DiagnoseAnswer,
    DiagnoseRequest,
    ReplayAnswer,
    ReplayRequest,
    ReportAnswer,
    ReportRequest,
)
from ops.errors import OpsError, WorkerBusyError, WorkerError

CLOSE_S = 1.0
T = TypeVar("T")


class WorkerLine:
    """Asks one worker on the main loop; every method may be called from any thread.

    Attributes:
        trouble: why the last question was not answered, empty where it was.
    """

    def __init__(self, address: WorkerAddress) -> None:
        """Prepare; the first question opens the connection."""
        self._client = (
            WorkerClient(address.url, token_file=address.token_file) if address.url else None
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self.trouble = "" if address.url else "no worker is configured: set worker.url"

    def start(self) -> None:
        """Use the running loop."""
        self._loop = asyncio.get_running_loop()

    def stop(self) -> None:
        """Close the connections."""
        if self._client is not None and self._loop is not None:
            self._loop.create_task(self._client.close())

    def diagnose(
        self, request: DiagnoseRequest, *, wake: Callable[[], None]
    ) -> Future[DiagnoseAnswer]:
        """Ask for a ranking."""
        return self._ask(lambda client: client.diagnose(request), wake)

    def report(self, request: ReportRequest, *, wake: Callable[[], None]) -> Future[ReportAnswer]:
        """Ask for a page."""
        return self._ask(lambda client: client.report(request), wake)

    def replay(self, request: ReplayRequest, *, wake: Callable[[], None]) -> Future[ReplayAnswer]:
        """Ask for a replay."""
        return self._ask(lambda client: client.replay(request), wake)

    def _ask(
        self, send: Callable[[WorkerClient], Coroutine[Any, Any, T]], wake: Callable[[], None]
    ) -> Future[T]:
        client, loop = self._client, self._loop
        if client is None or loop is None:
            failed: Future[T] = Future()
            failed.set_exception(WorkerError(self.trouble or "the worker is not asked yet"))
            return failed
        future = asyncio.run_coroutine_threadsafe(send(client), loop)
        future.add_done_callback(lambda done: self._done(done, wake))
        return future

    def _done(self, future: Future[Any], wake: Callable[[], None]) -> None:
        error = None if future.cancelled() else future.exception()
        if error is None:
            self.trouble = ""
        elif not isinstance(error, WorkerBusyError):
            self.trouble = str(error) if isinstance(error, OpsError) else repr(error)
        with suppress(RuntimeError):  # the loop has ended
            wake()
