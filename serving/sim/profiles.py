"""Numbers of GPUs and models that the cost model needs. Data only.

`GPUS` holds the built-in coefficients that scenarios use by default; files written by
`midwatch serving fit-profile` hold others, keyed by GPU and engine version
(`serving.sim.profile_files`).

Source: efficiencies fitted to aiconfigurator's kernel tables (vLLM 0.14 on A100 SXM, vLLM 0.24 on
H100 SXM); errors of the fit: GEMM 9 % (both), decode attention 17 % and 8 %, prefill attention
12 % (both). Mixed-batch factors: medians over LLMServingSim's layer grids.
"""

from __future__ import annotations

from dataclasses import dataclass

ALLREDUCE_SMALL_BYTES = 8 * 2**20

# How much longer decode attention takes when prefill chunks run in the same batch, by number of
# decodes: RTX PRO 6000 with Llama-3.1-8B. Borrowed for every GPU and model: the A100 and H100
# tables hold no mixed batches, and adding the parts without a factor is known to be too fast.
MIXED_DECODE_FACTORS = ((0, 1.0), (8, 1.27), (32, 1.44), (64, 1.61), (128, 2.04))

Curve = tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuProfile:
    """One GPU with one engine version.

    Fields named `<kernel class>_<coefficient>` are what a fit determines; in a file they stand as
    `coefficient` in the table `[kernel class]`.
    """

    name: str
    flops_per_s: float  # dense bf16, data sheet
    bytes_per_s: float  # memory, data sheet
    memory_gib: float
    gemm_flops_ratio: float  # e_c
    gemm_bytes_ratio: float  # e_m
    gemm_overhead_s: float  # t0
    gemm_power: float  # r, how sharply compute and memory time blend
    decode_bytes_ratio: float  # e_d
    decode_overhead_s: float  # a0
    decode_sequence_s: float  # a1, per sequence and 8 KV heads
    prefill_flops_ratio: float  # e_p
    prefill_half_tokens: float  # c1, chunk at half of the prefill efficiency
    prefill_overhead_s: float  # c0
    allreduce_small_s: float  # latency of the one-shot kernels in a CUDA graph
    allreduce_large_s: float  # latency of the ring above ALLREDUCE_SMALL_BYTES
    allreduce_bytes_per_s: Curve  # bus bandwidth by number of GPUs
    allreduce_small_ratio: float = 0.7  # share of it that messages below the limit reach
    gemm_fill_s: float = 0.0  # before arithmetic reaches its rate; may hide behind memory
    elementwise_overhead_s: float = 3e-6  # of each small kernel, six a layer
    elementwise_bytes_ratio: float = 0.6
    elementwise_power: float = 1.0  # 1 adds launch and traffic
    mixed_factors: tuple[tuple[int, Curve], ...] = ((4, MIXED_DECODE_FACTORS),)  # by q / kv heads
    host_iteration_s: float = 0.0
    host_sequence_s: float = 10e-6  # fits vLLM 0.19's scheduler and sampler
    engine: str = ""  # engine and version, as vllm-0.14.0; empty = built in
    assumed: tuple[str, ...] = ()  # kernel classes whose coefficients no table of this GPU gave
    borrowed_from: str = ""  # key of the profile whose efficiencies these are; empty = fitted

    @property
    def key(self) -> str:
        """What selects this profile: GPU, or GPU@engine."""
        return f"{self.name}@{self.engine}" if self.engine else self.name

    @property
    def is_fitted(self) -> bool:
        """False where every efficiency is another GPU's."""
        return not self.borrowed_from

    @property
    def label(self) -> str:
        """The key, and whether figures of this GPU are unfitted; print it beside them."""
        if self.is_fitted:
            return self.key
        return f"{self.name} (unfitted: efficiencies of {self.borrowed_from})"

    def label_of(self, num_gpus: int) -> str:
        """The label of an instance on so many GPUs: links may be unfitted where kernels are not."""
        if num_gpus == 1:
            return self.label
        only_links = self.is_fitted and not self.is_fitted_for(num_gpus)
        return f"{num_gpus} × {self.label}{' (all-reduce unfitted)' if only_links else ''}"

    def is_fitted_for(self, num_gpus: int) -> bool:
        """Whether tables of this GPU gave every time of such an instance, links included."""
        return self.is_fitted and not (num_gpus > 1 and "allreduce" in self.assumed)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelProfile:
    """One decoder transformer with gated feed-forward layers, 2-byte elements."""

    name: str
    num_layers: int
    hidden: int
    ffn: int
    q_heads: int
    kv_heads: int
    head_size: int
    vocabulary: int
    context_tokens: int  # prompt and output together, `max_position_embeddings` of its config.json

    @property
    def num_layer_parameters(self) -> int:
        """Weights of all layers, without embedding and head."""
        attention = (2 * self.q_heads + 2 * self.kv_heads) * self.head_size * self.hidden
        return self.num_layers * (attention + 3 * self.hidden * self.ffn)

    @property
    def num_parameters(self) -> int:
        """All weights."""
        return self.num_layer_parameters + 2 * self.vocabulary * self.hidden

    @property
    def kv_bytes_per_token(self) -> int:
        """KV bytes of one token over all layers and shards."""
        return 4 * self.num_layers * self.kv_heads * self.head_size


