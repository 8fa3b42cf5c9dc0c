from __future__ import annotations

import re
from pathlib import Path

import orjson
import pytest

from serving.sim.profile_files import load_profile
from serving.sim.roofline import decode_attention_s

HEAD = "batch_size,new_tokens,prefix_tokens,q_heads,kv_heads,ms\n"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Decode attention at 70 % of an A100's bandwidth."""
    lines = [HEAD]
    for kv_heads in (2, 4, 8):
        for batch in (1, 16, 256):
            for context in (100, 1000, 10_000):
                seconds = decode_attention_s(
                    batch,
                    batch * context,
                    kv_heads,
                    head_size=128,
                    bytes_per_s=0.7 * 2.039e12,
                    overhead_s=12e-6,
                    sequence_s=2e-7,
                )
                lines.append(f"{batch},1,{context - 1},32,{kv_heads},{1e3 * seconds}\n")
    path = tmp_path / "decode.csv"
    path.write_text("".join(lines))
    return path


def fit(cli, *arguments):
    return cli("serving", "fit-profile", *arguments, "--engine", "vllm-9")


def test_a_table_becomes_a_file_that_can_be_committed(cli, table, tmp_path) -> None:
    out = tmp_path / "new" / "a100.toml"
    done = fit(cli, table, "--gpu", "A100", "--out", out)
    assert done.exit_code == 0, done.stderr
    assert "A100@vllm-9" in done.stdout
    assert "assumed, no table gives them: gemm, prefill" in done.stdout
    profile = load_profile(out)
    assert profile.decode_bytes_ratio == pytest.approx(0.7, rel=0.01)
    assert profile.key == "A100@vllm-9"
    again = tmp_path / "again.toml"
    assert fit(cli, table, "--gpu", "A100", "--out", again).exit_code == 0
    assert again.read_bytes() == out.read_bytes()


def test_json_gives_the_errors(cli, table, tmp_path) -> None:
    done = fit(cli, table, "--gpu", "A100", "--out", tmp_path / "x.toml", "--json")
    result = orjson.loads(done.stdout)
    (row,) = result["fit"]
    assert (row["part"], row["num_rows"]) == ("decode", 27)
    assert row["held_out_mape"] < 0.01
    assert "gemm" in result["assumed"]


def test_an_unknown_gpu_needs_its_numbers(cli, table, tmp_path) -> None:
    out = tmp_path / "x.toml"
    done = fit(cli, table, "--gpu", "X9", "--out", out)
    assert done.exit_code == 2
    assert "--tflops, --memory-tb-per-s" in re.sub(r"[\s│]+", " ", done.stderr)
    numbers = ("--tflops", "100", "--memory-tb-per-s", "2.039", "--memory-gib", "40")
    done = fit(cli, table, "--gpu", "X9", "--out", out, *numbers)
    assert done.exit_code == 0, done.stderr
    assert load_profile(out).memory_gib == 40.0


def test_wrong_use_is_told(cli, table, tmp_path) -> None:
    bad = tmp_path / "bad.csv"
    bad.write_text("x\n1\n")
    for arguments in ((bad,), (tmp_path / "absent.csv",), (table, "--tflops", "-1")):
        done = fit(cli, *arguments, "--gpu", "A100", "--out", tmp_path / "x.toml")
        assert done.exit_code == 2
    done = fit(cli, table, "--gpu", "A100", "--out", tmp_path)
    assert done.exit_code == 2
    assert "choose another" in re.sub(r"[\s│]+", " ", done.stderr)
