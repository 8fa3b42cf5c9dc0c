"""The common call in two steps: a service that calls nobody, a fast link, a free worker.

Most calls of a healthy fleet are such, and they took half of the graph's time: so the chain of
`ServiceGraph` from sending to answering stands here once more, as one function each way. What is
not common (slow links, settings of a revision, waiting, errors, a caller that is gone) is left to
the chain. A test runs worlds with and without this module and finds them equal to the last bit.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable

from ops.replay.calls import FAST_LINK_S, REQUEST_BYTES, RESPONSE_BYTES, Call, Endpoints
from ops.replay.visits import Visit
from serving.sim.kernel import Kernel


class LeafCalls:
    """Starts and ends leaf calls.

    Args:
        on_end: what the chain does when the CPU work of a call ends.
        on_success: what the caller does next.
        arm: starts the caller's timeout.
    """

    __slots__ = ("_arm", "_cluster", "_kernel", "_on_end", "_on_success", "_rtt_s")

    def __init__(
        self,
        kernel: Kernel,
        cluster: Endpoints,
        rtt_s: dict[str, float],
        *,
        on_end: Callable[[Call], None],
        on_success: Callable[[Call], None],
        arm: Callable[[Call], None],
    ) -> None:
        self._kernel, self._cluster = kernel, cluster
        self._rtt_s = {region: rtt for region, rtt in rtt_s.items() if rtt < FAST_LINK_S}
        self._on_end, self._on_success, self._arm = on_end, on_success, arm

    def start(self, parent: Call, visit: Visit) -> bool:
        """Make the first try of a call; False, with nothing done, when it is not a common one."""
        source, spec, attempt = parent.pod, visit.call, parent.attempt
        assert source is not None and spec is not None
        revision, service = source.revision, visit.service
        if revision.pools or revision.timeouts_s:
            return False
        rtt_s = self._rtt_s.get(attempt.region)
        pods = self._cluster.endpoints(attempt.region, service)
        if rtt_s is None or not pods:
            return False
        row, column = attempt.row, visit.column
        pod = pods[int(row[column + 3] * len(pods))]
        if not pod.up or pod.active >= pod.workers:
            return False
        pool = None
        if spec.pool:
            pool = source.pool(service, spec.pool)
            if pool.meter.in_use >= spec.pool:
                return False
            pool.meter.in_use += 1
        kernel = self._kernel
        now_s = kernel.now_s
        call = parent.child = Call(attempt, visit, parent, source, 0)
        call.pod, call.pool = pod, pool
        call.sent_at_s, call.arrived_at_s = now_s, now_s + rtt_s
        call.timeout_s, call.deadline_s = spec.timeout_s, now_s + spec.timeout_s
        source.container.transmitted_bytes += REQUEST_BYTES
        pod.active += 1
        pod.calls[call] = None
        end_s = pod.run_cpu(now_s + rtt_s, visit.cpu_s * row[column] * pod.revision.work_ratio)
        if end_s > call.deadline_s:
            self._arm(call)
        call.handle = kernel.at(end_s, self._end, call)
        return True

    def _end(self, call: Call) -> None:
        """The CPU work is done: count it on both sides and let the caller go on."""
        pod, source, parent, pool = call.pod, call.source, call.parent, call.pool
        assert pod is not None and source is not None and parent is not None
        if (
            call.timer is not None
            or parent.dead
            or pod.queue
            or pod.consecutive_errors
            or pod.revision.error_ratio > 0.0
            or (pool is not None and pool.waiting)
            or source.container.started_at_s > call.sent_at_s
        ):
            self._on_end(call)
            return
        call.handle = call.pool = parent.child = None
        call.dead = call.done = True
        del pod.calls[call]
        pod.active -= 1
        if pool is not None:
            pool.meter.in_use -= 1
        now_s = self._kernel.now_s
        container = pod.container
        container.received_bytes += REQUEST_BYTES
        container.transmitted_bytes += RESPONSE_BYTES
        source.container.received_bytes += RESPONSE_BYTES
        caller, callee = source.service, call.visit.service
        for edge, from_s in (
            (pod.dest_edges.get(caller) or pod.dest_edge(caller), call.arrived_at_s),
            (source.source_edges.get(callee) or source.source_edge(callee), call.sent_at_s),
        ):
            edge.requests_ok += 1
            seconds, latency = now_s - from_s, edge.latency
            latency.counts[bisect_left(latency.bounds, seconds)] += 1
            latency.sum += seconds
            latency.count += 1
        self._on_success(parent)
