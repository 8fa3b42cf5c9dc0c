"""When a fleet whose Incidents could not be written tries to write again."""

from __future__ import annotations

from collections.abc import Callable
from zlib import crc32

from ops.clock import monotonic_s
from ops.errors import KubeError, OverloadedError

PAUSE_S, PAUSE_S_MAX = 1.0, 30.0
ALERTS_PAUSE_S = 4.0  # the same where alerts wait, whose senders give up after 8 s
SPREAD_RATIO = 0.2  # of a pause: fleets that failed together do not come back together


class Backoff:
    """Pauses double, and are no shorter than what the server asks for. Nothing cuts one short."""

    def __init__(self, *, key: str, clock: Callable[[], float] = monotonic_s) -> None:
        """Start without a failure; another `key` makes pauses a little longer or shorter."""
        self._clock, self._spread = clock, crc32(key.encode()) / 2.0**32
        self.failures = 0
        self._failed_at_s = self._pause_s = self._told_s = 0.0

    def failed(self, error: Exception) -> None:
        """Note one more failure."""
        self.failures += 1
        self._failed_at_s = self._clock()
        pause_s = min(PAUSE_S * 2.0 ** min(self.failures - 1, 10), PAUSE_S_MAX)
        self._pause_s = pause_s * (1.0 + SPREAD_RATIO * self._spread)
        told = error.retry_after_s if isinstance(error, KubeError | OverloadedError) else None
        self._told_s = told or 0.0

    def succeeded(self) -> None:
        """Forget all failures."""
        self.failures = 0

    def until_s(self, *, urgent: bool = False) -> float:
        """Moment of the clock before which nothing is tried; 0 where nothing has failed.

        Args:
            urgent: somebody waits for the answer, and would give up during a long pause.
        """
        if not self.failures:
            return 0.0
        pause_s = min(self._pause_s, ALERTS_PAUSE_S) if urgent else self._pause_s
        return self._failed_at_s + max(pause_s, self._told_s)
