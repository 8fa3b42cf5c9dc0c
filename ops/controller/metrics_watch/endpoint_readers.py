"""Readers of the metrics endpoints, which spare one that does not answer.

Many fleets share an endpoint and few threads. Each of them waiting for its own time limit would
hold up all the others, of other endpoints too; so after some failures in a row one fleet asks, and
the others are told at once what it met.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from ops.adapters.prometheus import PrometheusReader
from ops.adapters.prometheus_answers import RawAnswer
from ops.adapters.prometheus_selectors import Matcher
from ops.clock import Deadline, monotonic_s
from ops.controller.settings import MetricsEndpoint
from ops.errors import PrometheusError, TooLateError, TooMuchError

FAILURES_MAX = 3  # in a row, of any fleet, before the others are spared
REST_S, REST_S_MAX = 2.0, 10.0
T = TypeVar("T")


class SparedError(PrometheusError):
    """What others met a moment ago, told without asking again."""


class Breaker:
    """Whether an endpoint may be asked now. Thread-safe."""

    def __init__(self, clock: Callable[[], float] = monotonic_s) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._failures, self._closed_until_s, self._error = 0, 0.0, ""

    def call(self, ask: Callable[[], T]) -> T:
        """Ask, or say at once why not.

        Raises:
            SparedError: it is not asked for a moment; in the words of what was met before.
            PrometheusError: no usable answer.
        """
        self._enter()
        try:
            answer = ask()
        except PrometheusError as error:
            # "Too much" is an answer; none in time is what the others are to be spared.
            if isinstance(error, TooMuchError) and not isinstance(error, TooLateError):
                self._answered()
            else:
                self._failed(str(error))
            raise
        self._answered()
        return answer

    def _answered(self) -> None:
        with self._lock:
            self._failures, self._closed_until_s = 0, 0.0

    def _enter(self) -> None:
        with self._lock:
            now_s = self._clock()
            if now_s < self._closed_until_s:
                raise SparedError(self._error)
            if self._failures >= FAILURES_MAX:  # this one asks, the others wait for its news
                self._closed_until_s = now_s + REST_S_MAX

    def _failed(self, error: str) -> None:
        with self._lock:
            self._failures, self._error = self._failures + 1, error
            if self._failures >= FAILURES_MAX:
                rest_s = REST_S * 2.0 ** min(self._failures - FAILURES_MAX, 5)
                self._closed_until_s = self._clock() + min(rest_s, REST_S_MAX)


class EndpointReader:
    """A `WatchedSamples` of one endpoint and thread."""

    def __init__(self, reader: PrometheusReader, breaker: Breaker) -> None:
        self._reader, self._breaker = reader, breaker

    @property
    def url(self) -> str:
        """Address for messages."""
        return self._reader.url

    def now_s(self, *, deadline: Deadline) -> float:
        """Unix seconds on the server's clock."""
        return self._ask(lambda: self._reader.now_s(deadline=deadline))

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
        return self._ask(
            lambda: self._reader.raw_samples(
                names,
                after_ms=after_ms,
                until_ms=until_ms,
                matchers=matchers,
                deadline=deadline,
            )
        )

    def _ask(self, ask: Callable[[], T]) -> T:
        return self._breaker.call(ask)


class Readers:
    """One reader per endpoint and thread: a reader remembers what it was asked last."""

    def __init__(self, endpoints: Mapping[str, MetricsEndpoint]) -> None:
        self._endpoints, self._local = endpoints, threading.local()
        self._breakers = {name: Breaker() for name in endpoints}

    def get(self, name: str) -> EndpointReader:
        """The calling thread's reader of an endpoint of the settings."""
        known: dict[str, EndpointReader] = self._local.__dict__.setdefault("readers", {})
        if name not in known:
            endpoint = self._endpoints[name]
            reader = PrometheusReader(
                endpoint.url,
                timeout_s=endpoint.timeout_seconds,
                headers=endpoint.headers,
                token_file=endpoint.token_file,
                basic_auth_file=endpoint.basic_auth_file,
                ca_file=endpoint.ca_file,
            )
            known[name] = EndpointReader(reader, self._breakers[name])
        return known[name]
