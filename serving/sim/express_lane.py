"""One instance of the express fleet: chunked prefill on plain numbers, segment by segment.

Differs: the same rules as `Instance` under `ChunkedPrefill`, written out once more without objects
per sequence, plan and segment, for speed. `SimInstance` is the reference and tests hold the two
together; faults, aborts and other policies exist only there.
"""

from __future__ import annotations

import math
from array import array
from collections import deque
from collections.abc import Iterator

from serving.sim.outcomes import Arrivals, Outcomes
from serving.sim.step_times import StepTimes
from serving.state import InstanceConfig

IDLE = 0  # order of a lane without a segment in flight

Ending = tuple[int, int, int]  # (step of the last token, row, context at step 0)
Prompt = list[int]  # [row, tokens left to prefill, tokens in the KV]
Chunks = list[tuple[Prompt, int]]
NO_CHUNKS: Chunks = []  # of all segments without prefill; nobody may change it


class Lane:
    """One instance; a segment is in flight unless `order` is IDLE."""

    __slots__ = (
        "ahead_s", "base_sum", "block_tokens", "budget", "carry", "chunks", "context_limit",
        "end_column", "ends", "first_column", "first_s", "is_full", "log", "num_blocks",
        "num_decoding", "num_ended", "num_output", "num_preemptions", "num_prompt", "order",
        "orders", "outcome_column", "prefill_blocks", "prefilling", "queue_max", "rank",
        "residues", "sequences_max", "slope_s", "start_s", "step", "steps", "tail_s", "times",
        "waiting",
    )  # fmt: skip

    def __init__(
        self,
        rank: int,
        *,
        config: InstanceConfig,
        times: StepTimes,
        token_budget: int,
        arrivals: Arrivals,
        outcomes: Outcomes,
        log: array[float],
        orders: Iterator[int],
    ) -> None:
        self.rank = rank
        self.order = IDLE  # number of the segment in flight; a cut gives it a new one
        self.waiting: deque[int] = deque()  # rows
        self.num_ended = 0  # requests that ended with the last segment
        self.num_preemptions = 0
        self.num_blocks = config.num_blocks
        self.block_tokens = config.block_tokens
        self.sequences_max = config.sequences_max
        self.queue_max = config.queue_max
        self.context_limit = config.context_limit
        self.budget = token_budget
        self.times = times
        self.num_prompt = arrivals.num_prompt_tokens
        self.num_output = arrivals.num_output_tokens
        self.first_column = outcomes.first_token_s
        self.end_column = outcomes.end_s
        self.outcome_column = outcomes.outcome
        # Of segments that ended: first iteration, slope, iterations, decoding sequences, flat.
        self.log = log
        self.orders = orders
        self.prefilling: list[Prompt] = []  # in order of admission
        self.prefill_blocks = 0  # theirs; those of decodes follow from the counts below
        self.carry: dict[int, tuple[int, float]] = {}  # preempted: tokens emitted, last one's time
        # Decodes: see `serving.kvcache.decode_group`, whose bookkeeping this is.
        self.num_decoding = 0
        self.step = 0
        self.base_sum = 0
        self.residues = [0] * config.block_tokens
        self.ends: list[Ending] = []
        # The segment in flight.
        self.chunks = NO_CHUNKS
        self.start_s = self.first_s = self.slope_s = 0.0
        self.steps = 0
        self.is_full = False  # a new prompt would not change the plan
        self.ahead_s = 0.0  # last decode iteration, where it was applied before its end
        self.tail_s = 0.0  # the prompt's last chunk follows at once and takes this; 0 = it does not

    def ended_by(self, now_s: float) -> tuple[int, float]:
        """Iterations in flight that have ended by `now_s`, and their seconds.

        Negative where one that is applied already has not.
        """
        if now_s < self.start_s:
            return -1, -self.ahead_s
        end_s = self.end_of(self.steps)
        if self.tail_s and now_s > end_s:
            return self.steps, end_s - self.start_s
        num_ended = self.num_begun(now_s) - 1
        return num_ended, self.end_of(num_ended) - self.start_s

    def num_begun(self, now_s: float) -> int:
        """Iterations of the segment begun before `now_s`, see `Segment.num_begun`."""
        first_s, slope_s, steps = self.first_s, self.slope_s, self.steps
        start_s = self.start_s
        elapsed_s = now_s - start_s
        half_s = first_s - slope_s / 2
        if slope_s > 0.0:
            root = math.sqrt(half_s * half_s + 2 * slope_s * elapsed_s)
            num = math.ceil((root - half_s) / slope_s)
        else:
            num = math.ceil(elapsed_s / first_s)
        num = 1 if num < 1 else steps if num > steps else num
        # The ends of iterations num - 1 and num, written as in `end_of`.
        while num > 1:
            before = num - 1
            if start_s + before * first_s + slope_s * (before * (before - 1) / 2) < now_s:
                break
            num = before
        while num < steps and start_s + num * first_s + slope_s * (num * (num - 1) / 2) < now_s:
            num += 1
        return num

    def end_of(self, steps: int) -> float:
        """Time when the first `steps` iterations of the segment have ended."""
        return self.start_s + steps * self.first_s + self.slope_s * (steps * (steps - 1) / 2)
