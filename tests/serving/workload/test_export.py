"""What is written in a public format is read back: arrivals to the microsecond, tokens exactly."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from serving.errors import ConfigError
from serving.workload import generate, read_table, read_trace, write_trace
from serving.workload.export_tables import (
    write_cold_starts,
    write_invocations,
    write_quantiles,
    write_windows,
)
from serving.workload.samples import (
    sample_cold_starts,
    sample_invocations,
    sample_quantiles,
    sample_requests,
    sample_windows,
    write_sample,
)

ROWS = 300


@pytest.mark.parametrize(
    ("name", "block_tokens"), [("azure", 0), ("burstgpt", 0), ("mooncake", 512), ("bailian", 16)]
)
@pytest.mark.parametrize("suffix", [".txt", ".txt.gz"])
def test_requests_come_back(tmp_path: Path, name: str, block_tokens: int, suffix: str) -> None:
    table = sample_requests(np.random.default_rng(1), ROWS, block_tokens=block_tokens)
    path = tmp_path / f"trace{suffix}"
    write_trace(table, path, name)
    back, report = read_trace(path)
    back.check()
    assert report.trace_format == name
    assert np.abs(back.arrival_s - table.arrival_s).max() <= 1e-6
    np.testing.assert_array_equal(back.num_prompt_tokens, table.num_prompt_tokens)
    np.testing.assert_array_equal(back.num_output_tokens, table.num_output_tokens)
    np.testing.assert_array_equal(back.prefix_ids, table.prefix_ids)
    np.testing.assert_array_equal(back.prefix_offsets, table.prefix_offsets)


def test_burstgpt_keeps_sessions_latencies_models_and_failures(tmp_path: Path) -> None:
    table = sample_requests(np.random.default_rng(2), ROWS)
    write_trace(table, tmp_path / "trace.csv", "burstgpt")
    back, _ = read_trace(tmp_path / "trace.csv")
    np.testing.assert_array_equal(back.e2e_s, table.e2e_s)
    np.testing.assert_array_equal(back.status, table.status)
    np.testing.assert_array_equal(back.kind, table.kind)
    assert [back.models[k] for k in back.model] == [table.models[k] for k in table.model]
    pairs = set(zip(back.session_index.tolist(), table.session_index.tolist(), strict=True))
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})


def test_bailian_keeps_sessions(tmp_path: Path) -> None:
    table = sample_requests(np.random.default_rng(3), ROWS, block_tokens=16)
    write_trace(table, tmp_path / "trace.jsonl", "bailian")
    back, _ = read_trace(tmp_path / "trace.jsonl")
    pairs = set(zip(back.session_index.tolist(), table.session_index.tolist(), strict=True))
    assert len({a for a, b in pairs if b >= 0}) == len({b for _, b in pairs if b >= 0})
    first = np.flatnonzero(table.session_index == back.session_index[-1])
    assert (np.diff(back.turn[first]) > 0).all()


def test_a_generated_workload_can_leave_as_an_azure_or_burstgpt_trace(tmp_path: Path) -> None:
    table = generate(seed=4, duration_s=120.0, rate_rps=5.0)
    for name in ("azure", "burstgpt"):
        write_trace(table, tmp_path / f"{name}.csv", name)
        back, _ = read_trace(tmp_path / f"{name}.csv")
        offset = back.arrival_s - table.arrival_s
        assert np.ptp(offset) <= 1e-6  # the formats count from their first row
        assert back.num_output_tokens.sum() == table.num_output_tokens.sum()


def test_a_table_without_prefix_ids_does_not_become_mooncake(tmp_path: Path) -> None:
    table = generate(seed=4, duration_s=60.0, rate_rps=1.0)
    with pytest.raises(ConfigError, match="an id per 512 prompt tokens, this table one per 0"):
        write_trace(table, tmp_path / "x.jsonl", "mooncake")
    with pytest.raises(ConfigError, match="take one of azure, burstgpt, mooncake, bailian"):
        write_trace(table, tmp_path / "x.csv", "parquet")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("make", "write"),
    [
        (sample_windows, write_windows),
        (sample_quantiles, write_quantiles),
        (sample_cold_starts, write_cold_starts),
        (sample_invocations, write_invocations),
    ],
)
def test_other_tables_come_back_value_for_value(tmp_path: Path, make, write) -> None:
    table = make(np.random.default_rng(5), ROWS)
    table.check()
    write(table, tmp_path / "sample.csv")
    back, report = read_table(tmp_path / "sample.csv")
    assert report.dropped == {}
    for name in table.__dataclass_fields__:
        mine, other = getattr(table, name), getattr(back, name)
        if name == "pod":
            for part in mine.__dataclass_fields__:
                np.testing.assert_array_equal(getattr(other, part), getattr(mine, part))
        elif name == "fields":
            assert mine == other
        elif name != "trace_id":
            np.testing.assert_array_equal(other, mine, err_msg=name)


def test_one_client_of_servegen_leaves_as_its_chunk(tmp_path: Path) -> None:
    table = sample_windows(np.random.default_rng(6), ROWS, clients=7)
    write_windows(table, tmp_path / "chunk-3-trace.csv", client=3)
    back, report = read_table(tmp_path / "chunk-3-trace.csv")
    mine = table.client == 3
    assert report.trace_format == "servegen-client"
    assert set(back.client) == {3}
    np.testing.assert_array_equal(back.rate_rps, table.rate_rps[mine])
    np.testing.assert_array_equal(back.law, table.law[mine])


def test_same_seed_writes_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.csv.gz", "b.csv.gz"):
        write_sample(tmp_path / name, "azure", rows=20, seed=9)
    first, second = ((tmp_path / name).read_bytes() for name in ("a.csv.gz", "b.csv.gz"))
    assert gzip.decompress(first) == gzip.decompress(second)
    with pytest.raises(ConfigError, match="there is no sample 'x'"):
        write_sample(tmp_path / "x", "x", rows=1, seed=1)
