"""Iteration times as lists, so that one costs a few look-ups; made from a cost model's answers."""

from __future__ import annotations

from serving.sim.cost_model import CostModel


class StepTimes:
    """Times of batches with at most `sequences_max` sequences.

    Pure decode of b sequences: `decode_s[b]` + `context_s` x context, plus `decode_slope_s[b]` for
    each iteration before. With prefill chunks: `tokens_s[tokens]` + `sequences_s[sequences]` +
    `chunk_s` x sum of (c + half_tokens) (cached + c / 2) + `mixed_s[b]` + `mixed_context_s[b]` x
    context. Exact as long as the model is linear in contexts, which `linear_decode` and `slope_s`
    promise.

    Sums for one prompt beside b decodes: `solo_s[b]` is its `sequences_s` + `mixed_s`. Where it
    takes all that b decodes leave of `token_budget` and has nothing cached yet, an iteration takes
    `full_s[b]` + `mixed_context_s[b]` x context, plus `full_slope_s[b]` for each one before.
    """

    __slots__ = (
        "chunk_s",
        "context_s",
        "decode_s",
        "decode_slope_s",
        "full_s",
        "full_slope_s",
        "half_tokens",
        "mixed_context_s",
        "mixed_s",
        "mixed_slope_s",
        "sequences_s",
        "solo_s",
        "tokens_s",
    )

    def __init__(self, cost_model: CostModel, *, token_budget: int, sequences_max: int) -> None:
        decodes = range(sequences_max + 1)
        lines = [cost_model.linear_decode(num, 0) for num in decodes]
        self.decode_s = [first_s for first_s, _ in lines]
        self.decode_slope_s = [slope_s for _, slope_s in lines]
        self.context_s = cost_model.slope_s(chunks=(), num_decodes=1)
        half = self.half_tokens = cost_model.gpu.prefill_half_tokens
        self.chunk_s = cost_model.slope_s(chunks=((1, 0),), num_decodes=0) / (1 + half)
        self.mixed_slope_s = [
            cost_model.slope_s(chunks=((0, 0),), num_decodes=num) for num in decodes
        ]
        self.mixed_context_s = [
            slope_s / max(num, 1) for num, slope_s in zip(decodes, self.mixed_slope_s, strict=True)
        ]
        ones = (1 + half) / 2 * self.chunk_s  # attention of a chunk of one token
        self.tokens_s = _TokenTimes(cost_model, half, self.chunk_s)
        self.sequences_s = [0.0] + [
            cost_model.iteration_s(chunks=((1, 0),) * num, num_decodes=0, context_sum=0)
            - self.tokens_s[num]
            - num * ones
            for num in range(1, sequences_max + 2)
        ]
        self.mixed_s = [
            cost_model.iteration_s(chunks=((1, 0),), num_decodes=num, context_sum=0)
            - self.tokens_s[num + 1]
            - self.sequences_s[num + 1]
            - ones
            for num in decodes
        ]
        self.solo_s = [self.sequences_s[num + 1] + self.mixed_s[num] for num in decodes]
        chunks = [max(token_budget - num, 0) for num in decodes]
        self.full_s = [
            self.tokens_s[num + chunk]
            + self.solo_s[num]
            + (chunk + half) * chunk / 2 * self.chunk_s
            for num, chunk in zip(decodes, chunks, strict=True)
        ]
        self.full_slope_s = [
            self.mixed_slope_s[num] + (chunk + half) * chunk * self.chunk_s
            for num, chunk in zip(decodes, chunks, strict=True)
        ]


class _TokenTimes(dict[int, float]):
    """Seconds by number of new tokens, worked out when first asked for; 0 for none."""

    __slots__ = ("_chunk_s", "_cost_model", "_half_tokens")

    def __init__(self, cost_model: CostModel, half_tokens: float, chunk_s: float) -> None:
        super().__init__({0: 0.0})
        self._cost_model = cost_model
        self._half_tokens = half_tokens
        self._chunk_s = chunk_s

    def __missing__(self, num: int) -> float:
        whole_s = self._cost_model.iteration_s(chunks=((num, 0),), num_decodes=0, context_sum=0)
        seconds = self[num] = whole_s - (num + self._half_tokens) * num / 2 * self._chunk_s
        return seconds
