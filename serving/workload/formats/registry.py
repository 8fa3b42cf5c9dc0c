"""Formats by name, the choice by a file's first line, and the loop that reads rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from serving.errors import ConfigError, TraceFormatError
from serving.workload.formats import (
    azure,
    bailian,
    burstgpt,
    huawei,
    mooncake,
    parquet,
    requests_csv,
    servegen,
)
from serving.workload.formats.lines import NEWLINE, count_lines, line_text, read_blocks
from serving.workload.formats.numerals import Unsure
from serving.workload.formats.rows import (
    BadRow,
    CutMark,
    RowReader,
    TraceFormat,
    TraceTable,
    shown,
)
from serving.workload.table import RequestTable

AUTO = "auto"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
HEAP_KEEP_BYTES = 1 << 24
SPLIT = 8  # a block with an unusual row is tried again in as many parts
SPLIT_LINES_MIN = 256  # fewer lines are read one by one at once
FORMATS: Mapping[str, TraceFormat] = {
    known.name: known
    for known in (
        azure.FORMAT,
        burstgpt.FORMAT,
        bailian.FORMAT,
        mooncake.FORMAT,
        requests_csv.FORMAT,
        servegen.WINDOWS,
        servegen.CLIENT_WINDOWS,
        servegen.TOKENS,
        huawei.COLD_STARTS,
        huawei.REQUESTS,
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadReport:
    """What became of a file's rows: rows_read = rows_kept + sum of dropped."""

    trace_format: str
    rows_read: int
    rows_kept: int
    dropped: Mapping[str, int]  # reason -> rows


def read_trace(
    path: Path, *, trace_format: str = AUTO, skip_bad_rows: bool = False
) -> tuple[RequestTable, ReadReport]:
    """Read one public trace of requests, plain or gzip, block by block.

    Args:
        trace_format: a key of FORMATS, or "auto" to know it by the first line. A file whose name
            ends in .parquet is our own table in any case, all good or refused.
        skip_bad_rows: drop and count rows that cannot be used, instead of refusing the file.

    Raises:
        ConfigError: a Parquet file without pyarrow.
        TraceFormatError: whatever is wrong with the file; it names file, line, column, value.
    """
    if path.suffix == parquet.SUFFIX:
        return _read_parquet(path)
    opened = _open(path, trace_format)
    _refuse_other_rows(path.name, opened.format)
    loop = _Loop(path.name, opened, skip_bad_rows)
    for block in opened.blocks:
        loop.take(block)
    report = loop.report()
    return _requests(path, opened.reader), report


def iter_trace(
    path: Path, *, rows: int = 100_000, trace_format: str = AUTO, skip_bad_rows: bool = False
) -> Iterator[tuple[RequestTable, ReadReport]]:
    """Read one public trace of requests in tables of `rows` rows, the last one of what is left.

    For traces larger than memory: one table and one block are held, and what a reader must know
    of earlier rows, which are the names of its sessions in formats that have any. Put together,
    the tables are the one of `read_trace`: stamps count from the start of the trace, session
    numbers and model codes go on from table to table.

    Yields:
        A table, and the report of all rows read until then.

    Raises:
        ConfigError: `rows` is below 1.
        TraceFormatError: as `read_trace`, when the reading gets there.
    """
    if rows < 1:
        raise ConfigError(f"rows must be at least 1, got {rows}; give the rows of one table")
    opened = _open(path, trace_format)
    _refuse_other_rows(path.name, opened.format)
    loop = _Loop(path.name, opened, skip_bad_rows)
    given = 0
    for block in opened.blocks:
        rest = block
        while rest:
            part, rest = _first_lines(rest, given + rows - loop.rows_kept)
            loop.take(part)
            if loop.rows_kept == given + rows:
                given = loop.rows_kept
                yield _requests(path, opened.reader), loop.report()
    report = loop.report()
    if loop.rows_kept > given:
        yield _requests(path, opened.reader), report


def read_table(
    path: Path, *, trace_format: str = AUTO, skip_bad_rows: bool = False
) -> tuple[TraceTable, ReadReport]:
    """Read any file of FORMATS into its own table; otherwise like `read_trace`."""
    opened = _open(path, trace_format)
    loop = _Loop(path.name, opened, skip_bad_rows)
    for block in opened.blocks:
        loop.take(block)
    report = loop.report()
    return opened.reader.table(_trace_id(path)), report


def _read_parquet(path: Path) -> tuple[RequestTable, ReadReport]:
    table = parquet.read_parquet(path)
    rows = len(table)
    return table, ReadReport(trace_format="parquet", rows_read=rows, rows_kept=rows, dropped={})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Opened:
    """A file whose format is known."""

    format: TraceFormat
    reader: RowReader
    blocks: Iterator[bytes]  # of rows
    first_row_no: int  # line of the first row


