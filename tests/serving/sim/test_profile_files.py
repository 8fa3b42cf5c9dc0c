from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.errors import ConfigError
from serving.sim.cost_model import CostModel
from serving.sim.data_sheets import DATA_SHEETS
from serving.sim.profile_files import (
    encode_profile,
    find_gpu,
    fit_base,
    load_profile,
    model_key,
    parse_profile,
    shipped_profiles,
)
from serving.sim.profiles import GPUS

# Llama-2-70B on four A100; a change here moves every scenario and must be deliberate.
DEFAULT_MIXED_S = 0.12257946453685147
DEFAULT_DECODE_S = (0.03339622863102699, 2.318993196874511e-06)
SHIPPED = (
    "A100@vllm-0.14.0",
    "H100@vllm-0.24.0",
    "RTX-4090@vllm-0.19.0",
    "RTX-PRO-6000@vllm-0.19.0",
)


def test_the_default_of_scenarios_is_the_built_in_profile() -> None:
    assert find_gpu("A100") is GPUS["A100"]
    assert find_gpu("H100") is GPUS["H100"]
    model = CostModel.of(gpu="A100", model="llama-2-70b", tp_degree=4)
    assert model.iteration_s(chunks=[(512, 1024)], num_decodes=40, context_sum=40_000) == (
        DEFAULT_MIXED_S
    )
    assert model.linear_decode(40, 40_000) == DEFAULT_DECODE_S


def test_shipped_files_are_found_by_gpu_and_engine() -> None:
    assert tuple(shipped_profiles()) == SHIPPED
    for key in SHIPPED:
        profile = find_gpu(key)
        assert profile.key == profile.label == key
        assert profile.is_fitted
        assert "gemm" not in profile.assumed
        assert CostModel.of(gpu=key, model="llama-3.1-8b").gpu is profile
    assert find_gpu("RTX-4090").key == "RTX-4090@vllm-0.19.0"
    assert find_gpu("RTX-4090").label_of(2) == "2 × RTX-4090@vllm-0.19.0 (all-reduce unfitted)"
    assert find_gpu("A100@vllm-0.14.0").label_of(2) == "2 × A100@vllm-0.14.0"
    assert find_gpu("A100").label_of(4) == "4 × A100"


def test_a_gpu_without_tables_borrows_and_says_so() -> None:
    profile = find_gpu("H200")
    lender = find_gpu("H100@vllm-0.24.0")
    assert not profile.is_fitted
    assert profile.label == "H200 (unfitted: efficiencies of H100@vllm-0.24.0)"
    assert profile.bytes_per_s == 4.8e12
    assert profile.gemm_flops_ratio == lender.gemm_flops_ratio
    assert {"gemm", "decode", "mixed"} <= set(profile.assumed)
    assert profile.label_of(1) == profile.label
    assert profile.label_of(2) == f"2 × {profile.label}"
    assert find_gpu("L40S").borrowed_from == "RTX-4090@vllm-0.19.0"
    # Half the links, half the bus.
    assert (
        dict(find_gpu("A10").allreduce_bytes_per_s)[2]
        < 0.2 * dict(find_gpu("A100@vllm-0.14.0").allreduce_bytes_per_s)[2]
    )


def test_every_known_gpu_gives_a_cost_model() -> None:
    for name in DATA_SHEETS:
        model = CostModel.of(gpu=name, model="llama-3.1-8b")
        assert 0 < model.iteration_s(chunks=[], num_decodes=8, context_sum=8000) < 1


@settings(max_examples=25, deadline=None)
@given(
    st.floats(1e-9, 1e3), st.floats(0, 1e-2), st.lists(st.floats(0.01, 9), min_size=1, max_size=4)
)
def test_files_keep_every_number(ratio: float, overhead_s: float, factors: list[float]) -> None:
    profile = replace(
        fit_base(DATA_SHEETS["A100"], engine="e-1"),
        gemm_flops_ratio=ratio,
        host_iteration_s=overhead_s,
        mixed_factors=((3, tuple((8 * i, f) for i, f in enumerate(factors))),),
        assumed=("host",),
        borrowed_from="",
    )
    assert parse_profile(encode_profile(profile, [{"part": "x", "mape": 0.1}]), source="f") == (
        profile
    )


def test_all_faults_of_a_file_are_told_at_once(tmp_path: Path) -> None:
    text = encode_profile(fit_base(DATA_SHEETS["A100"], engine="e-1"))
    bad = (
        text.replace('engine = "e-1"', "engine = 3")
        .replace("power = 1.61", 'power = "x"')
        .replace("[[0, 1.0], [8, 1.27]", "[[8, 1.0], [8, 1.27]")
        .replace("flops_per_s = 312000000000000.0", "flops_per_s = 0.0")
    )
    path = tmp_path / "bad.toml"
    path.write_text(bad)
    with pytest.raises(ConfigError) as caught:
        load_profile(path)
    message = str(caught.value)
    for part in ("engine is 3", "gemm.power is 'x'", "mixed[0].factors", "hardware.flops_per_s"):
        assert part in message
    path.write_text("gpu = [")
    with pytest.raises(ConfigError, match="is not TOML"):
        load_profile(path)
    path.write_text("")
    with pytest.raises(ConfigError, match=r"decode\.bytes_ratio is None"):
        load_profile(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        load_profile(tmp_path / "absent.toml")


def test_unknown_keys_are_refused() -> None:
    for key in ("V100", "A100@vllm-9", ""):
        with pytest.raises(ConfigError, match="has no coefficients, choose from"):
            find_gpu(key)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("meta-llama/Llama-3.1-8B-Instruct", "llama-3.1-8b"),
        ("meta-llama/Meta-Llama-3.1-8B", "llama-3.1-8b"),
        ("meta-llama/Llama-2-7b-chat-hf", "llama-2-7b"),
        ("Qwen/Qwen3-32B", "qwen3-32b"),
        ("01-ai/Yi-34B-Chat", "yi-34b"),
        ("llama-2-70b", "llama-2-70b"),
        ("some/Other-Model", "other-model"),
    ],
)
def test_models_are_found_by_their_publishers_names(text: str, key: str) -> None:
    assert model_key(text) == key
