"""Users who wait, retry and give up, against a server of slots: where open-loop replay misleads.

Three crowds share one server: arrivals of a clock that never ask twice (a replay), arrivals that
retry, and a fixed number of users who read and think before they ask again. A timed-out try is
not taken back: the server works on it though nobody waits, which is what feeds a retry storm.

Source: retry storms and metastable failures, Bronson et al., HotOS 2021; retry budgets as in
Finagle and gRPC (proposal A6).
Differs: service times are exponential and do not depend on the load; one server, no network.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from serving.errors import ConfigError
from serving.workload.attempts import Attempts, Fate, Server
from serving.workload.burstiness import stream

ATTEMPTS_MAX = 5_000_000
BUDGET_RETRIES = 10.0  # retries that a budget saves up, and begins with


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowd:
    """Who asks. `population` 0: a clock at `rate_rps`; otherwise users with a think time.

    A user whose try timed out or was rejected asks again after `backoff_s` times 1, 2, 4 and
    so on; after `tries_max` tries, or without a retry left in the budget that all users share,
    he gives up, and with a population he thinks again.
    """

    rate_rps: float = 0.0
    population: int = 0
    think_s: float = 30.0  # mean, exponential
    timeout_s: float = 20.0
    tries_max: int = 1
    backoff_s: float = 5.0
    jitter_ratio: float = 0.0  # share of each pause that is drawn: 1 = from 0 to the whole pause
    budget_ratio: float | None = None  # retries that each first try pays for; None = no limit


def population_for(rate_rps: float, server: Server, think_s: float) -> int:
    """Users whose requests come at `rate_rps` while the server answers without a queue."""
    return round(rate_rps * (think_s + server.service_s))


def play(crowd: Crowd, server: Server, *, seed: int, duration_s: float) -> Attempts:
    """Run the crowd against the server; thoughts, arrivals and service have own streams.

    Raises:
        ConfigError: a value outside its domain, or more than ATTEMPTS_MAX tries.
    """
    _check(crowd, server, duration_s)
    run = _Run(crowd, server, seed, duration_s)
    run.start()
    return run.play()


def _check(crowd: Crowd, server: Server, duration_s: float) -> None:
    faults = [
        f"{name} is {value}, expected {wanted}"
        for name, value, good, wanted in (
            ("duration_s", duration_s, 0 < duration_s < math.inf, "a finite number above 0"),
            ("slots", server.slots, server.slots >= 1, "1 or more"),
            ("service_s", server.service_s, 0 < server.service_s < math.inf, "above 0"),
            ("queue_max", server.queue_max, (server.queue_max or 0) >= 0, "0 or more, or none"),
            ("cut_from_s", server.cut_from_s, server.cut_from_s > 0, "above 0"),
            ("cut_s", server.cut_s, server.cut_s >= 0, "0 or more"),
            ("cut_ratio", server.cut_ratio, 0 <= server.cut_ratio <= 1, "0 to 1"),
            ("rate_rps, population", (crowd.rate_rps, crowd.population),
             (crowd.rate_rps > 0) != (crowd.population > 0), "one of the two above 0"),
            ("think_s", crowd.think_s, 0 < crowd.think_s < math.inf, "above 0"),
            ("timeout_s", crowd.timeout_s, 0 < crowd.timeout_s < math.inf, "above 0"),
            ("tries_max", crowd.tries_max, crowd.tries_max >= 1, "1 or more"),
            ("backoff_s", crowd.backoff_s, 0 <= crowd.backoff_s < math.inf, "0 or more"),
            ("jitter_ratio", crowd.jitter_ratio, 0 <= crowd.jitter_ratio <= 1, "0..1"),
            ("budget_ratio", crowd.budget_ratio, 0 <= (crowd.budget_ratio or 0.0) < math.inf,
             "0 or more, or none"),
        )
        if not good
    ]  # fmt: skip
    tries = (
        crowd.tries_max
        * duration_s
        * (crowd.rate_rps or crowd.population / min(crowd.think_s, duration_s))
    )
    if not faults and tries > ATTEMPTS_MAX:
        faults = [f"up to {tries:.3g} tries, at most {ATTEMPTS_MAX}; shorten the run"]
    if faults:
        raise ConfigError("closed loop: " + "; ".join(faults))


class _What(IntEnum):
    """Kinds of events; of equal times the lower goes first."""

    DONE = 0
    CAPACITY = 1
    ASK = 2
    TIMEOUT = 3


class _Run:
    """State of one run. Events: (time, kind, order of making, attempt or user, try number)."""

    def __init__(self, crowd: Crowd, server: Server, seed: int, duration_s: float) -> None:
        self.crowd, self.server, self.duration_s = crowd, server, duration_s
        self.asks = stream(seed, "closed_loop/asks")
        self.services = stream(seed, "closed_loop/service")
        self.jitter = stream(seed, "closed_loop/jitter")
        self.budget = BUDGET_RETRIES
        self.events: list[tuple[float, int, int, int, int]] = []
        self.made = 0
        self.waiting: deque[int] = deque()
        self.busy, self.slots = 0, server.slots
        self.at_s: list[float] = []
        self.user: list[int] = []
        self.number: list[int] = []
        self.fate: list[int] = []
        self.end_s: list[float] = []

    def start(self) -> None:
        """First questions of all users, and the two changes of capacity."""
        server = self.server
        self._push(server.cut_from_s, _What.CAPACITY, round(server.slots * server.cut_ratio), 0)
        self._push(server.cut_from_s + server.cut_s, _What.CAPACITY, server.slots, 0)
        if self.crowd.population:
            for user in range(self.crowd.population):
                self._think(0.0, user)
        else:
            self._push(self.asks.exponential(1.0 / self.crowd.rate_rps), _What.ASK, 0, 1)

    def play(self) -> Attempts:
        """Work the events off until the end."""
        while self.events and self.events[0][0] < self.duration_s:
            now_s, what, _, subject, number = heapq.heappop(self.events)
            if what == _What.DONE:
                self.busy -= 1
                if self.fate[subject] == Fate.OPEN:
                    self._learn(now_s, subject, Fate.ANSWERED)
            elif what == _What.CAPACITY:
                self.slots = subject
            elif what == _What.ASK:
                self._ask(now_s, subject, number)
            elif self.fate[subject] == Fate.OPEN:
                self._learn(now_s, subject, Fate.TIMED_OUT)
            self._serve(now_s)
        return Attempts(
            at_s=np.array(self.at_s),
            user=np.array(self.user, dtype=np.int64),
            number=np.array(self.number, dtype=np.int64),
            fate=np.array(self.fate, dtype=np.uint8),
            end_s=np.array(self.end_s),
            server=self.server,
            duration_s=self.duration_s,
        )

    def _push(self, at_s: float, what: _What, subject: int, number: int) -> None:
        self.made += 1
        heapq.heappush(self.events, (at_s, int(what), self.made, subject, number))

    def _think(self, now_s: float, user: int) -> None:
        self._push(now_s + self.asks.exponential(self.crowd.think_s), _What.ASK, user, 1)

    def _ask(self, now_s: float, user: int, number: int) -> None:
        if number == 1 and not self.crowd.population:  # the clock's next arrival is a new user
            gap_s = self.asks.exponential(1.0 / self.crowd.rate_rps)
            self._push(now_s + gap_s, _What.ASK, user + 1, 1)
        if number == 1:
            earned = self.crowd.budget_ratio or 0.0
            self.budget = min(self.budget + earned, BUDGET_RETRIES)
        attempt = len(self.at_s)
        self.at_s.append(now_s)
        self.user.append(user)
        self.number.append(number)
        self.fate.append(Fate.OPEN)
        self.end_s.append(math.nan)
        limit = self.server.queue_max
        if limit is not None and len(self.waiting) >= limit and self.busy >= self.slots:
            self._learn(now_s, attempt, Fate.REJECTED)
            return
        self.waiting.append(attempt)
        self._push(now_s + self.crowd.timeout_s, _What.TIMEOUT, attempt, 0)

    def _serve(self, now_s: float) -> None:
        while self.waiting and self.busy < self.slots:
            attempt = self.waiting.popleft()
            if self.server.drop_expired and self.fate[attempt] != Fate.OPEN:
                continue
            self.busy += 1
            done_s = now_s + self.services.exponential(self.server.service_s)
            self._push(done_s, _What.DONE, attempt, 0)

    def _learn(self, now_s: float, attempt: int, fate: Fate) -> None:
        """The user learns how the try ended, and asks again, thinks or leaves."""
        self.fate[attempt], self.end_s[attempt] = fate, now_s
        user, number = self.user[attempt], self.number[attempt]
        if fate is not Fate.ANSWERED and number < self.crowd.tries_max and self._may_retry():
            wait_s = self.crowd.backoff_s * 2.0 ** (number - 1)
            if self.crowd.jitter_ratio:
                wait_s *= 1.0 - self.crowd.jitter_ratio * self.jitter.random()
            self._push(now_s + wait_s, _What.ASK, user, number + 1)
        elif self.crowd.population:
            self._think(now_s, user)

    def _may_retry(self) -> bool:
        if self.crowd.budget_ratio is None:
            return True
        if self.budget < 1.0:
            return False
        self.budget -= 1.0
        return True
