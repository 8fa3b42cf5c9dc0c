"""Users: arrivals, patience, retries, cancellations; the ledger and the bad minutes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from ops.replay.calls import Attempt
from ops.replay.draws import Draws, mix
from ops.replay.scenario import Scenario
from ops.replay.services import ServiceGraph
from ops.state import SloTarget
from serving.sim.kernel import EventHandle, Kernel
from serving.state import Prefix, Request

INJECTED_FIRST_ID = 1 << 26  # ids of requests that a burst adds
READ_S = 8.0  # mean time after which a cancelling user stops reading


@dataclass(slots=True)
class Arrivals:
    """Requests to come, sorted by time; parallel lists."""

    at_s: list[float] = field(default_factory=list)
    num_prompt_tokens: list[int] = field(default_factory=list)
    num_output_tokens: list[int] = field(default_factory=list)
    region: list[str] = field(default_factory=list)
    prefix: list[Prefix] = field(default_factory=list)  # what prompts begin with; empty = unknown

    def __len__(self) -> int:
        return len(self.at_s)


@dataclass(slots=True)
class Ledger:
    """What became of every request. Both sums must balance at any moment."""

    arrived: int = 0
    ok: int = 0
    failed: int = 0
    timed_out: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    cancelled: int = 0
    attempts: int = 0
    retries: int = 0

    @property
    def in_flight(self) -> int:
        """Requests without an outcome yet."""
        done = self.ok + self.failed + self.timed_out + self.cancelled + self.rejected.total()
        return self.arrived - done


@dataclass(slots=True, kw_only=True)
class _Open:
    """A request that has no outcome yet."""

    request: Request
    region: str  # home of the user
    slo: SloTarget
    attempt: int = 0
    current: Attempt | None = None
    timer: EventHandle | None = None
    ttft_s: float | None = None
    last_status: str = ""


class Users:
    """Drives attempts through the graph and judges them."""

    def __init__(
        self,
        kernel: Kernel,
        graph: ServiceGraph,
        draws: Draws,
        scenario: Scenario,
        *,
        seed: int,
    ) -> None:
        self._kernel, self._graph, self._draws, self._seed = kernel, graph, draws, seed
        self._client = scenario.client
        self._slos = {slo.name: slo for slo in scenario.slos}
        self.ledger = Ledger()
        self.open: dict[int, _Open] = {}
        self.weights: dict[str, Mapping[str, float]] = {
            r.name: {r.name: 1.0} for r in scenario.regions
        }
        self._shifts: dict[str, tuple[str, str, float]] = {}  # id -> (home, to, moved share)
        self._rtt_s = {(a, b): rtt for a, b, rtt in scenario.region_rtt_s}
        self.minutes: dict[tuple[str, str, int], list[int]] = {}  # -> [requests, bad]
        self.judged: list[tuple[float, bool]] = []  # (moment it was known, bad)

    def feed(self, arrivals: Arrivals, *, first_id: int = 0) -> None:
        """Let requests arrive from now on."""
        if len(arrivals):
            self._kernel.at(arrivals.at_s[0], self._arrive, arrivals, 0, first_id)

    def inject(self, arrivals: Arrivals) -> None:
        """Add requests on top of the ones that come anyway."""
        self.feed(arrivals, first_id=INJECTED_FIRST_ID)

    def shift(self, shift_id: str, *, home: str, to: str, share: float) -> None:
        """Send `share` of what `home` still serves itself to `to`, until `unshift`.

        What one shift moved is fixed now: taking it back returns that much to `home` and leaves
        the other shifts as they are, in whatever order they end.
        """
        assert shift_id not in self._shifts, f"shift {shift_id!r} is in force already"
        self._shifts[shift_id] = (home, to, share * self.weights[home].get(home, 0.0))
        self._route_again(home)

    def unshift(self, shift_id: str) -> None:
        """End one shift; nothing happens when it is not in force."""
        ended = self._shifts.pop(shift_id, None)
        if ended is not None:
            self._route_again(ended[0])

    def _route_again(self, home: str) -> None:
        weights = {home: 1.0}
        for source, to, moved in self._shifts.values():
            if source == home:
                weights[home] -= moved
                weights[to] = weights.get(to, 0.0) + moved
        self.weights[home] = weights

    def class_of(self, request_id: int) -> str:
        """SLO class, drawn per request."""
        draw, total = mix(self._seed, 13, request_id), 0.0
        for name, share in self._client.class_shares:
            total += share
            if draw < total:
                return name
        return self._client.class_shares[-1][0]

    def _arrive(self, arrivals: Arrivals, k: int, first_id: int) -> None:
        if k + 1 < len(arrivals):
            self._kernel.at(arrivals.at_s[k + 1], self._arrive, arrivals, k + 1, first_id)
        request_id, now = first_id + k, self._kernel.now_s
        request = Request(
            request_id=request_id,
            arrival_s=now,
            num_prompt_tokens=max(1, arrivals.num_prompt_tokens[k]),
            num_output_tokens=max(1, arrivals.num_output_tokens[k]),
            prefix=arrivals.prefix[k] if arrivals.prefix else None,
        )
        user = _Open(
            request=request, region=arrivals.region[k], slo=self._slos[self.class_of(request_id)]
        )
        self.ledger.arrived += 1
        self.open[request_id] = user
        self._try(user)

    def _try(self, user: _Open) -> None:
        self.ledger.attempts += 1
        row = self._draws.row(user.request.request_id, user.attempt)
        region = self._route(user.region, row[-4])
        attempt = Attempt(user.request, user.attempt, region, user.slo.name, row)
        attempt.first_token = lambda at_s: self._first_token(user, at_s)
        attempt.finish = lambda status, at_s: self._finished(user, attempt, status, at_s)
        user.current = attempt
        user.timer = self._kernel.after(
            self._client.first_token_timeout_s, self._give_up, user, attempt
        )
        extra_s = 0.0 if region == user.region else self._between_s(user.region, region)
        if extra_s > 0.0:
            self._kernel.after(extra_s, self._graph.begin, attempt)
        else:
            self._graph.begin(attempt)

    def _route(self, home: str, draw: float) -> str:
        total = 0.0
        weights = self.weights[home]
        for region, share in weights.items():
            total += share
            if draw < total:
                return region
        return home

    def _between_s(self, a: str, b: str) -> float:
        return self._rtt_s.get((a, b), self._rtt_s.get((b, a), 0.08))

    def _first_token(self, user: _Open, at_s: float) -> None:
        if user.current is None or user.ttft_s is not None:
            return
        user.ttft_s = at_s - user.request.arrival_s
        if user.timer is not None:
            Kernel.cancel(user.timer)
        attempt = user.current
        if attempt.row[-1] < self._client.cancel_ratio:
            delay_s = READ_S * 2.0 * attempt.row[-1] / self._client.cancel_ratio
            user.timer = self._kernel.after(delay_s, self._stop_reading, user, attempt)
        else:
            rest_s = self._client.total_timeout_s - (at_s - attempt.started_at_s)
            user.timer = self._kernel.after(rest_s, self._give_up, user, attempt)

    def _stop_reading(self, user: _Open, attempt: Attempt) -> None:
        if user.current is attempt:
            user.current = None
            self._graph.cancel(attempt)
            self.ledger.cancelled += 1
            self._judge(user, self._late(user, None))

    def _give_up(self, user: _Open, attempt: Attempt) -> None:
        if user.current is not attempt:
            return
        user.current = None
        self._graph.cancel(attempt)
        user.last_status = "timeout"
        self._again(user)

    def _finished(self, user: _Open, attempt: Attempt, status: str, at_s: float) -> None:
        if user.current is not attempt:
            return
        user.current = None
        if user.timer is not None:
            Kernel.cancel(user.timer)
        user.last_status = status
        if status == "200":
            self.ledger.ok += 1
            self._judge(user, self._late(user, at_s))
        elif status == "429":
            self.ledger.rejected["admission"] += 1
            self._judge(user, bad=True)
        else:
            self._again(user)

    def _again(self, user: _Open) -> None:
        """Retry unless tokens were shown already or patience is spent."""
        if user.attempt < self._client.retries and user.ttft_s is None:
            backoff_s = self._client.retry_backoff_s * 2**user.attempt
            backoff_s *= 0.5 + self._draws.row(user.request.request_id, user.attempt)[-2]
            user.attempt += 1
            self.ledger.retries += 1
            self._kernel.after(backoff_s, self._try, user)
            return
        if user.last_status == "timeout":
            self.ledger.timed_out += 1
        elif user.last_status == "503":
            self.ledger.rejected["overloaded"] += 1
        else:
            self.ledger.failed += 1
        self._judge(user, bad=True)

    def _late(self, user: _Open, end_s: float | None) -> bool:
        """Whether an answered request missed a limit of its class."""
        ttft_s = user.ttft_s
        if ttft_s is None or ttft_s > user.slo.ttft_s:
            return True
        num_gaps = user.request.num_output_tokens - 1
        if end_s is None or num_gaps < 1:
            return False
        tpot_s = (end_s - user.request.arrival_s - ttft_s) / num_gaps
        return tpot_s > user.slo.tpot_s

    def _judge(self, user: _Open, bad: bool) -> None:
        self.open.pop(user.request.request_id, None)
        arrival_s = user.request.arrival_s
        key = (user.region, user.slo.name, int(arrival_s // 60.0))
        minute = self.minutes.setdefault(key, [0, 0])
        minute[0] += 1
        minute[1] += bad
        known_s = (
            min(self._kernel.now_s, arrival_s + user.slo.ttft_s)
            if bad and (user.ttft_s is None or user.ttft_s > user.slo.ttft_s)
            else self._kernel.now_s
        )
        self.judged.append((known_s, bad))

    def check_invariants(self) -> None:
        """Both ledgers balance.

        Raises:
            AssertionError: a request or an attempt was lost or doubled.
        """
        ledger = self.ledger
        assert ledger.in_flight == len(self.open), (ledger, len(self.open))
        started = ledger.attempts + sum(1 for u in self.open.values() if u.current is None)
        assert started == ledger.arrived + ledger.retries, (ledger, started)