GPUS = {
    gpu.name: gpu
    for gpu in (
        GpuProfile(
            name="A100",
            flops_per_s=312e12,
            bytes_per_s=2.039e12,
            memory_gib=80.0,
            gemm_flops_ratio=0.833,
            gemm_bytes_ratio=0.767,
            gemm_overhead_s=5.9e-6,
            gemm_power=1.61,
            decode_bytes_ratio=0.693,
            decode_overhead_s=16.1e-6,
            decode_sequence_s=0.21e-6,
            prefill_flops_ratio=0.550,
            prefill_half_tokens=447.0,
            prefill_overhead_s=16.1e-6,
            allreduce_small_s=5e-6,
            allreduce_large_s=60e-6,
            allreduce_bytes_per_s=((2, 199e9), (4, 221e9), (8, 228e9)),
        ),
        GpuProfile(
            name="H100",
            flops_per_s=989e12,
            bytes_per_s=3.35e12,
            memory_gib=80.0,
            gemm_flops_ratio=0.807,
            gemm_bytes_ratio=0.864,
            gemm_overhead_s=3.7e-6,
            gemm_power=2.77,
            decode_bytes_ratio=0.929,
            decode_overhead_s=11.6e-6,
            decode_sequence_s=0.19e-6,
            prefill_flops_ratio=0.644,
            prefill_half_tokens=963.0,
            prefill_overhead_s=11.6e-6,
            allreduce_small_s=5e-6,
            allreduce_large_s=25e-6,
            allreduce_bytes_per_s=((2, 334e9), (4, 355e9), (8, 469e9)),
        ),
    )
}


def _model(name: str, *sizes: int) -> ModelProfile:
    layers, hidden, ffn, q_heads, kv_heads, vocabulary, context = sizes
    return ModelProfile(
        name=name,
        num_layers=layers,
        hidden=hidden,
        ffn=ffn,
        q_heads=q_heads,
        kv_heads=kv_heads,
        head_size=128,
        vocabulary=vocabulary,
        context_tokens=context,
    )


MODELS = {
    model.name: model
    for model in (
        _model("llama-3.1-8b", 32, 4096, 14336, 32, 8, 128256, 131072),
        _model("llama-2-7b", 32, 4096, 11008, 32, 32, 32000, 4096),
        _model("llama-2-70b", 80, 8192, 28672, 64, 8, 32000, 4096),
        _model("yi-34b", 60, 7168, 20480, 56, 8, 64000, 4096),
        _model("qwen3-32b", 64, 5120, 25600, 64, 8, 151936, 40960),
    )
}
