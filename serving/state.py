"""State and decisions of one serving instance: requests, sequences, batch plans. Data only."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from serving.errors import ConfigError

PrefillChunk = tuple[int, int]  # (seq_id, new prompt tokens of this iteration)


def ceil_div(num: int, per: int) -> int:
    """Smallest integer not below num / per."""
    return -(-num // per)


class Phase(Enum):
    """Where a sequence stands in its life."""

    WAITING = "waiting"
    PREFILL = "prefill"
    DECODE = "decode"
    FINISHED = "finished"


class FinishReason(Enum):
    """Why a request ended; the values are vLLM's label values."""

    STOP = "stop"
    LENGTH = "length"
    ABORT = "abort"
    ERROR = "error"


class RejectReason(Enum):
    """Why a request was not admitted."""

    QUEUE_FULL = "queue_full"
    TOO_LONG = "too_long"
    DRAINING = "draining"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class Prefix:
    """What a prompt begins with: equal ids at equal places mean equal tokens.

    Each id stands for `block_tokens` tokens, the last one perhaps for fewer.
    """

    block_tokens: int
    ids: tuple[int, ...]


@dataclass(slots=True, kw_only=True, unsafe_hash=True)
class Request:
    """What a user sends; nobody may change it.

    `num_output_tokens` is known to the world only: no policy sees it. Not `frozen`, which would
    make its construction, once or twice per simulated request, three times as slow.
    """

    request_id: int
    arrival_s: float
    num_prompt_tokens: int
    num_output_tokens: int
    priority: int = 0
    prefix: Prefix | None = None  # None: unknown, shares nothing

    def __post_init__(self) -> None:
        if self.num_prompt_tokens < 1 or self.num_output_tokens < 1:
            raise ConfigError(
                f"request {self.request_id}: {self.num_prompt_tokens} prompt and "
                f"{self.num_output_tokens} output tokens, expected at least 1 of each; "
                "drop such rows when reading the trace"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceConfig:
    """Sizes of one serving instance."""

    num_blocks: int
    block_tokens: int = 16
    sequences_max: int = 128
    queue_max: int = 512  # waiting requests; beyond it a request is rejected
    context_tokens_max: int = 0  # prompt + output of one request; 0 = what the blocks hold
    prefix_cache: bool = False  # keep the KV of prompts for later ones that begin alike

    def __post_init__(self) -> None:
        for name in ("num_blocks", "block_tokens", "sequences_max", "queue_max"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}, expected at least 1")
        capacity = self.num_blocks * self.block_tokens
        if not 0 <= self.context_tokens_max <= capacity:
            raise ConfigError(
                f"context_tokens_max is {self.context_tokens_max}, expected 0 to {capacity} "
                "(num_blocks x block_tokens): a longer request could never run"
            )

    @property
    def context_limit(self) -> int:
        """Longest context that one sequence may reach, in tokens."""
        return self.context_tokens_max or self.num_blocks * self.block_tokens


@dataclass(slots=True, eq=False)
class SequenceState:
    """Running state of one request inside an instance; owned by that instance.

    A decoding sequence is not touched per iteration: its context is `base` plus the instance's
    decode step counter, and it ends when the counter reaches `end_step`.
    """

    request: Request
    seq_id: int  # also its place in the instance's FIFO; kept by a preempted sequence
    num_prefill_tokens: int  # prompt, plus the tokens generated before a recompute preemption
    num_prefilled_tokens: int = 0
    num_generated_before: int = 0  # output tokens emitted before the current prefill
    phase: Phase = Phase.WAITING
    block_table: list[int] = field(default_factory=list)  # lags in decode, see BlockPool.owe
    base: int = 0
    end_step: int = 0
    turn: int = 0  # which joining of the decode group this is; 0 outside it
    finish_reason: FinishReason = FinishReason.STOP  # how it will end if it runs to its end
    scheduled_s: float = -1.0  # first time in a batch; negative before
    first_token_s: float = -1.0  # negative before
    decode_from_s: float = 0.0  # end of the prefill that led to the current decode phase
    last_token_s: float = 0.0  # last output token before the last preemption

    @property
    def num_prefill_left(self) -> int:
        """Tokens whose KV is still to be computed before the next output token."""
        return self.num_prefill_tokens - self.num_prefilled_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchPlan:
    """What one iteration runs.

    Decodes are all or none, so that a plan costs what changes, not what runs.
    `stable`: with nothing admitted, finished, aborted, resized or newly first in the queue, the
    policy answers the same for every following iteration until blocks run short or a prompt has
    less left than its chunk.
    """

    runs_decodes: bool = False
    chunks: tuple[PrefillChunk, ...] = ()
    preempted: tuple[int, ...] = ()  # sequence ids in the order of preemption
    stable: bool = False

    @property
    def is_empty(self) -> bool:
        """True when no token is computed."""
        return not self.runs_decodes and not self.chunks


@dataclass(slots=True)
class Completion:
    """What the end of an iteration brought, each list in the order in which it happened."""

    first_tokens: list[SequenceState] = field(default_factory=list)
    resumed: list[SequenceState] = field(default_factory=list)  # next token after a recompute
    finished: list[SequenceState] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Slo:
    """Latency limits of one service class."""

    ttft_s: float
    tpot_s: float
    target_ratio: float = 0.9  # share of requests that must meet both

    def __post_init__(self) -> None:
        if not (self.ttft_s > 0.0 and self.tpot_s > 0.0 and 0.0 < self.target_ratio <= 1.0):
            raise ConfigError(
                f"SLO of ttft_s {self.ttft_s}, tpot_s {self.tpot_s}, target_ratio "
                f"{self.target_ratio}: expected limits above 0 and a share in (0, 1]"
            )
