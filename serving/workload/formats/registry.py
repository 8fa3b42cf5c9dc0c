"""Formats by name, the choice by a file's first line, and the loop that reads rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from serving.errors import TraceFormatError
from serving.workload.formats import (
    azure,
    bailian,
    burstgpt,
    huawei,
    mooncake,
    requests_csv,
    servegen,
)
from serving.workload.formats.lines import count_lines, line_text, read_blocks
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
        trace_format: a key of FORMATS, or "auto" to know it by the first line.
        skip_bad_rows: drop and count rows that cannot be used, instead of refusing the file.

    Raises:
        TraceFormatError: whatever is wrong with the file; it names file, line, column, value.
    """
    chosen, reader, blocks, first_row_no = _open(path, trace_format)
    if chosen.rows_are != "requests":
        raise TraceFormatError(
            f"{path.name}: a file of the format {chosen.name!r} holds {chosen.rows_are}, not "
            "requests; read it with read_table, or give a trace of requests"
        )
    report = _read(path, chosen, reader, blocks, first_row_no, skip_bad_rows)
    table = reader.table(path.name.split(".")[0])
    assert isinstance(table, RequestTable), chosen.name
    return table, report


def read_table(
    path: Path, *, trace_format: str = AUTO, skip_bad_rows: bool = False
) -> tuple[TraceTable, ReadReport]:
    """Read any file of FORMATS into its own table; otherwise like `read_trace`."""
    chosen, reader, blocks, first_row_no = _open(path, trace_format)
    report = _read(path, chosen, reader, blocks, first_row_no, skip_bad_rows)
    return reader.table(path.name.split(".")[0]), report


def _open(path: Path, trace_format: str) -> tuple[TraceFormat, RowReader, Iterator[bytes], int]:
    """The format, its reader, the blocks of rows, and the number of the first row's line."""
    blocks = read_blocks(path)
    first = next(blocks).removeprefix(BYTE_ORDER_MARK)  # read_blocks refuses an empty file
    first_line, _, rest = first.partition(b"\n")
    line = line_text(first_line)
    chosen = _choose(path.name, line, trace_format)
    reader = chosen.reader(path.name, line)
    rows = rest if chosen.has_header else first
    return chosen, reader, chain((rows,) if rows else (), blocks), 2 if chosen.has_header else 1


def _read(
    path: Path,
    chosen: TraceFormat,
    reader: RowReader,
    blocks: Iterator[bytes],
    first_row_no: int,
    skip: bool,
) -> ReadReport:
    # The allocator hands freed memory back to the system above a size that it learns from the
    # largest piece freed so far; without a large one every array of a block faults in its pages.
    np.empty(HEAP_KEEP_BYTES, dtype=np.uint8)
    loop = _Loop(path.name, reader, first_row_no, skip)
    for block in blocks:
        loop.take(block)
    rows_read = loop.line_no - first_row_no
    report = ReadReport(
        trace_format=chosen.name,
        rows_read=rows_read,
        rows_kept=rows_read - sum(loop.dropped.values()),
        dropped=dict(sorted(loop.dropped.items())),
    )
    if report.rows_kept == 0:
        raise TraceFormatError(
            f"{path.name}: none of its {rows_read} rows can be used "
            f"(dropped: {report.dropped}); give a trace with rows in the format {chosen.name!r}"
        )
    return report


class _Loop:
    """Feeds blocks to a reader; goes down to single lines where a block is refused."""

    def __init__(self, file_name: str, reader: RowReader, line_no: int, skip: bool) -> None:
        self.file_name = file_name
        self.reader = reader
        self.line_no = line_no  # of the next line
        self.skip = skip
        self.dropped: Counter[str] = Counter()

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
