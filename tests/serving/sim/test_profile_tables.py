from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np
import pytest

from serving.errors import TraceFormatError
from serving.sim.fit_profile import predicted_s
from serving.sim.profile_files import find_gpu
from serving.sim.profile_tables import read_tables

DATA = Path(os.environ.get("MIDWATCH_DATA", Path(__file__).parents[4] / "shared" / "data"))
needs_profiles = pytest.mark.skipif(
    not (DATA / "profiles").is_dir(),
    reason=f"no measured profiles in {DATA}; set MIDWATCH_DATA to their parent folder",
)


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return path


def test_tables_are_told_apart_by_their_columns(tmp_path: Path) -> None:
    paths = [
        write(tmp_path, "a.csv", "m,n,k,ms\n1,512,1024,0.01\n2,1024,1024,0.02\n2,1024,2048,.04\n"),
        write(
            tmp_path,
            "b.csv.gz",
            "batch_size,new_tokens,prefix_tokens,q_heads,kv_heads,ms\n4,1,99,32,0,0.5\n",
        ),
        write(
            tmp_path,
            "c.csv",
            "batch_size,new_tokens,prefix_tokens,q_heads,kv_heads,ms\n"
            "2,64,0,8,8,0.5\n2,256,0,8,8,0.7\n",
        ),
        write(
            tmp_path,
            "d.csv",
            "backend,num_gpus,bytes,ms\nvllm_graph,2,8192,0.1\nvllm_eager,2,8192,0.2\n",
        ),
    ]
    tables = read_tables(paths)
    assert set(tables) == {"gemm", "decode", "prefill", "allreduce"}
    assert tables["gemm"].is_used.tolist() == [False, True, True]
    assert tables["gemm"].is_held_out.tolist() == [False, True, False]
    assert tables["gemm"].seconds == pytest.approx([1e-5, 2e-5, 4e-5])
    assert {k: v.tolist() for k, v in tables["decode"].sizes.items()} == {
        "num_decodes": [4],
        "context_sum": [400],
        "kv_heads": [32],
    }
    assert tables["prefill"].sizes["q_heads"].tolist() == [16, 16]
    assert tables["prefill"].is_used.tolist() == [False, True]
    assert tables["allreduce"].is_used.tolist() == [True, False]


def test_layer_tables_take_their_model_from_the_file_name(tmp_path: Path) -> None:
    dense = (
        "layer,tokens,time_us\nqkv_proj,4,30\no_proj,4,20\nlayernorm,4,2\nact_fn,4,3\n"
        "layernorm,8,4\nembedding,4,9\n"
    )
    grid = (
        "prefill_chunk,kv_prefill,n_decode,kv_decode,time_us\n"
        "0,0,8,512,10\n256,0,0,0,40\n256,0,8,512,55\n256,0,8,1024,60\n"
    )
    tables = read_tables(
        [
            write(tmp_path, "layers_x_llama-3.1-8b_tp2_dense.csv", dense),
            write(tmp_path, "layers_x_llama-3.1-8b_tp2_attention.csv", grid),
            write(
                tmp_path,
                "layers_x_llama-3.1-8b_tp2_per_sequence.csv",
                "layer,sequences,time_us\nlm_head,4,600\nsampler,4,30\n",
            ),
        ]
    )
    gemm = tables["gemm"].sizes
    assert gemm["num_columns"].tolist() == [(32 + 16) * 128 / 2, 4096, 128256 / 2]
    assert gemm["depth"].tolist() == [4096, 2048, 4096]
    # Two norms and one activation at 4 tokens.
    assert tables["elementwise"].seconds == pytest.approx([7e-6, 8e-6])
    mixed = tables["mixed"]
    assert len(mixed) == 1  # the decodes of the other row were not measured alone
    assert mixed.sizes["prefill_s"] == pytest.approx([40e-6])
    assert mixed.sizes["heads_per_kv_head"].tolist() == [4]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "x,y\n1,2\n", "none of the known tables"),
        ("a.csv", "", "has no rows"),
        ("a.csv", "m,n,k,ms\n1,2,3,4\n1,2,3,fast\n", "a.csv:3: column 'ms' is 'fast'"),
        ("a.csv", "m,n,k,ms\n1,2,3,-1\n", "a.csv:2: column 'ms' is '-1', expected a finite number"),
        ("a.csv", "m,n,k,ms\n1,2,3\n", "a.csv:2: column 'ms' is ''"),
        ("a.csv.gz", "", "has no rows"),
        ("layers_x_gpt_tp1_dense.csv", "layer,tokens,time_us\no_proj,1,2\n", "gives no model"),
    ],
)
def test_bad_tables_are_refused(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(TraceFormatError, match=message):
        read_tables([write(tmp_path, name, text)])


def test_unreadable_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.gz"
    path.write_bytes(b"not gzip")
    for missing in (path, tmp_path / "absent.csv"):
        with pytest.raises(TraceFormatError, match="cannot be read"):
            read_tables([missing])


@needs_profiles
@pytest.mark.parametrize(
    ("key", "table", "part", "error_max"),
    [
        ("A100@vllm-0.14.0", "gemm_a100_vllm0.14.0.csv.gz", "gemm", 0.09),
        ("H100@vllm-0.24.0", "gemm_h100_vllm0.24.0.csv.gz", "gemm", 0.075),
        ("A100@vllm-0.14.0", "attn_decode_a100_vllm0.14.0.csv.gz", "decode", 0.18),
        ("H100@vllm-0.24.0", "attn_decode_h100_vllm0.24.0.csv.gz", "decode", 0.08),
        ("A100@vllm-0.14.0", "attn_prefill_a100_vllm0.14.0.csv.gz", "prefill", 0.13),
        ("H100@vllm-0.24.0", "attn_prefill_h100_vllm0.24.0.csv.gz", "prefill", 0.13),
    ],
)
def test_shipped_files_match_their_tables(
    key: str, table: str, part: str, error_max: float
) -> None:
    rows = read_tables([DATA / "profiles" / table])[part]
    error = np.abs(predicted_s(part, find_gpu(key), rows.sizes) / rows.seconds - 1)
    assert error[rows.is_used].mean() <= error_max
