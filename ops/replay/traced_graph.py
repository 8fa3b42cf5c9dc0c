"""The service graph with request traces: spans and log lines of a sample of the requests.

What an instrumented fleet would write, no more: a span ends where its process could end it, so a
process that dies loses the spans it held, and no line names a cause that the process cannot know.
A call has a span of its caller (from asking for a connection to the answer) and, below it, one of
its callee (from arrival to answer, queueing included). Background calls are left out: they are
traces of their own. Nothing of this changes what happens in the world.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ops.replay.calls import Attempt, Call, Endpoints
from ops.replay.draws import Draws, mix
from ops.replay.leaf_calls import LeafCalls
from ops.replay.services import ServiceGraph
from ops.replay.visits import Visit
from serving.sim.kernel import Kernel

SPANS_MAX = 60_000  # in all; no request is sampled beyond it


@dataclass(frozen=True, slots=True)
class SpanRow:
    """One finished span; `parent` is -1 at the root."""

    region: str
    start_s: float
    trace: int
    span: int
    parent: int
    service: str
    operation: str
    duration_s: float


@dataclass(frozen=True, slots=True)
class LogRow:
    """One line that a service wrote."""

    region: str
    at_s: float
    service: str
    trace: int
    message: str


@dataclass(slots=True)
class _Trace:
    number: int
    spans: dict[Call, int] = field(default_factory=dict)  # -> of the caller; the callee's is + 1
    asked_at_s: dict[Call, float] = field(default_factory=dict)  # a connection was asked for


@dataclass(slots=True)
class TraceLog:
    """Which requests are traced, and what was written of them.

    Attributes:
        ratio: share of the requests, drawn per request.
        from_s, to_s: tries that begin in between are traced.
    """

    seed: int
    ratio: float
    from_s: float
    to_s: float
    spans: list[SpanRow] = field(default_factory=list)
    lines: list[LogRow] = field(default_factory=list)
    traces: dict[Attempt, _Trace] = field(default_factory=dict)
    num_spans: int = 0  # given a number so far, finished or not

    def sample(self, attempt: Attempt, now_s: float) -> None:
        """Trace this try, if its request belongs to the sample."""
        if not self.from_s <= now_s < self.to_s or self.num_spans >= SPANS_MAX:
            return
        if mix(self.seed, 29, attempt.request.request_id) < self.ratio:
            self.traces[attempt] = _Trace(len(self.traces))

    def span_of(self, call: Call) -> int | None:
        """Number of the caller's span of a traced call; None for all others."""
        trace = self.traces.get(call.attempt)
        if trace is None:
            return None
        known = trace.spans.get(call)
        if known is None:
            above = call.parent
            if call.source is not None and (above is None or self.span_of(above) is None):
                return None  # in the background
            known = trace.spans[call] = self.num_spans
            self.num_spans += 2
        return known


class _UntracedLeaves(LeafCalls):
    """The short way writes no spans: traced requests take the long one, which is the same."""

    __slots__ = ("traced",)

    traced: dict[Attempt, _Trace]

    def start(self, parent: Call, visit: Visit) -> bool:
        """As the short way, for requests that nobody traces."""
        return parent.attempt not in self.traced and super().start(parent, visit)


