"""Users: arrivals, patience, retries, cancellations; the ledger and the bad minutes."""

from __future__ import annotations

from collections.abc import Mapping

from ops.replay.calls import Attempt
from ops.replay.draws import CHUNK, Draws, mix_many
from ops.replay.ledger import Arrivals, Ledger
from ops.replay.scenario import Scenario
from ops.replay.services import ServiceGraph
from ops.state import SloTarget
from serving.sim.kernel import EventHandle, Kernel
from serving.state import Request

INJECTED_FIRST_ID = 1 << 26  # ids of requests that a burst adds
CLASS_BLOCKS_MAX = 8
READ_S = 8.0  # mean time after which a cancelling user stops reading


class _Open:
    """A request that has no outcome yet."""

    __slots__ = ("attempt", "current", "last_status", "patience", "region", "request", "slo",
                 "timer", "ttft_s")  # fmt: skip

    def __init__(self, request: Request, region: str, slo: SloTarget) -> None:
        self.request, self.slo = request, slo
        self.region = region  # home of the user
        self.attempt = 0
        self.current: Attempt | None = None
        self.timer: EventHandle | None = None  # first token, or the end of reading
        self.patience: EventHandle | None = None  # whole answer
        self.ttft_s: float | None = None
        self.last_status = ""

    def stop_timers(self) -> None:
        """Wait for nothing any more."""
        if self.timer is not None:
            Kernel.cancel(self.timer)
        if self.patience is not None:
            Kernel.cancel(self.patience)


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
        self._classes: dict[int, list[SloTarget]] = {}  # by block of request ids
        graph.on_first_token, graph.on_finish = self._first_token, self._finished

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
        return self._slo_of(request_id).name

    def _slo_of(self, request_id: int) -> SloTarget:
        block, index = divmod(request_id, CHUNK)
        slos = self._classes.get(block)
        if slos is None:
            if len(self._classes) > CLASS_BLOCKS_MAX:
                self._classes.pop(next(iter(self._classes)))
            draws = mix_many(self._seed, 13, block * CHUNK, CHUNK)
            slos = self._classes[block] = [self._slos[self._class(draw)] for draw in draws]
        return slos[index]

    def _class(self, draw: float) -> str:
        total = 0.0
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
        user = _Open(request, arrivals.region[k], self._slo_of(request_id))
        self.ledger.arrived += 1
        self.open[request_id] = user
        self._try(user)

    def _try(self, user: _Open) -> None:
        self.ledger.attempts += 1
        row = self._draws.row(user.request.request_id, user.attempt)
        region = self._route(user.region, row[-4])
        attempt = Attempt(user.request, user.attempt, region, user.slo.name, row, user)
        user.current = attempt
        user.timer = self._kernel.timeout(
            self._client.first_token_timeout_s, self._give_up, user, attempt
        )
        extra_s = 0.0 if region == user.region else self._between_s(user.region, region)
        if extra_s > 0.0:
            user.patience = None
            self._kernel.after(extra_s, self._begin, user, attempt)
        else:
            self._begin(user, attempt)

    def _begin(self, user: _Open, attempt: Attempt) -> None:
        if user.current is attempt:
            user.patience = self._kernel.timeout(
                self._client.total_timeout_s, self._lose_patience, user, attempt
            )
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

    def _first_token(self, attempt: Attempt, at_s: float) -> None:
        user = attempt.user
        assert isinstance(user, _Open)
        if user.current is None or user.ttft_s is not None:
            return
        user.ttft_s = at_s - user.request.arrival_s
        if user.timer is not None:
            Kernel.cancel(user.timer)
        attempt = user.current
        if attempt.row[-1] < self._client.cancel_ratio:
            user.stop_timers()
            delay_s = READ_S * 2.0 * attempt.row[-1] / self._client.cancel_ratio
            user.timer = self._kernel.after(delay_s, self._stop_reading, user, attempt)
        elif at_s - attempt.started_at_s > self._client.total_timeout_s:
            self._kernel.after(0.0, self._give_up, user, attempt)

    def _lose_patience(self, user: _Open, attempt: Attempt) -> None:
        """The answer takes too long; for its first token there is a timeout of its own."""
        if user.ttft_s is not None:
            self._give_up(user, attempt)

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
        user.stop_timers()
        self._graph.cancel(attempt)
        user.last_status = "timeout"
        self._again(user)

    def _finished(self, attempt: Attempt, status: str, at_s: float) -> None:
        user = attempt.user
        assert isinstance(user, _Open)
        if user.current is not attempt:
            return
        user.current = None
        user.stop_timers()
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
