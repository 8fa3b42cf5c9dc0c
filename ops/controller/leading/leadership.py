"""Keeps the Lease in a thread of its own, so that a busy main loop does not lose it."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable

from ops.controller.leading.lease import Clock, Elector
from ops.errors import KubeError, NotLeadingError

logger = logging.getLogger(__name__)
EXIT_LOST = 75  # EX_TEMPFAIL: start again
PAUSE_S_MIN = 0.2  # between two looks, however slow they are


class Leadership:
    """Asks for the Lease until it is there, then keeps it; on loss the process ends at once."""

    def __init__(
        self,
        elector: Elector,
        *,
        clock: Clock,
        on_lead: Callable[[], None],
        end: Callable[[int], None] | None = None,
    ) -> None:
        """Prepare.

        Args:
            on_lead: called once, in the thread, when the Lease is first held.
            end: ends the process at once, without any cleanup that could write.
        """
        self._elector, self._clock = elector, clock
        self._on_lead, self._end = on_lead, end or leave
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lease", daemon=True)
        self._leading = False
        self.last_error = ""

    @property
    def held(self) -> bool:
        """Whether this process may write now; asked before every write."""
        return self._elector.held(self._clock())

    @property
    def leader_address(self) -> str | None:
        """None where this process leads, else the leader's address, empty where nobody is known."""
        return None if self.held else self._elector.state.leader_address

    @property
    def holder(self) -> str:
        """Who holds the Lease as far as is known."""
        seen = self._elector.state.seen
        return seen.holder if seen is not None else ""

    def check(self) -> None:
        """Refuse a write that the Lease does not cover.

        Raises:
            NotLeadingError: it is not held.
        """
        if not self.held:
            raise NotLeadingError("the Lease is not held any longer: nothing is written")

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def stop(self) -> None:
        """Give the Lease up; the caller has stopped everything that writes."""
        self._stop.set()
        self._thread.join(timeout=self._elector.settings.renew_seconds)
        try:
            self._elector.release(self._clock)
        except KubeError as error:
            logger.warning("lease not given up, it expires by itself error=%r", str(error))

    def _run(self) -> None:
        retry_s = self._elector.settings.retry_seconds
        while not self._stop.is_set():
            if self._leading and not self.held:
                break
            began_s = self._clock()
            try:
                held = self._elector.look(self._clock)
                self.last_error = ""
            except KubeError as error:
                held = self.held
                self._told(error)
            except Exception:  # a fault of ours must not end the renewals without a word
                held = self.held
                logger.exception("lease not looked at")
            if self._leading and not held:
                break
            if held and not self._leading:
                self._leading = True
                logger.info("leading identity=%r", self._elector.identity)
                self._on_lead()
            # From its start: two slow answers and a pause between them would cost the Lease.
            took_s = self._clock() - began_s
            self._stop.wait(max(min(PAUSE_S_MIN, retry_s), retry_s - took_s))
        if not self._stop.is_set():
            logger.error("lease lost identity=%r: leaving at once", self._elector.identity)
            self._end(EXIT_LOST)

    def _told(self, error: KubeError) -> None:
        if str(error) != self.last_error:
            logger.warning("lease error=%r", str(error))
        self.last_error = str(error)


def leave(code: int) -> None:
    """End this process at once."""
    sys.stderr.flush()
    os._exit(code)
