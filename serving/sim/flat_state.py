"""State of a `FlatInstance`: requests, KV blocks as counts, decodes and the segment as numbers.

What is planned lives in `flat_plan`, what happens in `flat_instance`.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from heapq import heappush

from serving.metrics import CacheConfig, EngineMeters
from serving.sim.cost_model import CostModel
from serving.sim.flat_times import FlatTimes
from serving.state import FinishReason, InstanceConfig, Request

Ending = tuple[int, int, "Job"]  # (step of the last token, number of the joining, job)
Chunks = list[tuple["Job", int]]  # prompts of one iteration with their new tokens
NO_CHUNKS: Chunks = []  # of all segments without prefill; nobody may change it


# Where a job stands. Plain numbers: comparing members of an enum costs a call.
WAITING, PREFILL, DECODE, ENDED = range(4)


class Job:
    """One request inside a flat instance; compare `SequenceState`."""

    __slots__ = ("base", "first_token_s", "is_gone", "last_token_s", "num_cached", "num_emitted",
                 "num_prefill", "number", "on_finish", "on_first_token", "reason", "request",
                 "scheduled_s", "stage")  # fmt: skip

    def __init__(
        self,
        request: Request,
        number: int,
        on_first_token: Callable[[float], None],
        on_finish: Callable[[float, FinishReason], None],
    ) -> None:
        self.request = request
        self.number = number  # order of arrival, and so of admission
        self.on_first_token, self.on_finish = on_first_token, on_finish
        self.num_prefill = request.num_prompt_tokens  # plus what a preemption dropped
        self.num_cached = 0
        self.num_emitted = 0  # tokens before the current prefill
        self.base = 0  # context, less the decode step counter
        self.stage = WAITING
        self.is_gone = False  # aborted: nobody waits for it any more
        self.reason = FinishReason.STOP
        self.scheduled_s = self.first_token_s = -1.0
        self.last_token_s = 0.0  # before the last preemption


class FlatState:
    """Numbers that describe one instance between two events."""

    __slots__ = (
        "base_sum", "block_tokens", "budget", "chunk_attended", "chunk_slope", "chunk_tokens",
        "chunks", "context", "context_limit", "cost_model", "done", "ends", "first_s", "is_full",
        "last_s", "meters", "num_blocks", "num_decoding", "num_lost", "num_preemptions",
        "prefill_blocks", "prefilling", "queue_max", "residues", "sequences_max", "slope_s",
        "start_s", "step", "steps", "times", "turn", "waiting",
    )  # fmt: skip

    def __init__(
        self,
        config: InstanceConfig,
        *,
        token_budget: int,
        cost_model: CostModel,
        meters: EngineMeters,
    ) -> None:
        self.cost_model = cost_model
        self.times: FlatTimes  # of the cost model; set by the driver, which shares them
        self.meters = meters
        meters.cache_config = CacheConfig(config.num_blocks, config.block_tokens)
        self.budget = token_budget
        self.num_blocks, self.block_tokens = config.num_blocks, config.block_tokens
        self.sequences_max, self.queue_max = config.sequences_max, config.queue_max
        self.context_limit = config.context_limit
        self.num_lost = 0  # KV blocks that a leak took
        self.num_preemptions = 0
        self.waiting: deque[Job] = deque()
        self.prefilling: list[Job] = []  # in order of admission
        self.prefill_blocks = 0
        # Decodes: see `serving.kvcache.decode_group`, whose bookkeeping this is.
        self.num_decoding = 0
        self.step = 0
        self.turn = 0
        self.base_sum = 0
        self.residues = [0] * config.block_tokens
        self.ends: list[Ending] = []
        self.last_s = 0.0  # end of the last iteration
        # The segment in flight: see `serving.sim.segment`.
        self.chunks = NO_CHUNKS
        self.start_s = self.first_s = self.slope_s = 0.0
        self.steps = self.done = 0
        self.context = 0  # of the decodes at its start
        self.chunk_tokens = 0
        self.chunk_attended = self.chunk_slope = 0.0
        self.is_full = False  # one more prompt would not change the plan

    def end_of(self, steps: int) -> float:
        """Time when the first `steps` iterations of the segment have ended."""
        return self.start_s + steps * self.first_s + self.slope_s * (steps * (steps - 1) / 2)

    def num_begun(self, now_s: float) -> int:
        """Iterations of the segment begun before `now_s`, see `Segment.num_begun`."""
        first_s, slope_s, start_s = self.first_s, self.slope_s, self.start_s
        elapsed_s = now_s - start_s
        elapsed_s = elapsed_s if elapsed_s > 0.0 else 0.0
        half_s = first_s - slope_s / 2
        if slope_s > 0.0:
            root = math.sqrt(half_s * half_s + 2 * slope_s * elapsed_s)
            num = math.ceil((root - half_s) / slope_s)
        else:
            num = math.ceil(elapsed_s / first_s)
        least, most = self.done + 1, self.steps
        num = least if num < least else most if num > most else num
        while num > least and self.end_of(num - 1) >= now_s:
            num -= 1
        while num < most and self.end_of(num) < now_s:
            num += 1
        return num

    def num_used(self) -> int:
        """KV blocks in use by requests."""
        step, block_tokens = self.step, self.block_tokens
        context = self.base_sum + step * self.num_decoding
        pad = sum(
            num * (-(residue + step) % block_tokens)
            for residue, num in enumerate(self.residues)
            if num
        )
        return self.prefill_blocks + (context + pad) // block_tokens

    def num_free_beside_decodes(self) -> int:
        """KV blocks free after the next token of every decode; negative when they run short."""
        needed = self.residues[-self.step % self.block_tokens]
        return self.num_blocks - self.num_lost - self.num_used() - needed

    def join(self, job: Job, num_left: int) -> None:
        """Let a job whose prefill is done decode for `num_left` steps."""
        base = job.base = job.num_prefill - self.step
        job.stage = DECODE
        self.turn += 1
        self.num_decoding += 1
        self.base_sum += base
        self.residues[base % self.block_tokens] += 1
        heappush(self.ends, (self.step + num_left, self.turn, job))

    def drop_done(self) -> None:
        """Let the segment begin with the first iteration that is not applied yet."""
        done = self.done
        self.start_s = self.end_of(done)
        self.first_s += self.slope_s * done
        self.context += self.num_decoding * done
        self.chunk_attended += self.chunk_slope * done
        self.steps -= done
        self.done = 0

    def check_invariants(self) -> None:
        """Assert that every count agrees with the jobs; costs O(jobs)."""
        decoding = [job for _, _, job in self.ends]
        assert all(job.stage == DECODE for job in decoding), "a stage that cannot decode"
        assert all(job.stage == PREFILL for job in self.prefilling), "a stage without prefill"
        assert all(job.stage == WAITING for job in self.waiting), "a stage that cannot wait"
        assert len(decoding) == self.num_decoding, f"{len(decoding)}, {self.num_decoding} counted"
        assert sum(job.base for job in decoding) == self.base_sum, "sum of bases is off"
        for residue, num in enumerate(self.residues):
            real = sum(job.base % self.block_tokens == residue for job in decoding)
            assert num == real, f"residue {residue}: counted {num}, real {real}"
        assert all(end > self.step for end, _, _ in self.ends), "a job ran past its end"
        num_running = self.num_decoding + len(self.prefilling)
        assert num_running <= self.sequences_max, f"{num_running} requests run"
        numbers = sorted(job.number for job in [*decoding, *self.prefilling])
        numbers += [job.number for job in self.waiting]
        assert numbers == sorted(set(numbers)), f"FIFO order broken: {numbers}"
        held = [-(-job.num_prefill // self.block_tokens) for job in self.prefilling]
        assert sum(held) == self.prefill_blocks, f"{held} held, {self.prefill_blocks} counted"
        held += [-(-(job.base + self.step) // self.block_tokens) for job in decoding]
        assert sum(held) == self.num_used() <= self.num_blocks, f"{held} held, {self.num_used()}"
