"""Requests through the service graph: workers, queues, pools, links, timeouts, retries.

Who runs where and who is ready is the cluster's business; what is counted lives in the pods'
meters. The round trip of a call is paid on its way in, so that a leaf call over a fast link costs
one event. Over 300 lines: caller's and callee's side of one call are one state machine and are
easier to check against each other in one place.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from ops.replay.calls import (
    FAST_LINK_S,
    REQUEST_BYTES,
    RESPONSE_BYTES,
    Attempt,
    Call,
    Endpoints,
    Link,
)
from ops.replay.draws import Draws
from ops.replay.leaf_calls import LeafCalls
from ops.replay.meters import FrontendMeter
from ops.replay.pods import Pod
from ops.replay.visits import Visit
from serving.sim.kernel import Kernel
from serving.state import FinishReason, Request


class ServiceGraph:
    """Runs calls over the pods that the cluster offers."""

    short_way = LeafCalls

    def __init__(
        self, kernel: Kernel, cluster: Endpoints, draws: Draws, *, roots: dict[str, Visit],
        rtt_s: dict[str, float],
    ) -> None:  # fmt: skip
        self._kernel, self._cluster, self._draws = kernel, cluster, draws
        self._roots, self._rtt_s = roots, rtt_s
        self._entries = list(roots)  # in the scenario's order: names mean nothing
        self.links: dict[tuple[str, str, str], Link] = {}
        self.admitted_ratio: dict[str, float] = {}
        self._leaves = self.short_way(
            kernel, cluster, rtt_s, on_end=self._cpu_done, on_success=self._next, arm=self._arm
        )
        # Called with (attempt, now) and (attempt, status, now); the users set them.
        self.on_first_token: Callable[[Attempt, float], None] = lambda *_: None
        self.on_finish: Callable[[Attempt, str, float], None] = lambda *_: None

    def begin(self, attempt: Attempt) -> None:
        """Send an attempt to its region's entry service."""
        now = self._kernel.now_s
        attempt.started_at_s = now
        entry = self._entries[attempt.request.request_id % len(self._entries)]
        root = Call(attempt, self._roots[entry], None, None, 0)
        attempt.root = root
        root.sent_at_s = root.arrived_at_s = now
        root.deadline_s = math.inf
        # Uniform among the endpoints: what kube-proxy does without a smarter balancer.
        pods = self._cluster.endpoints(attempt.region, entry)
        pod = pods[int(attempt.row[root.visit.column + 3] * len(pods))] if pods else None
        if pod is None or (not pod.up and self._cluster.node_up(pod)):
            root.done = True
            self._kernel.after(0.001, self.on_finish, attempt, "503", now)
            return
        if not pod.up:
            root.done = True  # a lost node answers nothing: the user's patience ends it
            return
        root.pod = pod
        meter = pod.frontends.get(attempt.slo_class)
        if meter is None:
            meter = pod.frontends[attempt.slo_class] = FrontendMeter()
        meter.in_flight += 1
        if attempt.row[-3] >= self.admitted_ratio.get(attempt.region, 1.0):
            self._answer_user(root, "429")
            return
        self._arrive(root)

    def cancel(self, attempt: Attempt) -> None:
        """The user is gone: the entry stops, the engine aborts, other callees work on in vain."""
        root = attempt.root
        if root is None or root.done:
            return
        child = root.child
        if child is not None and not child.done:
            self._stop_waiting(child)
            if child.visit.spec is None and child.pod is not None and child.pod.instance:
                child.pod.instance.abort(attempt.engine_id)
        root.dead = True
        self._leave(root)
        self._answer_user(root, "499")

    def drop_pod(self, pod: Pod, *, silent: bool) -> None:
        """End every call on a pod. Silent: the callers learn it only by their timeouts."""
        for call in [*pod.calls, *pod.queue]:
            call.dead = True
            if call.handle is not None:
                Kernel.cancel(call.handle)
            if call.visit.spec is None:
                continue  # the instance reports its own sequences
            if not silent:
                self._reply(call, "503")
            elif call.timer is None and call.source is not None and not call.done:
                self._arm(call)
        for pool in pod.pool_queues.values():
            for call in pool.waiting:  # died with their caller, without a connection
                call.done, call.pool = True, None
            pool.waiting.clear()
            pool.meter.pending = 0
        pod.calls, pod.active = {}, 0
        pod.queue.clear()

    def rescale(self, pod: Pod, ratio: float) -> None:
        """A pod's CPU became `ratio` times slower: stretch what is queued on it."""
        now = self._kernel.now_s
        pod.cpu_free_at_s = now + max(0.0, pod.cpu_free_at_s - now) * ratio
        if pod.cpu_tokens_at_s > now:  # else what was queued would be paid for twice
            pod.cpu_tokens_at_s = now + (pod.cpu_tokens_at_s - now) * ratio
        for call in pod.calls:
            handle = call.handle
            if handle is not None and handle[2] is not None:
                end_s, _, done, args = handle
                Kernel.cancel(handle)
                call.handle = self._kernel.at(now + (end_s - now) * ratio, done, *args)

    # --- caller's side

    def _next(self, parent: Call) -> None:
        """Make the next call of a request, or answer."""
        children = parent.visit.children
        num_children = len(children)
        while parent.step < num_children:
            visit = children[parent.step]
            parent.step += 1
            if visit.is_leaf and not self.links and self._leaves.start(parent, visit):
                return
            spec = visit.call
            assert spec is not None
            if spec.probability < 1.0:
                choice = parent.attempt.row[visit.column + 3]
                if (choice * 1013.0) % 1.0 >= spec.probability:
                    continue
            self._call_out(parent, visit, 0)
            if not spec.background:
                return
        self._finish(parent, "200")

    def _call_out(self, parent: Call, visit: Visit, repeat: int) -> None:
        pod = parent.pod
        spec = visit.call
        assert pod is not None and spec is not None
        call = Call(parent.attempt, visit, None if spec.background else parent, pod, repeat)
        if not spec.background:
            parent.child = call
        pools = pod.revision.pools
        size = pools.get(visit.service, spec.pool) if pools else spec.pool
        if size:
            pool = call.pool = pod.pool(visit.service, size)
            meter = pool.meter
            if meter.in_use >= size:
                meter.pending += 1
                pool.waiting.append(call)
                call.timer = self._kernel.after(spec.pool_timeout_s, self._pool_timeout, call)
                return
            meter.in_use += 1
        self._transmit(call)

    def _transmit(self, call: Call) -> None:
        kernel, attempt, visit = self._kernel, call.attempt, call.visit
        spec, source = visit.call, call.source
        assert spec is not None and source is not None
        service, region, timeouts_s = visit.service, attempt.region, source.revision.timeouts_s
        now = call.sent_at_s = kernel.now_s
        timeout_s = timeouts_s.get(service, spec.timeout_s) if timeouts_s else spec.timeout_s
        call.timeout_s, call.deadline_s = timeout_s, now + timeout_s
        source.container.transmitted_bytes += REQUEST_BYTES
        if visit.spec is None:
            self._call_engine(call)
            return
        choice = attempt.row[visit.column + 3] if call.repeat == 0 else self._again(call, 3)
        pods = self._cluster.endpoints(region, service)
        pod = call.pod = pods[int(choice * len(pods))] if pods else None
        delay_s = self._rtt_s[region]
        link = self.links.get((region, source.service, service)) if self.links else None
        if link is not None:
            column = visit.column + 2
            draw = attempt.row[column] if call.repeat == 0 else self._again(call, 2)
            delay_s += link.extra_s(draw)
        if pod is not None and pod.up:  # then its node is up, too
            call.arrived_at_s = now + delay_s
            if delay_s < FAST_LINK_S:
                self._arrive(call)
                return
            self._arm(call)
            kernel.at(call.arrived_at_s, self._arrive, call)
        elif pod is None or self._cluster.node_up(pod):
            source.source_edge(service).connect_failures += 1
            call.timer = kernel.after(delay_s, self._reply, call, "503")
        else:
            self._arm(call)

    def _call_engine(self, call: Call) -> None:
        attempt, kernel = call.attempt, self._kernel
        source, asked = call.source, attempt.request
        assert source is not None
        request = Request(
            request_id=attempt.engine_id, arrival_s=kernel.now_s, priority=asked.priority,
            num_prompt_tokens=asked.num_prompt_tokens, prefix=asked.prefix,
            num_output_tokens=asked.num_output_tokens,
        )  # fmt: skip
        pod = self._cluster.engine_pod(attempt.region)
        call.pod, call.arrived_at_s = pod, kernel.now_s
        if pod is None or pod.instance is None or (not pod.up and self._cluster.node_up(pod)):
            source.source_edge(call.visit.service).connect_failures += 1
            call.timer = kernel.after(0.001, self._reply, call, "503")
            return
        self._arm(call)
        if not self._cluster.node_up(pod):
            return

        def first_token(at_s: float) -> None:
            if not call.done:
                self._first_token(call, at_s)

        def finished(_at_s: float, reason: FinishReason) -> None:
            status = "200" if reason in (FinishReason.STOP, FinishReason.LENGTH) else "500"
            if reason is not FinishReason.ABORT:
                self._serve_done(call, status)
                self._reply(call, status)

        if not pod.instance.submit(request, first_token, finished):
            self._serve_done(call, "503")
            self._reply(call, "503")

    def _first_token(self, call: Call, at_s: float) -> None:
        attempt = call.attempt
        root = attempt.root
        if root is None or root.done or root.dead or root.pod is None:
            return
        if attempt.token_at_s >= 0.0:
            return
        attempt.token_at_s = at_s
        meter = root.pod.frontends.get(attempt.slo_class)
        if meter is not None:
            meter.ttft.observe(at_s - attempt.started_at_s)
        self.on_first_token(attempt, at_s)

    def _reply(self, call: Call, status: str) -> None:
        """The answer of a callee reaches the caller, unless it no longer waits."""
        if call.done:
            return
        source, pod = call.source, call.pod
        if source is None:
            self._answer_user(call, status)
            return
        self._stop_waiting(call)
        if source.container.started_at_s > call.sent_at_s:
            return  # the process that asked is gone
        edge = source.source_edge(call.visit.service)
        source.container.received_bytes += RESPONSE_BYTES
        edge.latency.observe(self._kernel.now_s - call.sent_at_s)
        if status == "200":
            edge.requests_ok += 1
            if pod is not None and pod.consecutive_errors:  # a success ends a streak
                self._cluster.call_result(pod, True)
            if call.parent is not None and not call.parent.dead:
                self._next(call.parent)
            return
        edge.requests_error += 1
        if pod is not None:
            self._cluster.call_result(pod, False)
        self._resume(call, status)

    def _resume(self, call: Call, status: str) -> None:
        """A call failed: try again, tolerate it, or fail with it."""
        parent, spec = call.parent, call.visit.call
        assert spec is not None
        source = call.source
        if parent is None:
            return  # background
        # A parent whose caller left works on in vain: it must still end and free its worker.
        if parent.dead or source is None:
            return
        retries = source.revision.retries.get(call.visit.service, spec.retries)
        if call.repeat < retries and call.attempt.token_at_s < 0.0:
            source.source_edge(call.visit.service).retries += 1
            backoff_s = spec.retry_backoff_s * (0.5 + self._again(call, 5))
            self._kernel.after(backoff_s, self._retry, parent, call.visit, call.repeat + 1)
        elif spec.optional:
            self._next(parent)
        else:
            self._finish(parent, "504" if status == "504" else "500")

    def _retry(self, parent: Call, visit: Visit, repeat: int) -> None:
        if not parent.dead:
            self._call_out(parent, visit, repeat)

    def _timed_out(self, call: Call) -> None:
        if call.done:
            return
        source = call.source
        assert source is not None
        self._stop_waiting(call)
        if call.visit.spec is None and call.pod is not None and call.pod.instance is not None:
            call.pod.instance.abort(call.attempt.engine_id)
        if source.container.started_at_s > call.sent_at_s:
            return
        edge = source.source_edge(call.visit.service)
        edge.requests_error += 1
        edge.timeouts += 1
        edge.latency.observe(self._kernel.now_s - call.sent_at_s)
        if call.pod is not None:
            self._cluster.call_result(call.pod, False)
        self._resume(call, "504")

    def _pool_timeout(self, call: Call) -> None:
        pool = call.pool
        if call.done or pool is None or call not in pool.waiting:
            return
        pool.waiting.remove(call)
        pool.meter.pending -= 1
        pool.meter.timeouts += 1
        call.done, call.pool = True, None
        self._resume(call, "500")

    def _arm(self, call: Call) -> None:
        """Start the caller's timeout."""
        kernel = self._kernel
        if call.sent_at_s == kernel.now_s:
            call.timer = kernel.timeout(call.timeout_s, self._timed_out, call)
        else:
            call.timer = kernel.at(call.deadline_s, self._timed_out, call)

    def _stop_waiting(self, call: Call) -> None:
        call.done = True
        if call.timer is not None:
            Kernel.cancel(call.timer)
        pool = call.pool
        if pool is None:
            return
        call.pool, meter = None, pool.meter
        if pool.waiting and call in pool.waiting:
            pool.waiting.remove(call)
            meter.pending -= 1
            return
        meter.in_use -= 1
        while pool.waiting and meter.in_use < meter.size and not pool.handing_out:
            waiting = pool.waiting.popleft()
            if waiting.timer is not None:
                Kernel.cancel(waiting.timer)
                waiting.timer = None
            meter.pending, meter.in_use = meter.pending - 1, meter.in_use + 1
            pool.handing_out = True
            self._transmit(waiting)
            pool.handing_out = False

    # --- callee's side

    def _arrive(self, call: Call) -> None:
        pod = call.pod
        assert pod is not None
        if not pod.up:
            if self._cluster.node_up(pod):
                self._reply(call, "503")
            return
        if pod.active >= pod.workers:
            if len(pod.queue) >= pod.queue_max:
                self._serve_done(call, "503")
                self._reply(call, "503")
                return
            pod.queue.append(call)
            if call.timer is None and call.source is not None:
                self._arm(call)
            return
        self._work(call, pod, call.arrived_at_s)

    def _work(self, call: Call, pod: Pod, start_s: float) -> None:
        visit = call.visit
        pod.active += 1
        pod.calls[call] = None
        unit = (
            call.attempt.row[visit.column]
            if call.repeat == 0
            else self._draws.work(visit.index, self._again(call, 0))
        )
        end_s = pod.run_cpu(start_s, visit.cpu_s * unit * pod.revision.work_ratio)
        if (
            call.timer is None
            and call.source is not None
            and (visit.children or end_s > call.deadline_s)
        ):
            self._arm(call)
        call.handle = self._kernel.at(end_s, self._cpu_done, call)

    def _cpu_done(self, call: Call) -> None:
        call.handle = None
        pod = call.pod
        assert pod is not None
        ratio = pod.revision.error_ratio
        if ratio > 0.0:
            column = call.visit.column + 1
            draw = call.attempt.row[column] if call.repeat == 0 else self._again(call, 1)
            if draw < ratio:
                self._finish(call, "500")
                return
        self._next(call)

    def _finish(self, call: Call, status: str) -> None:
        """The server is done with a call."""
        if call.dead:
            return
        call.dead = True
        self._leave(call)
        self._serve_done(call, status)
        self._reply(call, status)

    def _leave(self, call: Call) -> None:
        """Free the worker and take the next call from the queue."""
        pod = call.pod
        assert pod is not None
        if call.handle is not None:
            Kernel.cancel(call.handle)
        if pod.calls.pop(call, 0) is None:
            pod.active -= 1
        elif call in pod.queue:
            pod.queue.remove(call)
        while pod.queue and pod.active < pod.workers:
            waiting = pod.queue.popleft()
            self._work(waiting, pod, self._kernel.now_s)

    def _serve_done(self, call: Call, status: str) -> None:
        pod, source = call.pod, call.source
        if pod is None or source is None:
            return
        service, container = source.service, pod.container
        edge = pod.dest_edges.get(service) or pod.dest_edge(service)
        if status == "200":
            edge.requests_ok += 1
        else:
            edge.requests_error += 1
        edge.latency.observe(self._kernel.now_s - call.arrived_at_s)
        container.received_bytes += REQUEST_BYTES
        container.transmitted_bytes += RESPONSE_BYTES

    def _answer_user(self, root: Call, status: str) -> None:
        attempt, pod = root.attempt, root.pod
        now = self._kernel.now_s
        root.done = True
        # A process that was started since knows nothing of this attempt.
        if pod is not None and pod.container.started_at_s <= attempt.started_at_s:
            meter = pod.frontends.get(attempt.slo_class)
            if meter is not None:
                meter.in_flight -= 1
                meter.finish(status)
                num_gaps = attempt.request.num_output_tokens - 1
                if status == "200" and attempt.token_at_s >= 0.0 and num_gaps > 0:
                    meter.tpot.observe((now - attempt.token_at_s) / num_gaps)
        attempt.root = None  # nobody waits for the tree of its calls
        self.on_finish(attempt, status, now)

    # --- draws and choices

    def _again(self, call: Call, column: int) -> float:
        attempt = call.attempt
        return self._draws.again(
            attempt.request.request_id, attempt.attempt, call.visit.index * 8 + column, call.repeat
        )