class TracedGraph(ServiceGraph):
    """Writes into `log` what the calls of sampled requests did."""

    short_way = _UntracedLeaves

    def __init__(
        self, kernel: Kernel, cluster: Endpoints, draws: Draws, *, roots: dict[str, Visit],
        rtt_s: dict[str, float], log: TraceLog,
    ) -> None:  # fmt: skip
        super().__init__(kernel, cluster, draws, roots=roots, rtt_s=rtt_s)
        self._log = log
        assert isinstance(self._leaves, _UntracedLeaves)
        self._leaves.traced = log.traces

    def begin(self, attempt: Attempt) -> None:
        """Send an attempt, traced if its request is in the sample."""
        self._log.sample(attempt, self._kernel.now_s)
        super().begin(attempt)

    def cancel(self, attempt: Attempt) -> None:
        """The user is gone; so is the entry's interest in the call that it waits for."""
        root = attempt.root
        if root is not None and root.child is not None and not root.done and not root.child.done:
            self._asked(root.child, "abandoned: the client is gone")
        super().cancel(attempt)

    # --- caller's side

    def _call_out(self, parent: Call, visit: Visit, repeat: int) -> None:
        super()._call_out(parent, visit, repeat)
        trace, call = self._log.traces.get(parent.attempt), parent.child
        if trace is None or call is None or call.pool is None:
            return
        if call in call.pool.waiting:
            trace.asked_at_s[call] = self._kernel.now_s

    def _transmit(self, call: Call) -> None:
        if self._log.span_of(call) is not None:
            self._log.traces[call.attempt].asked_at_s.setdefault(call, self._kernel.now_s)
        super()._transmit(call)

    def _reply(self, call: Call, status: str) -> None:
        if not call.done:
            self._asked(call, "" if status == "200" else f"failed with {status}")
        super()._reply(call, status)

    def _timed_out(self, call: Call) -> None:
        if not call.done:
            self._asked(call, f"timed out after {call.timeout_s:g} s")
        super()._timed_out(call)

    def _pool_timeout(self, call: Call) -> None:
        if not call.done and call.pool is not None and call in call.pool.waiting:
            self._asked(call, "failed: no free connection in the pool")
        super()._pool_timeout(call)

    def _asked(self, call: Call, problem: str) -> None:
        """The caller knows how a call ended."""
        number, source = self._log.span_of(call), call.source
        if number is None or source is None or call.parent is None:
            return
        trace, callee = self._log.traces[call.attempt], call.visit.service
        asked_at_s = trace.asked_at_s.get(call, self._kernel.now_s)
        if not source.up or source.container.started_at_s > asked_at_s:
            return  # the process that asked is gone, and its span with it
        above = self._log.span_of(call.parent)
        self._write(call, number, -1 if above is None else above + 1, source.service,
                    f"call {callee}", asked_at_s)  # fmt: skip
        if problem:
            self._say(call, source.service, f"WARN call to {callee} {problem}")

    # --- callee's side

    def _serve_done(self, call: Call, status: str) -> None:
        if call.source is not None:
            self._served(call, status)
        super()._serve_done(call, status)

    def _answer_user(self, root: Call, status: str) -> None:
        self._served(root, status)
        super()._answer_user(root, status)

    def _served(self, call: Call, status: str) -> None:
        """The callee knows what it answered."""
        number, pod = self._log.span_of(call), call.pod
        if number is None or pod is None or not pod.up:
            return  # a process that died writes nothing, and what it held is lost
        if pod.container.started_at_s > call.arrived_at_s:
            return
        engine = call.visit.spec is None
        self._write(call, number + 1, -1 if call.source is None else number, pod.service,
                    "generate" if engine else "serve", call.arrived_at_s)  # fmt: skip
        took_ms = (self._kernel.now_s - call.arrived_at_s) * 1e3
        if status == "200":
            said = f"INFO request served in {took_ms:.1f} ms"
        elif status == "499":
            said = "INFO request ended: the client is gone"
        elif status in ("429", "503"):
            said = "WARN request refused: too many at once"
        elif engine or call.step == 0:
            said = "ERROR request failed: exception in its handler"
        else:
            said = "ERROR request failed: a call it needs failed"
        self._say(call, pod.service, said)

    def _write(
        self, call: Call, span: int, parent: int, service: str, operation: str, start_s: float
    ) -> None:
        self._log.spans.append(
            SpanRow(
                call.attempt.region, start_s, self._log.traces[call.attempt].number, span, parent,
                service, operation, self._kernel.now_s - start_s,
            )
        )  # fmt: skip

    def _say(self, call: Call, service: str, message: str) -> None:
        self._log.lines.append(
            LogRow(
                call.attempt.region, self._kernel.now_s, service,
                self._log.traces[call.attempt].number, message,
            )
        )  # fmt: skip
