"""Parquet files of requests: every value comes back, faults are named."""

from __future__ import annotations

import sys
from dataclasses import fields

import numpy as np
import pytest

from serving.errors import ConfigError, TraceFormatError
from serving.workload import generate, read_table, read_trace
from serving.workload.formats.parquet import read_parquet, write_parquet
from serving.workload.samples import sample_requests

RNG = np.random.default_rng


def with_arrow():
    return pytest.importorskip("pyarrow", reason="pyarrow, the extra 'parquet', is absent")


def differing(a, b) -> list[str]:
    """Names of the fields that two tables do not have in common, types included."""
    pairs = {f.name: (getattr(a, f.name), getattr(b, f.name)) for f in fields(a)}
    return [name for name, (left, right) in pairs.items() if not same(left, right)]


def same(left, right) -> bool:
    if not isinstance(left, np.ndarray):
        return left == right
    equal = np.array_equal(left, right, equal_nan=left.dtype.kind == "f")
    return left.dtype == right.dtype and equal


@pytest.mark.parametrize("block_tokens", [0, 512])
def test_every_value_comes_back(tmp_path, block_tokens) -> None:
    with_arrow()
    table = sample_requests(RNG(1), 300, block_tokens=block_tokens)
    table.turn = np.arange(300, dtype=np.int32)
    table.num_images = RNG(1).poisson(1, 300).astype(np.int16)
    write_parquet(table, tmp_path / "a.parquet")
    assert differing(table, read_parquet(tmp_path / "a.parquet")) == []


def test_a_trace_is_read_by_its_suffix(tmp_path) -> None:
    with_arrow()
    table = generate(seed=1, duration_s=600.0, rate_rps=1.0)
    write_parquet(table, tmp_path / "a.parquet")
    again, report = read_trace(tmp_path / "a.parquet")
    assert differing(table, again) == []
    assert report.rows_kept == len(table)


def test_faults_are_named(tmp_path) -> None:
    pa = with_arrow()
    pq = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "a.parquet"
    write_parquet(sample_requests(RNG(1), 20), path)
    whole = pq.read_table(path)

    def changed(column, values):
        at = whole.column_names.index(column)
        return whole.set_column(at, column, values)

    for table, told in (
        (whole.drop_columns(["arrival_s"]), "no column arrival_s"),
        (whole.slice(0, 0), "no row"),
        (changed("arrival_s", pa.array([None] * 20, pa.float64())), "lacks 20 values"),
        (changed("arrival_s", pa.array(["x"] * 20)), "another type"),
        (changed("arrival_s", pa.array(np.arange(20.0)[::-1])), "expected sorted"),
        (changed("kind", pa.array(["odd"] * 20)), "'kind' holds 'odd'"),
        (changed("origin", pa.array(["real", "odd"] * 10)), "expected one value"),
        (changed("num_prompt_tokens", pa.array([2**40] * 20)), "another type"),
    ):
        pq.write_table(table, path)
        with pytest.raises(TraceFormatError, match=told):
            read_parquet(path)
    with pytest.raises(TraceFormatError, match="read whole"):
        read_table(path)
    path.write_bytes(b"no parquet")
    with pytest.raises(TraceFormatError, match="no Parquet file"):
        read_parquet(path)


def test_without_pyarrow_the_extra_is_named(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigError, match=r"pip install .*\[parquet\]"):
        write_parquet(sample_requests(RNG(1), 5), tmp_path / "a.parquet")
    with pytest.raises(ConfigError, match=r"pip install .*\[parquet\]"):
        read_trace(tmp_path / "a.parquet")
