"""Iteration times for `FlatInstance`: one look-up per part, each computed when first asked for."""

from __future__ import annotations

from collections.abc import Callable

from serving.sim.cost_model import CostModel


class _Kept(dict[int, float]):
    """Values of a function of one number."""

    __slots__ = ("_of",)

    def __init__(self, of: Callable[[int], float]) -> None:
        super().__init__()
        self._of = of

    def __missing__(self, num: int) -> float:
        value = self[num] = self._of(num)
        return value


class FlatTimes:
    """Parts of an iteration's time, as in `StepTimes`, which see for how they add up.

    Differs: lazy, because a fault may bring a new clock, and with it new times, every few seconds.
    """

    __slots__ = ("chunk_s", "context_s", "decode_s", "half_tokens", "mixed_context_s", "mixed_s",
                 "sequences_s", "tokens_s")  # fmt: skip

    def __init__(self, cost_model: CostModel) -> None:
        half = self.half_tokens = cost_model.gpu.prefill_half_tokens
        self.context_s = cost_model.slope_s(chunks=(), num_decodes=1)
        self.chunk_s = cost_model.slope_s(chunks=((1, 0),), num_decodes=0) / (1 + half)
        ones_s = (1 + half) / 2 * self.chunk_s  # attention of a chunk of one token
        tokens_s = _Kept(
            lambda num: (
                cost_model.iteration_s(chunks=((num, 0),), num_decodes=0, context_sum=0)
                - (num + half) * num / 2 * self.chunk_s
            )
        )
        sequences_s = _Kept(
            lambda num: (
                cost_model.iteration_s(chunks=((1, 0),) * num, num_decodes=0, context_sum=0)
                - tokens_s[num]
                - num * ones_s
            )
        )
        self.tokens_s, self.sequences_s = tokens_s, sequences_s
        self.decode_s = _Kept(lambda num: cost_model.linear_decode(num, 0)[0])
        self.mixed_s = _Kept(
            lambda num: (
                cost_model.iteration_s(chunks=((1, 0),), num_decodes=num, context_sum=0)
                - tokens_s[num + 1]
                - sequences_s[num + 1]
                - ones_s
            )
        )
        self.mixed_context_s = _Kept(
            lambda num: cost_model.slope_s(chunks=((0, 0),), num_decodes=num) / num
        )
