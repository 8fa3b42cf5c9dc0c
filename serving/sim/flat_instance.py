"""`SimInstance` for chunked prefill without a prefix cache, on plain numbers: twice as fast.

Same interface, same callbacks, same meters, same faults. See docs/adr/0008 for why it stands beside
`SimInstance`, which is the reference: tests hold the two together.
"""

from __future__ import annotations

from heapq import heappop

from serving.metrics import EngineMeters
from serving.sim.cost_model import CostModel
from serving.sim.flat_plan import leave, plan
from serving.sim.flat_state import ENDED, WAITING, FlatState, Job
from serving.sim.flat_times import FlatTimes
from serving.sim.flat_work import advance, count_end, end_prompts
from serving.sim.instance import FinishHandler, FirstTokenHandler
from serving.sim.kernel import EventHandle, Kernel
from serving.state import FinishReason, InstanceConfig, RejectReason, Request


class FlatInstance(FlatState):
    """Driver of one engine; see `SimInstance` for what its callers may rely on.

    Args:
        times: clock -> iteration times, shared by instances of one cost model.
    """

    __slots__ = ("_aborting", "_frozen_left_s", "_handle", "_is_busy", "_is_draining", "_is_hung",
                 "_kernel", "_next_number", "_requests", "_runs", "_times", "instance_id",
                 "is_dead", "load")  # fmt: skip

    def __init__(
        self,
        kernel: Kernel,
        instance_id: str,
        *,
        config: InstanceConfig,
        token_budget: int,
        cost_model: CostModel,
        meters: EngineMeters | None = None,
        times: dict[float, FlatTimes] | None = None,
    ) -> None:
        assert not config.prefix_cache, "flat instances keep no prefix cache"
        super().__init__(
            config,
            token_budget=token_budget,
            cost_model=cost_model,
            meters=meters if meters is not None else EngineMeters(),
        )
        self._times = times if times is not None else {}
        self.times = self._times_now()
        self.instance_id = instance_id
        self.is_dead = False
        self.load = 0  # outstanding requests
        self._kernel = kernel
        self._requests: dict[int, Job] = {}
        self._next_number = 0
        self._aborting: list[Job] = []  # running ones leave when the iteration ends
        self._runs = False  # a segment is in flight
        self._handle: EventHandle | None = None  # its end
        self._frozen_left_s = 0.0  # rest of the iteration that a hang stopped
        self._is_hung = self._is_draining = False
        self._is_busy = False  # inside the end of an iteration: callbacks may call back

    @property
    def num_running(self) -> int:
        """Requests in the batch."""
        return self.num_decoding + len(self.prefilling)

    @property
    def num_waiting(self) -> int:
        """Requests in the queue."""
        return len(self.waiting)

    @property
    def clock_ratio(self) -> float:
        """SM clock relative to the healthy one."""
        return self.cost_model.clock_ratio

    def submit(
        self, request: Request, on_first_token: FirstTokenHandler, on_finish: FinishHandler
    ) -> bool:
        """Queue a request; False when it is rejected (the meters say why)."""
        waiting = self.waiting
        num_waiting = len(waiting)
        if (
            self.is_dead
            or self._is_draining
            or request.num_prompt_tokens >= self.context_limit
            or num_waiting >= self.queue_max
        ):
            self.meters.rejections[self._refusal(request)] += 1
            return False
        request_id = request.request_id
        requests = self._requests
        assert request_id not in requests, f"{request_id} is here already"
        self._next_number = number = self._next_number + 1
        job = requests[request_id] = Job(request, number, on_first_token, on_finish)
        self.load += 1
        waiting.append(job)
        if self._is_busy:
            return True
        if not self._runs:
            self._begin(self._kernel.now_s)
        elif not num_waiting and not self.is_full and self.steps - self.done > 1:
            self._cut()
        return True

    def abort(self, request_id: int) -> bool:
        """End a request now (its slot: with the iteration in flight); False when not here."""
        job = self._requests.pop(request_id, None)
        if job is None:
            return False
        job.is_gone = True
        self.load -= 1
        self.meters.success[FinishReason.ABORT] += 1
        if job.stage == WAITING:
            is_head = self.waiting[0] is job
            self.waiting.remove(job)
            job.stage = ENDED
            if is_head:
                self._replan()
        elif self._runs:
            self._aborting.append(job)
            self._replan()
        else:
            leave(self, job)
        job.on_finish(self._kernel.now_s, FinishReason.ABORT)
        return True

    def drain(self) -> None:
        """Refuse new requests; those here run to their end."""
        self._is_draining = True

    def set_clock_ratio(self, clock_ratio: float) -> None:
        """Change the SM clock from the next iteration on; 1.0 is healthy."""
        cost_model = self.cost_model.at_clock(clock_ratio)
        if cost_model is not self.cost_model:
            self.cost_model = cost_model
            self.times = self._times_now()
            self._cut()

    def reserve_blocks(self, num_blocks: int) -> None:
        """Make `num_blocks` KV blocks in total (at most all) unusable from the next iteration."""
        num_blocks = min(num_blocks, self.num_blocks)
        if num_blocks != self.num_lost:
            self.num_lost = num_blocks
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
            self.drop_done()  # the hang lengthens one gap, not all
            self._stop_clock()

    def resume(self) -> None:
        """End a hang; the frozen iteration goes on where it stopped."""
        if not self._is_hung or self.is_dead:
            return
        self._is_hung = False
        if not self._runs:
            self._replan()
        elif not self._is_busy:
            end_s = self._kernel.now_s + self._frozen_left_s
            self.start_s += end_s - self.end_of(self.steps)
            self._handle = self._kernel.at(end_s, self._on_end)

    def kill(self) -> None:
        """Die: whatever is here ends with an error, and nothing is admitted any more."""
        if self.is_dead:
            return
        now_s = self._kernel.now_s
        self.refresh(now_s)
        self.is_dead = True
        self._stop_clock()
        self._runs = False
        self._aborting.clear()
        jobs = list(self._requests.values())
        for job in jobs:
            job.is_gone, job.stage = True, ENDED
        self._requests.clear()
        self.waiting.clear()
        self.prefilling.clear()
        self.ends, self.residues = [], [0] * self.block_tokens
        self.load = self.num_decoding = self.base_sum = self.prefill_blocks = 0
        self.meters.success[FinishReason.ERROR] += len(jobs)
        for job in jobs:
            job.on_finish(now_s, FinishReason.ERROR)

    def refresh(self, now_s: float) -> None:
        """Bring meters up to `now_s`: iterations that ended inside the segment, and gauges."""
        if self._handle is not None:
            num_ended = self.num_begun(now_s) - 1
            if num_ended > self.done:
                advance(self, num_ended, self.end_of(num_ended))
        meters = self.meters
        meters.running, meters.waiting = self.num_decoding + len(self.prefilling), len(self.waiting)
        meters.kv_usage_ratio = self.num_used() / self.num_blocks

    # The segment in flight.

    def _replan(self) -> None:
        """Look again as soon as an iteration may start."""
        if self._is_busy:
            return
        if self._runs:
            self._cut()
        else:
            self._begin(self._kernel.now_s)

    def _begin(self, now_s: float) -> None:
        """Plan and start a segment; stays idle when nothing can run."""
        if self._is_hung or self.is_dead:
            return
        self._runs = plan(self, now_s)
        self.meters.preemptions = self.num_preemptions
        if self._runs:
            steps = self.steps
            end_s = now_s + steps * self.first_s + self.slope_s * (steps * (steps - 1) / 2)
            self._handle = self._kernel.at(end_s, self._on_end)

    def _stop_clock(self) -> None:
        if self._handle is not None:
            self._kernel.cancel(self._handle)
            self._handle = None

    def _cut(self) -> None:
        """End the segment with the iteration in flight."""
        if self._handle is None or self.steps - self.done <= 1:
            return
        steps = self.num_begun(self._kernel.now_s)
        if steps < self.steps:
            self.steps = steps
            self._kernel.cancel(self._handle)
            self._handle = self._kernel.at(self.end_of(steps), self._on_end)

    def _on_end(self) -> None:
        """Last iteration of the segment has ended: apply it, tell the callers, go on."""
        now_s = self._kernel.now_s
        self._handle = None
        self._is_busy = True
        advance(self, self.steps, now_s)
        ended: list[Job] = []
        ends = self.ends
        if ends:
            step, residues, block_tokens = self.step, self.residues, self.block_tokens
            while ends and ends[0][0] <= step:
                job = heappop(ends)[2]
                self.num_decoding -= 1
                self.base_sum -= job.base
                residues[job.base % block_tokens] -= 1
                job.stage = ENDED
                ended.append(job)
        if self.chunks:
            end_prompts(self, now_s, ended)
        if ended:
            self._tell(ended, now_s)
        if self._aborting:
            for job in self._aborting:
                leave(self, job)
            self._aborting.clear()
        self._is_busy = False
        self._begin(now_s)

    def _tell(self, ended: list[Job], now_s: float) -> None:
        meters, requests = self.meters, self._requests
        for job in ended:
            if job.is_gone:
                continue
            del requests[job.request.request_id]
            self.load -= 1
            count_end(meters, job, now_s)
            job.is_gone = True
            job.on_finish(now_s, job.reason)

    def _times_now(self) -> FlatTimes:
        clock = self.cost_model.clock_ratio
        times = self._times.get(clock)
        if times is None:
            times = self._times[clock] = FlatTimes(self.cost_model)
        return times

    def _refusal(self, request: Request) -> RejectReason:
        if self.is_dead:
            return RejectReason.DEAD
        if self._is_draining:
            return RejectReason.DRAINING
        if request.num_prompt_tokens >= self.context_limit:
            return RejectReason.TOO_LONG
        return RejectReason.QUEUE_FULL
