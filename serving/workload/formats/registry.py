"""Formats by name, the choice by a file's first line, and the loop that reads rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from serving.errors import TraceFormatError
from serving.workload.formats import azure, burstgpt, mooncake, requests_csv
from serving.workload.formats.lines import read_lines
from serving.workload.formats.rows import BadRow, RowReader, TraceFormat, shown
from serving.workload.table import RequestTable

AUTO = "auto"
FORMATS: Mapping[str, TraceFormat] = {
    known.name: known
    for known in (azure.FORMAT, burstgpt.FORMAT, mooncake.FORMAT, requests_csv.FORMAT)
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
    """Read one public trace, plain or gzip, line by line.

    Args:
        trace_format: a key of FORMATS, or "auto" to know it by the first line.
        skip_bad_rows: drop and count rows that cannot be used, instead of refusing the file.

    Raises:
        TraceFormatError: whatever is wrong with the file; it names file, line, column, value.
    """
    lines = read_lines(path)
    first_line = next(lines)  # read_lines refuses an empty file
    chosen = _choose(path.name, first_line, trace_format)
    reader = chosen.reader(path.name, first_line)
    rows = lines if chosen.has_header else chain((first_line.removeprefix("\ufeff"),), lines)
    first_row_no = 2 if chosen.has_header else 1
    rows_read, dropped = _read_rows(path.name, reader, rows, first_row_no, skip_bad_rows)
    report = ReadReport(
        trace_format=chosen.name,
        rows_read=rows_read,
        rows_kept=rows_read - sum(dropped.values()),
        dropped=dict(sorted(dropped.items())),
    )
    if report.rows_kept == 0:
        raise TraceFormatError(
            f"{path.name}: none of its {rows_read} rows can be used "
            f"(dropped: {report.dropped}); give a trace with rows in the format {chosen.name!r}"
        )
    return reader.table(path.name.split(".")[0]), report


def _read_rows(
    file_name: str, reader: RowReader, rows: Iterator[str], first_row_no: int, skip: bool
) -> tuple[int, Counter[str]]:
    dropped: Counter[str] = Counter()
    line_no = first_row_no - 1
    take = reader.row
    for line_no, line in enumerate(rows, start=first_row_no):
        try:
            take(line)
        except BadRow as bad:
            if not skip:
                raise TraceFormatError(
                    f"{file_name}:{line_no}: column {bad.column!r} is {shown(bad.value)}, "
                    f"expected {bad.expected}; pass --skip-bad-rows to drop such rows and "
                    "count them in the summary"
                ) from None
            dropped[bad.reason] += 1
    return line_no - first_row_no + 1, dropped


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
