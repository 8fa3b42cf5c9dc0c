"""Which Fleets and Replays there are: listed at first and now and then, watched in between.

kopf tells nothing of an object that was deleted while its watch was away (a version that was gone,
a half-open connection): the Fleets that are watched are compared with a list every few minutes, and
at once when a server says of one that it does not exist. Replays are not: kopf tells of new ones,
and one that was deleted ends when the server refuses its status.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

from ops.adapters.kube.api import KubeApi
from ops.clock import monotonic_s
from ops.controller.fleet.table import FleetTable
from ops.controller.handlers import (
    NOT_FOUND,
    KopfTrouble,
    kinds_served,
    try_watching,
    watch_kinds,
)
from ops.controller.listing import list_objects
from ops.controller.operator_metrics import OperatorMetrics
from ops.controller.replays.desk import ReplayDesk
from ops.errors import KubeError

logger = logging.getLogger(__name__)
PLURALS = ("fleets", "replays")  # watched; Incidents are our own record
LIST_RETRY_S, LIST_RETRY_S_MAX = 1.0, 20.0
COMPARE_S = 300.0  # between two lists
DOUBT_S = 5.0  # between two lists at least, whatever is doubted
WATCH_LOOK_S = 5.0
WATCH_GOOD_S, WATCH_PAUSE_S_MAX = 60.0, 20.0


class OwnKinds:
    """Keeps table and desk to what the server has. On the main loop only.

    Attributes:
        listed: every Fleet was seen once.
    """

    def __init__(
        self, api: KubeApi, table: FleetTable, replays: ReplayDesk, metrics: OperatorMetrics
    ) -> None:
        self._api, self._table, self._replays, self._metrics = api, table, replays, metrics
        self._loop = asyncio.get_running_loop()
        self._doubt = asyncio.Event()
        self.listed = False
        self._list_error: KubeError | None = None
        self._watch_trouble = ""

    @property
    def trouble(self) -> str:
        """Why our kinds cannot be watched, empty where they are."""
        return self._watch_trouble or str(self._list_error or "")

    def doubt(self) -> None:
        """A server said that a Fleet does not exist: ask for all of them."""
        self._doubt.set()

    async def run(self, stop: asyncio.Event, *, catch_signals: Callable[[], None]) -> None:
        """List, then watch until `stop`; what ends too early begins again."""
        failures = 0
        while not stop.is_set():
            await self.served()
            await self._list()
            began_s = monotonic_s()
            try:
                await self._watch(stop, catch_signals)
            except Exception as error:  # noqa: BLE001  kopf gives up where we do not
                failures = 0 if monotonic_s() - began_s > WATCH_GOOD_S else failures + 1
                pause_s = min(LIST_RETRY_S * 2.0**failures, WATCH_PAUSE_S_MAX)
                if getattr(error, "status", None) != NOT_FOUND:  # else `served` tells it better
                    logger.warning("watch of our kinds ended, again in %.0fs: %s", pause_s, error)
                await asyncio.sleep(pause_s)

    async def served(self) -> None:
        """Wait until the server knows our kinds."""
        await kinds_served(self._api, plurals=PLURALS)

    async def _list(self) -> None:
        """Every Fleet at once, so that alerts find theirs before the first watch event."""
        failures, told = 0, ""
        while (error := await self._compare()) is not None:
            if str(error) != told:
                logger.warning("fleets not listed: %s", error)
            told, failures = str(error), failures + 1
            pause_s = min(LIST_RETRY_S * 2.0 ** min(failures - 1, 5), LIST_RETRY_S_MAX)
            await asyncio.sleep(max(pause_s, error.retry_after_s or 0.0))
        self._table.known = self.listed = True

    async def _compare(self) -> KubeError | None:
        """Bring the table to what a list holds; why there was none."""
        among = self._table.uids
        try:
            found = await asyncio.to_thread(lambda: list(list_objects(self._api, "fleets")))
        except KubeError as error:
            self._list_error = error
            return error
        self._list_error = None
        self._table.sync(found, among=among)
        self._metrics.fleets.set(len(self._table))
        return None

    async def _compare_for_ever(self) -> None:
        while True:
            await asyncio.sleep(DOUBT_S)
            try:
                async with asyncio.timeout(COMPARE_S - DOUBT_S):
                    await self._doubt.wait()
            except TimeoutError:
                pass
            self._doubt.clear()
            try:
                await self._compare()
            except Exception:  # the top of one comparison
                logger.exception("fleets not compared with a list, again later")

    async def _watch(self, stop: asyncio.Event, catch_signals: Callable[[], None]) -> None:
        noticed = asyncio.Event()
        if self._watch_trouble:  # of an earlier watch: it may be over
            noticed.set()
        with KopfTrouble(lambda: self._loop.call_soon_threadsafe(noticed.set)):
            beside = [
                asyncio.create_task(self._look_after(noticed)),
                asyncio.create_task(self._compare_for_ever()),
            ]
            try:
                await watch_kinds(
                    self._api,
                    self._on_event,
                    plurals=PLURALS,
                    stop=stop,
                    catch_signals=catch_signals,
                )
            finally:
                for task in beside:
                    task.cancel()

    async def _look_after(self, noticed: asyncio.Event) -> None:
        """While kopf is in trouble, find out why until it is over."""
        told = ""
        while True:
            await noticed.wait()
            noticed.clear()
            try:
                found = await asyncio.to_thread(try_watching, self._api, PLURALS)
            except Exception:  # the top of one try
                logger.exception("why our kinds are not watched is not found out, again soon")
                await asyncio.sleep(WATCH_LOOK_S)
                noticed.set()
                continue
            trouble = self._watch_trouble = "; ".join(map(str, found))
            if trouble != told and any(error.status != NOT_FOUND for error in found):
                logger.warning("our kinds cannot be watched: %s", trouble)
            elif told and not trouble:
                logger.info("our kinds are watched again")
            told = trouble
            await asyncio.sleep(WATCH_LOOK_S)
            if trouble:
                noticed.set()

    def _on_event(self, plural: str, kind: str, body: Mapping[str, Any]) -> None:
        if plural == "fleets":
            self._table.drop(body) if kind == "DELETED" else self._table.put(body)
            self._metrics.fleets.set(len(self._table))
        elif plural == "replays":
            self._replays.drop(body) if kind == "DELETED" else self._replays.put(body)
