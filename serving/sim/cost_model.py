"""Time of one iteration from tokens, contexts and hardware; KV capacity; work done.

Source: roofline with fitted efficiencies per kernel class, see `serving.sim.profiles`.
Differs: the data behind it has no slow clocks; how a lowered clock slows kernels is an assumption,
stated at `CostModel.at_clock`.
"""

from __future__ import annotations

from collections.abc import Sequence

from serving.errors import ConfigError
from serving.sim.profile_files import find_gpu
from serving.sim.profiles import MODELS, GpuProfile, ModelProfile
from serving.sim.roofline import allreduce_s, elementwise_s, gemm_s, interpolate

WORKSPACE_GIB = 2.0  # activations, CUDA graphs and context per GPU: an assumption
CLOCK_RATIO_MIN = 0.01
CLOCKS_MAX = 256  # cost models kept for other clocks; ramps would otherwise collect them for ever

Chunk = tuple[int, int]  # (new tokens, tokens already in the KV)


class CostModel:
    """Iteration times of one (GPU, model, tensor split) at one clock."""

    __slots__ = (
        "_attention_base_s",
        "_clocks",
        "_context_s",
        "_decode_s",
        "_dense_s",
        "_factors",
        "_head_s",
        "_host_sequence_s",
        "_mixed_curve",
        "_prefill_base_s",
        "_prefill_flop_s",
        "_sequence_s",
        "clock_ratio",
        "flops_per_attended",
        "flops_per_token",
        "gpu",
        "kv_bytes_per_token",
        "model",
        "tp_degree",
        "weights_bytes",
    )

    def __init__(
        self, *, gpu: GpuProfile, model: ModelProfile, tp_degree: int, clock_ratio: float = 1.0
    ) -> None:
        if tp_degree < 1 or model.kv_heads % tp_degree:
            raise ConfigError(
                f"tp_degree is {tp_degree}, expected a divisor of {model.name}'s "
                f"{model.kv_heads} KV heads"
            )
        self.gpu = gpu
        self.model = model
        self.tp_degree = tp_degree
        self.clock_ratio = clock_ratio
        heads = model.kv_heads / tp_degree
        memory_bytes_per_s = gpu.bytes_per_s * _memory_ratio(clock_ratio)
        layers = model.num_layers
        # Attention of all layers: fixed part, per decode, per context token, per prefill FLOP.
        self._attention_base_s = layers * gpu.decode_overhead_s / clock_ratio
        self._prefill_base_s = layers * gpu.prefill_overhead_s / clock_ratio
        self._sequence_s = layers * gpu.decode_sequence_s / clock_ratio * heads / 8
        self._context_s = (
            layers * 4 * model.head_size * heads / (gpu.decode_bytes_ratio * memory_bytes_per_s)
        )
        self._prefill_flop_s = (
            layers
            * 4
            * (model.q_heads / tp_degree)
            * model.head_size
            / (gpu.prefill_flops_ratio * gpu.flops_per_s * clock_ratio)
        )
        self._host_sequence_s = gpu.host_sequence_s
        # Queries that share a KV head run in one tile: what mixing costs depends on their number.
        group = model.q_heads / model.kv_heads
        self._mixed_curve = min(gpu.mixed_factors, key=lambda of: (abs(of[0] - group), of[0]))[1]
        # Estimated work per GPU, as vLLM's MFU counters have it.
        self.weights_bytes = 2.0 * model.num_layer_parameters / tp_degree  # per iteration
        self.kv_bytes_per_token = model.kv_bytes_per_token / tp_degree
        self.flops_per_token = 2.0 * model.num_layer_parameters / tp_degree  # outside attention
        # Per pair of a new token and a context token that it attends to:
        self.flops_per_attended = 4.0 * layers * model.q_heads * model.head_size / tp_degree
        self._dense_s: dict[int, float] = {}
        self._head_s: dict[int, float] = {}
        self._decode_s: dict[int, float] = {}
        self._factors: dict[int, float] = {}
        self._clocks: dict[float, CostModel] = {1.0: self}

    @classmethod
    def of(cls, *, gpu: str, model: str, tp_degree: int = 1) -> CostModel:
        """Cost model by names, at full clock; `gpu` is a key of `find_gpu`.

        Raises:
            ConfigError: GPU or model unknown, or a tensor split that does not divide the model.
        """
        profile = find_gpu(gpu)
        if model not in MODELS:
            raise ConfigError(f"model {model!r} is unknown, choose from {sorted(MODELS)}")
        return cls(gpu=profile, model=MODELS[model], tp_degree=tp_degree)

    def at_clock(self, clock_ratio: float) -> CostModel:
        """The same hardware with its SM clock at `clock_ratio` of the healthy one (to 0.001).

        Assumption: arithmetic scales with the clock; memory bandwidth keeps up until the clock
        falls under 0.8 and then falls with it (1.25 x ratio); fixed kernel times scale with
        1 / ratio; host and links do not change.
        """
        key = round(max(clock_ratio, CLOCK_RATIO_MIN), 3)
        clocks = self._clocks
        if key not in clocks:
            if len(clocks) >= CLOCKS_MAX:
                del clocks[next(ratio for ratio in clocks if ratio != 1.0)]
            scaled = CostModel(
                gpu=self.gpu, model=self.model, tp_degree=self.tp_degree, clock_ratio=key
            )
            scaled._clocks = clocks
            clocks[key] = scaled
        return clocks[key]

    def iteration_s(self, *, chunks: Sequence[Chunk], num_decodes: int, context_sum: int) -> float:
        """Duration of one iteration.

        Args:
            chunks: prefill chunks, (new tokens, tokens already in the KV) each.
            num_decodes: decoding sequences, one new token each.
            context_sum: their tokens in the KV before this iteration.
        """
        if not chunks:
            return self.linear_decode(num_decodes, context_sum)[0]
        num_tokens = num_decodes
        flop = 0.0
        half = self.gpu.prefill_half_tokens
        for num_new, num_cached in chunks:
            num_tokens += num_new
            flop += (num_new + half) * (num_cached + num_new / 2)  # c (p + c/2) x (c + c1) / c
        num_sequences = num_decodes + len(chunks)
        duration_s = (
            self._dense(num_tokens)
            + self._head(num_sequences)
            + num_sequences * self._host_sequence_s
            + self._prefill_base_s
            + flop * self._prefill_flop_s
        )
        if num_decodes:
            duration_s += self._mixed_factor(num_decodes) * (
                self._attention_base_s
                + num_decodes * self._sequence_s
                + (context_sum + num_decodes) * self._context_s
            )
        return duration_s

    def slope_s(self, *, chunks: Sequence[Chunk], num_decodes: int) -> float:
        """What each further iteration with the same numbers of new tokens takes more, in seconds.

        Exact: decode contexts grow by one token each, cached parts of prompts by their chunks.
        """
        slope_s = num_decodes * self._context_s
        if not chunks:
            return slope_s
        half = self.gpu.prefill_half_tokens
        flop = sum((num_new + half) * num_new for num_new, _ in chunks)
        return slope_s * self._mixed_factor(num_decodes) + flop * self._prefill_flop_s

    def linear_decode(self, num_decodes: int, context_sum: int) -> tuple[float, float]:
        """(c0, slope) in seconds: pure-decode iteration j from now takes c0 + slope j."""
        fixed_s = self._decode_s.get(num_decodes)
        if fixed_s is None:
            fixed_s = (
                self._dense(num_decodes)
                + self._head(num_decodes)
                + num_decodes * (self._host_sequence_s + self._sequence_s)
                + self._attention_base_s
            )
            self._decode_s[num_decodes] = fixed_s
        slope_s = num_decodes * self._context_s
        return fixed_s + context_sum * self._context_s + slope_s, slope_s

    def kv_blocks(
        self, *, block_tokens: int = 16, memory_ratio: float = 0.9, memory_gib: float = 0.0
    ) -> int:
        """KV blocks that fit beside the weights.

        Args:
            block_tokens: tokens per block.
            memory_ratio: share of each GPU's memory that the engine may use.
            memory_gib: memory per GPU; 0 = what the GPU has.

        Raises:
            ConfigError: the weights leave no room.
        """
        per_gpu_gib = (memory_gib or self.gpu.memory_gib) * memory_ratio - WORKSPACE_GIB
        usable_bytes = per_gpu_gib * 2**30 * self.tp_degree
        weights_bytes = 2 * self.model.num_parameters
        num_blocks = int(
            (usable_bytes - weights_bytes) // (self.model.kv_bytes_per_token * block_tokens)
        )
        if num_blocks < 1:
            raise ConfigError(
                f"{self.model.name} leaves no room for KV on {self.tp_degree} x {self.gpu.name}: "
                f"its weights take {weights_bytes / 2**30:.1f} of {usable_bytes / 2**30:.1f} GiB; "
                "raise tp_degree (--tp)"
            )
        return num_blocks

    def _dense(self, num_tokens: int) -> float:
        """GEMMs, element-wise kernels and all-reduces of all layers."""
        seconds = self._dense_s.get(num_tokens)
        if seconds is None:
            model, split, hidden = self.model, self.tp_degree, self.model.hidden
            query = model.q_heads * model.head_size / split
            key_value = model.kv_heads * model.head_size / split
            ffn = model.ffn / split
            memory_bytes_per_s = self.gpu.bytes_per_s * _memory_ratio(self.clock_ratio)
            small_kernels_s = elementwise_s(
                num_tokens,
                hidden,
                overhead_s=self.gpu.elementwise_overhead_s / self.clock_ratio,
                bytes_per_s=self.gpu.elementwise_bytes_ratio * memory_bytes_per_s,
                power=self.gpu.elementwise_power,
            )
            seconds = model.num_layers * (
                self._gemm(num_tokens, query + 2 * key_value, hidden)
                + self._gemm(num_tokens, hidden, query)
                + self._gemm(num_tokens, 2 * ffn, hidden)
                + self._gemm(num_tokens, hidden, ffn)
                + small_kernels_s
                + 2 * self._allreduce(2 * num_tokens * hidden)
            )
            self._dense_s[num_tokens] = seconds
        return seconds

    def _head(self, num_sequences: int) -> float:
        """LM head, and what the host takes whatever the batch."""
        seconds = self._head_s.get(num_sequences)
        if seconds is None:
            model = self.model
            seconds = self.gpu.host_iteration_s + self._gemm(
                num_sequences, model.vocabulary / self.tp_degree, model.hidden
            )
            self._head_s[num_sequences] = seconds
        return seconds

    def _gemm(self, num_rows: int, num_columns: float, depth: float) -> float:
        gpu = self.gpu
        memory_bytes_per_s = gpu.bytes_per_s * _memory_ratio(self.clock_ratio)
        seconds: float = gemm_s(
            num_rows,
            num_columns,
            depth,
            flops_per_s=gpu.gemm_flops_ratio * gpu.flops_per_s * self.clock_ratio,
            bytes_per_s=gpu.gemm_bytes_ratio * memory_bytes_per_s,
            overhead_s=gpu.gemm_overhead_s / self.clock_ratio,
            fill_s=gpu.gemm_fill_s / self.clock_ratio,
            power=gpu.gemm_power,
        )
        return seconds

    def _allreduce(self, num_bytes: int) -> float:
        return allreduce_s(num_bytes, self.tp_degree, self.gpu)

    def _mixed_factor(self, num_decodes: int) -> float:
        factor = self._factors.get(num_decodes)
        if factor is None:
            factor = interpolate(self._mixed_curve, num_decodes)
            self._factors[num_decodes] = factor
        return factor


def _memory_ratio(clock_ratio: float) -> float:
    return min(1.0, 1.25 * clock_ratio)
