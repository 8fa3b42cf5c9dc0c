"""The clock of a Prometheus, by which its samples are stamped, and its distance from ours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from ops.adapters.prometheus_answers import RawAnswer
from ops.adapters.prometheus_selectors import Matcher
from ops.clock import Deadline, monotonic_s, wall_s

CLOCK_EVERY_S = 30.0  # between two measurements
SLOW_S = 0.5  # a longer answer says little about the moment that it was given at


class WatchedSamples(Protocol):
    """What a fleet's frame is read from: `PrometheusReader`, or a fake."""

    @property
    def url(self) -> str:
        """Address for messages."""
        ...

    def raw_samples(
        self,
        names: Sequence[str],
        *,
        after_ms: int,
        until_ms: int,
        matchers: Sequence[Matcher],
        deadline: Deadline,
    ) -> RawAnswer:
        """Samples as they were scraped."""
        ...

    def now_s(self, *, deadline: Deadline) -> float:
        """Unix seconds on the server's clock."""
        ...


class ServerClock:
    """Asked now and then; in between our monotonic clock goes on, which no correction moves.

    Attributes:
        skew_s: how far it was ahead of our wall clock when it was last asked.
        error_s: how wrong that may be: half of the time that the answer took.
        due: whether the next reading asks, whatever the time.
    """

    def __init__(
        self, wall: Callable[[], float] = wall_s, monotonic: Callable[[], float] = monotonic_s
    ) -> None:
        self._wall, self._monotonic = wall, monotonic
        self._ahead_s: float | None = None  # of our monotonic clock
        self._asked_at_s = 0.0
        self.skew_s, self.error_s, self.due = 0.0, 0.0, True

    def now_s(self) -> float:
        """What it shows as far as is known; our own clock before the first answer."""
        return self._wall() if self._ahead_s is None else self._monotonic() + self._ahead_s

    def read(self, reader: WatchedSamples, *, deadline: Deadline) -> float:
        """What it shows.

        Raises:
            PrometheusError: it was due to be asked and did not answer.
        """
        if self.due or self._monotonic() - self._asked_at_s >= CLOCK_EVERY_S:
            began_s = self._monotonic()
            shown_s = reader.now_s(deadline=deadline)
            self._asked_at_s, self.due = self._monotonic(), False
            took_s = self._asked_at_s - began_s
            ahead_s = shown_s - 0.5 * (began_s + self._asked_at_s)
            # A busy server answers late. What was known before is better, unless the clock jumped.
            jumped = self._ahead_s is None or abs(ahead_s - self._ahead_s) > took_s
            if jumped or took_s <= SLOW_S:
                self._ahead_s, self.error_s = ahead_s, 0.5 * took_s
            self.skew_s = self.now_s() - self._wall()
        return self.now_s()
