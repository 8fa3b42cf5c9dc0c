"""A trace read table by table is the trace read at once."""

from __future__ import annotations

import gzip
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from serving.errors import ConfigError, TraceFormatError
from serving.workload import RequestTable, iter_trace, read_trace
from serving.workload.formats import lines
from serving.workload.samples import write_sample

KINDS = ("azure", "azure-multimodal", "burstgpt", "burstgpt-3", "mooncake", "bailian", "requests")
COLUMNS = ("arrival_s", "num_prompt_tokens", "num_output_tokens", "kind", "model", "status")
COLUMNS += ("session_index", "e2e_s", "turn", "num_images", "prefix_ids")
ROWS = 120


def assert_parts_of(whole: RequestTable, tables: list[RequestTable]) -> None:
    for name in COLUMNS:
        parts = [getattr(table, name) for table in tables]
        assert {part.dtype for part in parts} == {getattr(whole, name).dtype}, name
        np.testing.assert_array_equal(np.concatenate(parts), getattr(whole, name), err_msg=name)
    for table in tables:
        table.check()
        assert whole.models[: len(table.models)] == table.models
    lengths = np.concatenate([np.diff(table.prefix_offsets) for table in tables])
    np.testing.assert_array_equal(lengths, np.diff(whole.prefix_offsets))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rows", [1, 50, ROWS, ROWS + 1])
def test_tables_put_together_are_the_whole_trace(
    tmp_path: Path, monkeypatch, kind: str, rows: int
) -> None:
    write_sample(tmp_path / "sample.txt", kind, rows=ROWS, seed=5)
    whole, report = read_trace(tmp_path / "sample.txt")
    monkeypatch.setattr(lines, "BLOCK_BYTES", 1_501)
    tables, reports = zip(*iter_trace(tmp_path / "sample.txt", rows=rows), strict=True)
    assert [len(table) for table in tables[:-1]] == [rows] * (len(tables) - 1)
    assert 0 < len(tables[-1]) <= rows
    assert reports[-1] == report
    assert_parts_of(whole, list(tables))


def test_bad_rows_are_skipped_and_the_tables_still_full(tmp_path: Path) -> None:
    path = tmp_path / "sample.csv"
    write_sample(path, "azure", rows=100, seed=2)
    rows = path.read_text().splitlines(keepends=True)
    for at in (1, 20, 21, 22, 60, 100):
        rows[at] = rows[at].rsplit(",", 1)[0] + ",-5\n"
    path.write_text("".join(rows))
    whole, report = read_trace(path, skip_bad_rows=True)
    chunks = list(iter_trace(path, rows=20, skip_bad_rows=True))
    assert [len(table) for table, _ in chunks] == [20, 20, 20, 20, 14]
    assert chunks[-1][1] == report
    assert report.dropped == {"negative": 6}
    assert_parts_of(whole, [table for table, _ in chunks])


def test_a_bad_row_is_named_by_its_line_after_the_tables_before_it(tmp_path: Path) -> None:
    path = tmp_path / "sample.csv"
    write_sample(path, "burstgpt", rows=50, seed=2)
    rows = path.read_text().splitlines(keepends=True)
    rows[45] = "x" + rows[45]
    path.write_text("".join(rows))
    chunks = iter_trace(path, rows=20)
    assert [len(next(chunks)[0]) for _ in range(2)] == [20, 20]
    with pytest.raises(TraceFormatError, match=r"^sample.csv:46: column 'Timestamp'"):
        next(chunks)


def test_what_cannot_be_read_at_once_cannot_be_read_in_tables(tmp_path: Path) -> None:
    path = tmp_path / "sample.csv"
    path.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\nx,1,1\n")
    with pytest.raises(TraceFormatError, match="none of its 1 rows can be used"):
        list(iter_trace(path, skip_bad_rows=True))
    write_sample(path, "servegen", rows=5, seed=1)
    with pytest.raises(TraceFormatError, match="not requests"):
        list(iter_trace(path))
    with pytest.raises(ConfigError, match="rows must be at least 1, got 0"):
        next(iter_trace(path, rows=0))


def test_a_longer_trace_takes_no_more_memory(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "sample.jsonl.gz"
    write_sample(tmp_path / "sample.jsonl", "mooncake", rows=400, seed=9)
    rows = (tmp_path / "sample.jsonl").read_bytes().splitlines(keepends=True)
    ends = [row[row.index(b",") :] for row in rows]  # without the stamp
    monkeypatch.setattr(lines, "BLOCK_BYTES", 1 << 14)
    peaks = []
    for laps in (1, 8):
        text = b"".join(b'{"timestamp": %d%b' % (lap, end) for lap in range(laps) for end in ends)
        path.write_bytes(gzip.compress(text, 1))
        tracemalloc.start()
        num_rows = sum(len(table) for table, _ in iter_trace(path, rows=100))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert num_rows == 400 * laps
    assert peaks[1] < 1.1 * peaks[0]