def _open(path: Path, trace_format: str) -> _Opened:
    if path.suffix == parquet.SUFFIX:
        raise TraceFormatError(
            f"{path.name}: Parquet holds requests and is read whole, by read_trace; give a CSV"
        )
    blocks = read_blocks(path)
    first = next(blocks).removeprefix(BYTE_ORDER_MARK)  # read_blocks refuses an empty file
    first_line, _, rest = first.partition(b"\n")
    line = line_text(first_line)
    chosen = _choose(path.name, line, trace_format)
    rows = rest if chosen.has_header else first
    return _Opened(
        format=chosen,
        reader=chosen.reader(path.name, line),
        blocks=chain((rows,) if rows else (), blocks),
        first_row_no=2 if chosen.has_header else 1,
    )


def _refuse_other_rows(file_name: str, chosen: TraceFormat) -> None:
    if chosen.rows_are != "requests":
        raise TraceFormatError(
            f"{file_name}: a file of the format {chosen.name!r} holds {chosen.rows_are}, not "
            "requests; read it with read_table, or give a trace of requests"
        )


def _trace_id(path: Path) -> str:
    return path.name.split(".")[0]


def _requests(path: Path, reader: RowReader) -> RequestTable:
    table = reader.table(_trace_id(path))
    assert isinstance(table, RequestTable), path
    return table


class _Loop:
    """Feeds blocks to a reader; goes down to single lines where a block is refused."""

    def __init__(self, file_name: str, opened: _Opened, skip: bool) -> None:
        # The allocator hands freed memory back to the system above a size that it learns from
        # the largest piece freed so far; without a large one every array of a block faults in
        # its pages.
        np.empty(HEAP_KEEP_BYTES, dtype=np.uint8)
        self.file_name = file_name
        self.format_name = opened.format.name
        self.reader = opened.reader
        self.first_row_no = opened.first_row_no
        self.line_no = opened.first_row_no  # of the next line
        self.skip = skip
        self.dropped: Counter[str] = Counter()

    @property
    def rows_kept(self) -> int:
        return self.line_no - self.first_row_no - self.dropped.total()

    def report(self) -> ReadReport:
        """What was read so far.

        Raises:
            TraceFormatError: none of it can be used.
        """
        report = ReadReport(
            trace_format=self.format_name,
            rows_read=self.line_no - self.first_row_no,
            rows_kept=self.rows_kept,
            dropped=dict(sorted(self.dropped.items())),
        )
        if report.rows_read == 0:
            raise TraceFormatError(
                f"{self.file_name}: no row below its header; give a trace with rows"
            )
        if report.rows_kept == 0:
            raise TraceFormatError(
                f"{self.file_name}: none of its {report.rows_read} rows can be used (dropped: "
                f"{report.dropped}); give a trace with rows in the format {self.format_name!r}"
            )
        return report

    def take(self, block: bytes) -> None:
        num_lines = count_lines(block)
        try:
            self.reader.block(block)
        except (Unsure, BadRow):
            if num_lines < SPLIT_LINES_MIN:
                self._take_lines(block)
            else:
                for part in _parts(block):
                    self.take(part)
        else:
            self.line_no += num_lines

    def _take_lines(self, block: bytes) -> None:
        take = self.reader.row
        for raw in block.split(b"\n")[:-1]:
            try:
                take(line_text(raw))
            except BadRow as bad:
                if not (self.skip or isinstance(bad, CutMark)):
                    raise TraceFormatError(
                        f"{self.file_name}:{self.line_no}: column {bad.column!r} is "
                        f"{shown(bad.value)}, expected {bad.expected}; pass --skip-bad-rows to "
                        "drop such rows and count them in the summary"
                    ) from None
                self.dropped[bad.reason] += 1
            self.line_no += 1


def _first_lines(block: bytes, num_lines: int) -> tuple[bytes, bytes]:
    """The block's first lines, and the rest."""
    if len(block) <= num_lines or count_lines(block) <= num_lines:
        return block, b""
    ends = np.flatnonzero(np.frombuffer(block, dtype=np.uint8) == NEWLINE)
    cut = int(ends[num_lines - 1]) + 1
    return block[:cut], block[cut:]


def _parts(block: bytes) -> Iterator[bytes]:
    start, step = 0, len(block) // SPLIT + 1
    while start < len(block):
        end = block.find(b"\n", min(start + step, len(block) - 1)) + 1
        yield block[start:end]
        start = end


def _choose(file_name: str, first_line: str, trace_format: str) -> TraceFormat:
    names = ", ".join(FORMATS)
    if trace_format != AUTO:
        if trace_format not in FORMATS:
            raise TraceFormatError(
                f"{file_name}: there is no trace format {trace_format!r}; "
                f"pass --format with one of {AUTO}, {names}"
            )
        return FORMATS[trace_format]
    for known in FORMATS.values():
        if known.recognises(first_line):
            return known
    raise TraceFormatError(
        f"{file_name}:1: the first line {shown(first_line)} is of no known trace format; "
        f"give a trace as its origin publishes it, or pass --format with one of {names}"
    )
