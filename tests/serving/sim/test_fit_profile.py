from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from serving.errors import ConfigError
from serving.sim.cost_model import CostModel
from serving.sim.data_sheets import DATA_SHEETS
from serving.sim.fit_profile import fit_profile, predicted_s
from serving.sim.profile_files import fit_base
from serving.sim.profile_tables import Columns, Rows
from serving.sim.profiles import GPUS, MODELS, GpuProfile

BASE = fit_base(DATA_SHEETS["H100"], engine="test-1")


def grid(**sizes: list[float]) -> Columns:
    meshes = np.meshgrid(*(np.array(v, dtype=float) for v in sizes.values()), indexing="ij")
    return {name: mesh.reshape(-1) for name, mesh in zip(sizes, meshes, strict=True)}


def measured(part: str, truth: GpuProfile, sizes: Columns) -> Rows:
    seconds = predicted_s(part, truth, sizes)
    every = np.ones(len(seconds), dtype=bool)
    return Rows(
        sizes=sizes,
        seconds=seconds,
        is_used=every,
        is_held_out=np.arange(len(seconds)) // 2 % 2 == 1,
    )


PLANTED = {
    "gemm": (
        {
            "gemm_flops_ratio": 0.7,
            "gemm_bytes_ratio": 0.9,
            "gemm_overhead_s": 4e-6,
            "gemm_fill_s": 9e-6,
            "gemm_power": 2.5,
        },
        grid(num_rows=[1, 64, 512, 4096], num_columns=[1024, 8192], depth=[1024, 8192]),
    ),
    "decode": (
        {"decode_bytes_ratio": 0.7, "decode_overhead_s": 9e-6, "decode_sequence_s": 3e-7},
        grid(num_decodes=[1, 16, 128], context_sum=[1e3, 1e5, 1e6], kv_heads=[1, 8]),
    ),
    "prefill": (
        {"prefill_flops_ratio": 0.5, "prefill_half_tokens": 300.0, "prefill_overhead_s": 8e-6},
        grid(num_new=[128, 512, 2048], num_cached=[0, 1024, 8192], q_heads=[8, 32]),
    ),
    "elementwise": (
        {
            "elementwise_overhead_s": 1e-6,
            "elementwise_bytes_ratio": 0.8,
            "elementwise_power": 1.3,
        },
        grid(num_tokens=[1, 8, 64, 256, 512, 1024, 2048, 4096], hidden=[4096, 8192]),
    ),
    "allreduce": (
        {
            "allreduce_small_s": 4e-6,
            "allreduce_small_ratio": 0.5,
            "allreduce_large_s": 3e-5,
            "allreduce_bytes_per_s": ((2, 3e11), (8, 4e11)),
        },
        grid(num_bytes=[2.0**p for p in range(13, 31)], num_gpus=[2, 8]),
    ),
}


@pytest.mark.parametrize("part", PLANTED)
def test_planted_coefficients_are_found(part: str) -> None:
    values, sizes = PLANTED[part]
    truth = replace(BASE, **values)
    profile, (error,) = fit_profile({part: measured(part, truth, sizes)}, BASE)
    for name, value in values.items():
        found = getattr(profile, name)
        if isinstance(value, tuple):
            found, value = dict(found), dict(value)
        assert found == pytest.approx(value, rel=0.02), name
    assert error.mape < 1e-3
    assert error.held_out_mape < 5e-3


def test_the_last_bits_of_a_table_move_no_coefficient() -> None:
    """Processors differ in the last bit of a logarithm; the fit must end at the same place."""
    values, sizes = PLANTED["allreduce"]
    rows = measured("allreduce", replace(BASE, **values), sizes)
    noise = np.random.default_rng(8).lognormal(sigma=0.15, size=len(rows))
    found = []
    for change in (0.0, -1e-13):
        seconds = rows.seconds * noise * (1 + change * np.arange(len(rows)))
        profile, _ = fit_profile({"allreduce": replace(rows, seconds=seconds)}, BASE)
        found.append([getattr(profile, name) for name in values if name != "allreduce_bytes_per_s"])
        found[-1] += [bus for _, bus in profile.allreduce_bytes_per_s]
    assert found[1] == pytest.approx(found[0], rel=1e-3)


