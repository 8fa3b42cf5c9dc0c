"""Alerts on their way from a sender to the tick of their fleet that writes them.

A sender waits until what it brought is written. Senders that come while a tick runs share the next
one; an alert that is already on its way is waited for, not taken a second time. One event loop,
no threads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from ops.alerts import alert_digest
from ops.errors import OpsError, OverloadedError
from ops.state import Alert

WAITING_MAX = 5_000  # alerts of one fleet that are not written yet
SEEN_MAX = 20_000  # names of written ones; the oldest half is forgotten beyond it


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What became of the alerts of one notification."""

    written: int = 0
    known: int = 0  # written before, or on their way by another post
    unrouted: int = 0  # no fleet is theirs

    def __add__(self, other: Receipt) -> Receipt:
        return Receipt(
            written=self.written + other.written,
            known=self.known + other.known,
            unrouted=self.unrouted + other.unrouted,
        )


@dataclass(slots=True, eq=False)
class AlertBatch:
    """What one tick takes. As a context: left without an error it is written, else it failed."""

    inbox: AlertInbox
    named: dict[str, Alert] = field(default_factory=dict)
    settled: asyncio.Event = field(default_factory=asyncio.Event)
    error: OpsError | None = None

    @property
    def alerts(self) -> tuple[Alert, ...]:
        """In the order in which they came."""
        return tuple(self.named.values())

    def written(self) -> None:
        """Everything that these alerts changed is stored: the senders may be told."""
        self.inbox.settle(self, None)

    def failed(self, error: BaseException) -> None:
        """Nothing is sure to be stored: the senders are asked to come again."""
        told = error if isinstance(error, OpsError) else None
        self.inbox.settle(self, told or OverloadedError(f"not written: {error!r}"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.written()
        else:
            self.failed(error)


class AlertInbox:
    """The alerts of one fleet. `put` is called by senders, `take` by the fleet's next tick."""

    def __init__(
        self,
        *,
        wake: Callable[[], None],
        waiting_max: int = WAITING_MAX,
        seen_max: int = SEEN_MAX,
    ) -> None:
        """Start empty.

        Args:
            wake: asks for a tick; called once for each post that brings something new.
        """
        self._wake = wake
        self._waiting_max, self._seen_max = waiting_max, seen_max
        self._next = AlertBatch(self)
        self._on_the_way: dict[str, AlertBatch] = {}
        self._seen: dict[str, None] = {}

    @property
    def num_waiting(self) -> int:
        """Alerts that are not written yet."""
        return len(self._on_the_way)

    def restore(self, digests: Iterable[str]) -> None:
        """Take over what an earlier process has written: `status.alertDigests` of its Incidents.

        Alerts that came before this was known, and wait, are taken out again.

        Args:
            digests: oldest first; of too many the newest are kept.
        """
        self._remember(f"{digest}{True}" for digest in digests)
        for name in [name for name in self._next.named if name in self._seen]:
            del self._next.named[name], self._on_the_way[name]

    async def put(self, alerts: Sequence[Alert]) -> Receipt:
        """Wait until the alerts are written.

        Raises:
            OverloadedError: no room; none of them was taken.
            OpsError: the tick could not write them.
        """
        named = {_name(alert): alert for alert in alerts}
        fresh = {
            name: alert
            for name, alert in named.items()
            if name not in self._seen and name not in self._on_the_way
        }
        # One notification alone is taken whatever its size: it would never be smaller.
        if fresh and self.num_waiting and self.num_waiting + len(fresh) > self._waiting_max:
            raise OverloadedError(
                f"{self.num_waiting} alerts of this fleet wait to be written, limit "
                f"{self._waiting_max}; send these {len(fresh)} again"
            )
        for name, alert in fresh.items():
            self._next.named[name] = alert
            self._on_the_way[name] = self._next
        if fresh:
            self._wake()
        # Of a dict, not a set: in the order in which they were asked for.
        batches = dict.fromkeys(
            self._on_the_way[name] for name in named if name in self._on_the_way
        )
        for batch in batches:
            await batch.settled.wait()
            if batch.error is not None:
                raise batch.error
        return Receipt(written=len(fresh), known=len(alerts) - len(fresh))

    def take(self) -> AlertBatch:
        """Everything that waits; the caller settles it when it is written, or cannot be."""
        batch, self._next = self._next, AlertBatch(self)
        return batch

    def settle(self, batch: AlertBatch, error: OpsError | None) -> None:
        """Tell the senders; see `AlertBatch`. A second call does nothing."""
        if batch.settled.is_set():
            return
        for name in batch.named:
            self._on_the_way.pop(name, None)
        if error is None:
            self._remember(batch.named)
        batch.error = error
        batch.settled.set()

    def _remember(self, names: Iterable[str]) -> None:
        self._seen.update(dict.fromkeys(names))
        if len(self._seen) > self._seen_max:
            self._seen = dict.fromkeys(list(self._seen)[-self._seen_max // 2 :])


def _name(alert: Alert) -> str:
    """The end of an alert is news of its own."""
    return f"{alert_digest(alert)}{alert.firing}"
