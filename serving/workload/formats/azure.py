"""Azure LLM inference traces: TIMESTAMP, ContextTokens, GeneratedTokens.

2023 stamps have seven fractional digits and no zone; 2024 stamps have microseconds, or no
fraction, and +00:00. Further columns (`NumImages` of 2025) are ignored. The traces hold
served requests only, so every row counts as ok.

Source: Azure/AzurePublicDataset; Splitwise (ISCA 2024), DynamoLLM (HPCA 2025).
"""

from __future__ import annotations

from datetime import date

from serving.workload.formats.rows import (
    BadRow,
    Columns,
    Header,
    RowReader,
    TraceFormat,
    column_names,
    out_of_order,
    parse_count,
)
from serving.workload.table import Kind, RequestTable

TIME, PROMPT, OUTPUT = "TIMESTAMP", "ContextTokens", "GeneratedTokens"
COLUMNS = (TIME, PROMPT, OUTPUT)
MINUTE_CHARS = 16  # "2023-11-16 18:15"
NS_PER_S = 1_000_000_000


class AzureReader:
    """Rows of one Azure file; time counts from its first kept row."""

    __slots__ = (
        "_cells",
        "_columns",
        "_first_ns",
        "_kind",
        "_last_ns",
        "_minute",
        "_minute_ns",
        "_output_at",
        "_prompt_at",
        "_time_at",
    )

    def __init__(self, file_name: str, header_line: str) -> None:
        header = Header(file_name, header_line, COLUMNS)
        self._cells = header.cells
        self._time_at = header.at(TIME)
        self._prompt_at = header.at(PROMPT)
        self._output_at = header.at(OUTPUT)
        self._kind = Kind.API if "code" in file_name.lower() else Kind.CONVERSATION
        self._columns = Columns()
        self._minute = ""
        self._minute_ns = 0
        self._first_ns = -1
        self._last_ns = -1

    def row(self, line: str) -> None:
        """Take one row."""
        cells = self._cells(line)
        stamp = cells[self._time_at]
        at_ns = self._stamp_ns(stamp)
        prompt = parse_count(cells[self._prompt_at], PROMPT)
        output = parse_count(cells[self._output_at], OUTPUT)
        if at_ns < self._last_ns:
            raise out_of_order(stamp, TIME)
        if self._first_ns < 0:
            self._first_ns = at_ns
        self._last_ns = at_ns
        # Whole nanoseconds until here: seconds since 1970 in a float lose the 100 ns digits.
        self._columns.arrival_s.append((at_ns - self._first_ns) / NS_PER_S)
        self._columns.prompt.append(prompt)
        self._columns.output.append(output)

    def table(self, trace_id: str) -> RequestTable:
        """The rows taken so far."""
        return self._columns.table(trace_id, kind=self._kind)

    def _stamp_ns(self, text: str) -> int:
        if text[:MINUTE_CHARS] != self._minute:
            self._minute_ns = _minute_ns(text)
            self._minute = text[:MINUTE_CHARS]
        second = text[MINUTE_CHARS:].removesuffix("+00:00").removesuffix("Z")
        whole, fraction = second[1:3], second[4:]
        good = (
            second[:1] == ":"
            and whole.isdigit()
            and len(whole) == 2
            and whole <= "59"
            and (second[3:4] == "." and fraction.isdigit() if second[3:] else True)
            and len(fraction) <= 9
            and second.isascii()
        )
        if not good:
            raise _not_a_stamp(text)
        return self._minute_ns + int(whole) * NS_PER_S + int(fraction.ljust(9, "0"))


def _minute_ns(text: str) -> int:
    hour, minute = text[11:13], text[14:16]
    digits = text[:10].replace("-", "") + hour + minute
    shaped = len(digits) == 12 and digits.isdigit() and digits.isascii()
    if not shaped or text[10] not in " T" or text[13] != ":" or hour > "23" or minute > "59":
        raise _not_a_stamp(text)
    try:
        day = date.fromisoformat(text[:10]).toordinal()
    except ValueError:
        raise _not_a_stamp(text) from None
    return ((day * 24 + int(hour)) * 60 + int(minute)) * 60 * NS_PER_S


def _not_a_stamp(text: str) -> BadRow:
    return BadRow(
        "not a time stamp" if text else "missing value",
        column=TIME,
        value=text,
        expected="YYYY-MM-DD HH:MM:SS with up to 9 fractional digits, UTC",
    )


def _recognises(line: str) -> bool:
    names = column_names(line)
    return TIME in names and (PROMPT in names or OUTPUT in names)


def _reader(file_name: str, line: str) -> RowReader:
    return AzureReader(file_name, line)


FORMAT = TraceFormat(name="azure", has_header=True, recognises=_recognises, reader=_reader)
