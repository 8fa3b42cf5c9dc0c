"""The table of fleets: what kopf shows becomes a running loop for each Fleet object."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ops.controller.alerts.inbox import AlertInbox
from ops.controller.fleet.loop import FleetLoop
from ops.controller.resources.fleet_object import FleetObject
from ops.errors import OverloadedError

logger = logging.getLogger(__name__)
FLEETS_MAX = 2_000
STOP_S = 1.0  # that the loops may take to end; the process ends anyway

Key = tuple[str, str]  # namespace, name


@dataclass(slots=True)
class _Entry:
    fleet: FleetObject
    loop: FleetLoop
    task: asyncio.Task[None]


class FleetTable:
    """Running loops by namespace and name. Used on the main loop only."""

    def __init__(self, make: Callable[[FleetObject], FleetLoop]) -> None:
        """Start empty; `make` builds the loop of one Fleet, which is then run."""
        self._make = make
        self._entries: dict[Key, _Entry] = {}
        self.known = False  # the Fleets of the cluster were listed

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def loops(self) -> Sequence[FleetLoop]:
        """Of all fleets."""
        return [entry.loop for entry in self._entries.values()]

    def num_open(self) -> int:
        """Incidents of all fleets that are not resolved."""
        return sum(loop.work.num_open for loop in self.loops)

    def num_series(self) -> int:
        """Series of all fleets that are watched."""
        return sum(loop.work.num_series for loop in self.loops)

    def put(self, body: Mapping[str, Any]) -> None:
        """Begin to watch a Fleet, or take over its changed spec."""
        fleet = FleetObject.of(body)
        key = (fleet.namespace, fleet.name)
        entry = self._entries.get(key)
        if entry is not None and entry.fleet.uid == fleet.uid:
            if entry.fleet.generation < fleet.generation:  # else our own status came back
                entry.fleet = fleet
                entry.loop.renew(fleet)
            return
        if entry is None and len(self._entries) >= FLEETS_MAX:
            logger.error("fleet=%s/%s not watched: %d are, the most", *key, FLEETS_MAX)
            return
        if entry is not None:
            entry.task.cancel()
        loop = self._make(fleet)
        task = asyncio.get_running_loop().create_task(loop.run(), name=f"fleet {key[0]}/{key[1]}")
        self._entries[key] = _Entry(fleet, loop, task)
        logger.info("fleet=%s/%s watched generation=%d", *key, fleet.generation)

    @property
    def uids(self) -> frozenset[str]:
        """Of the Fleets that are watched."""
        return frozenset(entry.fleet.uid for entry in self._entries.values())

    def sync(self, bodies: Iterable[Mapping[str, Any]], *, among: frozenset[str]) -> None:
        """Watch these; what is not listed was deleted while nobody looked.

        Args:
            among: `uids` from before the list was asked for. One that came meanwhile stays.
        """
        kept, gone_by_now = set(), among - self.uids
        for body in bodies:
            fleet = FleetObject.of(body)
            kept.add(fleet.uid)
            entry = self._entries.get((fleet.namespace, fleet.name))
            came = entry is not None and entry.fleet.uid not in among
            # What the watch has told meanwhile is newer than the list.
            if fleet.uid not in gone_by_now and not came:
                self.put(body)
        gone = [e.fleet for e in self._entries.values() if e.fleet.uid in among - kept]
        for fleet in gone:
            self.drop(fleet.raw)

    def drop(self, body: Mapping[str, Any]) -> None:
        """Stop watching a deleted Fleet."""
        fleet = FleetObject.of(body)
        entry = self._entries.get((fleet.namespace, fleet.name))
        if entry is not None and entry.fleet.uid == fleet.uid:
            del self._entries[fleet.namespace, fleet.name]
            entry.task.cancel()
            logger.info("fleet=%s/%s no longer watched", fleet.namespace, fleet.name)

    def changed(self, namespace: str, at_s: float) -> None:
        """Wake the fleets of a namespace."""
        for key, entry in self._entries.items():
            if key[0] == namespace:
                entry.loop.changed(at_s)

    def find(self, namespace: str, name: str) -> list[AlertInbox]:
        """Inboxes of the fleets that an alert's labels mean.

        Raises:
            OverloadedError: the Fleets are not listed yet.
        """
        if not self.known:
            raise OverloadedError("the Fleets are not listed yet; send it again", retry_after_s=2.0)
        return [
            entry.loop.inbox
            for key, entry in self._entries.items()
            if key[0] == namespace and (not name or key[1] == name)
        ]

    async def stop(self) -> None:
        """End every loop."""
        tasks = [entry.task for entry in self._entries.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=STOP_S)