def test_what_no_table_gives_is_kept_and_named() -> None:
    values, sizes = PLANTED["decode"]
    rows = measured("decode", replace(BASE, **values), sizes)
    profile, _ = fit_profile({"decode": rows}, BASE)
    assert profile.gemm_power == BASE.gemm_power
    assert "gemm" in profile.assumed
    assert "decode" not in profile.assumed
    assert profile.is_fitted
    assert profile.key == "H100@test-1"


def test_mixed_factors_are_medians_by_decodes_and_group() -> None:
    num = np.array([8.0, 8.0, 8.0, 32.0] * 8)
    heads = np.array([4.0] * 16 + [8.0] * 16)
    decode_s = np.full(32, 1e-5)
    factor = np.where(heads == 4, 1.5, 2.5) + np.tile([-0.5, 0.0, 9.0, 1.0], 8)
    sizes = {
        "num_decodes": num,
        "heads_per_kv_head": heads,
        "decode_s": decode_s,
        "prefill_s": np.full(32, 1e-4),
    }
    every = np.ones(32, dtype=bool)
    rows = Rows(
        sizes=sizes,
        seconds=1e-4 + factor * decode_s,
        is_used=every,
        is_held_out=np.arange(32) // 4 % 2 == 1,
    )
    profile, _ = fit_profile({"mixed": rows}, BASE)
    assert profile.mixed_factors == (
        (4, ((0, 1.0), (8, 1.5), (32, 2.5))),
        (8, ((0, 1.0), (8, 2.5), (32, 3.5))),
    )
    # A model takes the curve of its own number of query heads per KV head.
    factors = [
        CostModel(gpu=profile, model=MODELS[name], tp_degree=1)._mixed_factor(32)
        for name in ("llama-3.1-8b", "llama-2-70b", "llama-2-7b")
    ]
    assert factors == [2.5, 3.5, 2.5]


def test_too_few_rows_are_refused() -> None:
    values, sizes = PLANTED["decode"]
    rows = measured("decode", replace(BASE, **values), sizes)
    few = replace(rows, is_used=np.arange(len(rows)) < 6)
    with pytest.raises(ConfigError, match="decode: 6 rows pass the filter"):
        fit_profile({"decode": few}, BASE)
    with pytest.raises(ConfigError, match="no table was given"):
        fit_profile({}, BASE)


def test_the_fit_and_the_cost_model_share_their_formulas() -> None:
    gpu = GPUS["H100"]
    model = CostModel(gpu=gpu, model=MODELS["llama-3.1-8b"], tp_degree=1)
    by_row = {
        "gemm": grid(num_rows=[77], num_columns=[6144], depth=[4096]),
        "decode": grid(num_decodes=[20], context_sum=[9020], kv_heads=[8]),
        "prefill": grid(num_new=[300], num_cached=[500], q_heads=[32]),
    }
    expected = {part: float(predicted_s(part, gpu, sizes)[0]) for part, sizes in by_row.items()}
    assert model._gemm(77, 6144, 4096) == pytest.approx(expected["gemm"])
    dense_s = model._dense(20) + model._head(20) + 20 * gpu.host_sequence_s
    decode_s = model.iteration_s(chunks=[], num_decodes=20, context_sum=9000)
    assert decode_s - dense_s == pytest.approx(32 * expected["decode"])
    dense_s = model._dense(300) + model._head(1) + gpu.host_sequence_s
    prefill_s = model.iteration_s(chunks=[(300, 500)], num_decodes=0, context_sum=0)
    assert prefill_s - dense_s == pytest.approx(32 * expected["prefill"])
