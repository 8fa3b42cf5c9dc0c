"""Ten thousand damaged files: an own error or a whole table, never another exception, no hang."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from pathlib import Path

import numpy as np
import pytest

from serving.errors import TraceFormatError
from serving.workload import read_table, read_trace
from serving.workload.formats import registry
from serving.workload.samples import SAMPLES, write_sample

CASES = 10_000
BATCHES = 20  # tests, so that a failure names a range and two cores share the work
ROWS = 12
TOKENS = [b"", b"-1", b"nan", b"inf", b"1e308", b"9" * 30, b"0x7", b"\xff\xfe", b"\x00", b"null"]
TOKENS += [b"true", b'"', b"[", b"{", b"]}", b"1_0", b"+1", b" 1", b"1.5.5", "²".encode(), b"1e-5"]
TOKENS += [b"2024-02-30 00:00:00", b"2024-05-10 00:00:00+02:00", b"...", b"-", b"\\", b"\r"]
Rng = np.random.Generator
Damage = Callable[[bytes, Rng], bytes]


def flip(text: bytes, rng: Rng) -> bytes:
    """Some bytes become others."""
    seen = bytearray(text)
    for at in rng.integers(0, len(seen), rng.integers(1, 6)):
        seen[at] = rng.integers(0, 256)
    return bytes(seen)


def cell(text: bytes, rng: Rng) -> bytes:
    """One cell of one row becomes something else."""
    rows = text.split(b"\n")
    k = int(rng.integers(0, len(rows)))
    cells = rows[k].split(b",")
    at = int(rng.integers(0, len(cells)))
    value = TOKENS[rng.integers(0, len(TOKENS))]
    key, colon, _ = cells[at].partition(b": ")
    cells[at] = key + colon + value if colon else value
    rows[k] = b",".join(cells)
    return b"\n".join(rows)


def cut(text: bytes, rng: Rng) -> bytes:
    """The file ends early."""
    return text[: rng.integers(0, len(text))]


def hole(text: bytes, rng: Rng) -> bytes:
    """A stretch is missing."""
    start = int(rng.integers(0, len(text)))
    return text[:start] + text[start + int(rng.integers(1, 80)) :]


def twice(text: bytes, rng: Rng) -> bytes:
    """A stretch comes again."""
    start = int(rng.integers(0, len(text)))
    end = start + int(rng.integers(1, 200))
    return text[:end] + text[start:]


def shuffle(text: bytes, rng: Rng) -> bytes:
    """Rows change places, the header may too."""
    rows = text.split(b"\n")
    a, b = rng.integers(0, len(rows), 2)
    rows[a], rows[b] = rows[b], rows[a]
    return b"\n".join(rows)


def column(text: bytes, rng: Rng) -> bytes:
    """A column is dropped, renamed or given twice."""
    rows = [row.split(b",") for row in text.split(b"\n")]
    at = int(rng.integers(0, len(rows[0])))
    way = rng.integers(0, 3)
    for k, row in enumerate(rows):
        if at < len(row):
            if way == 0:
                del row[at]
            elif way == 1 and k == 0:
                row[at] += b"2"
            elif way == 2:
                row.append(row[at])
    return b"\n".join(b",".join(row) for row in rows)


def insert(text: bytes, rng: Rng) -> bytes:
    """Something foreign stands between."""
    at = int(rng.integers(0, len(text)))
    value = [*TOKENS, b"\n", b"\n\n", b",", b",,", b"\xef\xbb\xbf", b"\r\n"][rng.integers(0, 33)]
    return text[:at] + value + text[at:]


def pack(text: bytes, rng: Rng) -> bytes:
    """Packed, and then damaged in the archive."""
    packed = gzip.compress(text, 1)
    return (flip, cut, hole)[rng.integers(0, 3)](packed, rng)


WAYS: tuple[Damage, ...] = (flip, cell, cell, cut, hole, twice, shuffle, column, insert, pack)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    folder = tmp_path_factory.mktemp("whole")
    for kind in SAMPLES:
        write_sample(folder / kind, kind, rows=ROWS, seed=13)
    return [(folder / kind).read_bytes() for kind in SAMPLES]


def try_one(path: Path, content: bytes, *, skip: bool, by_rows: pytest.MonkeyPatch) -> bool:
    """Whether the file was read; any other end than a table or an own error is a failure."""
    path.write_bytes(content)
    table = outcome(path, read_table, skip=skip)
    outcome(path, read_trace, skip=skip)
    with by_rows.context() as patch:
        patch.setattr(registry._Loop, "take", registry._Loop._take_lines)
        assert said(outcome(path, read_table, skip=skip)) == said(table)
    return not isinstance(table, str)


def outcome(path: Path, read: Callable, *, skip: bool):
    """The table and the report, or the complaint."""
    try:
        table, report = read(path, skip_bad_rows=skip)
    except TraceFormatError as error:
        assert path.name in str(error)
        assert len(str(error)) < 800
        return str(error)
    table.check()
    assert report.rows_read == report.rows_kept + sum(report.dropped.values())
    assert len(table) == report.rows_kept
    return table, report


def said(result) -> str:
    """An outcome as text that tells any two apart: every value, every byte of every column."""
    if isinstance(result, np.ndarray):
        return f"{result.dtype}{np.nan_to_num(result, nan=-7.0).tolist()}"
    if is_dataclass(result):
        return str([said(getattr(result, field.name)) for field in fields(result)])
    if isinstance(result, tuple):
        return str([said(part) for part in result])
    return str(result)


@pytest.mark.slow
@pytest.mark.parametrize("batch", range(BATCHES))
def test_damaged_file_gives_an_own_error_or_a_whole_table(
    tmp_path: Path, whole: list[bytes], monkeypatch, batch: int
) -> None:
    num_read = 0
    for case in range(batch, CASES, BATCHES):
        rng = np.random.default_rng([case, *b"damage"])
        content = whole[case % len(whole)]
        for _ in range(rng.integers(1, 4)):
            content = WAYS[rng.integers(0, len(WAYS))](content or b"\n", rng)
        try:
            path = tmp_path / "damaged.txt"
            num_read += try_one(path, content, skip=bool(case % 2), by_rows=monkeypatch)
        except Exception as error:
            raise AssertionError(f"case {case}: {type(error).__name__}: {error}") from error
    assert 0 < num_read < CASES // BATCHES  # the damage is neither harmless nor hopeless
