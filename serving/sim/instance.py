"""One serving instance on simulated time: durations from the cost model, made-up tokens.

Pure-decode runs are jumped in closed form (a segment); `segments=False` runs the same code one
iteration per event and is the reference. Faults of the engine (slow clock, leak, hang, death) act
here, and only through their mechanism.

Source: event structure after the plain simulation loop of vidur (MLSys'24).
Differs: one event per change of the batch, not per iteration.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from serving.instance import Instance
from serving.metrics import CacheConfig, EngineMeters
from serving.policies.protocols import BatchPolicy
from serving.sim.cost_model import CostModel
from serving.sim.kernel import EventHandle, Kernel
from serving.state import (
    BatchPlan,
    FinishReason,
    InstanceConfig,
    Phase,
    RejectReason,
    Request,
    SequenceState,
)

FirstTokenHandler = Callable[[float], None]
FinishHandler = Callable[[float, FinishReason], None]


class SimInstance:
    """Driver of one `Instance`: spends the time of its iterations and tells callers what came.

    For each admitted request `on_first_token(now_s)` is called at most once and
    `on_finish(now_s, reason)` exactly once, always from the kernel's loop or from the call that
    ended the request (`abort`, `kill`).
    """

    __slots__ = (
        "_aborting",
        "_attended",
        "_chunk_tokens",
        "_done",
        "_first_s",
        "_frozen_left_s",
        "_handle",
        "_handlers",
        "_has_late",
        "_is_busy",
        "_is_hung",
        "_kernel",
        "_num_decodes",
        "_num_steps",
        "_plan",
        "_slope_s",
        "_start_context",
        "_start_s",
        "cost_model",
        "instance",
        "instance_id",
        "is_dead",
        "meters",
        "segments",
    )

    def __init__(
        self,
        kernel: Kernel,
        instance_id: str,
        *,
        config: InstanceConfig,
        policy: BatchPolicy,
        cost_model: CostModel,
        meters: EngineMeters | None = None,
        segments: bool = True,
    ) -> None:
        self.instance_id = instance_id
        self.instance = Instance(config, policy)
        self.cost_model = cost_model
        self.meters = meters or EngineMeters(
            cache_config=CacheConfig(config.num_blocks, config.block_tokens)
        )
        self.segments = segments
        self.is_dead = False
        self._kernel = kernel
        self._handlers: dict[int, tuple[FirstTokenHandler, FinishHandler]] = {}
        self._aborting: list[int] = []  # running requests that leave when the iteration ends
        self._has_late = False  # some decodes began after the last decode iteration
        self._is_hung = False
        self._is_busy = False  # inside the end of an iteration: callbacks may call back
        self._frozen_left_s = 0.0
        # The segment in flight; `_plan` is None while idle.
        self._plan: BatchPlan | None = None
        self._handle: EventHandle | None = None
        self._start_s = 0.0
        self._first_s = 0.0  # duration of iteration 0
        self._slope_s = 0.0
        self._num_steps = 0
        self._done = 0  # iterations already applied to the instance
        self._num_decodes = 0
        self._start_context = 0
        self._chunk_tokens = 0
        self._attended = 0.0

    @property
    def num_running(self) -> int:
        """Sequences in the running list."""
        return self.instance.num_running

    @property
    def num_waiting(self) -> int:
        """Sequences in the queue."""
        return self.instance.num_waiting

    @property
    def load(self) -> int:
        """Outstanding requests."""
        return len(self._handlers)

    @property
    def accepts(self) -> bool:
        """False once draining or dead."""
        return not (self.is_dead or self.instance.is_draining)

    def submit(
        self, request: Request, on_first_token: FirstTokenHandler, on_finish: FinishHandler
    ) -> bool:
        """Queue a request; False when it is rejected (the meters say why)."""
        instance = self.instance
        was_empty = not instance.waiting
        reason = RejectReason.DEAD if self.is_dead else instance.admit(request)
        if reason is not None:
            self.meters.rejections[reason] += 1
            return False
        assert request.request_id not in self._handlers, f"{request.request_id} is here already"
        self._handlers[request.request_id] = (on_first_token, on_finish)
        if not self._is_busy:
            if self._plan is None:
                self._begin(self._kernel.now_s)
            elif was_empty:
                self._cut()
        return True

    def abort(self, request_id: int) -> bool:
        """End a request now, as a client that went away does; False when it is not here.

        A running sequence keeps its slot and blocks until the iteration in flight ends.
        """
        handlers = self._handlers.pop(request_id, None)
        if handlers is None:
            return False
        instance = self.instance
        self.meters.success[FinishReason.ABORT] += 1
        if request_id in instance.running and (self._plan is not None or self._is_busy):
            self._aborting.append(request_id)
            self._cut()
        else:
            is_head = bool(instance.waiting) and instance.waiting[0].request_id == request_id
            instance.abort(request_id)
            if is_head:
                self._replan()
        handlers[1](self._kernel.now_s, FinishReason.ABORT)
        return True

    def drain(self) -> None:
        """Refuse new requests; those here run to their end."""
        self.instance.drain()

    def set_clock_ratio(self, clock_ratio: float) -> None:
        """Change the SM clock from the next iteration on; 1.0 is healthy."""
        cost_model = self.cost_model.at_clock(clock_ratio)
        if cost_model is not self.cost_model:
            self.cost_model = cost_model
            self._cut()

    def reserve_blocks(self, num_blocks: int) -> None:
        """Make `num_blocks` KV blocks in total unusable from the next iteration on."""
        self.instance.reserve_blocks(num_blocks)
        self._replan()

    def hang(self) -> None:
        """Stop iterations, the one in flight included; the queue goes on filling."""
        if self._is_hung or self.is_dead:
            return
        now_s = self._kernel.now_s
        self.refresh(now_s)
        self._cut()
        self._is_hung = True
        if self._handle is not None:
            self._frozen_left_s = self._handle[0] - now_s
            self._kernel.cancel(self._handle)
            self._handle = None

    def resume(self) -> None:
        """End a hang; the frozen iteration goes on where it stopped."""
        if not self._is_hung or self.is_dead:
            return
        self._is_hung = False
        now_s = self._kernel.now_s
        if self._plan is None:
            self._begin(now_s)
            return
        end_s = now_s + self._frozen_left_s
        self._start_s += end_s - self._end_of(self._num_steps)
        self._handle = self._kernel.at(end_s, self._on_end)

    def kill(self) -> None:
        """Die: whatever is here ends with an error, and nothing is admitted any more."""
        if self.is_dead:
            return
        now_s = self._kernel.now_s
        self.refresh(now_s)
        self.is_dead = True
        if self._handle is not None:
            self._kernel.cancel(self._handle)
            self._handle = None
        self._plan = None
        self._aborting.clear()
        self.instance.abort_all()
        handlers = list(self._handlers.values())
        self._handlers.clear()
        self.meters.success[FinishReason.ERROR] += len(handlers)
        for _, on_finish in handlers:
            on_finish(now_s, FinishReason.ERROR)

    def refresh(self, now_s: float) -> None:
        """Bring meters up to `now_s`: iterations that ended inside the segment, and gauges."""
        if self._plan is not None and not self._is_busy and not self._is_hung:
            num_ended = self._num_started(now_s) - 1
            if num_ended > self._done:
                self._apply(num_ended)
        instance, meters = self.instance, self.meters
        meters.running = len(instance.running)
        meters.waiting = len(instance.waiting)
        meters.kv_usage_ratio = instance.pool.num_used / instance.pool.num_blocks

    # The segment in flight.

    def _begin(self, now_s: float) -> None:
        """Plan and start a segment; stays idle when nothing can run."""
        if self._is_hung or self.is_dead:
            return
        instance = self.instance
        plan = instance.plan(now_s)
        self.meters.preemptions = instance.num_preemptions
        if plan.is_empty:
            self._plan = None
            return
        self._plan = plan
        num_decodes = instance.num_decoding if plan.runs_decodes else 0
        context_sum = instance.context_sum if num_decodes else 0
        self._num_decodes = num_decodes
        self._start_context = context_sum
        self._chunk_tokens = 0
        if plan.chunks:
            chunks = [(num, instance.running[i].num_prefilled_tokens) for i, num in plan.chunks]
            self._first_s = self.cost_model.iteration_s(
                chunks=chunks, num_decodes=num_decodes, context_sum=context_sum
            )
            self._slope_s = 0.0
            self._num_steps = 1
            self._chunk_tokens = sum(num for num, _ in chunks)
            self._attended = sum(num * (cached + num / 2) for num, cached in chunks)
        else:
            self._first_s, self._slope_s = self.cost_model.linear_decode(num_decodes, context_sum)
            is_jump = self.segments and plan.stable
            self._num_steps = instance.num_steps_ahead() if is_jump else 1
        self._start_s = now_s
        self._done = 0
        self._handle = self._kernel.at(self._end_of(self._num_steps), self._on_end)

    def _end_of(self, num_steps: int) -> float:
        """Time when `num_steps` iterations of the segment have ended."""
        return self._start_s + (
            num_steps * self._first_s + self._slope_s * (num_steps * (num_steps - 1) / 2)
        )

    def _num_started(self, now_s: float) -> int:
        """Iterations started before `now_s`: the smallest count that ends at or after it."""
        elapsed_s = now_s - self._start_s
        first_s, slope_s = self._first_s, self._slope_s
        if slope_s > 0.0:
            half = first_s - slope_s / 2
            root = math.sqrt(half * half + 2 * slope_s * max(elapsed_s, 0.0)) - half
            num_steps = math.ceil(root / slope_s)
        else:
            num_steps = math.ceil(elapsed_s / first_s)
        # The closed form may be one step off by rounding.
        num_steps = min(max(num_steps, self._done + 1), self._num_steps)
        while num_steps > self._done + 1 and self._end_of(num_steps - 1) >= now_s:
            num_steps -= 1
        while num_steps < self._num_steps and self._end_of(num_steps) < now_s:
            num_steps += 1
        return num_steps

    def _cut(self) -> None:
        """End the segment with the iteration in flight."""
        if self._handle is None or self._is_busy or self._num_steps - self._done <= 1:
            return
        num_steps = self._num_started(self._kernel.now_s)
        if num_steps < self._num_steps:
            self._num_steps = num_steps
            self._kernel.cancel(self._handle)
            self._handle = self._kernel.at(self._end_of(num_steps), self._on_end)

    def _replan(self) -> None:
        """Let the policy look again as soon as an iteration may start."""
        if self._is_busy:
            return
        if self._plan is None:
            self._begin(self._kernel.now_s)
        else:
            self._cut()

    def _on_end(self) -> None:
        """Last iteration of the segment has ended: apply it, tell the callers, go on."""
        now_s = self._kernel.now_s
        self._handle = None
        self._is_busy = True
        first_tokens, finished = self._apply(self._num_steps)
        self._plan = None
        handlers = self._handlers
        for sequence in first_tokens:
            if sequence.request_id in handlers:
                handlers[sequence.request_id][0](now_s)
        for sequence in finished:
            called = handlers.pop(sequence.request_id, None)
            if called is not None:
                reason = self._count_finish(sequence, now_s)
                called[1](now_s, reason)
        for request_id in self._aborting:
            self.instance.abort(request_id)
        self._aborting.clear()
        self._is_busy = False
        self._begin(now_s)

    def _apply(self, num_steps: int) -> tuple[list[SequenceState], list[SequenceState]]:
        """Apply iterations up to number `num_steps` of the segment and count them."""
        plan = self._plan
        assert plan is not None
        done, self._done = self._done, num_steps
        num = num_steps - done
        end_s = self._end_of(num_steps)
        meters = self.meters
        num_decodes = self._num_decodes
        meters.iterations += num
        meters.busy_s += end_s - self._end_of(done)
        meters.iteration_tokens.observe_many(num_decodes + self._chunk_tokens, num)
        attended = 0.0
        if num_decodes:
            self._count_gaps(done, num)
            attended = num * (self._start_context + num_decodes * (done + (num + 1) / 2))
        work = self.cost_model.work(
            num_tokens=num_decodes * num + self._chunk_tokens,
            num_iterations=num,
            attended_tokens=attended + (self._attended if self._chunk_tokens else 0.0),
            read_tokens=attended,
        )
        meters.flops += work.flops
        meters.moved_bytes += work.moved_bytes
        completion = self.instance.complete(plan, end_s, num)
        meters.generation_tokens += num_decodes * num
        for sequence in completion.resumed:
            meters.inter_token_latency.observe(end_s - sequence.last_token_s)
            meters.generation_tokens += 1
        for sequence in completion.first_tokens:
            meters.generation_tokens += 1
            meters.prompt_tokens += sequence.request.num_prompt_tokens
            meters.ttft.observe(end_s - sequence.request.arrival_s)
        if plan.chunks and not plan.runs_decodes:
            self._has_late = self.instance.num_decoding > 0
        return completion.first_tokens, completion.finished

    def _count_gaps(self, done: int, num: int) -> None:
        """Gaps between output tokens of the iterations done..done + num - 1 of the segment."""
        histogram = self.meters.inter_token_latency
        num_decodes = self._num_decodes
        if done == 0:
            end_s = self._end_of(1)
            last_s = self.instance.last_decode_s
            if self._has_late:
                for sequence in self.instance.running.values():
                    if sequence.phase is Phase.DECODE:
                        histogram.observe(end_s - max(last_s, sequence.decode_from_s))
                self._has_late = False
            else:
                histogram.observe_many(end_s - last_s, num_decodes)
            done, num = 1, num - 1
        first_s = self._first_s + self._slope_s * done
        histogram.observe_ramp(first_s, self._slope_s, num, num_decodes)

    def _count_finish(self, sequence: SequenceState, now_s: float) -> FinishReason:
        meters = self.meters
        reason = self.instance.finish_reason(sequence)
        meters.success[reason] += 1
        arrival_s = sequence.request.arrival_s
        meters.e2e.observe(now_s - arrival_s)
        meters.queue_time.observe(sequence.scheduled_s - arrival_s)
        meters.prefill_time.observe(sequence.first_token_s - sequence.scheduled_s)
        meters.decode_time.observe(now_s - sequence.first_token_s)
        return reason
