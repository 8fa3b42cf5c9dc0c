"""One serving instance on simulated time: durations from the cost model, made-up tokens.

Pure-decode runs are jumped in closed form (a segment); `segments=False` runs the same code one
iteration per event and is the reference. Faults of the engine (slow clock, leak, hang, death) act
here, and only through their mechanism.

Source: iteration-level simulation as in vidur (MLSys'24). Differs: an event per change of batch.
"""

from __future__ import annotations

from collections.abc import Callable

from serving.caching import instance_of
from serving.metrics import CacheConfig, EngineMeters
from serving.policies.protocols import BatchPolicy
from serving.sim.cost_model import CostModel
from serving.sim.kernel import EventHandle, Kernel
from serving.sim.segment import Segment, count_finish, count_first_tokens
from serving.state import (
    Completion,
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
    `on_finish(now_s, reason)` exactly once, from the kernel's loop or from the call that ended it
    (`abort`, `kill`). A request id may be used again once its request ended.
    """

    __slots__ = (
        "_aborting", "_frozen_left_s", "_handle", "_has_late", "_is_busy", "_is_hung", "_kernel",
        "_requests", "_segment", "_segments", "cost_model", "instance", "instance_id", "is_dead",
        "meters",
    )  # fmt: skip

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
        self.cost_model = cost_model
        self.meters = meters if meters is not None else EngineMeters()
        self.instance = instance_of(config, policy, self.meters)
        self.meters.cache_config = CacheConfig(config.num_blocks, config.block_tokens)
        self.is_dead = False
        self._kernel = kernel
        self._segments = segments
        self._requests: dict[int, tuple[SequenceState, FirstTokenHandler, FinishHandler]] = {}
        self._aborting: list[SequenceState] = []  # running ones leave when the iteration ends
        self._segment: Segment | None = None  # None while idle
        self._handle: EventHandle | None = None  # end of the segment
        self._frozen_left_s = 0.0  # rest of the iteration that a hang stopped
        self._has_late = False  # some decodes began after the last decode iteration
        self._is_hung = False
        self._is_busy = False  # inside the end of an iteration: callbacks may call back

    @property
    def num_running(self) -> int:
        """Sequences in the running list."""
        return len(self.instance.running)

    @property
    def num_waiting(self) -> int:
        """Sequences in the queue."""
        return len(self.instance.waiting)

    @property
    def load(self) -> int:
        """Outstanding requests."""
        return len(self._requests)

    @property
    def clock_ratio(self) -> float:
        """SM clock relative to the healthy one."""
        return self.cost_model.clock_ratio

    def submit(
        self, request: Request, on_first_token: FirstTokenHandler, on_finish: FinishHandler
    ) -> bool:
        """Queue a request; False when it is rejected (the meters say why)."""
        instance = self.instance
        was_empty = not instance.waiting
        admitted = RejectReason.DEAD if self.is_dead else instance.admit(request)
        if isinstance(admitted, RejectReason):
            self.meters.rejections[admitted] += 1
            return False
        assert request.request_id not in self._requests, f"{request.request_id} is here already"
        self._requests[request.request_id] = (admitted, on_first_token, on_finish)
        if was_empty or self._segment is None:
            self._replan()
        return True

    def abort(self, request_id: int) -> bool:
        """End a request now (its slot: with the iteration in flight); False when not here."""
        entry = self._requests.pop(request_id, None)
        if entry is None:
            return False
        sequence, _, on_finish = entry
        self.meters.success[FinishReason.ABORT] += 1
        if sequence.phase is Phase.WAITING:
            is_head = self.instance.waiting[0] is sequence
            self.instance.abort(sequence)
            if is_head:
                self._replan()
        elif self._segment is not None:
            self._aborting.append(sequence)
            self._replan()
        else:
            self.instance.abort(sequence)
        on_finish(self._kernel.now_s, FinishReason.ABORT)
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
        """Make `num_blocks` KV blocks in total (at most all) unusable from the next iteration."""
        instance = self.instance
        num_blocks = min(num_blocks, instance.pool.num_blocks)
        if num_blocks != instance.pool.num_lost:
            if instance.config.prefix_cache:  # what is evicted depends on what is in use by now
                self.refresh(self._kernel.now_s)
            instance.reserve_blocks(num_blocks)
            self._replan()

    def hang(self) -> None:
        """Stop iterations, the one in flight included; the queue goes on filling."""
        if self._is_hung or self.is_dead:
            return
        now_s = self._kernel.now_s
        self.refresh(now_s)
        self._cut()
        self._is_hung = True
        if self._segment is not None and self._handle is not None:
            self._frozen_left_s = self._handle[0] - now_s
            self._segment.drop_done()  # the hang lengthens one gap, not all
            self._stop_clock()

    def resume(self) -> None:
        """End a hang; the frozen iteration goes on where it stopped."""
        if not self._is_hung or self.is_dead:
            return
        self._is_hung = False
        segment = self._segment
        if segment is None:
            self._replan()
        elif not self._is_busy:
            end_s = self._kernel.now_s + self._frozen_left_s
            segment.start_s += end_s - segment.end_of(segment.num_steps)
            self._handle = self._kernel.at(end_s, self._on_end)

    def kill(self) -> None:
        """Die: whatever is here ends with an error, and nothing is admitted any more."""
        if self.is_dead:
            return
        now_s = self._kernel.now_s
        self.refresh(now_s)
        self.is_dead = True
        self._stop_clock()
        self._segment = None
        self._aborting.clear()
        self.instance.abort_all()
        entries = list(self._requests.values())
        self._requests.clear()
        self.meters.success[FinishReason.ERROR] += len(entries)
        for _, _, on_finish in entries:
            on_finish(now_s, FinishReason.ERROR)

    def refresh(self, now_s: float) -> None:
        """Bring meters up to `now_s`: iterations that ended inside the segment, and gauges."""
        segment = self._segment
        if segment is not None and self._handle is not None:
            num_ended = segment.num_begun(now_s) - 1
            if num_ended > segment.num_done:
                self._apply(segment, num_ended, segment.end_of(num_ended))
        instance, meters = self.instance, self.meters
        meters.running, meters.waiting = len(instance.running), len(instance.waiting)
        meters.kv_usage_ratio = instance.pool.num_used / instance.pool.num_blocks

    def check_invariants(self) -> None:
        """Assert that every count agrees with the sequences; costs O(running + blocks)."""
        self.instance.check_invariants()

    # The segment in flight.

    def _replan(self) -> None:
        """Let the policy look again as soon as an iteration may start."""
        if self._is_busy:
            return
        if self._segment is None:
            self._begin(self._kernel.now_s)
        else:
            self._cut()

    def _begin(self, now_s: float) -> None:
        """Plan and start a segment; stays idle when nothing can run."""
        if self._is_hung or self.is_dead:
            return
        plan = (instance := self.instance).plan(now_s)
        self.meters.preemptions = instance.num_preemptions
        if plan.is_empty:
            return
        segment = Segment(plan, instance, self.cost_model, now_s)
        if self._segments and plan.stable:
            segment.num_steps = instance.num_steps_ahead(plan)
        self._segment = segment
        self._handle = self._kernel.at(segment.end_of(segment.num_steps), self._on_end)

    def _stop_clock(self) -> None:
        if self._handle is not None:
            self._kernel.cancel(self._handle)
            self._handle = None

    def _cut(self) -> None:
        """End the segment with the iteration in flight."""
        segment = self._segment
        if segment is None or self._handle is None or segment.num_steps - segment.num_done <= 1:
            return
        num_steps = segment.num_begun(self._kernel.now_s)
        if num_steps < segment.num_steps:
            segment.num_steps = num_steps
            self._kernel.cancel(self._handle)
            self._handle = self._kernel.at(segment.end_of(num_steps), self._on_end)

    def _on_end(self) -> None:
        """Last iteration of the segment has ended: apply it, tell the callers, go on."""
        now_s, segment = self._kernel.now_s, self._segment
        assert segment is not None
        self._handle = None
        self._is_busy = True
        completion = self._apply(segment, segment.num_steps, now_s)
        requests = self._requests
        for sequence in completion.first_tokens:
            entry = requests.get(sequence.request.request_id)
            if entry is not None and entry[0] is sequence:
                entry[1](now_s)
        for sequence in completion.finished:
            entry = requests.get(sequence.request.request_id)
            if entry is not None and entry[0] is sequence:
                del requests[sequence.request.request_id]
                entry[2](now_s, count_finish(self.meters, sequence, now_s))
        for sequence in self._aborting:
            self.instance.abort(sequence)
        self._aborting.clear()
        self._segment = None
        self._is_busy = False
        self._begin(now_s)

    def _apply(self, segment: Segment, num_steps: int, end_s: float) -> Completion:
        """Apply the iterations up to number `num_steps` of the segment and count them."""
        meters, instance = self.meters, self.instance
        if segment.num_decodes:
            late = None
            if self._has_late:
                self._has_late = False
                late = [s.decode_from_s for s in instance.running.values() if s.turn]
            segment.count_gaps(meters, num_steps, instance.last_decode_s, late)
        segment.count_iterations(meters, self.cost_model, num_steps, end_s)
        completion = instance.complete(segment.plan, end_s, num_steps - segment.num_done)
        segment.num_done = num_steps
        if segment.chunk_tokens:
            count_first_tokens(meters, completion, end_s)
            if not segment.num_decodes:
                self._has_late = instance.decodes.num > 0
        return completion
